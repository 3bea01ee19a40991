"""`tables.executions`: one row per Workflow Execution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab._closes import CLOSES
from projectai_lab.tables import schema
from projectai_lab.tables._activity import attempts_by_run
from projectai_lab.tables._runs import (
    NAT,
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
from projectai_lab.tables._walk import Part, Walk, walk_of

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
_FAILED = EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
_RESET = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
_REPORTED = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
_SKIPPED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED


@gc_paused()
def executions(histories: Histories) -> pd.DataFrame:
    """Return one row per Workflow Execution.

    >>> tables.executions(history)[["workflow_id", "status", "duration_s"]]    # doctest: +SKIP
    """
    runs = runs_of(histories)
    walk = walk_of(runs)
    everything = np.arange(len(walk.events))
    numbers = (
        *(walk.count(everything), walk.count(everything, walk.sizes), *attempts_by_run(walk)),
        *(walk.count(walk.rows(*kinds)) for kinds in _COUNTED),
    )
    by_run = zip(*(number.tolist() for number in numbers), strict=True)
    both = zip(runs, by_run, _ends(walk), _resets(walk), _sdks(walk), _skipped(walk), strict=True)
    rows = [_row(*of_run) for of_run in both]
    return schema.frame("executions", rows, clock=clock_of(runs))


def _row(
    run: Run,
    counts: Sequence[int],
    end: tuple[str, HistoryEvent | None],
    reset_ns: int | None,
    sdk: tuple[str | None, str | None],
    skipped_s: float,
) -> tuple[Any, ...]:
    begun = run.events[0].workflow_execution_started_event_attributes
    status, closed = end
    failure = _failure(status, closed)
    return (
        *(run.namespace, run.workflow_id, run.run_id, begun.workflow_type.name or None),
        *(begun.task_queue.name or None, status, *_times(run, closed, reset_ns)),
        *(begun.attempt or None, *_ids(begun, "parent"), *_ids(begun, "root")),
        begun.first_execution_run_id or None,
        *counts,
        *(failure.failure_type, failure.failure_message, *sdk, skipped_s, run.clock),
    )


def _ids(begun: Any, relative: str) -> tuple[str | None, str | None]:
    """Return Workflow Id and Run Id of a relative."""
    name = f"{relative}_workflow_execution"
    if not begun.HasField(name):
        return None, None
    found = getattr(begun, name)
    return found.workflow_id or None, found.run_id or None


def _ends(walk: Walk) -> list[tuple[str, HistoryEvent | None]]:
    """Return the status of each run, and the event that closed it."""
    found: list[tuple[str, HistoryEvent | None]] = [("RUNNING", None)] * len(walk.runs)
    for row in walk.rows(*_PAUSES, *CLOSES).tolist():
        event, owner = walk.events[row], walk.owner[row]
        if event.event_type in CLOSES:
            found[owner] = CLOSES[event.event_type], event
        else:
            found[owner] = _PAUSES[event.event_type], None
    return found


def _resets(walk: Walk) -> list[int | None]:
    """Return when each run began by a reset; None for the others."""
    part, found = walk.part(_FAILED), np.full(len(walk.runs), NAT)
    causes = np.array([one.cause for one in part.attributes], dtype=np.int64)
    rows = part.rows[causes == _RESET]
    found[walk.owner[rows]] = walk.times[rows]
    return [None if time == NAT else time for time in found.tolist()]


def _times(
    run: Run, closed: HistoryEvent | None, reset_ns: int | None
) -> tuple[int | float | None, ...]:
    """Return start, execution and close time, and the duration between the last two.

    A reset run carries the events of its base run, but the server counts from the reset.
    """
    first = run.events[0]
    backoff = first.workflow_execution_started_event_attributes.first_workflow_task_backoff
    start, delay = ns(first.event_time), round((seconds(backoff) or 0.0) * 1e9)
    close = None if closed is None else ns(closed.event_time)
    if reset_ns is not None:
        start, delay = reset_ns, 0
    execution = None if start is None else start + delay
    return start, execution, close, since(close, execution)


def _failure(status: str, closed: HistoryEvent | None) -> FailureFacts:
    if closed is not None and status == "FAILED":
        return failure_facts(closed.workflow_execution_failed_event_attributes)
    if closed is not None and status == "TERMINATED":
        reason = closed.workflow_execution_terminated_event_attributes.reason
        return FailureFacts("TerminatedFailure", reason or None)
    return FailureFacts("TimeoutFailure") if status == "TIMED_OUT" else NO_FAILURE


def _sdks(walk: Walk) -> list[tuple[str | None, str | None]]:
    """Return name and version of each run's SDK; workers name them only when they change."""
    found: list[tuple[str | None, str | None]] = [(None, None)] * len(walk.runs)
    part = walk.part(_REPORTED)
    owners = walk.owner[part.rows].tolist()
    for owner, attributes in zip(owners, part.attributes, strict=True):
        if attributes.HasField("sdk_metadata") and attributes.sdk_metadata.sdk_name:
            told = attributes.sdk_metadata
            found[owner] = told.sdk_name, told.sdk_version or None
    return found


def _skipped(walk: Walk) -> list[float]:
    """Return the idle seconds skipped; `wall_clock_time` is the run's own time before the skip."""
    found = [0.0] * len(walk.runs)
    part: Part = walk.part(_SKIPPED)
    for row, skip in zip(part.rows.tolist(), part.attributes, strict=True):
        if skip.HasField("target_time") and skip.HasField("wall_clock_time"):
            found[walk.owner[row]] += since(ns(skip.target_time), ns(skip.wall_clock_time)) or 0.0
    return found
