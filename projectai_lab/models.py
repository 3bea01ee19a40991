"""What goes into and comes out of the workflow: frozen dataclasses on the standard library alone.

They travel as JSON through Temporal's default converter, so durations are stored as seconds;
constructors take a `timedelta` or a number of seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

Duration = timedelta | float
"""A `timedelta`, or a number of seconds; kept as seconds once inside a model."""

ACTIVITY_TYPES = ("validate_input", "simulate_ai_call", "process_ai_task")


def seconds(duration: Duration) -> float:
    """Return a duration as float seconds."""
    return duration.total_seconds() if isinstance(duration, timedelta) else float(duration)


def _store_seconds(record: object, *names: str, zero: bool = False) -> None:
    for name in names:
        value = getattr(record, name)
        if value is None:
            continue
        length = seconds(value)
        # Temporal reads 0 as "not set".
        if not math.isfinite(length) or length < 0 or (length == 0 and not zero):
            needed = "0 or more" if zero else "more than 0"
            raise ValueError(f"{type(record).__name__}.{name} must be {needed} s, got {value}")
        object.__setattr__(record, name, length)


def _check_activity_type(field_name: str, activity: str) -> None:
    if activity not in ACTIVITY_TYPES:
        known = ", ".join(ACTIVITY_TYPES)
        raise ValueError(f"{field_name} names an unknown activity {activity!r}; known: {known}")


def _check_type(field_name: str, value: object, kind: type) -> None:
    if not isinstance(value, kind):
        found = type(value).__name__
        raise ValueError(f"{field_name} must be a {kind.__name__}, got {found}: {value!r}")


@dataclass(frozen=True)
class RetrySettings:
    """Temporal's retry policy with Temporal's defaults; `maximum_attempts=0` means no limit."""

    initial_interval: Duration = 1.0
    backoff_coefficient: float = 2.0
    maximum_interval: Duration | None = None
    maximum_attempts: int = 0
    non_retryable_error_types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _store_seconds(self, "initial_interval", "maximum_interval")
        first, longest = self.initial_interval, self.maximum_interval
        if longest is not None and seconds(longest) < seconds(first):
            raise ValueError(f"maximum_interval {longest} is less than initial_interval {first}")
        if not 1 <= self.backoff_coefficient < math.inf:
            raise ValueError(f"backoff_coefficient must be >= 1, got {self.backoff_coefficient}")
        if self.maximum_attempts < 0 or self.maximum_attempts != int(self.maximum_attempts):
            raise ValueError(f"maximum_attempts must be 0, 1, 2 …, got {self.maximum_attempts}")
        if isinstance(self.non_retryable_error_types, str):
            raise ValueError('non_retryable_error_types takes several: ("InvalidInput",)')


@dataclass(frozen=True)
class TimeoutSettings:
    """The four activity timeouts, each a `timedelta` or seconds; None leaves Temporal's default."""

    start_to_close: Duration | None = 10.0
    schedule_to_close: Duration | None = None
    schedule_to_start: Duration | None = None
    heartbeat: Duration | None = None

    def __post_init__(self) -> None:
        _store_seconds(
            self, "start_to_close", "schedule_to_close", "schedule_to_start", "heartbeat"
        )
        if self.start_to_close is None and self.schedule_to_close is None:
            raise ValueError("an activity needs start_to_close or schedule_to_close")


@dataclass(frozen=True)
class Latency:
    """How long a simulated call takes, by a law with parameters in seconds.

    constant: always `a`. uniform: between `a` and `b`. lognormal: median `a`, and `b` is the
    standard deviation of the logarithm (0 = constant).
    """

    law: Literal["constant", "uniform", "lognormal"] = "constant"
    a: Duration = 0.02
    b: Duration = 0.0

    def __post_init__(self) -> None:
        _store_seconds(self, "a", "b", zero=True)
        if self.law not in ("constant", "uniform", "lognormal"):
            raise ValueError(f"law must be constant, uniform or lognormal, got {self.law!r}")
        if self.law == "uniform" and seconds(self.b) < seconds(self.a):
            raise ValueError(f"uniform latency needs a <= b, got {self.a} and {self.b}")


@dataclass(frozen=True)
class FaultPlan:
    """Which attempts fail, how, and how long a call takes; keys are activity types.

    `fail_first={"simulate_ai_call": 3}` fails attempts 1–3; `hang_first` lets the first attempts
    outlive their timeout; `fail_probability` fails any other attempt with that probability, drawn
    from the seed, the activity type and the attempt. Hangs come before failures.
    """

    fail_first: dict[str, int] = field(default_factory=dict)
    fail_probability: dict[str, float] = field(default_factory=dict)
    hang_first: dict[str, int] = field(default_factory=dict)
    error_type: str = "InjectedFault"
    retryable: bool = True
    latency: Latency = Latency()

    def __post_init__(self) -> None:
        _check_type("latency", self.latency, Latency)
        for name in ("fail_first", "fail_probability", "hang_first"):
            for activity, value in getattr(self, name).items():
                _check_activity_type(name, activity)
                if not 0 <= value <= (1 if name == "fail_probability" else math.inf):
                    raise ValueError(f"{name}[{activity!r}] is out of range: {value}")


@dataclass(frozen=True)
class WorkflowInput:
    """One AI request; `retry` and `timeouts` override the defaults per activity type.

    `data` and `user_id` stay untyped on the wire, so that `validate_input` can reject a wrong type
    with a reason instead of the run failing to decode.
    """

    data: Any
    user_id: Any
    faults: FaultPlan = FaultPlan()
    seed: int = 0
    retry: dict[str, RetrySettings] = field(default_factory=dict)
    timeouts: dict[str, TimeoutSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_type("faults", self.faults, FaultPlan)
        for name, kind in (("retry", RetrySettings), ("timeouts", TimeoutSettings)):
            for activity, settings in getattr(self, name).items():
                _check_activity_type(name, activity)
                _check_type(f"{name}[{activity!r}]", settings, kind)


@dataclass(frozen=True)
class AIResponse:
    """What the AI answered, and how long the call took on the worker's monotonic clock."""

    answer: Any
    call_s: float


@dataclass(frozen=True)
class AITask:
    """Input of `process_ai_task`: the request and the answer to it."""

    request: WorkflowInput
    response: AIResponse


@dataclass(frozen=True)
class WorkflowOutput:
    """What a request ends in; `error` is None exactly when `success` is true."""

    success: bool
    result: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True)
class WorkflowState:
    """Answer of the `state` query; `since` is workflow time, None before the first activity."""

    activity: str | None
    since: datetime | None
    done: tuple[str, ...] = ()
    status: Literal["running", "completed", "failed", "cancelled"] = "running"
