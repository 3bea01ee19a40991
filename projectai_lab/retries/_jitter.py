"""Jitter: a backoff drawn instead of fixed, so that requests that failed together part ways."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any, Literal, get_args

from projectai_lab.retries._policy import Policy, resolve

Strategy = Literal["none", "full", "equal", "decorrelated"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
SHORTEST = 0.001
"""Seconds; the server reads a next_retry_delay of 0 as "not given" and takes the policy's wait."""


def jittered(
    policy: Any, attempt: int, strategy: Strategy = "full", *, seed: int | str
) -> timedelta:
    """Return how long to wait after this attempt failed, drawn by a strategy.

    Temporal's own backoff b = min(initial_interval · backoff_coefficient^(attempt−1),
    maximum_interval) has no jitter. An activity that raises
    `ApplicationError(…, next_retry_delay=…)` sets the wait itself; `policy` is then its
    `activity.info().retry_policy` and `attempt` its `activity.info().attempt`, and maximum_attempts
    and schedule_to_close still hold. A timeout cannot be jittered: no code runs when it fires.

    none: b. full: uniform in 0 … b. equal: b/2 + uniform in 0 … b/2. decorrelated:
    min(maximum_interval, uniform in initial_interval … 3 · the wait before), where the waits before
    are drawn again from the seed. Each is at least 1 ms. The same seed gives the same waits in
    every process; take one that differs from request to request, such as the Workflow's Run Id.

    Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.

    >>> from projectai_lab.models import RetrySettings
    >>> jittered(RetrySettings(), 3, "none", seed="run-1").total_seconds()
    4.0
    >>> 2 <= jittered(RetrySettings(), 3, "equal", seed="run-1").total_seconds() <= 4
    True
    """
    check_strategy(strategy)
    if attempt < 1:
        raise ValueError(f"attempt counts from 1, got {attempt}")
    plan = resolve(policy)
    if strategy != "decorrelated":
        wait = drawn(plan, attempt, strategy, _luck(seed, attempt))
    else:
        wait = plan.first
        for number in range(1, attempt + 1):
            wait = decorrelated(plan, wait, _luck(seed, number))
    return timedelta(seconds=max(wait, SHORTEST))


def drawn(plan: Policy, attempt: int, strategy: Strategy, luck: Any) -> Any:
    """Return the wait of a strategy that looks at no earlier wait; `luck` in 0 … 1 or an array."""
    backoff = plan.backoff(attempt)
    if strategy == "full":
        return backoff * luck
    return backoff / 2 * (1 + luck) if strategy == "equal" else backoff


def decorrelated(plan: Policy, before: float, luck: float) -> float:
    """Return the next wait of the strategy that looks at the wait before."""
    return min(plan.longest, plan.first + luck * (3 * before - plan.first))


def check_strategy(strategy: str) -> None:
    """Raise ValueError for a strategy that there is not."""
    if strategy not in STRATEGIES:
        raise ValueError(f"jitter is one of {', '.join(STRATEGIES)}; got {strategy!r}")


def _luck(seed: int | str, attempt: int) -> float:
    # A text seed goes through SHA-512, so that the draw is equal in every process and Python.
    return random.Random(f"{seed}/{attempt}").random()
