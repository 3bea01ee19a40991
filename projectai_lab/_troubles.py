"""Why a Workflow Execution does not progress right now, asked of the server in one short look."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import (
    EventType,
    PendingActivityState,
    PendingWorkflowTaskState,
    TaskQueueType,
)
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryReverseRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError

from projectai_lab._connect import is_away
from projectai_lab._pollers import who_polls
from projectai_lab.errors import (
    LabError,
    NoWorkerError,
    ServerUnreachableError,
    WorkflowStuckError,
)

_UNFINISHED_AFTER_S = 1.8
_RPC_TIMEOUT = timedelta(seconds=2)
_LOOK_WITHIN_S = 2.5
# A worker is back within seconds after its server; until then its heartbeats are missing.
_BACK_WITHIN_S = 6.0
RUNS_ON = (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.CONTINUED_AS_NEW)
_WORKFLOW = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
_ACTIVITY = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


Queue = tuple[str, TaskQueueType.ValueType]
"""A Task Queue's name and type."""


@dataclass(frozen=True)
class Trouble:
    """Why an execution does not progress right now, as a kind and one line for the user.

    `queue` is the one that no worker polls.
    """

    kind: Literal["no worker", "stuck", "retrying", "server away", "real time"]
    line: str
    queue: Queue | None = field(default=None, compare=False)

    @property
    def key(self) -> tuple[str, Queue | None]:
        """What stays the same for as long as the trouble stands."""
        return self.kind, self.queue


FATAL: dict[str, type[LabError]] = {
    "no worker": NoWorkerError,
    "stuck": WorkflowStuckError,
    "server away": ServerUnreachableError,
}
"""The error for each kind of trouble that somebody has to mend; a retry may mend itself."""


@dataclass(frozen=True)
class _Unfinished:
    """A task that waits for a worker, or that a worker took, which may have died since.

    `key` tells it from an earlier one of the same name.
    """

    name: str
    key: str
    task_queue: str
    queue_type: TaskQueueType.ValueType


class Watch:
    """Looks at one execution now and then; what it holds is only what it saw before."""

    def __init__(self, client: Client, handle: WorkflowHandle[Any, Any]) -> None:
        self._client = client
        self._handle = handle
        self._first_seen: dict[_Unfinished, float] = {}
        self._was_away = -math.inf
        self.last: Trouble | None = None
        self.task_queue = ""
        self.pinned_to: WorkerDeploymentVersion | None = None
        self.ended = False
        self.retrying: list[PendingActivityInfo] = []

    async def look(self, patience_s: float = _UNFINISHED_AFTER_S) -> Trouble | None:
        """Return what stands in the way now, None when nothing does.

        A task may wait for `patience_s` before its Task Queue is asked for workers.
        """
        try:
            async with asyncio.timeout(_LOOK_WITHIN_S):
                description = await self._handle.describe(rpc_timeout=_RPC_TIMEOUT)
                self.task_queue = description.task_queue
                self.pinned_to = _pinned_to(description.raw_description)
                self.ended = description.status not in RUNS_ON
                self.last = await self._diagnose(description.raw_description, patience_s)
        except (RPCError, TimeoutError) as error:
            if isinstance(error, RPCError) and not is_away(error):
                raise
            self._was_away = time.monotonic()
            address = self._client.service_client.config.target_host
            self.last = Trouble("server away", f"the server at {address} does not answer")
        return self.last

    async def _diagnose(
        self, raw: DescribeWorkflowExecutionResponse, patience_s: float
    ) -> Trouble | None:
        self.retrying = [one for one in raw.pending_activities if one.attempt > 1]
        task = raw.pending_workflow_task
        if task.attempt > 1:
            return await self._why_again(task.attempt)
        for one in self._overdue(_unfinished(raw), patience_s):
            queue = one.task_queue, one.queue_type
            if nobody := await self.who_polls(*queue):
                return Trouble("no worker", f"{one.name} and {nobody}", queue)
        if skips := _used_up(raw):
            return Trouble(
                "real time", f"it has used its {skips:,} time skips and waits on in real time"
            )
        return Trouble("retrying", retry_line(self.retrying[0])) if self.retrying else None

    async def _why_again(self, attempt: int) -> Trouble:
        """Tell why a Workflow Task is tried again: its code fails, or nobody finishes it."""
        cause = await _last_task_failure(self._client, self._handle)
        nobody = None if cause else await self.who_polls(self.task_queue)
        if nobody:
            queue = self.task_queue, _WORKFLOW
            return Trouble("no worker", f"its Workflow Task waits and {nobody}", queue)
        cause = cause or "the worker does not finish it in time"
        return Trouble("stuck", f"its Workflow Task keeps failing (attempt {attempt}): {cause}")

    async def who_polls(
        self, task_queue: str, queue_type: TaskQueueType.ValueType = _WORKFLOW
    ) -> str | None:
        """Return what `who_polls` says of the workers that may take the run's tasks."""
        # What runs on another Task Queue has workers of other versions.
        version = self.pinned_to if task_queue == self.task_queue else None
        return await who_polls(self._client, task_queue, queue_type, version)

    def _overdue(self, unfinished: list[_Unfinished], patience_s: float) -> list[_Unfinished]:
        """Return, one a Task Queue, what has waited too long by our own clock."""
        now = time.monotonic()
        self._first_seen = {one: self._first_seen.get(one, now) for one in unfinished}
        if now - self._was_away < _BACK_WITHIN_S:
            return []
        old = [one for one in unfinished if now - self._first_seen[one] >= patience_s]
        return list({(one.task_queue, one.queue_type): one for one in old}.values())


