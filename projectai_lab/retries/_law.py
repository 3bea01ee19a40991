"""`FaultLaw`: what an attempt meets, as probabilities and laws of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Self

from projectai_lab.errors import PolicyError
from projectai_lab.models import Duration, FaultPlan, Latency, seconds
from projectai_lab.retries._plan_law import CALL as CALL
from projectai_lab.retries._plan_law import law_fields

Chance = float | Sequence[float]
"""A probability for every attempt, or of attempts 1, 2, …, the last one for all that follow."""

_KNOWN = {
    *("fail_first", "fail_probability", "hang_first", "error_type", "retryable", "latency"),
    "rules",
}


@dataclass(frozen=True)
class FaultLaw:
    """What an attempt meets: it hangs, else fails after its latency, else succeeds after it.

    `fail` and `hang` are probabilities, one for all attempts or a list of those of attempts 1, 2,
    …, whose last holds from there on. A hanging attempt lasts until a timeout. A failing one takes
    `failing_latency`, or `latency` where that is None. `non_retryable` is the share of the failures
    that end the activity at once; all of them do where the policy names `error_type`.
    After a failure `next_retry_delay`, where it is given, takes the place of the policy's backoff,
    as after a rate-limited answer; after a timeout the policy's own follows.

    >>> FaultLaw(fail=0.2, latency=Latency("lognormal", 0.4, 0.5))  # doctest: +ELLIPSIS
    FaultLaw(fail=(0.2,), hang=(0.0,), ...)
    >>> FaultLaw(fail=[1, 1, 0]).chance("fail", 2), FaultLaw(fail=[1, 1, 0]).chance("fail", 9)
    (1.0, 0.0)
    """

    fail: Chance = 0.0
    hang: Chance = 0.0
    latency: Latency = field(default_factory=Latency)
    failing_latency: Latency | None = None
    non_retryable: float = 0.0
    error_type: str = "InjectedFault"
    next_retry_delay: Duration | None = None

    def __post_init__(self) -> None:
        for name in ("fail", "hang"):
            value = getattr(self, name)
            given = tuple(value) if isinstance(value, Iterable) else (value,)
            if not given:
                raise ValueError(f"FaultLaw.{name} is empty; give a probability, as in {name}=0.2")
            object.__setattr__(self, name, tuple(_probability(name, one) for one in given))
        _probability("non_retryable", self.non_retryable)
        wait = self.next_retry_delay
        if wait is not None and not seconds(wait) > 0:
            raise ValueError(f"FaultLaw.next_retry_delay must be more than 0 s, got {wait}")
        for name in ("latency", "failing_latency"):
            law = getattr(self, name)
            if law is not None and not isinstance(law, Latency):
                raise ValueError(f"FaultLaw.{name} must be a Latency, as Latency(a=0.4); got {law}")

    def chances(self, name: str) -> tuple[float, ...]:
        """Return the probabilities `fail` or `hang` of attempts 1, 2, …"""
        return tuple(getattr(self, name))

    def chance(self, name: str, attempt: int) -> float:
        """Return the probability `fail` or `hang` of one attempt."""
        given = self.chances(name)
        return given[min(attempt, len(given)) - 1]

    @property
    def settled(self) -> int:
        """The attempt from which on all attempts meet the same."""
        return max(len(self.chances("fail")), len(self.chances("hang")))

    @classmethod
    def of(cls, faults: FaultLaw | FaultPlan, activity_type: str = CALL) -> Self | FaultLaw:
        """Return the law of a fault plan for one activity type; a law is returned as it is."""
        if isinstance(faults, FaultLaw):
            return faults
        if not isinstance(faults, FaultPlan):
            raise TypeError(f"no fault law: {faults!r}; give retries.FaultLaw(…) or a FaultPlan")
        _refuse_unknown(faults)
        return cls(**law_fields(faults, activity_type))


def _probability(name: str, value: Any) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"FaultLaw.{name} must lie between 0 and 1, got {value}")
    return number


def _refuse_unknown(plan: FaultPlan) -> None:
    """Refuse what the law cannot say: a number that leaves it out would be a wrong one."""
    for one in fields(plan):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if one.name not in _KNOWN and getattr(plan, one.name) != default:
            raise PolicyError(
                f"FaultPlan.{one.name} has no place in a law of independent attempts, so it "
                "cannot be simulated; say what it comes to: retries.FaultLaw(fail=…, hang=…)",
                field=one.name,
            )
