"""Many requests at once, attempt after attempt: what simulations are made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectai_lab._frames import ATTEMPTS, need, one_clock
from projectai_lab.models import Duration, Latency, seconds
from projectai_lab.retries._jitter import SHORTEST, drawn
from projectai_lab.retries._latency_law import Values, draw
from projectai_lab.retries._terms import COMPLETED, EXHAUSTED, FINAL, OUTCOMES, TIMEOUT, Terms

Lag: TypeAlias = Duration | Latency | pd.DataFrame
"""From due to begun: a constant, a law, or a table of attempts whose lags are drawn from again."""

Flags = NDArray[np.bool_]

_CODE = {name: np.int8(place) for place, name in enumerate(OUTCOMES)}
_GOES_ON = np.int8(-1)


class Step(NamedTuple):
    """One attempt of all requests that come to it."""

    attempt: int
    who: NDArray[np.int64]
    started: Values
    ended: Values
    outcome: NDArray[np.int8]
    """Place in OUTCOMES, −1 for a request that is retried."""
    begun: Flags
    """Whether a worker began it before schedule_to_close."""


def walk(terms: Terms, n: int, seed: int, lag: Lag) -> Iterator[Step]:
    """Yield the attempts 1, 2, … of n requests that all begin at 0, until each has ended.

    Faults, latencies, jitter and lags are drawn from streams of their own: policies that are
    compared under one seed meet the same faults for as long as they go the same way.
    """
    luck, spans, waits, lags = (
        np.random.default_rng(one) for one in np.random.SeedSequence(seed).spawn(4)
    )
    pick = _lags(lag, lags)
    who, due, drawn_before = np.arange(n), np.zeros(n), np.full(n, terms.policy.first)
    for attempt in count(1):
        started = due + pick(attempt, len(who))
        failed, late, final, span = _meet(terms, attempt, len(who), luck, spans)
        ended = started + span
        outcome = np.where(failed, _GOES_ON, _CODE[COMPLETED])
        outcome[final] = _CODE[FINAL]
        if attempt >= terms.most:
            outcome[outcome == _GOES_ON] = _CODE[EXHAUSTED]
        outcome[ended >= terms.deadline] = _CODE[TIMEOUT]
        ended = np.minimum(ended, terms.deadline)
        drawn_before = _wait(terms, attempt, drawn_before, waits)
        # No code runs that could draw a wait when a timeout fires: the policy's own follows.
        asked = terms.law.next_retry_delay
        wait = drawn_before if asked is None else seconds(asked)
        after = ended + np.where(late, terms.policy.backoff(attempt), wait)
        # Temporal gives up at once where the backoff would pass the deadline.
        outcome[(outcome == _GOES_ON) & (after >= terms.deadline)] = _CODE[TIMEOUT]
        yield Step(attempt, who, started, ended, outcome, started < terms.deadline)
        on = outcome == _GOES_ON
        who, due, drawn_before = who[on], after[on], drawn_before[on]
        if not len(who):
            return


def _meet(
    terms: Terms, attempt: int, size: int, luck: np.random.Generator, spans: np.random.Generator
) -> tuple[Flags, Flags, Flags, Values]:
    """Return which attempts fail, are timed out, fail for good, and how long each runs."""
    law = terms.law
    failed = _happens(law.chance("fail", attempt), size, luck)
    hangs = _happens(law.chance("hang", attempt), size, luck)
    span = draw(law.latency, size, spans)
    if law.failing_latency is not None:
        span[failed] = draw(law.failing_latency, size, spans)[failed]
    late = hangs | (span >= terms.limit)
    # A timeout ends the attempt before its failure can.
    final = failed & ~late & _happens(terms.non_retryable, size, luck)
    if terms.timeout_is_final:
        final |= late
    span[late] = terms.limit
    return failed | late, late, final, span


def _happens(chance: float, size: int, luck: np.random.Generator) -> Flags:
    if chance in (0, 1):
        return np.full(size, bool(chance))
    return luck.random(size) < chance


def _wait(terms: Terms, attempt: int, before: Values, waits: np.random.Generator) -> Values:
    """Draw the wait after this attempt; `before` are the draws before it."""
    plan, size = terms.policy, len(before)
    if terms.jitter == "none":
        return np.full(size, plan.backoff(attempt))
    chance = waits.random(size)
    if terms.jitter == "decorrelated":
        wait = np.minimum(plan.longest, plan.first + chance * (3 * before - plan.first))
    else:
        wait = drawn(plan, attempt, terms.jitter, chance)
    return np.asarray(np.maximum(wait, SHORTEST))


def _lags(lag: Lag, rng: np.random.Generator) -> Callable[[int, int], Any]:
    """Return what gives the lags of an attempt of so many requests."""
    if isinstance(lag, pd.DataFrame):
        pools = _pools(lag)
        return lambda attempt, size: rng.choice(pools[min(attempt, len(pools)) - 1], size)
    if isinstance(lag, Latency):
        return lambda attempt, size: draw(lag, size, rng)
    constant = seconds(lag)
    if not constant >= 0:
        raise ValueError(f"dispatch_lag must be 0 s or more, got {lag}")
    return lambda attempt, size: constant


def _pools(attempts: pd.DataFrame) -> list[Values]:
    """Return the measured lags of attempts 1, 2, …; one that has none takes those before it."""
    need(attempts, ["attempt", "dispatch_lag_s"], ATTEMPTS)
    one_clock(attempts)
    known = attempts[["attempt", "dispatch_lag_s"]].dropna().astype("float64")
    if known.empty:
        raise ValueError(f"dispatch_lag holds no measured lag; take one from {ATTEMPTS}")
    found = {number: part["dispatch_lag_s"].to_numpy() for number, part in known.groupby("attempt")}
    pools: list[Values] = []
    for number in range(1, int(max(found)) + 1):
        # A timer's lag grows with its length, and first attempts have no timer.
        pools.append(found.get(number, pools[-1] if pools else found[min(found)]))
    return pools
