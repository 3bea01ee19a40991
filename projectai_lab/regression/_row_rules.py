"""Rules for tables whose rows match: equal, or near enough."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from projectai_lab.regression._sides import Finding, Rule, Sides, per_column, plain, short


def exact(columns: str | Iterable[str]) -> Rule:
    """Return the rule that each value is what it was; missing equals missing.

    >>> regression.check(attempts, [regression.exact("worker_outcome")],
    ...                  key=["workflow_id", "activity_type", "attempt"])     # doctest: +SKIP
    """
    names = [columns] if isinstance(columns, str) else list(columns)
    if not names:
        raise ValueError(
            'exact() compares nothing; name the columns: exact(["status", "attempts"])'
        )

    def judge(sides: Sides, column: str) -> Iterator[Finding]:
        return _by_row("exact", sides, column, _same, str)

    return per_column("exact", names, judge, by_row=True)


def tolerance(column: str, *, absolute: float = 0.0, relative: float = 0.0) -> Rule:
    """Return the rule that each number is near what it was: by `absolute` + `relative` · |then|.

    A value that is missing on one side only is outside. A single time on a busy machine is seldom
    worth a tolerance: see `quantile_band`.

    >>> regression.tolerance("backoff_observed_s", absolute=0.25)              # doctest: +SKIP
    """
    absolute, relative = slack(absolute, relative)
    name = told("tolerance", absolute=absolute, relative=relative)

    def agrees(was: Any, now: Any) -> bool:
        if was is None or now is None:
            return was is now
        return bool(abs(now - was) <= absolute + relative * abs(was))

    def judge(sides: Sides, column: str) -> Iterator[Finding]:
        def expected(was: Any) -> str:
            width = absolute + relative * abs(0.0 if was is None else was)
            return "NA" if was is None else f"{was:.4g} ± {width:.4g}"

        return _by_row(name, sides, column, agrees, expected)

    return per_column(name, [column], judge, numbers=True, by_row=True)


def slack(absolute: float, relative: float) -> tuple[float, float]:
    """Return the tolerances as numbers; ValueError for what bounds nothing, or everything."""
    for name, value in (("absolute", absolute), ("relative", relative)):
        if not math.isfinite(value) or value < 0:
            raise ValueError(f"{name} must be 0 or more, got {value}")
    if not absolute and not relative:
        raise ValueError("give absolute= or relative= more than 0; for equal values: exact(column)")
    return float(absolute), float(relative)


def told(name: str, **options: float) -> str:
    """Return a rule with the options that are set: "tolerance(absolute=0.1)"."""
    return f"{name}({', '.join(f'{key}={value:g}' for key, value in options.items() if value)})"


def _by_row(
    rule: str,
    sides: Sides,
    column: str,
    agrees: Callable[[Any, Any], bool],
    expected: Callable[[Any], str],
) -> Iterator[Finding]:
    now, then = plain(sides.now[column]), plain(sides.then[column])
    apart = [(one, other) for one, other in sides.pairs if not agrees(then[other], now[one])]
    for one, other in apart:
        where, ids = sides.where(one), sides.ids([one])
        told = "NA" if then[other] is None else expected(then[other])
        yield Finding(rule, column, told, short(now[one]), False, where, ids)
    if not apart:
        count = f"{len(sides.pairs)} values"
        yield Finding(rule, column, count, count, True)


def _same(was: Any, now: Any) -> bool:
    return bool(was == now)
