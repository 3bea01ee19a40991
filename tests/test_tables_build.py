"""Every table of some histories at once."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from projectai_lab import tables
from projectai_lab.errors import TableError
from projectai_lab.tables._columns import TABLES
from tests.data import attempt_records, goldens


def test_build_gives_every_table_as_its_own_function_does() -> None:
    built = tables.build(goldens(), recorder=attempt_records())
    # Contents are made on request alone; faults and loads are no part of a history.
    assert set(built) == set(TABLES) - {"payloads", "faults", "load"}
    for name in set(built) - {"activities", "attempts"}:
        pd.testing.assert_frame_equal(built[name], getattr(tables, name)(goldens()))
    for name in ("activities", "attempts"):
        own = getattr(tables, name)(goldens(), attempt_records())
        pd.testing.assert_frame_equal(built[name], own)


def test_build_takes_one_history_and_none() -> None:
    (run,) = tables.build(goldens()[0])["executions"].itertuples()
    assert run.workflow_id == goldens()[0].workflow_id
    assert all(frame.empty for frame in tables.build([]).values())


def test_build_makes_only_what_is_asked_for() -> None:
    built = tables.build(iter(goldens()), only=["timers", "events"])
    assert set(built) == {"timers", "events"}
    pd.testing.assert_frame_equal(built["timers"], tables.timers(goldens()))
    assert tables.build(goldens(), only=[]) == {}


@pytest.mark.parametrize("only", ["events", ["events", "payloads"], ["rows"]])
def test_build_refuses_what_it_does_not_make(only: Any) -> None:
    with pytest.raises(TableError, match=r"only=.* must be a list of some of: executions, events"):
        tables.build(goldens(), only=only)


def test_build_keeps_nothing_of_what_it_read() -> None:
    run = goldens()[0]
    before = tables.build(run)["events"]
    # The same object, longer than before: what was read of it earlier must not come back.
    longer = replace(run, events=[*run.events])
    after = tables.build([longer])["events"]
    run.events[-1].event_id = 99
    assert tables.build(run)["events"].event_id.iloc[-1] == 99
    pd.testing.assert_frame_equal(before, after)


def test_build_leaves_no_events_behind() -> None:
    gc.collect()
    gc.disable()
    try:
        run = goldens()[0]
        watch = weakref.ref(run)
        tables.build(run)
        del run
        assert watch() is None
    finally:
        gc.enable()
