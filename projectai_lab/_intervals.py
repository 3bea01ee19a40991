"""Intervals of a share and of a mean, the same wherever they are told or drawn."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import scipy

Values = npt.NDArray[np.float64]


def share_interval(count: int, n: int, confidence: float) -> tuple[float, float]:
    """Return the Clopper–Pearson interval of a share, NaN without n.

    Source: Clopper & Pearson, Biometrika 26 (1934), 404–413.
    """
    if not n:
        return math.nan, math.nan
    found = scipy.stats.binomtest(count, n).proportion_ci(confidence, method="exact")
    return float(found.low), float(found.high)


def mean_interval(
    values: Values, confidence: float, spare: float = math.nan
) -> tuple[float, float, float]:
    """Return a mean with Student's interval, NaN below 2 values.

    Where all values are equal, n still cannot exclude that some differ: that share
    (Clopper–Pearson) counts as `spare` off.
    """
    n = len(values)
    if n < 2:
        return float(values.mean()) if n else math.nan, math.nan, math.nan
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    # Less than a nanosecond is what rounding leaves.
    if np.ptp(values) < 1e-9:
        off = spare * share_interval(0, n, confidence)[1]
        return mean, mean - off, mean + off
    half = float(scipy.special.stdtrit(n - 1, (1 + confidence) / 2)) * spread / math.sqrt(n)
    return mean, mean - half, mean + half