def _unfinished(raw: DescribeWorkflowExecutionResponse) -> list[_Unfinished]:
    own = raw.execution_config.task_queue.name
    task, found = raw.pending_workflow_task, []
    if raw.HasField("pending_workflow_task"):
        taken = task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED
        key = f"{taken}/{_text(task.scheduled_time)}"
        found.append(_Unfinished(f"its Workflow Task {_waits(taken)}", key, own, _WORKFLOW))
    for pending in raw.pending_activities:
        # An attempt that backs off has the time of its schedule; one that waits or runs has none.
        if pending.HasField("next_attempt_schedule_time"):
            continue
        taken = pending.state != PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
        attempt = f"{pending.activity_id}/{pending.attempt}/{_text(pending.scheduled_time)}"
        queue = pending.activity_options.task_queue.name or own
        name = f"activity {pending.activity_type.name} {_waits(taken)}"
        found.append(_Unfinished(name, f"{taken}/{attempt}", queue, _ACTIVITY))
    return found


def _pinned_to(raw: DescribeWorkflowExecutionResponse) -> WorkerDeploymentVersion | None:
    """Return the only version whose workers the run is routed to; None where any may take it."""
    override = raw.workflow_execution_info.versioning_info.versioning_override
    return override.pinned.version if override.pinned.version.build_id else None


def _waits(taken: bool) -> str:
    return "was taken but not finished" if taken else "waits"


async def _last_task_failure(client: Client, handle: WorkflowHandle[Any, Any]) -> str | None:
    """Return what the workflow's code raised last; None when no worker reported a failure."""
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=handle.id, run_id=handle.run_id or ""),
        maximum_page_size=20,
    )
    answer = await client.workflow_service.get_workflow_execution_history_reverse(
        request, timeout=_RPC_TIMEOUT
    )
    for event in answer.history.events:
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
            failure = event.workflow_task_failed_event_attributes.failure
            return f"{failure.application_failure_info.type or 'failure'}: {failure.message}"
    return None


def retry_line(pending: PendingActivityInfo) -> str:
    """Return which attempt an activity is at and what its last one met."""
    limit = f" of {pending.maximum_attempts}" if pending.maximum_attempts else ", no limit"
    return (
        f"activity {pending.activity_type.name} is retrying (attempt {pending.attempt}{limit}); "
        f"last failure: {failure_in_words(pending.last_failure)}"
    )


def failure_in_words(failure: Failure) -> str:
    """Return the kind of an activity's failure and its message."""
    timed_out = failure.HasField("timeout_failure_info")
    kind = "timeout" if timed_out else failure.application_failure_info.type or "failure"
    return f"{kind}: {failure.message}"


def _used_up(raw: DescribeWorkflowExecutionResponse) -> int:
    """Return how many time skips the run was allowed and has made; 0 while it may make more."""
    info = raw.workflow_extended_info.time_skipping_info
    clock = info.effective_config
    return 0 if clock.enabled else clock.max_session_skip_count


def _text(timestamp: Timestamp) -> str:
    return f"{timestamp.seconds}.{timestamp.nanos}"
