"""The thundering herd: how many retries come at the same time, with and without jitter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from projectai_lab.models import Duration, FaultPlan, seconds
from projectai_lab.retries._jitter import STRATEGIES, Strategy
from projectai_lab.retries._latency_law import Values
from projectai_lab.retries._law import CALL, FaultLaw
from projectai_lab.retries._terms import check_end, terms
from projectai_lab.retries._walk import Lag, walk


def herd(
    policy: Any,
    fault_law: FaultLaw | FaultPlan,
    n: int,
    *,
    strategies: Iterable[Strategy] = STRATEGIES,
    within: Duration = 0.1,
    seed: int = 0,
    activity_type: str = CALL,
    start_to_close: Duration | None = None,
    schedule_to_close: Duration | None = None,
    dispatch_lag: Lag = 0.0,
) -> pd.DataFrame:
    """Return how n requests that begin at the same time crowd when they retry: a row a strategy.

    Columns: jitter; retries, all attempts after the first; peak, the most of them that begin within
    any one span of `within`; peak_at_s, when that span begins, since the start; peak_share, peak by
    n; last_s, when the last retry begins; mean_completion_s, what the jitter costs or saves.

    >>> from projectai_lab.models import RetrySettings
    >>> from projectai_lab.retries import FaultLaw, herd
    >>> herd(RetrySettings(maximum_attempts=2), FaultLaw(fail=[1, 0]), 100).peak.tolist()[0]
    100
    """
    width = seconds(within)
    if n < 1 or not width > 0:
        raise ValueError(f"n must be at least 1 and within more than 0 s, got {n} and {within}")
    rows = []
    for jitter in strategies:
        found = terms(policy, fault_law, activity_type, start_to_close, schedule_to_close, jitter)
        check_end(found, n)
        ends, starts = np.zeros(n), [np.zeros(0)]
        for step in walk(found, n, seed, dispatch_lag):
            ends[step.who] = step.ended
            if step.attempt > 1:
                starts.append(step.started[step.begun])
        rows.append((jitter, *_crowd(np.sort(np.concatenate(starts)), width, n), ends.mean()))
    columns = ["jitter", "retries", "peak", "peak_at_s", "peak_share", "last_s"]
    return pd.DataFrame(rows, columns=[*columns, "mean_completion_s"])


def _crowd(starts: Values, width: float, n: int) -> tuple[int, int, float, float, float]:
    if not len(starts):
        return 0, 0, np.nan, 0.0, np.nan
    # A span that begins with a retry is never worse than one that begins between two.
    inside = np.searchsorted(starts, starts + width, side="left") - np.arange(len(starts))
    place = int(inside.argmax())
    peak = int(inside[place])
    return len(starts), peak, float(starts[place]), peak / n, float(starts[-1])
