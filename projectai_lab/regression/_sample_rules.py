"""Rules for columns as samples: the set of values, a quantile, the distribution."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from projectai_lab.latency.arms import Resampling, of_quantiles
from projectai_lab.regression._row_rules import slack, told
from projectai_lab.regression._sides import Finding, Rule, Sides, per_column, plain

_MOST_TOLD = 5


def same_set(column: str) -> Rule:
    """Return the rule that the same values occur, however often and in whatever order.

    >>> regression.same_set("failure_type")                                    # doctest: +SKIP
    """

    def judge(sides: Sides, column: str) -> Iterator[Finding]:
        now, then = ({*plain(side[column])} for side in (sides.now, sides.then))
        rows = [n for n, value in enumerate(plain(sides.now[column])) if value not in then]
        expected, seen = _set(then), _set(now)
        if now != then:
            extra, gone = now - then, then - now
            seen = "; ".join(
                [f"new: {_set(extra)}"] * bool(extra) + [f"gone: {_set(gone)}"] * bool(gone)
            )
        yield Finding("same_set", column, expected, seen, now == then, "", sides.ids(rows))

    return per_column("same_set", [column], judge)


def quantile_band(
    column: str,
    *,
    q: float = 0.5,
    absolute: float = 0.0,
    relative: float = 0.0,
    confidence: float = 0.99,
    resamples: int = 2000,
) -> Rule:
    """Return the rule that a quantile has not shifted by more than it may.

    The shift of the quantile from baseline to today has a bootstrap interval; the rule is broken
    when all of the interval lies more than `absolute` + `relative` · |baseline's quantile| away
    from 0: noise widens the interval and does not turn a check red, a real shift does. A quantile
    that the number of values does not support breaks the rule too, since it could never be broken.

    Load only ever adds to a time, so a low `q` (0.25 of 20 values or more) of many short runs of a
    known length is the measure that a busy machine disturbs least.

    Source: the percentile bootstrap, Efron & Tibshirani, An Introduction to the Bootstrap (1993),
    chapter 13; which n supports which q: `latency.percentiles`.

    >>> regression.quantile_band("worker_exec_s", q=0.25, relative=0.15)       # doctest: +SKIP
    """
    if not 0 < q < 1 or not 0 < confidence < 1:
        raise ValueError(f"q and confidence must lie between 0 and 1, got {q} and {confidence}")
    absolute, relative = slack(absolute, relative)
    how = Resampling(confidence, resamples, seed=0)
    name = told("quantile_band", q=q, absolute=absolute, relative=relative)

    def judge(sides: Sides, column: str) -> Iterator[Finding]:
        then, now = (_values(side, column) for side in (sides.then, sides.now))
        before, after, shift, low, high = of_quantiles((then, now), q, how)
        if math.isnan(shift):
            counts = f"n = {len(then)} then, {len(now)} now"
            yield _unjudged(name, column, sides, f"{counts}: too few to know the quantile {q:g}")
            return
        width = absolute + relative * abs(before)
        seen = f"{after:.4g} (n = {len(now)}; shift {shift:.4g}, {low:.4g} to {high:.4g})"
        ok = low <= width and high >= -width
        yield Finding(name, column, f"{before:.4g} ± {width:.4g}", seen, ok, "", sides.ids())

    return per_column(name, [column], judge, numbers=True)


def distribution(column: str, *, alpha: float = 0.001) -> Rule:
    """Return the rule that values could come from the baseline's distribution: Kolmogorov–Smirnov.

    Broken when the two-sample test gives p < `alpha`. So it goes red on an unchanged tree in a
    share `alpha` of runs, each such rule on its own; it takes values as independent and continuous
    (ties make it more careful); and with many values it finds shifts too small to matter. It suits
    what no clock measures: drawn latencies, scores, counts. For times: `quantile_band`. Too few
    values for p to get below alpha break the rule, since it could never be broken.

    Source: scipy.stats.ks_2samp; Hodges, Arkiv för Matematik 3 (1958).

    >>> regression.distribution("drawn_latency_s", alpha=0.001)                # doctest: +SKIP
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    name = told("distribution", alpha=alpha)

    def judge(sides: Sides, column: str) -> Iterator[Finding]:
        then, now = (_values(side, column) for side in (sides.then, sides.now))
        counts = f"n = {len(then)} then, {len(now)} now"
        if not len(then) or not len(now) or _least_p(len(then), len(now)) >= alpha:
            yield _unjudged(name, column, sides, f"{counts}: too few for p < {alpha:g}")
            return
        found = scipy.stats.ks_2samp(then, now)
        seen = f"p = {found.pvalue:.3g}, D = {found.statistic:.3g} ({counts})"
        ok = bool(found.pvalue >= alpha)
        yield Finding(name, column, f"p >= {alpha:g}", seen, ok, "", sides.ids())

    return per_column(name, [column], judge, numbers=True)


def _values(df: pd.DataFrame, column: str) -> NDArray[np.float64]:
    return np.asarray(df[column].dropna(), dtype=np.float64)


def _unjudged(rule: str, column: str, sides: Sides, why: str) -> Finding:
    return Finding(rule, column, "enough values to judge", why, False, "", sides.ids())


def _least_p(then: int, now: int) -> float:
    """Return the p of two samples of these sizes that lie wholly apart."""
    return float(scipy.stats.ks_2samp(np.arange(then), then + np.arange(now)).pvalue)


def _set(values: set[object]) -> str:
    ordered = sorted("NA" if value is None else str(value) for value in values)
    rest = len(ordered) - _MOST_TOLD
    return ", ".join(ordered[:_MOST_TOLD]) + (f" and {rest} more" if rest > 0 else "")
