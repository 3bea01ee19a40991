"""`Comparison`: a sentence and the table behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

from projectai_lab import tables
from projectai_lab._frames import clocks
from projectai_lab.errors import TableError

_MOST_NAMED = 3


@dataclass(frozen=True, eq=False)
class Comparison:
    """The answer to "what differs?".

    The sentence is no attribute of the table, because it would stay on every part that is cut out
    of it, and a notebook would not show it.
    """

    sentence: str
    table: pd.DataFrame

    def __repr__(self) -> str:
        return f"{self.sentence}\n\n{self.table!r}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.sentence)}</p>{self.table.to_html(escape=True, na_rep='')}"


def listed(histories: Any, name: str, most: int | None = None) -> list[Any]:
    """Return histories as a list of distinct runs; TableError where there is none, or too many."""
    found = list(histories) if isinstance(histories, Iterable) else [histories]
    runs = len(tables.validate(tables.executions(found)))
    if not runs:
        raise TableError(f"{name} holds no run: there is nothing to compare; fetch it again")
    if most is not None and runs > most:
        raise TableError(
            f"{name} holds {runs} runs, and this compares one with one; "
            "for many: compare.cohorts(a, b)"
        )
    return found


def clock_trouble(a: pd.DataFrame, b: pd.DataFrame) -> str:
    """Return why times of two tables do not compare, "" where they do."""
    found = sorted({*clocks(a), *clocks(b)})
    if len(found) == 1:
        return ""
    return f"times are not compared, since they are of several clocks ({', '.join(found)})"


def named(words: Iterable[str]) -> str:
    """Return "a, b, c and 2 more"."""
    found = list(words)
    rest = len(found) - _MOST_NAMED
    return ", ".join(found[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")
