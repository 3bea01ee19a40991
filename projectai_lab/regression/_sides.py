"""`Rule`, `Finding`, and `Sides`: the two tables that rules compare."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from projectai_lab.errors import BaselineError, TableError


@dataclass(frozen=True)
class Finding:
    """What one rule says of one column, or of one value in it."""

    rule: str
    column: str
    expected: str
    seen: str
    ok: bool
    where: str = ""
    workflow_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sides:
    """The table of today (`now`) and the baseline (`then`); `pairs` are the positions that match.

    `columns` are all columns that the table had then, with their dtypes.
    """

    now: pd.DataFrame
    then: pd.DataFrame
    columns: Mapping[str, str]
    key: tuple[str, ...] = ()
    pairs: Sequence[tuple[int, int]] = ()

    def where(self, position: int) -> str:
        """Return which row of today that is."""
        return place(self.now, self.key, position)

    def ids(self, positions: Iterable[int] | None = None) -> tuple[str, ...]:
        """Return the Workflow Ids of rows of today, each once; of all rows unless given."""
        if "workflow_id" not in self.now:
            return ()
        rows = self.now["workflow_id"] if positions is None else self.rows("workflow_id", positions)
        return tuple(dict.fromkeys(str(one) for one in rows if not pd.isna(one)))

    def rows(self, column: str, positions: Iterable[int]) -> list[Any]:
        """Return the values of a column of today at these positions."""
        return list(self.now[column].iloc[list(positions)])


@dataclass(frozen=True)
class Rule:
    """One rule: a baseline keeps `columns` for it, `judge` says what it finds.

    `by_row`: it needs the rows of both sides matched. `planned`: it needs no baseline.
    """

    name: str
    columns: tuple[str, ...]
    judge: Callable[[Sides], Iterator[Finding]] = field(repr=False)
    by_row: bool = False
    planned: bool = False


Judge = Callable[[Sides, str], Iterator[Finding]]


def per_column(
    name: str, columns: Iterable[str], judge: Judge, *, numbers: bool = False, by_row: bool = False
) -> Rule:
    """Return a rule that judges column by column, or finds that one is gone, or holds no `numbers`.

    Raises TableError where a column never held numbers and must.
    """
    wanted = tuple(columns)

    def judge_all(sides: Sides) -> Iterator[Finding]:
        for column in wanted:
            gone = lost(name, sides, column) or (numbers and _no_numbers(name, sides, column))
            yield from [gone] if gone else judge(sides, column)

    return Rule(name, wanted, judge_all, by_row=by_row)


def lost(rule: str, sides: Sides, column: str) -> Finding | None:
    """Return the finding that a column of the baseline is gone, None where it is there.

    Raises BaselineError for a column that the baseline lacks, TableError for one that neither has.
    """
    if column not in sides.now.columns and column not in sides.columns:
        raise no_column(rule, sides.now, column)
    if column not in sides.then.columns:
        raise BaselineError(
            f"{rule} compares column {column!r}, which the baseline does not hold; make it anew",
            column=column,
        )
    if column in sides.now.columns:
        return None
    return Finding(rule, column, "the column", gone_for(sides.now, column, sides.columns), False)


def _no_numbers(rule: str, sides: Sides, column: str) -> Finding | None:
    then, now = sides.then[column].dtype, sides.now[column].dtype
    if not pd.api.types.is_numeric_dtype(then):
        raise TableError(
            f"{rule} compares numbers, and {column} is {then}; for other values: "
            f"exact({column!r}) or same_set({column!r})",
            column=column,
        )
    if pd.api.types.is_numeric_dtype(now):
        return None
    return Finding(rule, column, f"numbers ({then})", str(now), False)


def gone_for(df: pd.DataFrame, column: str, before: Iterable[str]) -> str:
    """Return "no such column", with the name that it may have now: one that is new."""
    close = near(column, df.columns.difference(list(before)))
    return f"no such column{f'; is it {close} now?' if close else ''}"


def no_column(rule: str, df: pd.DataFrame, column: str) -> TableError:
    """Return the error for a column that a rule names and nobody has."""
    close, known = near(column, df.columns), ", ".join(map(str, df.columns))
    hint = f"; did you mean {close}?" if close else "."
    return TableError(
        f"{rule} names column {column!r}, which the table lacks{hint} It has: {known}",
        column=column,
    )


def near(column: str, names: Iterable[Any]) -> str:
    """Return the names that look like this one."""
    return " or ".join(difflib.get_close_matches(column, list(map(str, names))))


def place(df: pd.DataFrame, key: Sequence[str], position: int) -> str:
    """Return which row that is: by its key, or by its number from 1."""
    if not key:
        return f"row {position + 1}"
    return ", ".join(f"{name}={df[name].iloc[position]}" for name in key)


def short(value: Any) -> str:
    """Return a value as it is told: four digits of a number, NA for what is missing."""
    if pd.isna(value):
        return "NA"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def plain(series: pd.Series) -> list[Any]:
    """Return values as plain Python, None for what is missing."""
    return list(series.astype(object).where(series.notna(), None))
