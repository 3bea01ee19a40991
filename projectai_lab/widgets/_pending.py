"""What an open Workflow Execution does right now, as one look at its description tells."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import PendingActivityState, PendingWorkflowTaskState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse

from projectai_lab._troubles import failure_in_words

WAITS_AFTER_S = 5.0
"""A task that no worker has taken for so long is a run that somebody has to mend."""


@dataclass(frozen=True)
class Pending:
    """What a run does: an activity with its attempt, or what keeps it from going on."""

    doing: str = ""
    attempt: int = 0
    limit: int = 0
    next_try: datetime | None = None
    failure: str = ""
    trouble: Literal["", "stuck", "retrying"] = ""


NOTHING = Pending()


def pending_of(answer: DescribeWorkflowExecutionResponse, at: datetime) -> Pending:
    """Return what an execution does, of several activities the one with most attempts.

    Stuck is a run whose Workflow Task fails again and again, or whose task no worker takes.
    """
    task = answer.pending_workflow_task
    if task.attempt > 1:
        return Pending("Workflow Task", task.attempt, trouble="stuck", failure="it keeps failing")
    waits = task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
    if waits and _since(task.scheduled_time, at) >= WAITS_AFTER_S:
        return Pending("Workflow Task", task.attempt, trouble="stuck", failure=_NOBODY)
    activities = sorted(answer.pending_activities, key=lambda one: -one.attempt)
    if not activities:
        return NOTHING
    more = f" and {len(activities) - 1} more" if len(activities) > 1 else ""
    return _activity(activities[0], more, at)


_NOBODY = "waits for a worker"


def _activity(one: PendingActivityInfo, more: str, at: datetime) -> Pending:
    backs_off = one.HasField("next_attempt_schedule_time")
    waits = one.state == PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED and not backs_off
    alone = waits and _since(one.scheduled_time, at) >= WAITS_AFTER_S
    return Pending(
        one.activity_type.name + more,
        one.attempt,
        one.maximum_attempts,
        one.next_attempt_schedule_time.ToDatetime(UTC) if backs_off else None,
        _NOBODY if alone else _last_failure(one),
        "stuck" if alone else "retrying" if one.attempt > 1 else "",
    )


def _last_failure(one: PendingActivityInfo) -> str:
    return failure_in_words(one.last_failure) if one.HasField("last_failure") else ""


def _since(then: Timestamp, at: datetime) -> float:
    return (at - then.ToDatetime(UTC)).total_seconds() if then.seconds else 0.0
