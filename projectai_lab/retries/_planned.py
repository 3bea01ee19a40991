"""The retry policy as arithmetic: when each attempt may run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from projectai_lab.models import Duration, seconds
from projectai_lab.retries._policy import resolve

MOST_ATTEMPTS = 100_000


def planned(
    policy: Any, attempts: int | None = None, *, schedule_to_close: Duration | None = None
) -> pd.DataFrame:
    """Return when a retry policy lets each attempt run: one row per attempt.

    `policy` is a `RetrySettings`, a `temporalio.common.RetryPolicy` or a row of
    `tables.activities`. `attempts` bounds the rows; a policy without `maximum_attempts` needs it,
    or `schedule_to_close`, which drops every attempt that could only begin at or after it.

    Columns: attempt; backoff_s, the wait before that attempt (NA for the first);
    cumulative_backoff_s, the sum so far: the attempt begins that long after the first at the
    earliest, plus the time that the earlier attempts ran.

    Source: Temporal documentation, "What is a Temporal Retry Policy?": the wait before attempt n
    is min(initial_interval · backoff_coefficient^(n−2), maximum_interval), without jitter;
    maximum_interval is 100 · initial_interval unless given. The server replaces an interval or a
    coefficient of 0 by its default.

    >>> from projectai_lab.models import RetrySettings
    >>> from projectai_lab.retries import planned
    >>> planned(RetrySettings(initial_interval=0.2, maximum_attempts=4)).backoff_s.tolist()
    [nan, 0.2, 0.4, 0.8]
    """
    first, coefficient, longest, most = resolve(policy)
    until = None if schedule_to_close is None else seconds(schedule_to_close)
    count = _count(min(first, longest), most, attempts, until)
    with np.errstate(over="ignore"):
        waits = np.minimum(first * coefficient ** np.arange(count - 1, dtype=float), longest)
    total = np.concatenate([[0.0], np.cumsum(waits)])
    frame = pd.DataFrame(
        {
            "attempt": pd.array(np.arange(1, count + 1), dtype="Int64"),
            "backoff_s": np.concatenate([[np.nan], waits]),
            "cumulative_backoff_s": total,
        }
    )
    return frame if until is None else frame[total < max(until, 1e-9)].reset_index(drop=True)


def _count(step: float, most: int, attempts: int | None, until: float | None) -> int:
    """Return how many attempts to list, before the cut by schedule_to_close."""
    if attempts is not None and attempts < 1:
        raise ValueError(f"attempts must be at least 1, got {attempts}")
    bounds = [bound for bound in (most, attempts) if bound]
    if until is not None:
        bounds.append(int(min(until / step, MOST_ATTEMPTS)) + 2)
    if not bounds:
        raise ValueError(
            "the policy has no maximum_attempts, so its schedule has no end; say how many "
            "attempts to list: retries.planned(policy, attempts=10)"
        )
    if min(bounds) > MOST_ATTEMPTS:
        raise ValueError(
            f"more than {MOST_ATTEMPTS:,} attempts to list; look at the first of them: "
            "retries.planned(policy, attempts=100)"
        )
    return min(bounds)
