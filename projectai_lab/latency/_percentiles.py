"""Percentiles with intervals, and the summary of a distribution."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy

from projectai_lab._words import percentile
from projectai_lab.latency._bootstrap import Resampling, quantile_interval
from projectai_lab.latency._values import Values, grouped


def percentiles(
    values: Any,
    column: str | None = None,
    *,
    by: str | Iterable[str] | None = None,
    q: Iterable[float] = (0.5, 0.9, 0.95, 0.99),
    confidence: float = 0.95,
    interval: Literal["order", "bootstrap"] = "order",
    resamples: int = 1999,
    seed: int = 0,
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

    `interval="bootstrap"` takes the ends from a percentile bootstrap of `resamples` drawn with
    `seed` instead, under the same rule: it is the one of `difference`, and promises less.

    Source: Meeker, Hahn & Escobar, Statistical Intervals, 2nd ed. (2017), chapter 5; David &
    Nagaraja, Order Statistics, 3rd ed. (2003), chapter 7; bootstrap: Efron & Tibshirani, An
    Introduction to the Bootstrap (1993), chapter 13.

    >>> from projectai_lab.latency import percentiles
    >>> percentiles([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], q=[0.5]).iloc[0].tolist()
    [7.0, 0.5, 0.4, 0.1, 0.7]
    """
    wanted = [float(level) for level in q]
    _check_levels(wanted, confidence)
    if interval not in ("order", "bootstrap"):
        raise ValueError(f'interval must be "order" or "bootstrap", got {interval!r}')
    keys, groups = grouped(values, column, by)
    how = Resampling(confidence, resamples, seed) if interval == "bootstrap" else None
    rows = [
        (*key, *level)
        for key, ordered in groups
        for level in _levels(ordered, wanted, confidence, how)
    ]
    return _frame(keys, rows)


def summary(
    values: Any,
    column: str | None = None,
    *,
    by: str | Iterable[str] | None = None,
    q: Iterable[float] = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999),
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return a distribution in one row a group, as an HDR histogram prints it.

    Columns: the `by` columns; n; min_s; p50_s, p75_s, p90_s, p95_s, p99_s, p99.9_s by the rule of
    `percentiles`, so that one that n cannot support is NA (p99.9 needs n ≥ 3,688); max_s, which
    is no percentile and grows with n.

    >>> from projectai_lab.latency import summary
    >>> row = summary([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], q=[0.5, 0.9]).iloc[0]
    >>> float(row.p50_s), pd.isna(row.p90_s), float(row.max_s)
    (0.4, True, 0.7)
    """
    wanted = [float(level) for level in q]
    _check_levels(wanted, confidence)
    keys, groups = grouped(values, column, by)
    rows = []
    for key, ordered in groups:
        found = [level[2] for level in _levels(ordered, wanted, confidence, None)]
        ends = (ordered[0], ordered[-1]) if len(ordered) else (math.nan, math.nan)
        rows.append((*key, len(ordered), ends[0], *found, ends[1]))
    sizes = ["min_s", *(f"{percentile(level)}_s" for level in wanted), "max_s"]
    frame = pd.DataFrame(rows, columns=[*keys, "n", *sizes])
    return frame.astype({"n": "Int64", **dict.fromkeys(sizes, "float64")})


def _check_levels(wanted: list[float], confidence: float) -> None:
    for name, level in [*(("q", level) for level in wanted), ("confidence", confidence)]:
        if not 0 < level < 1:
            raise ValueError(f"{name} must lie between 0 and 1, as in 0.95; got {level}")


def _levels(
    ordered: Values, wanted: list[float], confidence: float, how: Resampling | None
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
        if how and not math.isnan(value):
            low, high = quantile_interval(ordered, level, how)
        rows.append((n, level, value, low, high))
    return rows


def _ranks(n: int, q: float, confidence: float) -> tuple[int, int]:
    """Return the ranks l and u (1-based) of the interval's ends; 0 where there is none."""
    if n == 0:
        return 0, 0
    tail = (1 - confidence) / 2
    # Twelve standard deviations hold all of B that a double can tell from 0 and 1.
    reach = 12 * math.sqrt(n * q * (1 - q)) + 12
    first = max(0, math.floor(n * q - reach))
    counts = np.arange(first, min(n, math.ceil(n * q + reach)) + 1)
    below = scipy.special.bdtr(counts, n, q)  # P(B ≤ k)
    lower = first + int(np.searchsorted(below, tail, side="right"))
    upper = first + int(np.searchsorted(below, 1 - tail, side="left")) + 1
    return lower, upper if upper <= n else 0


def _frame(keys: list[str], rows: list[Any]) -> pd.DataFrame:
    sizes = ["q", "value_s", "low_s", "high_s"]
    frame = pd.DataFrame(rows, columns=[*keys, "n", *sizes])
    return frame.astype({"n": "Int64", **dict.fromkeys(sizes, "float64")})
