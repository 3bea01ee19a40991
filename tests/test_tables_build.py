"""Every table of some histories at once."""

from __future__ import annotations

import pandas as pd

from projectai_lab import tables
from projectai_lab.tables._columns import TABLES
from tests.data import attempt_records, goldens


def test_build_gives_every_table_as_its_own_function_does() -> None:
    built = tables.build(goldens(), recorder=attempt_records())
    assert set(built) == set(TABLES)
    for name in ("executions", "events", "timers", "child_workflows"):
        pd.testing.assert_frame_equal(built[name], getattr(tables, name)(goldens()))
    for name in ("activities", "attempts"):
        own = getattr(tables, name)(goldens(), attempt_records())
        pd.testing.assert_frame_equal(built[name], own)


def test_build_takes_one_history_and_none() -> None:
    (run,) = tables.build(goldens()[0])["executions"].itertuples()
    assert run.workflow_id == goldens()[0].workflow_id
    assert all(frame.empty for frame in tables.build([]).values())
