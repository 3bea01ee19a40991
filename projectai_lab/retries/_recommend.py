"""Which policies of a grid meet a goal under a fault law."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from projectai_lab.errors import PolicyError
from projectai_lab.models import Duration, FaultPlan, RetrySettings, seconds
from projectai_lab.retries._jitter import Strategy
from projectai_lab.retries._law import CALL, FaultLaw
from projectai_lab.retries._measures import measures
from projectai_lab.retries._policy import resolve
from projectai_lab.retries._simulate import simulate
from projectai_lab.retries._walk import Lag

_POLICY = ["initial_interval_s", "backoff_coefficient", "maximum_interval_s", "maximum_attempts"]
_TERMS = ["start_to_close_s", "schedule_to_close_s", "jitter"]
_MEASURES = ["p50_s", "p95_s", "p99_s", "give_up", "mean_attempts"]
_AIMED_AT = {
    "p50_below": "p50_s",
    "p95_below": "p95_s",
    "p99_below": "p99_s",
    "give_up_below": "give_up",
    "attempts_below": "mean_attempts",
}
_FRONT = ["p99_s", "give_up", "mean_attempts"]


@dataclass(frozen=True)
class Goal:
    """What a policy should keep below: times, the share of requests given up, mean attempts.

    >>> Goal(p99_below=5, give_up_below=0.01)  # doctest: +ELLIPSIS
    Goal(p50_below=None, ..., p99_below=5.0, give_up_below=0.01, attempts_below=None)
    """

    p50_below: Duration | None = None
    p95_below: Duration | None = None
    p99_below: Duration | None = None
    give_up_below: float | None = None
    attempts_below: float | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is None:
                continue
            limit = seconds(value)
            if not 0 < limit < math.inf or (name == "give_up_below" and limit > 1):
                raise ValueError(f"Goal.{name} must be more than 0 and no share above 1: {value}")
            object.__setattr__(self, name, limit)
        if not self.limits:
            raise ValueError("a goal needs a part: Goal(p99_below=5.0, give_up_below=0.01)")

    @property
    def limits(self) -> dict[str, float]:
        """The parts that were given, by the measure that they limit."""
        return {
            _AIMED_AT[one.name]: getattr(self, one.name)
            for one in fields(self)
            if getattr(self, one.name) is not None
        }


def recommend(
    goal: Goal,
    grid: pd.DataFrame | Iterable[RetrySettings],
    fault_law: FaultLaw | FaultPlan,
    *,
    n: int = 20_000,
    seed: int = 0,
    activity_type: str = CALL,
    start_to_close: Duration | None = None,
    schedule_to_close: Duration | None = None,
    jitter: Strategy = "none",
    dispatch_lag: Lag = 0.0,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Simulate every policy of a grid; return a row each, those that meet the goal first.

    `grid` holds `RetrySettings`, or is a table with columns of initial_interval_s,
    backoff_coefficient, maximum_interval_s, maximum_attempts (absent or NA: Temporal's default),
    start_to_close_s, schedule_to_close_s and jitter (absent or NA: as the argument says).

    Columns: these; p50_s, p95_s, p99_s, give_up, mean_attempts, each with …_low and …_high; meets:
    True where the whole interval of each part of the goal lies below its limit, False where that of
    one lies above, else NA (a larger n may decide); worst, the greatest value to limit of the
    parts; verdict in words; pareto: no other policy of the grid is as good in p99_s, give_up and
    mean_attempts and better in one (NA where n is too small for p99_s). Within meets, NA and False
    the rows stand by `worst`: where no policy meets the goal, the first fails nearest, and
    its verdict says in what. All policies meet the same faults (one seed). Each interval holds on
    its own: of many policies near a limit some are judged by luck.

    >>> from projectai_lab.models import RetrySettings
    >>> from projectai_lab.retries import FaultLaw, Goal, recommend
    >>> grid = [RetrySettings(0.1, maximum_attempts=most) for most in (1, 3, 6)]
    >>> recommend(Goal(give_up_below=0.1), grid, FaultLaw(fail=0.5)).maximum_attempts.tolist()
    [6, 3, 1]
    """
    rows = _grid(grid)
    terms = {
        "start_to_close": start_to_close,
        "schedule_to_close": schedule_to_close,
        "jitter": jitter,
    }
    common = {"seed": seed, "activity_type": activity_type, "dispatch_lag": dispatch_lag}
    table = []
    for policy, own in rows:
        used = terms | own
        found = _simulated(policy, fault_law, n, common | used)
        figures = measures(found, q=(0.5, 0.95, 0.99), confidence=confidence).set_index("measure")
        table.append((*_described(policy, used), *_columns(figures), *_judged(figures, goal)))
    parts = [f"{name}{part}" for name in _MEASURES for part in ("", "_low", "_high")]
    columns = [*_POLICY, *_TERMS, *parts, "meets", "worst", "verdict"]
    return _ordered(pd.DataFrame(table, columns=columns))


