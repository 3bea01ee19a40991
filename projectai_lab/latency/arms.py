"""By how much a statistic shifts from one sample to another, with an interval or NA.

What other packages compare arms with; a table of two arms is `latency.difference`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy

from projectai_lab.latency._bootstrap import Resampling, interval_of, quantile
from projectai_lab.latency._percentiles import percentiles
from projectai_lab.latency._values import Values, clean

__all__ = [
    "Estimate",
    "Figures",
    "Pair",
    "Resampling",
    "Values",
    "clean",
    "cliffs_delta",
    "of_estimates",
    "of_means",
    "of_quantiles",
    "of_rates",
]

Pair = tuple[Values, Values]
"""The values of a and of b."""
Figures = tuple[float, float, float, float, float]
"""The statistic of a, of b, its shift b − a, and the interval's ends; NaN: not supported by n."""

Estimate = tuple[float, float, float]
"""A figure and its interval's ends."""


def of_quantiles(sides: Pair, q: float, how: Resampling, untimed: bool = False) -> Figures:
    """Return a quantile's shift; a quantile that n cannot support is NaN."""
    before, after = (_supported(values, q, how.confidence) for values in sides)
    if untimed or math.isnan(before) or math.isnan(after):
        return before, after, math.nan, math.nan, math.nan

    def statistic(one: Values, other: Values, axis: int) -> Any:
        return quantile(other, q, axis) - quantile(one, q, axis)

    return before, after, after - before, *interval_of(statistic, sides, how)


def of_means(sides: Pair, how: Resampling) -> Figures:
    """Return a mean's shift; the interval is NaN where n cannot even support a median."""
    before, after = (float(values.mean()) if len(values) else math.nan for values in sides)
    if any(math.isnan(_supported(values, 0.5, how.confidence)) for values in sides):
        return before, after, after - before, math.nan, math.nan

    def statistic(one: Values, other: Values, axis: int) -> Any:
        return other.mean(axis=axis) - one.mean(axis=axis)

    return before, after, after - before, *interval_of(statistic, sides, how)


def of_rates(sides: tuple[tuple[int, int], tuple[int, int]], how: Resampling) -> Figures:
    """Return the shift of a share, each given as (how many, of how many): Newcombe's method 10."""
    a, b = sides
    if not a[1] or not b[1]:
        return _rate(a), _rate(b), math.nan, math.nan, math.nan
    (low_a, high_a), (low_b, high_b) = (
        scipy.stats.binomtest(*side).proportion_ci(how.confidence, method="wilson")
        for side in (a, b)
    )
    before, after = _rate(a), _rate(b)
    return before, after, *of_estimates((before, low_a, high_a), (after, low_b, high_b))


def of_estimates(a: Estimate, b: Estimate) -> Estimate:
    """Return b − a and its interval from the intervals of both alone.

    Source: Zou & Donner, Statistics in Medicine 27 (2008), 1693–1702, the method of variance
    estimates recovery; of Wilson intervals it makes Newcombe's method 10.
    """
    shift = b[0] - a[0]
    low = shift - math.hypot(b[0] - b[1], a[2] - a[0])
    return shift, low, shift + math.hypot(b[2] - b[0], a[0] - a[1])


def cliffs_delta(a: Values, b: Values, confidence: float) -> Estimate:
    """Return P(b > a) − P(b < a) of two ascending samples, with its interval; NaN: not known.

    Sources stand with `latency.difference`.
    """
    n, m = len(a), len(b)
    if not n or not m:
        return math.nan, math.nan, math.nan
    # Each value's own dominance over the other arm; sorted arms make it n log n.
    of_a = (2 * m - np.searchsorted(b, a, "right") - np.searchsorted(b, a, "left") - m) / m
    of_b = (np.searchsorted(a, b, "left") + np.searchsorted(a, b, "right") - n) / n
    delta = float(of_a.mean())
    if min(n, m) < 2:
        return delta, math.nan, math.nan
    if abs(delta) == 1:
        share = scipy.stats.binomtest(min(n, m), min(n, m)).proportion_ci(confidence).low
        ends = 2 * float(share) - 1, 1.0
        return (delta, *ends) if delta > 0 else (delta, -ends[1], -ends[0])
    ties = np.searchsorted(b, a, "right") - np.searchsorted(b, a, "left")
    apart = n * m - int(ties.sum()) - n * m * delta**2
    squares = m**2 * ((of_a - delta) ** 2).sum() + n**2 * ((of_b - delta) ** 2).sum() - apart
    # Cliff bounds the unbiased estimate from below, where it may be negative.
    least = (1 - delta**2) / (n * m - 1)
    variance = max(float(squares) / (n * m * (n - 1) * (m - 1)), least)
    z = float(scipy.special.ndtri((1 + confidence) / 2))
    spread = z * math.sqrt(variance * ((1 - delta**2) ** 2 + z**2 * variance))
    middle, scale = delta - delta**3, 1 - delta**2 + z**2 * variance
    return delta, (middle - spread) / scale, (middle + spread) / scale


def _rate(side: tuple[int, int]) -> float:
    return side[0] / side[1] if side[1] else math.nan


def _supported(values: Values, q: float, confidence: float) -> float:
    return float(percentiles(values, q=[q], confidence=confidence)["value_s"].iloc[0])
