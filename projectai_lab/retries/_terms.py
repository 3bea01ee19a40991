"""What an experiment with a policy holds fixed: policy, law, timeouts, jitter; and that it ends."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from projectai_lab.errors import PolicyError
from projectai_lab.models import Duration, FaultPlan, seconds
from projectai_lab.retries._jitter import Strategy, check_strategy
from projectai_lab.retries._latency_law import below
from projectai_lab.retries._law import FaultLaw
from projectai_lab.retries._planned import MOST_ATTEMPTS
from projectai_lab.retries._policy import Policy, non_retryable_types, resolve

COMPLETED, EXHAUSTED = "COMPLETED", "MAXIMUM_ATTEMPTS_REACHED"
TIMEOUT, FINAL = "TIMEOUT", "NON_RETRYABLE_FAILURE"
OUTCOMES = (COMPLETED, EXHAUSTED, TIMEOUT, FINAL)
"""How a request ends: completed, or with one of Temporal's retry states."""

_MOST_DRAWS = 50_000_000


class Terms(NamedTuple):
    """All that decides what becomes of a request; times in seconds, infinite where not set."""

    policy: Policy
    law: FaultLaw
    limit: float
    deadline: float
    jitter: Strategy
    non_retryable: float
    """Share of the drawn failures that end the activity."""
    timeout_is_final: bool

    @property
    def most(self) -> float:
        """The most attempts."""
        return self.policy.most or math.inf

    def retried(self, attempt: int) -> float:
        """Return the probability that this attempt fails in a way that is retried."""
        return sum(one.chance for one in self.branches(attempt) if one.outcome is None)

    def branches(self, attempt: int) -> list[Branch]:
        """Return the ways in which an attempt may end, those of probability 0 left out."""
        law, s = self.law, self.non_retryable
        hang, fail = law.chance("hang", attempt), law.chance("fail", attempt)
        well, mean = below(law.latency, self.limit)
        badly, failing_mean = below(law.failing_latency or law.latency, self.limit)
        runs = 1 - hang
        timed_out = hang + runs * (fail * (1 - badly) + (1 - fail) * (1 - well))
        ways = [
            Branch(COMPLETED, runs * (1 - fail) * well, mean, False),
            Branch(None, runs * fail * badly * (1 - s), failing_mean, False),
            Branch(FINAL, runs * fail * badly * s, failing_mean, False),
            Branch(FINAL if self.timeout_is_final else None, timed_out, self.limit, True),
        ]
        return [way for way in ways if way.chance > 0]


class Branch(NamedTuple):
    """One way in which an attempt ends: None for a failure that is retried; mean seconds."""

    outcome: str | None
    chance: float
    mean_s: float
    timed_out: bool


def terms(
    policy: Any,
    faults: FaultLaw | FaultPlan,
    activity_type: str,
    start_to_close: Duration | None,
    schedule_to_close: Duration | None,
    jitter: Strategy,
) -> Terms:
    """Resolve what the caller gave; raise where it makes no sense."""
    check_strategy(jitter)
    law, types = FaultLaw.of(faults, activity_type), non_retryable_types(policy)
    if law.next_retry_delay is not None and jitter != "none":
        raise PolicyError(
            f"jitter={jitter!r} and the fault law's next_retry_delay both say how long a failure "
            "waits: an activity can ask for one wait only; leave one of them out"
        )
    found = Terms(
        policy=resolve(policy),
        law=law,
        limit=_limit("start_to_close", start_to_close),
        deadline=_limit("schedule_to_close", schedule_to_close),
        jitter=jitter,
        non_retryable=1.0 if law.error_type in types else law.non_retryable,
        timeout_is_final="TemporalTimeout:StartToClose" in types,
    )
    if math.isinf(found.limit) and math.isinf(found.deadline) and any(law.chances("hang")):
        raise PolicyError(
            "an attempt that hangs never ends without a timeout; give start_to_close=… (or "
            "schedule_to_close=…), as every activity has"
        )
    return found


def check_end(found: Terms, n: int) -> None:
    """Raise PolicyError for requests that would be retried for ever, or nearly so."""
    retried = found.retried(max(found.law.settled, 1))
    bounds = {
        "maximum_attempts": found.most,
        "schedule_to_close": _attempts_within(found, found.deadline),
        "success": found.law.settled + (1 / (1 - retried) if retried < 1 else math.inf),
    }
    expected = min(bounds.values())
    if math.isinf(expected):
        raise PolicyError(
            "no attempt ever succeeds under this fault law and the policy has no limit, so that a "
            "request is retried for ever; give RetrySettings(maximum_attempts=…) or "
            "schedule_to_close=…"
        )
    if expected > MOST_ATTEMPTS or n * expected > _MOST_DRAWS:
        raise PolicyError(
            f"about {expected:,.0f} attempts a request, {n * expected:,.0f} in all, are more than "
            "can be simulated; give maximum_attempts, a longer initial_interval or a smaller n"
        )


def _attempts_within(found: Terms, deadline: float) -> float:
    """Return about how many attempts that take no time begin before the deadline."""
    policy, asked = found.policy, found.law.next_retry_delay
    if asked is not None:
        return deadline / min(seconds(asked), policy.first) + 2
    if policy.coefficient == 1:
        return deadline / min(policy.first, policy.longest) + 2
    growing = max(math.log(policy.longest / policy.first, policy.coefficient), 0)
    return growing + deadline / policy.longest + 2


def _limit(name: str, duration: Duration | None) -> float:
    if duration is None:
        return math.inf
    length = seconds(duration)
    if not length > 0:
        raise ValueError(f"{name} must be more than 0 s, got {duration}")
    return length
