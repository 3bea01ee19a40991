"""Which row of today is which row of the baseline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd

from projectai_lab.errors import TableError
from projectai_lab.regression._sides import Finding, gone_for, no_column, place, plain

_RULE = "rows"
Found = tuple[list[tuple[int, int]], list[Finding]]


def match(
    now: pd.DataFrame, then: pd.DataFrame, key: Sequence[str], columns: Iterable[str]
) -> Found:
    """Return the pairs of positions that match by key, and a finding per row that has no match.

    `columns` are those that the table had. Without a key rows match by position.
    """
    missing = [name for name in key if name not in now.columns]
    unknown = [name for name in missing if name not in then.columns]
    if unknown:
        raise no_column("key", now, unknown[0])
    if missing:
        return [], [
            Finding(_RULE, name, "the key column", gone_for(now, name, columns), False)
            for name in missing
        ]
    before, today = _positions(then, key, "the baseline"), _positions(now, key, "the table")
    pairs = [(today[one], before[one]) for one in before if one in today]
    return pairs, list(_unmatched(now, then, key, before, today))


def _unmatched(
    now: pd.DataFrame,
    then: pd.DataFrame,
    key: Sequence[str],
    before: dict[Any, int],
    today: dict[Any, int],
) -> Iterator[Finding]:
    named = ", ".join(key)
    sides = [(before, today, then, ("the row", "no such row"))]
    sides += [(today, before, now, ("no such row", "a new row"))]
    count = 0
    for own, other, df, (expected, seen) in sides:
        for one, position in own.items():
            if one not in other:
                count += 1
                ids = _workflow(df, position)
                yield Finding(_RULE, named, expected, seen, False, place(df, key, position), ids)
    if not count:
        told = f"{len(before)} rows"
        yield Finding(_RULE, named, told, told, True)


def _positions(df: pd.DataFrame, key: Sequence[str], whose: str) -> dict[Any, int]:
    """Return the position of each key; TableError where one comes twice."""
    if not key:
        return {position: position for position in range(len(df))}
    values = zip(*(plain(df[name]) for name in key), strict=True)
    found: dict[Any, int] = {}
    for position, value in enumerate(values):
        if value in found:
            raise TableError(
                f"{whose} has two rows of one key: {place(df, key, position)}; add a column that "
                f"tells them apart: key={[*key, '…']}",
                key=dict(zip(key, value, strict=True)),
            )
        found[value] = position
    return found


def _workflow(df: pd.DataFrame, position: int) -> tuple[str, ...]:
    return (str(df["workflow_id"].iloc[position]),) if "workflow_id" in df else ()
