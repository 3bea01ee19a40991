"""`tables.child_workflows`: one row per Child Workflow, as its parent's history tells it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from temporalio.api.enums.v1 import EventType, ParentClosePolicy
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab.tables import schema
from projectai_lab.tables._plans import PLANS
from projectai_lab.tables._runs import (
    NO_FAILURE,
    FailureFacts,
    Histories,
    Run,
    clock_of,
    failure_facts,
    ns,
    retry_state,
    runs_of,
    since,
)

_INITIATED = EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
_CHANGES = {
    EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_FAILED: "START_FAILED",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_STARTED: "RUNNING",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED: "COMPLETED",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED: "FAILED",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED: "CANCELED",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT: "TIMED_OUT",
    EventType.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED: "TERMINATED",
}


@dataclass(slots=True)
class _Child:
    initiated: Any
    initiated_ns: int | None
    status: str = "INITIATED"
    run_id: str | None = None
    started_ns: int | None = None
    closed_ns: int | None = None
    failure: FailureFacts = NO_FAILURE
    retry_state: str | None = None


def child_workflows(histories: Histories) -> pd.DataFrame:
    """Return one row per Child Workflow of the histories.

    >>> tables.child_workflows(history)[["child_workflow_id", "status"]]       # doctest: +SKIP
    """
    runs = runs_of(histories)
    rows = [row for run in runs for row in _of_run(run)]
    return schema.frame("child_workflows", rows, clock=clock_of(runs))


def _of_run(run: Run) -> Iterable[tuple[Any, ...]]:
    found: dict[int, _Child] = {}
    for event in run.events:
        if event.event_type == _INITIATED:
            attributes = event.start_child_workflow_execution_initiated_event_attributes
            found[event.event_id] = _Child(attributes, ns(event.event_time))
        elif status := _CHANGES.get(event.event_type):
            _change(found, event, status)
    return [_row(run, event_id, child) for event_id, child in found.items()]


def _change(found: dict[int, _Child], event: HistoryEvent, status: str) -> None:
    attributes = PLANS[event.event_type].attributes(event)
    if (child := found.get(attributes.initiated_event_id)) is None:
        return
    child.status = status
    if status == "RUNNING":
        child.started_ns = ns(event.event_time)
    else:
        child.closed_ns = ns(event.event_time)
    if status != "START_FAILED":
        child.run_id = attributes.workflow_execution.run_id or None
    if status == "FAILED":
        child.failure = failure_facts(attributes)
    if status in ("FAILED", "TIMED_OUT"):
        child.retry_state = retry_state(attributes.retry_state)


def _row(run: Run, event_id: int, child: _Child) -> tuple[Any, ...]:
    asked = child.initiated
    policy = ParentClosePolicy.Name(asked.parent_close_policy) if asked.parent_close_policy else ""
    return (
        *(run.namespace, run.workflow_id, run.run_id, event_id, asked.namespace or None),
        *(asked.workflow_id, child.run_id, asked.workflow_type.name),
        *(asked.task_queue.name or None, policy.removeprefix("PARENT_CLOSE_POLICY_") or None),
        *(child.status, child.initiated_ns, child.started_ns, child.closed_ns),
        since(child.started_ns, child.initiated_ns),
        since(child.closed_ns, child.started_ns),
        *(child.failure.failure_type, child.failure.failure_message, child.retry_state),
    )
