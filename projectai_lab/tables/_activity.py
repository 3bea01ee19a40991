"""Activities as history tells them: the Scheduled, Started and closing events brought together."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab.tables._column import OUTCOMES
from projectai_lab.tables._runs import Run, ns

_SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
_STARTED = EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
_MARKER = EventType.EVENT_TYPE_MARKER_RECORDED
# Event type → status, and the name of the attributes.
_CLOSED = {
    EventType.Value(f"EVENT_TYPE_ACTIVITY_TASK_{status}"): (
        status,
        f"activity_task_{status.lower()}_event_attributes",
    )
    for status in OUTCOMES
}
_ABOUT_ACTIVITIES = {_SCHEDULED, _STARTED, _MARKER, *_CLOSED}
_LOCAL_OUTCOMES = {
    "timeout_failure_info": "TIMED_OUT",
    "canceled_failure_info": "CANCELED",
}


@dataclass(slots=True)
class Activity:
    """One Activity Execution; `scheduled`, `started`, `closed` are the events' attributes.

    A Local Activity has a Marker instead: `closed` holds its attributes and there are no times.
    `attempts` is None where history does not say how many there were.
    """

    run: Run
    scheduled_event_id: int
    activity_id: str
    activity_type: str
    is_local: bool = False
    status: str = "PENDING"
    attempts: int | None = None
    scheduled: Any = None
    started: Any = None
    closed: Any = None
    scheduled_ns: int | None = None
    started_ns: int | None = None
    closed_ns: int | None = None


def activities_of(runs: Iterable[Run]) -> list[Activity]:
    """Return the activities of the runs in the order in which they were scheduled."""
    return [activity for run in runs for activity in _of_run(run)]


def _of_run(run: Run) -> Iterable[Activity]:
    found: dict[int, Activity] = {}
    for event in run.events:
        kind = event.event_type
        if kind not in _ABOUT_ACTIVITIES:
            continue
        if kind == _SCHEDULED:
            found[event.event_id] = _scheduled(run, event)
        elif kind == _STARTED:
            _start(found, event)
        elif kind == _MARKER:
            found.update((event.event_id, local) for local in _local(run, event))
        else:
            _close(found, event, *_CLOSED[kind])
    return found.values()


def _scheduled(run: Run, event: HistoryEvent) -> Activity:
    attributes = event.activity_task_scheduled_event_attributes
    return Activity(
        run,
        event.event_id,
        attributes.activity_id,
        attributes.activity_type.name,
        scheduled=attributes,
        scheduled_ns=ns(event.event_time),
    )


def _start(found: dict[int, Activity], event: HistoryEvent) -> None:
    attributes = event.activity_task_started_event_attributes
    if activity := found.get(attributes.scheduled_event_id):
        activity.started, activity.started_ns = attributes, ns(event.event_time)
        activity.attempts = attributes.attempt or None


def _close(found: dict[int, Activity], event: HistoryEvent, status: str, name: str) -> None:
    attributes = getattr(event, name)
    if activity := found.get(attributes.scheduled_event_id):
        activity.status, activity.closed = status, attributes
        activity.closed_ns = ns(event.event_time)


def _local(run: Run, event: HistoryEvent) -> Iterator[Activity]:
    """Yield the Local Activity of a Marker; none for other Markers and for a mere backoff."""
    marker = event.marker_recorded_event_attributes
    if marker.marker_name != "core_local_activity":
        return
    try:
        facts = json.loads(marker.details["data"].payloads[0].data)
        known = (str(facts["activity_id"]), str(facts["activity_type"]), int(facts["attempt"]))
    except (ValueError, KeyError, IndexError, TypeError):
        return
    if facts.get("backoff") is None:
        info = marker.failure.WhichOneof("failure_info") if marker.HasField("failure") else None
        failed = "FAILED" if marker.HasField("failure") else "COMPLETED"
        status = _LOCAL_OUTCOMES.get(info or "", failed)
        yield Activity(run, event.event_id, *known[:2], True, status, known[2], closed=marker)
