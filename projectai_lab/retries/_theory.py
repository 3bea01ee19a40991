"""What a policy makes of a fault law where it can be written down instead of drawn."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import count
from typing import Any

import pandas as pd

from projectai_lab.errors import PolicyError
from projectai_lab.models import Duration, FaultPlan, seconds
from projectai_lab.retries._jitter import Strategy
from projectai_lab.retries._latency_law import is_constant
from projectai_lab.retries._law import CALL, FaultLaw
from projectai_lab.retries._simulate import KINDS
from projectai_lab.retries._terms import COMPLETED, EXHAUSTED, TIMEOUT, Terms, check_end, terms

_COLUMNS = ["attempts", "completion_s", "gave_up", "outcome", "probability", "mean_completion_s"]
_NEGLIGIBLE = 1e-12
_MEAN_OF_JITTER = {"none": 1.0, "full": 0.5, "equal": 0.75}

Row = tuple[int, str, float, float]
"""Attempts, outcome, probability and (mean) seconds of one way to end."""
States = dict[float, float]
"""How probable it is that the next attempt is due at this time."""


def theory(
    policy: Any,
    fault_law: FaultLaw | FaultPlan,
    *,
    activity_type: str = CALL,
    start_to_close: Duration | None = None,
    schedule_to_close: Duration | None = None,
    jitter: Strategy = "none",
    dispatch_lag: Duration = 0.0,
) -> pd.DataFrame:
    """Return each way in which a request can end, with its probability: a row each.

    Columns as those of `simulate`, and probability, which sums to 1 (but for less than 1e-9 of a
    policy without limit), and mean_completion_s of the requests that end this way. completion_s is
    NA unless latencies are constant and there is no jitter, which makes it the exact distribution.
    `measures` takes the table.

    The number of attempts is geometric, cut at maximum_attempts N: with one failure probability p
    P(attempts ≥ k) = p^(k−1), give-up = p^N, mean = (1 − p^N)/(1 − p); where p differs from attempt
    to attempt, products take the place of powers. The expected wait is Σ P(attempts > k) · b_k,
    halved by full and cut by a quarter by equal jitter.

    PolicyError where there is no closed form: schedule_to_close with latencies that vary or with
    jitter, and decorrelated jitter, whose wait depends on the one before under a cap.

    Source: Feller, An Introduction to Probability Theory and Its Applications 1, 3rd ed. (1968),
    chapter VI.8 (geometric law); waits as in `planned`, jitter as in `jittered`.

    >>> from projectai_lab.models import RetrySettings
    >>> from projectai_lab.retries import FaultLaw, theory
    >>> endings = theory(RetrySettings(maximum_attempts=3), FaultLaw(fail=0.5))
    >>> endings.probability.tolist(), endings.outcome.tolist()[-1]
    ([0.5, 0.25, 0.125, 0.125], 'MAXIMUM_ATTEMPTS_REACHED')
    """
    found = terms(policy, fault_law, activity_type, start_to_close, schedule_to_close, jitter)
    exact = _is_exact(found)
    if not isinstance(dispatch_lag, timedelta | float | int) or not seconds(dispatch_lag) >= 0:
        raise ValueError(f"dispatch_lag must be a time of 0 s or more here, got {dispatch_lag!r}")
    check_end(found, 1)
    rows: list[Row] = []
    states: States = {0.0: 1.0}
    for attempt in count(1):
        ended, states = _attempt(found, attempt, states, seconds(dispatch_lag))
        rows += ended
        if sum(states.values()) < _NEGLIGIBLE:
            break
        if not exact:
            # Only the mean of the times is known, so that one state stands for all.
            whole = sum(states.values())
            states = {sum(time * share for time, share in states.items()) / whole: whole}
    return _frame(rows, exact)


def _is_exact(found: Terms) -> bool:
    """Whether all times are known, not their means alone; PolicyError where neither is."""
    laws = [found.law.latency, found.law.failing_latency or found.law.latency]
    exact = found.jitter == "none" and all(map(is_constant, laws))
    if found.jitter == "decorrelated" or (math.isfinite(found.deadline) and not exact):
        what = "decorrelated jitter" if found.jitter == "decorrelated" else "schedule_to_close"
        why = "" if what.startswith("dec") else " with latencies or waits that vary"
        raise PolicyError(
            f"{what}{why} has no closed form; "
            "simulate it: retries.simulate(policy, law, 100_000, …)"
        )
    return exact


def _attempt(found: Terms, attempt: int, states: States, lag: float) -> tuple[list[Row], States]:
    """Return how requests end with this attempt, and when the others are due again."""
    rows: list[Row] = []
    after: States = {}
    backoff = found.policy.backoff(attempt)
    for due, share in states.items():
        started = due + lag
        if started >= found.deadline:
            rows.append((attempt - 1, TIMEOUT, share, found.deadline))
            continue
        for branch in found.branches(attempt):
            ended, chance = started + branch.mean_s, share * branch.chance
            outcome = branch.outcome
            asked = found.law.next_retry_delay
            wait = backoff * (1.0 if branch.timed_out else _MEAN_OF_JITTER[found.jitter])
            if asked is not None and not branch.timed_out:
                wait = seconds(asked)
            if ended >= found.deadline:
                rows.append((attempt, TIMEOUT, chance, found.deadline))
            elif outcome or attempt >= found.most:
                rows.append((attempt, outcome or EXHAUSTED, chance, ended))
            elif ended + wait >= found.deadline:
                rows.append((attempt, TIMEOUT, chance, ended))
            else:
                # Sums of the same durations in another order are the same time.
                again = round(ended + wait, 9)
                after[again] = after.get(again, 0.0) + chance
    return rows, after


def _frame(rows: list[Row], exact: bool) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["attempts", "outcome", "probability", "mean_completion_s"])
    frame["outcome"] = frame["outcome"].astype(KINDS)
    frame["gave_up"] = frame["outcome"] != COMPLETED
    frame["completion_s"] = frame["mean_completion_s"] if exact else math.nan
    return frame[_COLUMNS]
