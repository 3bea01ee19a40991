"""Histories made by hand: the order, times and endings that a test needs, event by event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.json_format import ParseDict
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab.histories import History

START_NS = 1_700_000_000_000_000_000
CLOSING: dict[str, dict[str, Any]] = {
    "COMPLETED": {},
    "FAILED": {"retryState": "RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED"},
    "TIMED_OUT": {"retryState": "RETRY_STATE_TIMEOUT"},
    "CANCELED": {},
}


@dataclass
class Step:
    """An activity: how long it took, how it ended (None: it has not), what it was told."""

    kind: str
    took: float = 1.0
    status: str | None = "COMPLETED"
    attempts: int = 1
    failure: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    timeouts: dict[str, float] = field(default_factory=lambda: {"startToClose": 60.0})


@dataclass
class Timer:
    """A timer that fires."""

    seconds: float


@dataclass
class Signal:
    """A Signal received."""

    name: str


@dataclass
class Event:
    """Any other event, by type and attributes."""

    kind: str
    attributes: dict[str, Any]


Part = str | Step | Timer | Signal | Event | Sequence[str | Step]


class _Maker:
    """Appends events, each a moment after the one before."""

    def __init__(self) -> None:
        self.events: list[HistoryEvent] = []
        self.now = 0.0

    def add(self, kind: str, attributes: dict[str, Any], after: float = 0.0) -> int:
        self.now += after
        words = "".join(word.capitalize() for word in kind.lower().split("_"))
        event = ParseDict(
            {
                "eventId": str(len(self.events) + 1),
                "eventType": f"EVENT_TYPE_{kind}",
                f"{words[0].lower()}{words[1:]}EventAttributes": attributes,
            },
            HistoryEvent(),
        )
        event.event_time.FromNanoseconds(START_NS + round(self.now * 1e9))
        self.events.append(event)
        return len(self.events)

    def together(self, steps: Sequence[Step]) -> None:
        """Schedule all, then close each after the time it took, the shortest first."""
        begun = self.now
        scheduled = [(step, self.schedule(step)) for step in steps]
        for step, event_id in sorted(scheduled, key=lambda one: one[0].took):
            if step.status:
                self.close(step, event_id, begun + step.took - self.now)

    def schedule(self, step: Step) -> int:
        return self.add(
            "ACTIVITY_TASK_SCHEDULED",
            {
                "activityId": str(len(self.events)),
                "activityType": {"name": step.kind},
                "retryPolicy": {"initialInterval": "1s", "backoffCoefficient": 2.0, **step.policy},
                **{f"{name}Timeout": f"{value}s" for name, value in step.timeouts.items()},
            },
        )

    def close(self, step: Step, event_id: int, after: float) -> None:
        about: dict[str, Any] = {"scheduledEventId": str(event_id)}
        started = self.add("ACTIVITY_TASK_STARTED", {**about, "attempt": step.attempts})
        # The Started event of a retried activity is that of its last attempt: right before the end.
        self.events[-1].event_time.FromNanoseconds(
            START_NS + round((self.now if step.attempts == 1 else self.now + after - 0.1) * 1e9)
        )
        about |= {"startedEventId": str(started), **CLOSING[str(step.status)]}
        about |= {"failure": step.failure} if step.failure else {}
        self.add(f"ACTIVITY_TASK_{step.status}", about, after)


def history(
    name: str,
    *parts: Part,
    status: str | None = "COMPLETED",
    clock: str | None = "fast",
    workflow_type: str = "Made",
) -> History:
    """Return a run of the parts, one after the other; those of a sequence run at the same time."""
    maker = _Maker()
    begun = {"workflowType": {"name": workflow_type}, "workflowId": name, "attempt": 1}
    maker.add("WORKFLOW_EXECUTION_STARTED", {**begun, "originalExecutionRunId": f"run-{name}"})
    for part in parts:
        _add(maker, part)
    if status:
        maker.add(f"WORKFLOW_EXECUTION_{status}", {}, 0.01)
    return History(name, maker.events, "default", clock)


def _add(maker: _Maker, part: Part) -> None:
    if isinstance(part, Event):
        maker.add(part.kind, part.attributes)
    elif isinstance(part, Signal):
        maker.add("WORKFLOW_EXECUTION_SIGNALED", {"signalName": part.name})
    elif isinstance(part, Timer):
        about = {"timerId": str(len(maker.events))}
        started = maker.add(
            "TIMER_STARTED", {**about, "startToFireTimeout": f"{part.seconds}s"}, 0.01
        )
        maker.add("TIMER_FIRED", {**about, "startedEventId": str(started)}, part.seconds)
    else:
        some = [part] if isinstance(part, str | Step) else part
        maker.now += 0.01
        maker.together([Step(one) if isinstance(one, str) else one for one in some])
