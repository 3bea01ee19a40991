"""`tables.executions`: one row per Workflow Execution."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pandas as pd
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab.tables import schema
from projectai_lab.tables._activity import Activity, activities_of
from projectai_lab.tables._runs import (
    NO_FAILURE,
    FailureFacts,
    Histories,
    Run,
    clock_of,
    failure_facts,
    gc_paused,
    ns,
    runs_of,
    seconds,
    since,
)

_PREFIX = "EVENT_TYPE_WORKFLOW_EXECUTION_"
_CLOSED = {
    EventType.Value(_PREFIX + status): status
    for status in (
        *("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED", "TERMINATED", "CONTINUED_AS_NEW"),
    )
}
_PAUSES = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED: "PAUSED",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED: "RUNNING",
}
_COUNTED = (
    (EventType.EVENT_TYPE_TIMER_STARTED,),
    (EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED,),
    (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED,),
    (EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED,),
    (EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,),
    (
        EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
        EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
    ),
)
_REPORTED = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
_SKIPPED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED


@gc_paused()
def executions(histories: Histories) -> pd.DataFrame:
    """Return one row per Workflow Execution.

    >>> tables.executions(history)[["workflow_id", "status", "duration_s"]]    # doctest: +SKIP
    """
    runs = runs_of(histories)
    of_run: dict[str, list[Activity]] = defaultdict(list)
    for activity in activities_of(runs):
        of_run[activity.run.run_id].append(activity)
    rows = [_row(run, of_run[run.run_id]) for run in runs]
    return schema.frame("executions", rows, clock=clock_of(runs))


def _row(run: Run, activities: list[Activity]) -> tuple[Any, ...]:
    begun = run.events[0].workflow_execution_started_event_attributes
    kinds = Counter(event.event_type for event in run.events)
    attempts = [activity.attempts for activity in activities if activity.attempts]
    status, closed = _end(run)
    failure = _failure(status, closed)
    return (
        *(run.namespace, run.workflow_id, run.run_id, begun.workflow_type.name or None),
        *(begun.task_queue.name or None, status, *_times(run, closed)),
        begun.attempt or None,
        begun.parent_workflow_execution.workflow_id or None,
        begun.parent_workflow_execution.run_id or None,
        begun.root_workflow_execution.workflow_id or None,
        begun.root_workflow_execution.run_id or None,
        begun.first_execution_run_id or None,
        *(len(run.events), sum(event.ByteSize() for event in run.events)),
        *(len(activities), sum(attempts), sum(attempts) - len(attempts)),
        *(sum(kinds[kind] for kind in counted) for counted in _COUNTED),
        *(failure.failure_type, failure.failure_message),
        *_sdk(run),
        *(_skipped(run), run.clock),
    )


def _end(run: Run) -> tuple[str, HistoryEvent | None]:
    status = "RUNNING"
    for event in reversed(run.events):
        if closed := _CLOSED.get(event.event_type):
            return closed, event
        if event.event_type in _PAUSES:
            return _PAUSES[event.event_type], None
    return status, None


def _times(run: Run, closed: HistoryEvent | None) -> tuple[int | float | None, ...]:
    """Return start, execution and close time, and the duration between the last two."""
    first = run.events[0]
    backoff = first.workflow_execution_started_event_attributes.first_workflow_task_backoff
    start = ns(first.event_time)
    close = None if closed is None else ns(closed.event_time)
    execution = start + round((seconds(backoff) or 0.0) * 1e9)
    return start, execution, close, since(close, execution)


def _failure(status: str, closed: HistoryEvent | None) -> FailureFacts:
    if closed is not None and status == "FAILED":
        return failure_facts(closed.workflow_execution_failed_event_attributes)
    if closed is not None and status == "TERMINATED":
        reason = closed.workflow_execution_terminated_event_attributes.reason
        return FailureFacts("TerminatedFailure", reason or None)
    return FailureFacts("TimeoutFailure") if status == "TIMED_OUT" else NO_FAILURE


def _sdk(run: Run) -> tuple[str | None, str | None]:
    """Return name and version of the SDK; workers name them only when they change."""
    for event in reversed(run.events):
        if event.event_type == _REPORTED:
            told = event.workflow_task_completed_event_attributes.sdk_metadata
            if told.sdk_name:
                return told.sdk_name, told.sdk_version or None
    return None, None


def _skipped(run: Run) -> float:
    """Return the idle seconds skipped; `wall_clock_time` is the run's own time before the skip."""
    skips = (
        event.workflow_execution_time_skipping_transitioned_event_attributes
        for event in run.events
        if event.event_type == _SKIPPED
    )
    return sum((ns(s.target_time) - ns(s.wall_clock_time)) / 1e9 for s in skips if _both(s))


def _both(skip: Any) -> bool:
    return bool(skip.HasField("target_time") and skip.HasField("wall_clock_time"))
