"""`tables.faults`: one row per injected fault."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import pandas as pd

from projectai_lab.errors import TableError
from projectai_lab.tables import schema
from projectai_lab.tables._attempt import Record
from projectai_lab.tables._fault_columns import FAULTS


class FaultSource(Protocol):
    """What keeps injected faults, as an attempt log does."""

    def faults(self) -> list[Record]:
        """Return their records."""
        ...


_NAMES = {"kind": "fault", "injected_time": "injected_ns", "worker_identity": "identity"}
"""Columns that a record has under another name."""


def faults(
    recorder: FaultSource | Iterable[Record] | None, *, clock: str = "unknown"
) -> pd.DataFrame:
    """Return one row per fault that was injected, oldest first, from an attempt log or its records.

    `run_id`, `activity_id` and `attempt` join it to `tables.attempts`. A row is written before its
    fault strikes, so that a killed worker leaves it.

    >>> tables.faults(lab.attempts)[["activity_type", "attempt", "rule"]]      # doctest: +SKIP
    """
    if recorder is None:
        raise TableError("no attempt log, so no faults: open the Lab with attempts=True")
    ask = getattr(recorder, "faults", None)
    records = list(recorder if ask is None else ask())  # type: ignore[arg-type]
    wrong = next((one for one in records if not isinstance(one, dict) or "fault" not in one), None)
    if wrong is not None:
        raise TableError(
            "these are no records of faults; give the log itself, tables.faults(lab.attempts), or "
            f"attempts.read_faults(path): {wrong!r}"
        )
    names = [column.name for column in FAULTS.columns]
    data = {name: [one.get(_NAMES.get(name, name)) for one in records] for name in names}
    return schema.frame("faults", data, clock=clock)
