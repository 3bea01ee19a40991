"""`tables.workflow_tasks`: one row per Workflow Task."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from temporalio.api.enums.v1 import EventType, TaskQueueKind, WorkflowTaskFailedCause

from projectai_lab.tables import schema
from projectai_lab.tables._column import TIMEOUT_TYPES
from projectai_lab.tables._runs import NAT, Histories, clock_of, failure_facts, gc_paused, runs_of
from projectai_lab.tables._traffic_columns import CAUSES, TASK_STATUSES
from projectai_lab.tables._walk import Part, Walk, elapsed, walk_of

_PREFIX = "EVENT_TYPE_WORKFLOW_TASK_"
_SCHEDULED, *_CHANGES = (EventType.Value(_PREFIX + status) for status in TASK_STATUSES)
_STARTED, _COMPLETED, _FAILED, _TIMED_OUT = _CHANGES
_STICKY = TaskQueueKind.TASK_QUEUE_KIND_STICKY
_RESET = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
_TOLD = (
    *("failure_cause", "failure_type", "failure_message", "timeout_type", "worker_identity"),
    *("sdk_name", "sdk_version", "build_id", "history_size_bytes"),
)
# Newest way of telling first; each is empty where the worker uses another.
_BUILD_IDS = attrgetter(
    "deployment_version.build_id", "deployment.build_id", "worker_version.build_id"
)


@gc_paused()
def workflow_tasks(histories: Histories) -> pd.DataFrame:
    """Return one row per Workflow Task.

    >>> tables.workflow_tasks(history)[["attempt", "status", "lag_s"]]         # doctest: +SKIP
    """
    runs = runs_of(histories)
    walk = walk_of(runs)
    asked = walk.part(_SCHEDULED)
    status, started, closed = (np.full(len(walk.events) + 1, at) for at in (0, -1, -1))
    told: dict[int, dict[str, Any]] = {row: {} for row in asked.rows.tolist()}
    for word, kind in enumerate(_CHANGES, start=1):
        part = walk.part(kind)
        openers = walk.find(part.rows, part.columns["scheduled_event_id"])
        status[openers] = word
        (started if kind == _STARTED else closed)[openers] = part.rows
        _tell(told, openers.tolist(), kind, part)
    data = _times(walk, asked.rows, started[asked.rows], closed[asked.rows])
    resets = [told[row].pop("reset", False) for row in asked.rows.tolist()]
    data |= {
        "task_queue": [one.task_queue.name or None for one in asked.attributes],
        "is_sticky": [one.task_queue.kind == _STICKY for one in asked.attributes],
        "attempt": [attempt or None for attempt in asked.columns["attempt"]],
        "status": status[asked.rows],
        "exec_s": np.where(resets, np.nan, data["exec_s"]),
        **{name: [told[row].get(name) for row in told] for name in _TOLD},
    }
    return schema.frame("workflow_tasks", data, clock=clock_of(runs))


def _times(walk: Walk, rows: np.ndarray, started: np.ndarray, closed: np.ndarray) -> dict[str, Any]:
    ids, times = np.append(walk.ids, 0), np.append(walk.times, NAT)
    return {
        **walk.names(walk.owner[rows]),
        "scheduled_event_id": walk.ids[rows],
        "started_event_id": pd.arrays.IntegerArray(ids[started], started < 0),
        "closed_event_id": pd.arrays.IntegerArray(ids[closed], closed < 0),
        "scheduled_time": walk.times[rows],
        "started_time": times[started],
        "closed_time": times[closed],
        "lag_s": elapsed(times[started], walk.times[rows]),
        "exec_s": elapsed(times[closed], times[started]),
    }


def _tell(told: dict[int, dict[str, Any]], openers: list[int], kind: int, part: Part) -> None:
    """Add what the events of one type say to the tasks that they are about."""
    for row, attributes in zip(openers, part.attributes, strict=True):
        if (of_task := told.get(row)) is None:
            continue
        if kind == _STARTED:
            of_task["worker_identity"] = attributes.identity or None
            of_task["history_size_bytes"] = attributes.history_size_bytes or None
        elif kind == _COMPLETED:
            of_task |= _report(attributes)
        elif kind == _FAILED:
            facts = failure_facts(attributes)
            of_task["failure_type"], of_task["failure_message"] = facts[:2]
            known = 0 < attributes.cause <= len(CAUSES)
            of_task["failure_cause"] = CAUSES[attributes.cause - 1] if known else None
            of_task["reset"] = attributes.cause == _RESET
        elif 0 < attributes.timeout_type <= len(TIMEOUT_TYPES):
            of_task["timeout_type"] = TIMEOUT_TYPES[attributes.timeout_type - 1]


def _report(completed: Any) -> dict[str, Any]:
    build_id = next(filter(None, _BUILD_IDS(completed)), None)
    found = {"build_id": build_id}
    if completed.HasField("sdk_metadata"):
        sdk = completed.sdk_metadata
        found |= {"sdk_name": sdk.sdk_name or None, "sdk_version": sdk.sdk_version or None}
    return found
