"""Why a Workflow Execution does not progress right now, asked of the server in one short look."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import (
    EventType,
    PendingActivityState,
    PendingWorkflowTaskState,
    TaskQueueType,
    WorkerStatus,
)
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    DescribeTaskQueueRequest,
    DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryReverseRequest,
    ListWorkersRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab._connect import is_away
from projectai_lab.errors import (
    LabError,
    NoWorkerError,
    ServerUnreachableError,
    WorkflowStuckError,
)

_UNTAKEN_AFTER_S = 1.8
_RPC_TIMEOUT = timedelta(seconds=2)
_LOOK_WITHIN_S = 2.5
_RUNS_ON = (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.CONTINUED_AS_NEW)
_WORKFLOW = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
_ACTIVITY = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY


@dataclass(frozen=True)
class Trouble:
    """Why an execution does not progress right now, as a kind and one line for the user."""

    kind: Literal["no worker", "stuck", "retrying", "server away"]
    line: str


FATAL: dict[str, type[LabError]] = {
    "no worker": NoWorkerError,
    "stuck": WorkflowStuckError,
    "server away": ServerUnreachableError,
}
"""The error for each kind of trouble that somebody has to mend; a retry may mend itself."""


@dataclass(frozen=True)
class _Untaken:
    """A task that no worker has taken yet; `key` tells it from an earlier one of the same name."""

    name: str
    key: str
    task_queue: str
    queue_type: TaskQueueType.ValueType


class Watch:
    """Looks at one execution now and then; what it holds is only what it saw before."""

    def __init__(self, client: Client, handle: WorkflowHandle[Any, Any]) -> None:
        self._client = client
        self._handle = handle
        self._first_seen: dict[_Untaken, float] = {}
        self.last: Trouble | None = None
        self.task_queue = ""
        self.ended = False

    async def look(self, patience_s: float = _UNTAKEN_AFTER_S) -> Trouble | None:
        """Return what stands in the way now, None when nothing does.

        A task may wait for `patience_s` before its Task Queue is asked for workers.
        """
        try:
            async with asyncio.timeout(_LOOK_WITHIN_S):
                description = await self._handle.describe(rpc_timeout=_RPC_TIMEOUT)
                self.task_queue = description.task_queue
                self.ended = description.status not in _RUNS_ON
                self.last = await self._diagnose(description.raw_description, patience_s)
        except (RPCError, TimeoutError) as error:
            if isinstance(error, RPCError) and not is_away(error):
                raise
            address = self._client.service_client.config.target_host
            self.last = Trouble("server away", f"the server at {address} does not answer")
        return self.last

    async def _diagnose(
        self, raw: DescribeWorkflowExecutionResponse, patience_s: float
    ) -> Trouble | None:
        task = raw.pending_workflow_task
        if task.attempt > 1:
            cause = await _last_task_failure(self._client, self._handle)
            line = f"its Workflow Task keeps failing (attempt {task.attempt}): {cause}"
            return Trouble("stuck", line)
        for one in self._overdue(_untaken(raw), patience_s):
            if nobody := await who_polls(self._client, one.task_queue, one.queue_type):
                return Trouble("no worker", f"{one.name} waits and {nobody}")
        retrying = [pending for pending in raw.pending_activities if pending.attempt > 1]
        return Trouble("retrying", _retry_line(retrying[0])) if retrying else None

    def _overdue(self, untaken: list[_Untaken], patience_s: float) -> list[_Untaken]:
        """Return, one a Task Queue, what has waited too long by our own clock."""
        now = time.monotonic()
        self._first_seen = {one: self._first_seen.get(one, now) for one in untaken}
        old = [one for one in untaken if now - self._first_seen[one] >= patience_s]
        return list({(one.task_queue, one.queue_type): one for one in old}.values())


def _untaken(raw: DescribeWorkflowExecutionResponse) -> list[_Untaken]:
    own = raw.execution_config.task_queue.name
    found = []
    task = raw.pending_workflow_task
    if task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED:
        key = _text(task.scheduled_time)
        found.append(_Untaken("its Workflow Task", key, own, _WORKFLOW))
    for pending in raw.pending_activities:
        if _is_untaken(pending):
            key = f"{pending.activity_id}/{pending.attempt}/{_text(pending.scheduled_time)}"
            queue = pending.activity_options.task_queue.name or own
            found.append(_Untaken(f"activity {pending.activity_type.name}", key, queue, _ACTIVITY))
    return found


def _is_untaken(pending: PendingActivityInfo) -> bool:
    # An attempt that still backs off has the time of its schedule; a queued one has none.
    scheduled = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return pending.state == scheduled and not pending.HasField("next_attempt_schedule_time")


async def who_polls(
    client: Client, task_queue: str, queue_type: TaskQueueType.ValueType = _WORKFLOW
) -> str | None:
    """Return None when a worker seems alive on the Task Queue, else a line that says there is none.

    Heartbeats decide, because the server lists the pollers of a dead worker for over a minute. A
    poller without heartbeats (another SDK, an older one) counts as alive while it is listed.
    """
    known, alive = await _heartbeats(client, task_queue)
    if alive:
        return None
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=queue_type,
    )
    answer = await client.workflow_service.describe_task_queue(request, timeout=_RPC_TIMEOUT)
    if any(poller.identity not in known for poller in answer.pollers):
        return None
    return (
        f"no worker polls Task Queue {task_queue!r}: start one with lab.start_worker() or "
        f"`projectai-lab worker --task-queue {task_queue}`"
    )


async def _heartbeats(client: Client, task_queue: str) -> tuple[set[str], set[str]]:
    """Return the identities of all workers that ever sent a heartbeat, and of the live ones."""
    quoted = task_queue.replace('"', '""')
    request = ListWorkersRequest(namespace=client.namespace, query=f'TaskQueue="{quoted}"')
    try:
        answer = await client.workflow_service.list_workers(request, timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status not in (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.INVALID_ARGUMENT):
            raise
        return set(), set()
    beats = [worker.worker_heartbeat for worker in answer.workers_info]
    now = time.time()
    alive = {
        beat.worker_identity
        for beat in beats
        if beat.status == WorkerStatus.WORKER_STATUS_RUNNING
        and now - beat.heartbeat_time.seconds
        < 2 + 2 * max(1, beat.elapsed_since_last_heartbeat.seconds)
    }
    return {beat.worker_identity for beat in beats}, alive


async def _last_task_failure(client: Client, handle: WorkflowHandle[Any, Any]) -> str:
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
    return "the worker does not finish it in time"


def _retry_line(pending: PendingActivityInfo) -> str:
    limit = f" of {pending.maximum_attempts}" if pending.maximum_attempts else ", no limit"
    failure = pending.last_failure
    kind = failure.application_failure_info.type or "timeout"
    return (
        f"activity {pending.activity_type.name} is retrying (attempt {pending.attempt}{limit}); "
        f"last failure: {kind}: {failure.message}"
    )


def _text(timestamp: Timestamp) -> str:
    return f"{timestamp.seconds}.{timestamp.nanos}"