def _simulated(
    policy: RetrySettings, faults: FaultLaw | FaultPlan, n: int, options: dict[str, Any]
) -> pd.DataFrame:
    try:
        return simulate(policy, faults, n, **options)
    except PolicyError as error:
        error.add_note(f"in the grid: {policy}")
        raise


def _grid(grid: Any) -> list[tuple[RetrySettings, dict[str, Any]]]:
    """Return each policy of the grid with what it says about timeouts and jitter."""
    if isinstance(grid, pd.DataFrame):
        unknown = [name for name in grid.columns if name not in (*_POLICY, *_TERMS)]
        if unknown:
            raise ValueError(
                f"a grid of policies has no column {', '.join(map(str, unknown))}; "
                f"its columns are {', '.join((*_POLICY, *_TERMS))}"
            )
        found = [_of_row(row) for row in grid.to_dict("records")]
    else:
        found = [(policy, {}) for policy in ([grid] if isinstance(grid, RetrySettings) else grid)]
    if not found:
        raise ValueError(
            "the grid holds no policy; give some: "
            "[RetrySettings(maximum_attempts=most) for most in (3, 5, 8)]"
        )
    return found


def _of_row(row: dict[Any, Any]) -> tuple[RetrySettings, dict[str, Any]]:
    given = {name.removesuffix("_s"): value for name, value in row.items() if pd.notna(value)}
    settings = {name: given[name] for name in map(_bare, _POLICY) if name in given}
    return RetrySettings(**settings), {k: given[k] for k in map(_bare, _TERMS) if k in given}


def _bare(name: str) -> str:
    return name.removesuffix("_s")


def _described(policy: Any, used: dict[str, Any]) -> tuple[Any, ...]:
    timeouts = (
        math.nan if used[name] is None else seconds(used[name])
        for name in ("start_to_close", "schedule_to_close")
    )
    return *resolve(policy), *timeouts, used["jitter"]


def _columns(figures: pd.DataFrame) -> list[float]:
    return [figures.loc[name, part] for name in _MEASURES for part in ("value", "low", "high")]


def _judged(figures: pd.DataFrame, goal: Goal) -> tuple[bool | None, float, str]:
    """Return whether the goal is met, the worst value to limit, and both in words."""
    failed, open_, ratios = [], [], []
    for name, limit in goal.limits.items():
        value, low, high = (float(figures.loc[name, part]) for part in ("value", "low", "high"))
        ratios.append(value / limit)
        words = f"{name} {value:.3g} [{low:.3g}, {high:.3g}] against {limit:g}"
        if low >= limit:
            failed.append((value / limit, words))
        elif not high < limit:
            open_.append((value / limit, words))
    worst = float(np.nanmax(ratios)) if np.isfinite(ratios).any() else math.nan
    if failed:
        return False, worst, f"fails: {'; '.join(words for _, words in sorted(failed)[::-1])}"
    if open_:
        return None, worst, f"undecided: {'; '.join(words for _, words in open_)}"
    return True, worst, "meets the goal"


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    table["meets"] = table["meets"].astype("boolean")
    table["maximum_attempts"] = table["maximum_attempts"].astype("Int64")
    table["pareto"] = _front(table[_FRONT].to_numpy(dtype="float64"))
    ranks = [1 if pd.isna(meets) else 0 if meets else 2 for meets in table["meets"]]
    order = table[["worst"]].assign(rank=ranks)
    return table.loc[order.sort_values(["rank", "worst"]).index].reset_index(drop=True)


def _front(points: Any) -> Any:
    """Return which points no other dominates; NA where a coordinate is not known."""
    known = np.isfinite(points).all(axis=1)
    found = pd.array([pd.NA] * len(points), dtype="boolean")
    for place in np.flatnonzero(known):
        as_good = (points[known] <= points[place]).all(axis=1)
        better = (points[known] < points[place]).any(axis=1)
        found[place] = not (as_good & better).any()
    return found
