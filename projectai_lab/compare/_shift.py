"""By how much a statistic shifts from one sample to another, with an interval or NA."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, bootstrap

from projectai_lab.latency import percentiles

Values = NDArray[np.float64]
Pair = tuple[Values, Values]
"""The values of a and of b."""
Figures = tuple[float, float, float, float, float]
"""The statistic of a, of b, its shift b − a, and the interval's ends; NaN: not supported by n."""

_MOST_AT_ONCE = 4_000_000


class Shift(NamedTuple):
    """How intervals are made."""

    confidence: float
    resamples: int
    seed: int


def of_quantiles(sides: Pair, q: float, how: Shift, untimed: bool = False) -> Figures:
    """Return a quantile's shift; a quantile that n cannot support is NaN."""
    before, after = (_supported(values, q, how.confidence) for values in sides)
    if untimed or math.isnan(before) or math.isnan(after):
        return before, after, math.nan, math.nan, math.nan

    def statistic(one: Values, other: Values, axis: int) -> Any:
        # Observed values, as those of latency.percentiles.
        return np.subtract(
            *(np.quantile(some, q, method="inverted_cdf", axis=axis) for some in (other, one))
        )

    return before, after, after - before, *_interval(statistic, sides, how)


def of_means(sides: Pair, how: Shift) -> Figures:
    """Return a mean's shift; the interval is NaN where n cannot even support a median."""
    before, after = (float(values.mean()) if len(values) else math.nan for values in sides)
    if any(math.isnan(_supported(values, 0.5, how.confidence)) for values in sides):
        return before, after, after - before, math.nan, math.nan

    def statistic(one: Values, other: Values, axis: int) -> Any:
        return other.mean(axis=axis) - one.mean(axis=axis)

    return before, after, after - before, *_interval(statistic, sides, how)


def of_rates(sides: tuple[tuple[int, int], tuple[int, int]], how: Shift) -> Figures:
    """Return the shift of a share, each given as (how many, of how many): Newcombe's method 10."""
    a, b = sides
    if not a[1] or not b[1]:
        return _rate(a), _rate(b), math.nan, math.nan, math.nan
    (low_a, high_a), (low_b, high_b) = (
        binomtest(*side).proportion_ci(how.confidence, method="wilson") for side in (a, b)
    )
    before, after = _rate(a), _rate(b)
    low = after - before - math.hypot(after - low_b, high_a - before)
    high = after - before + math.hypot(high_b - after, before - low_a)
    return before, after, after - before, low, high


def _rate(side: tuple[int, int]) -> float:
    return side[0] / side[1] if side[1] else math.nan


def _supported(values: Values, q: float, confidence: float) -> float:
    return float(percentiles(values, q=[q], confidence=confidence)["value_s"].iloc[0])


def _interval(statistic: Callable[..., Any], sides: Pair, how: Shift) -> tuple[float, float]:
    found = bootstrap(
        sides,
        statistic,
        method="percentile",
        vectorized=True,
        confidence_level=how.confidence,
        n_resamples=how.resamples,
        batch=max(1, _MOST_AT_ONCE // sum(map(len, sides))),
        rng=np.random.default_rng(how.seed),
    ).confidence_interval
    return float(found.low), float(found.high)
