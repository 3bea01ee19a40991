"""How long things took: percentiles with intervals, the ECDF, and where the time went."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import bdtr

from projectai_lab._frames import ACTIVITIES, names, need, one_clock
from projectai_lab.errors import TableError

PARTS = ("exec_s", "backoff_s", "queue_s", "unattributed_s")
_MEASURES = ("total_s", "exec_s", "duration_s")


def percentiles(
    values: Any,
    column: str | None = None,
    *,
    by: str | Iterable[str] | None = None,
    q: Iterable[float] = (0.5, 0.9, 0.95, 0.99),
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return percentiles with distribution-free intervals: one row per group and `q`.

    `values` are seconds, or a table and its `column` (unless given: total_s of activities, exec_s
    of attempts, duration_s of executions). Missing values are left out and not counted in n.
    Columns: the `by` columns, n, q, value_s, low_s, high_s.

    value_s is an observed value, the smallest at which the ECDF reaches q. low_s and high_s are
    the order statistics l and u, the closest for which the number of values below the true
    percentile, Binomial(n, q), is under l, or at least u, with probability ≤ (1 − confidence)/2
    each. Rule: a percentile that n cannot support, so that l or u does not exist, is NA (an end
    that does exist stays: "at least low_s"). At 0.95 that needs n ≥ 6 for q = 0.5, 36 for 0.9, 72
    for 0.95, 368 for 0.99. It holds for independent values from one distribution.

    Source: Meeker, Hahn & Escobar, Statistical Intervals, 2nd ed. (2017), chapter 5; David &
    Nagaraja, Order Statistics, 3rd ed. (2003), chapter 7.

    >>> from projectai_lab.latency import percentiles
    >>> percentiles([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], q=[0.5]).iloc[0].tolist()
    [7.0, 0.5, 0.4, 0.1, 0.7]
    """
    wanted = [float(level) for level in q]
    _check_levels(wanted, confidence)
    keys = names(by)
    if not isinstance(values, pd.DataFrame):
        return _frame([], _levels(_clean(values), wanted, confidence))
    column = measure(values, column)
    need(values, [column, *keys], ACTIVITIES)
    one_clock(values, keys)
    if not keys:
        return _frame([], _levels(_clean(values[column]), wanted, confidence))
    rows = [
        (*key, *level)
        for key, group in values.groupby(keys, observed=True, dropna=False)
        for level in _levels(_clean(group[column]), wanted, confidence)
    ]
    return _frame(keys, rows)


def ecdf(values: Any) -> pd.DataFrame:
    """Return the empirical distribution: value_s ascending, and the share of values up to it.

    >>> from projectai_lab.latency import ecdf
    >>> ecdf([0.3, 0.1, 0.3, None]).share.round(2).tolist()
    [0.33, 1.0]
    """
    ordered = _clean(values)
    unique, counts = np.unique(ordered, return_counts=True)
    share = np.cumsum(counts) / max(len(ordered), 1)
    return pd.DataFrame({"value_s": unique, "share": share})


def where_time_went(
    activities: pd.DataFrame, *, by: str | Iterable[str] = "activity_type"
) -> pd.DataFrame:
    """Return how the total time of closed activities divides into its four parts, per type.

    Columns: the `by` columns; activities (closed ones); total_s; exec_s, backoff_s, queue_s,
    unattributed_s, which sum to total_s; and the same four as shares, which sum to 1. What a table
    cannot tell apart is unattributed, not guessed.

    >>> from projectai_lab import latency, tables
    >>> activities = tables.activities([])  # tables.activities(runs)
    >>> latency.where_time_went(activities).columns.tolist()[:3]
    ['activity_type', 'activities', 'total_s']
    """
    keys = names(by)
    need(activities, [*keys, "total_s", *PARTS], ACTIVITIES)
    one_clock(activities, keys)
    closed = activities[activities["total_s"].notna()]
    groups = closed.groupby(keys, observed=True, dropna=False)
    sums = groups[["total_s", *PARTS]].sum()
    known = sums[["exec_s", "backoff_s", "queue_s"]].sum(axis=1)
    # To the nanosecond, as the parts are: a rounding error of 1e-16 would show as −0 s.
    sums["unattributed_s"] = (sums["total_s"] - known).round(9) + 0.0
    sums.insert(0, "activities", groups.size().astype("Int64"))
    for part in PARTS:
        sums[part.replace("_s", "_share")] = sums[part] / sums["total_s"]
    return sums.reset_index()


def measure(frame: pd.DataFrame, column: str | None = None) -> str:
    """Return the column that holds a table's latency, unless one is given."""
    found = [column] if column else [name for name in _MEASURES if name in frame.columns]
    if not found:
        raise TableError(
            f"the table has none of the columns {', '.join(_MEASURES)}; name its duration column, "
            f'as in latency.percentiles(frame, "worker_exec_s"), or make one with {ACTIVITIES}',
            missing=list(_MEASURES),
        )
    return found[0]


def _clean(values: Any) -> NDArray[np.float64]:
    """Return the known values, ascending."""
    known = pd.to_numeric(pd.Series(values, dtype=object)).astype("float64").dropna()
    return np.sort(known.to_numpy(dtype=np.float64))


def _check_levels(wanted: list[float], confidence: float) -> None:
    for name, level in [*(("q", level) for level in wanted), ("confidence", confidence)]:
        if not 0 < level < 1:
            raise ValueError(f"{name} must lie between 0 and 1, as in 0.95; got {level}")


def _levels(
    ordered: NDArray[np.float64], wanted: list[float], confidence: float
) -> list[tuple[int, float, float, float, float]]:
    """Return (n, q, value, low, high) per level."""
    n = len(ordered)
    rows = []
    for level in wanted:
        lower, upper = _ranks(n, level, confidence)
        low = float(ordered[lower - 1]) if lower else math.nan
        high = float(ordered[upper - 1]) if upper else math.nan
        # The small step back keeps 0.95 · 20, which is 19.000000000000004 or less, at rank 19.
        rank = max(math.ceil(level * n - 1e-9), 1)
        value = float(ordered[rank - 1]) if lower and upper else math.nan
        rows.append((n, level, value, low, high))
    return rows


def _ranks(n: int, q: float, confidence: float) -> tuple[int, int]:
    """Return the ranks l and u (1-based) of the interval's ends; 0 where there is none."""
    if n == 0:
        return 0, 0
    tail = (1 - confidence) / 2
    below = bdtr(np.arange(n + 1), n, q)  # P(B ≤ k) for k = 0 … n
    lower = int(np.searchsorted(below, tail, side="right"))
    upper = int(np.searchsorted(below, 1 - tail, side="left")) + 1
    return lower, upper if upper <= n else 0


def _frame(keys: list[str], rows: list[Any]) -> pd.DataFrame:
    sizes = ["q", "value_s", "low_s", "high_s"]
    frame = pd.DataFrame(rows, columns=[*keys, "n", *sizes])
    return frame.astype({"n": "Int64", **dict.fromkeys(sizes, "float64")})
