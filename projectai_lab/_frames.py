"""What each reader of a table asks first: are the columns there, and which clock made the times?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from projectai_lab.errors import TableError

ACTIVITIES = "tables.activities(history)"
ATTEMPTS = "tables.attempts(history, recorder=lab.attempts)"


def need(frame: Any, columns: Iterable[str], maker: str) -> None:
    """Raise TableError naming the missing columns and the call that makes the right table."""
    if not isinstance(frame, pd.DataFrame):
        raise TableError(f"expected a DataFrame, got {type(frame).__name__}; make one with {maker}")
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        schema = frame.attrs.get("schema", "of no known schema")
        raise TableError(
            f"the table ({schema}) has no column {', '.join(missing)}; make one with {maker}",
            missing=missing,
        )


def names(by: str | Iterable[str] | None) -> list[str]:
    """Return the grouping columns as a list, whatever way they were given."""
    if by is None:
        return []
    return [by] if isinstance(by, str) else list(by)


def clocks(frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the server clocks behind a table; its own `clock` column wins over its attrs."""
    if "clock" in frame.columns and len(frame):
        return tuple(sorted(str(clock) for clock in frame["clock"].dropna().unique()))
    return tuple(str(frame.attrs.get("clock") or "unknown").split(", "))


def clock_words(frame: pd.DataFrame) -> str:
    """Return which server clock made the times, for an axis label."""
    found = clocks(frame)
    if len(found) > 1:
        return f"clocks: {', '.join(found)}"
    return "clock unknown" if found in ((), ("unknown",)) else f"{found[0]} clock"


def one_clock(frame: pd.DataFrame, by: Iterable[str] = ()) -> None:
    """Raise TableError when times of several clocks would be put together."""
    found = clocks(frame)
    if len(found) < 2 or "clock" in by:
        return
    raise TableError(
        f"the table holds times of several clocks ({', '.join(found)}), whose delays do not "
        "compare; make one table per clock, or add the column and group by it: "
        'frame.merge(tables.executions(histories)[["run_id", "clock"]], on="run_id"), '
        'then by=["clock", …]',
        clocks=found,
    )


def same_clock(*frames: pd.DataFrame) -> None:
    """Raise TableError when tables of several clocks would be compared.

    A table that names no clock, as of simulated requests, or has no rows goes with any.
    """
    named = [one for one in frames if "clock" in one.columns or one.attrs.get("clock")]
    found = sorted({clock for frame in named if len(frame) for clock in clocks(frame)})
    if len(found) > 1:
        raise TableError(
            f"the tables have times of several clocks ({', '.join(found)}), whose delays do not "
            "compare; run both on one clock",
            clocks=tuple(found),
        )
