"""What goes into and comes out of the workflow: frozen dataclasses on the standard library alone.

They travel as JSON through Temporal's default converter, so durations are stored as seconds;
constructors take a `timedelta` or a number of seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from projectai_lab._checks import Duration as Duration
from projectai_lab._checks import check_type, store_seconds
from projectai_lab._checks import seconds as seconds
from projectai_lab.fault_plan import ACTIVITY_TYPES as ACTIVITY_TYPES
from projectai_lab.fault_plan import EVERY_ACTIVITY as EVERY_ACTIVITY
from projectai_lab.fault_plan import Fault as Fault
from projectai_lab.fault_plan import FaultPlan as FaultPlan
from projectai_lab.fault_plan import Kind as Kind
from projectai_lab.fault_plan import Latency as Latency
from projectai_lab.fault_plan import Point as Point
from projectai_lab.fault_plan import check_activity_type

# This is their home: the converter looks the names in their types up here, and in the workflow
# sandbox a module that only another one has imported cannot be looked up.
for _one in (Fault, FaultPlan, Latency):
    _one.__module__ = __name__


@dataclass(frozen=True)
class RetrySettings:
    """Temporal's retry policy with Temporal's defaults; `maximum_attempts=0` means no limit."""

    initial_interval: Duration = 1.0
    backoff_coefficient: float = 2.0
    maximum_interval: Duration | None = None
    maximum_attempts: int = 0
    non_retryable_error_types: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        store_seconds(self, "initial_interval", "maximum_interval")
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
        store_seconds(self, "start_to_close", "schedule_to_close", "schedule_to_start", "heartbeat")
        if self.start_to_close is None and self.schedule_to_close is None:
            raise ValueError("an activity needs start_to_close or schedule_to_close")


@dataclass(frozen=True)
class WorkflowInput:
    """One AI request; `retry` and `timeouts` override the defaults per activity type.

    `data` and `user_id` stay untyped on the wire, so that `validate_input` can reject a wrong type
    with a reason instead of the run failing to decode.
    """

    data: Any
    user_id: Any
    faults: FaultPlan = field(default_factory=FaultPlan)
    seed: int = 0
    retry: dict[str, RetrySettings] = field(default_factory=dict)
    timeouts: dict[str, TimeoutSettings] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_type("faults", self.faults, FaultPlan)
        for name, kind in (("retry", RetrySettings), ("timeouts", TimeoutSettings)):
            for activity, settings in getattr(self, name).items():
                check_activity_type(name, activity)
                check_type(f"{name}[{activity!r}]", settings, kind)


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
