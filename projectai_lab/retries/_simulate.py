"""What a policy makes of a fault law, request by request, by Monte Carlo."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from projectai_lab.models import Duration, FaultPlan
from projectai_lab.retries._jitter import Strategy
from projectai_lab.retries._law import CALL, FaultLaw
from projectai_lab.retries._terms import COMPLETED, OUTCOMES, Terms, check_end, terms
from projectai_lab.retries._walk import Lag, walk

KINDS = pd.CategoricalDtype(pd.Index(OUTCOMES, dtype="str"))


def simulate(
    policy: Any,
    fault_law: FaultLaw | FaultPlan,
    n: int,
    *,
    seed: int = 0,
    activity_type: str = CALL,
    start_to_close: Duration | None = None,
    schedule_to_close: Duration | None = None,
    jitter: Strategy = "none",
    dispatch_lag: Lag = 0.0,
) -> pd.DataFrame:
    """Return what becomes of n requests, each one activity under a policy: one row a request.

    `policy` is what `planned` takes; of a `FaultPlan` the part of `activity_type` counts.
    `dispatch_lag` is from when an attempt is due to when it begins: a duration, a `Latency`, or a
    table of attempts, from whose lags those of the same attempt number are drawn again.

    Columns: attempts, those that began; completion_s, from scheduled to closed, however it ended;
    gave_up; outcome: COMPLETED, MAXIMUM_ATTEMPTS_REACHED, TIMEOUT (schedule_to_close) or
    NON_RETRYABLE_FAILURE. The same seed gives the same table.

    As the server does it (seen on server 1.32): the wait after attempt k is
    min(initial · coefficient^(k−1), maximum); start_to_close is a failure that is retried, unless
    the policy names "TemporalTimeout:StartToClose"; where the next attempt would be due at or after
    schedule_to_close, the activity ends at once, and an attempt that runs into it ends there.
    `jitter` is that of `jittered`; a timeout is followed by the policy's own wait.

    Errors: ValueError for n < 1 and times below 0; PolicyError where requests would never end.

    >>> from projectai_lab.models import RetrySettings
    >>> from projectai_lab.retries import FaultLaw, simulate
    >>> policy = RetrySettings(maximum_attempts=3)
    >>> simulate(policy, FaultLaw(fail=[1, 1, 0]), 2).completion_s.round(2).tolist()
    [3.06, 3.06]
    """
    found = terms(policy, fault_law, activity_type, start_to_close, schedule_to_close, jitter)
    return run(found, n, seed, dispatch_lag)


def run(found: Terms, n: int, seed: int, dispatch_lag: Lag) -> pd.DataFrame:
    """Simulate under resolved terms."""
    if n < 1 or n != int(n):
        raise ValueError(f"n must be at least 1 request, got {n}")
    n = int(n)
    check_end(found, n)
    attempts = np.zeros(n, dtype=np.int64)
    completion = np.zeros(n)
    outcome = np.zeros(n, dtype=np.int8)
    for step in walk(found, n, seed, dispatch_lag):
        # Those that go on are written over by their next attempt.
        attempts[step.who] = step.attempt - ~step.begun
        completion[step.who] = step.ended
        outcome[step.who] = step.outcome
    made = pd.DataFrame(
        {
            "attempts": attempts,
            "completion_s": completion,
            "gave_up": outcome != OUTCOMES.index(COMPLETED),
            "outcome": pd.Categorical.from_codes(outcome, dtype=KINDS),
        }
    )
    if isinstance(dispatch_lag, pd.DataFrame):
        # Lags that were measured on a clock make the times those of that clock.
        made.attrs["clock"] = dispatch_lag.attrs.get("clock")
    return made
