"""When attempts became due, as the time-skip events of a virtual clock tell."""

from __future__ import annotations

from collections import defaultdict

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab.tables._runs import Run, ns

_SKIP = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED
_SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
_TIMER = EventType.EVENT_TYPE_TIMER_STARTED
_CLOSED = {
    EventType.Value(f"EVENT_TYPE_{kind}_{status}"): (
        f"{kind.lower()}_{status.lower()}_event_attributes",
        opened,
    )
    for kind, status, opened in (
        *(
            ("ACTIVITY_TASK", status, "scheduled_event_id")
            for status in ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED")
        ),
        *(("TIMER", status, "started_event_id") for status in ("FIRED", "CANCELED")),
    )
}


def skips_time(run: Run) -> bool:
    """Tell whether the server may skip the run's idle time, so that its clock is not the wall's."""
    begun = run.events[0].workflow_execution_started_event_attributes
    return begun.time_skipping_config.enabled or run.clock == "virtual"


def due_by_skips(run: Run) -> dict[int, list[int]]:
    """Return, by Scheduled event, the times at which an attempt became due after a skip.

    A skip ends at the next thing that the run waits for. That is an attempt of a certain activity
    only where nothing else was open; an activity of which this is not so is left out.
    """
    opened: set[int] = set()
    due: dict[int, list[int]] = defaultdict(list)
    unclear: set[int] = set()
    for event in run.events:
        if event.event_type == _SKIP:
            skip = event.workflow_execution_time_skipping_transitioned_event_attributes
            if (target := ns(skip.target_time)) is not None:
                for one in opened:
                    due[one].append(target)
            if len(opened) > 1:
                unclear |= opened
        else:
            _follow(event, opened)
    return {one: times for one, times in due.items() if one not in unclear}


def _follow(event: HistoryEvent, opened: set[int]) -> None:
    """Keep the Event Ids of the activities and timers that are open."""
    if event.event_type in (_SCHEDULED, _TIMER):
        opened.add(event.event_id)
    elif closed := _CLOSED.get(event.event_type):
        attributes, name = closed
        opened.discard(getattr(getattr(event, attributes), name))
