"""Rules for a table as a whole: its columns, the order of its rows, its retries and their plan."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import pandas as pd

from projectai_lab import retries
from projectai_lab.regression._row_rules import slack, told
from projectai_lab.regression._sides import Finding, Rule, Sides, gone_for, lost, plain

_MEASURED = ("measured_server", "measured_worker")


def columns() -> Rule:
    """Return the rule that the table still has every column, of the same dtype.

    A column that is new breaks nothing.

    >>> regression.check(attempts, [regression.columns()])                     # doctest: +SKIP
    """

    def judge(sides: Sides) -> Iterator[Finding]:
        count = 0
        for column, dtype in sides.columns.items():
            there = column in sides.now.columns
            seen = (
                str(sides.now[column].dtype)
                if there
                else gone_for(sides.now, column, sides.columns)
            )
            if seen != dtype:
                count += 1
                yield Finding("columns", column, dtype, seen, False)
        if not count:
            yield Finding("columns", "", f"{len(sides.columns)} columns", "all of them", True)

    return Rule("columns", (), judge)


def event_order(column: str = "event_type", *, by: str | None = "workflow_id") -> Rule:
    """Return the rule that values come in the order in which they came, in each group of `by`.

    Rows are taken as they stand, as the tables order them: by event. Groups match by value, so use
    Workflow Ids that stay the same; `by=None` takes the table as one group. What runs at the same
    time has no order to hold to: leave it out, or compare with `same_set`.

    >>> regression.event_order("activity_type")                                # doctest: +SKIP
    """
    name = f"event_order(by={by})"
    needed = (column, by) if by else (column,)

    def judge(sides: Sides) -> Iterator[Finding]:
        gone = [one for name_ in needed if (one := lost(name, sides, name_))]
        if gone:
            yield from gone
            return
        now, then = (_sequences(side, column, by) for side in (sides.now, sides.then))
        broken = [group for group in {**then, **now} if then.get(group) != now.get(group)]
        for group in broken:
            position, expected, seen = _first_apart(then.get(group, []), now.get(group, []))
            where = f"{by}={group}, row {position}" if by else f"row {position}"
            ids = (str(group),) if by == "workflow_id" else sides.ids()
            yield Finding(name, column, expected, seen, False, where, ids)
        if not broken:
            count = f"{len(then)} sequences"
            yield Finding(name, column, count, count, True)

    return Rule(name, needed, judge)


def retry_schedule(*, absolute: float = 0.25, relative: float = 0.0) -> Rule:
    """Return the rule that each retry waited as its policy planned, within a tolerance in seconds.

    For a table of attempts; it needs no baseline, since the plan is one. Judged are the retries
    whose wait was measured at both ends; a table without such a retry breaks the rule.

    >>> regression.check(attempts, [regression.retry_schedule(absolute=0.2)])  # doctest: +SKIP
    """
    absolute, relative = slack(absolute, relative)
    name = told("retry_schedule", absolute=absolute, relative=relative)

    def judge(sides: Sides) -> Iterator[Finding]:
        waits = retries.against_plan(sides.now)
        known = waits["backoff_quality"].isin(_MEASURED) & waits["backoff_error_s"].notna()
        measured = waits[known]
        most = absolute + relative * measured["backoff_planned_s"]
        late = measured[measured["backoff_error_s"].abs() > most]
        for row in late.itertuples():
            yield _late(name, row, absolute + relative * row.backoff_planned_s)
        if late.empty:
            count = f"{len(measured)} of {len(waits)} retries measured"
            seen = f"{count}, all in time" if len(measured) else count
            yield Finding(
                name, "backoff_observed_s", "the plan", seen, bool(len(measured)), "", sides.ids()
            )

    return Rule(name, (), judge, planned=True)


def _late(rule: str, row: Any, most: float) -> Finding:
    expected = f"{row.backoff_planned_s:.4g} ± {most:.4g}"
    where = f"activity_type={row.activity_type}, attempt={row.attempt}"
    seen = f"{row.backoff_observed_s:.4g}"
    ids = (str(row.workflow_id),)
    return Finding(rule, "backoff_observed_s", expected, seen, False, where, ids)


def _sequences(df: pd.DataFrame, column: str, by: str | None) -> dict[Any, list[Any]]:
    if by is None:
        return {"": plain(df[column])}
    groups = df.groupby(df[by].astype(object), sort=False, dropna=False)[column]
    return {group: plain(values) for group, values in groups}


def _first_apart(then: list[Any], now: list[Any]) -> tuple[int, str, str]:
    over = object()
    pairs = enumerate(zip_longest(then, now, fillvalue=over), start=1)
    for position, (was, seen) in pairs:
        if was is over or seen is over or was != seen:
            words = ["the end" if one is over else str(one) for one in (was, seen)]
            return position, words[0], words[1]
    raise AssertionError("equal sequences")
