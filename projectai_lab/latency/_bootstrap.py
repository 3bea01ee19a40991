"""Intervals by resampling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy

from projectai_lab.latency._values import Values

_MOST_AT_ONCE = 4_000_000


class Resampling(NamedTuple):
    """How intervals are made."""

    confidence: float
    resamples: int
    seed: int


def interval_of(
    statistic: Callable[..., Any], samples: tuple[Values, ...], how: Resampling
) -> tuple[float, float]:
    """Return the percentile bootstrap of a statistic that takes the samples and an axis."""
    found = scipy.stats.bootstrap(
        samples,
        statistic,
        method="percentile",
        vectorized=True,
        confidence_level=how.confidence,
        n_resamples=how.resamples,
        batch=max(1, _MOST_AT_ONCE // sum(map(len, samples))),
        rng=np.random.default_rng(how.seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def quantile_interval(values: Values, q: float, how: Resampling) -> tuple[float, float]:
    """Return the interval of one quantile."""

    def statistic(sample: Values, axis: int) -> Any:
        return quantile(sample, q, axis)

    return interval_of(statistic, (values,), how)


def quantile(values: Values, q: float, axis: int) -> Any:
    """Return observed values, as those of `percentiles`."""
    return np.quantile(values, q, method="inverted_cdf", axis=axis)
