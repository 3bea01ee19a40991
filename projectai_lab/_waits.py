"""Wait for a Workflow Execution and say why it does not come: no wait hangs in silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypeVar

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
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab.errors import NoWorkerError, WorkflowTimeoutError

T = TypeVar("T")

LOOK_EVERY_S = 1.0
_UNTAKEN_AFTER_S = 1.8
_SAY_AGAIN_AFTER_S = 30.0
_RPC_TIMEOUT = timedelta(seconds=2)
_LOOK_WITHIN_S = 2.5
AWAY = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED)


@dataclass(frozen=True)
class Trouble:
    """Why an execution does not progress right now, as a kind and one line for the user."""

    kind: Literal["no worker", "stuck", "retrying", "server away"]
    line: str


class Watch:
    """Looks at one execution now and then; what it holds is only what it saw before."""

    def __init__(self, client: Client, handle: WorkflowHandle[Any, Any]) -> None:
        self._client = client
        self._handle = handle
        self._untaken: dict[str, float] = {}
        self._said: dict[str, float] = {}
        self.last: Trouble | None = None

    async def look(self) -> Trouble | None:
        """Return what stands in the way now, None when nothing does."""
        try:
            async with asyncio.timeout(_LOOK_WITHIN_S):
                description = await self._handle.describe(rpc_timeout=_RPC_TIMEOUT)
                self.last = await self._diagnose(description.raw_description)
        except (RPCError, TimeoutError) as error:
            if isinstance(error, RPCError) and error.status not in AWAY:
                raise
            address = self._client.service_client.config.target_host
            self.last = Trouble("server away", f"the server at {address} does not answer")
        return self.last

    def is_news(self, trouble: Trouble) -> bool:
        """Whether this kind of trouble was not said in the last half minute."""
        now = time.monotonic()
        if now - self._said.get(trouble.kind, float("-inf")) < _SAY_AGAIN_AFTER_S:
            return False
        self._said[trouble.kind] = now
        return True

    async def _diagnose(self, raw: DescribeWorkflowExecutionResponse) -> Trouble | None:
        task = raw.pending_workflow_task
        queue = raw.execution_config.task_queue.name
        if task.attempt > 1:
            cause = await _last_task_failure(self._client, self._handle)
            line = f"its Workflow Task keeps failing (attempt {task.attempt}): {cause}"
            return Trouble("stuck", line)
        waiting = {}
        if task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED:
            waiting["its Workflow Task"] = _key(task.scheduled_time)
        for pending in raw.pending_activities:
            if _is_untaken(pending):
                name = f"activity {pending.activity_type.name}"
                waiting[name] = f"{pending.activity_id}/{_key(pending.scheduled_time)}"
        untaken = self._untaken_since(waiting)
        nobody = await who_polls(self._client, queue) if untaken else None
        if nobody:
            return Trouble("no worker", f"{untaken} waits and {nobody}")
        retrying = [pending for pending in raw.pending_activities if pending.attempt > 1]
        return Trouble("retrying", _retry_line(retrying[0])) if retrying else None

    def _untaken_since(self, waiting: dict[str, str]) -> str | None:
        """Name what has waited for a worker since an earlier look, timed by our own clock."""
        now = time.monotonic()
        seen = {key: self._untaken.get(key, now) for key in waiting.values()}
        self._untaken = seen
        old = [name for name, key in waiting.items() if now - seen[key] >= _UNTAKEN_AFTER_S]
        return old[0] if old else None


async def result(
    client: Client,
    handle: WorkflowHandle[Any, T],
    *,
    timeout: timedelta | None,
    on_trouble: Callable[[Trouble], None],
) -> T:
    """Return the run's result; call `on_trouble` when it stands still; survive a server restart.

    Raises `WorkflowTimeoutError` after `timeout`, with the last trouble in the message, and
    whatever `on_trouble` raises.
    """
    deadline = time.monotonic() + timeout.total_seconds() if timeout else float("inf")
    watch = Watch(client, handle)
    waiting = asyncio.ensure_future(_patient_result(handle))
    try:
        while True:
            pause = max(0.0, min(LOOK_EVERY_S, deadline - time.monotonic()))
            done, _ = await asyncio.wait({waiting}, timeout=pause)
            if done:
                return waiting.result()
            if time.monotonic() >= deadline:
                raise _timed_out(handle, timeout, watch.last or await watch.look())
            trouble = await watch.look()
            if trouble and watch.is_news(trouble):
                on_trouble(trouble)
    finally:
        waiting.cancel()


async def _patient_result(handle: WorkflowHandle[Any, T]) -> T:
    while True:
        try:
            return await handle.result()
        except RPCError as error:
            if error.status not in AWAY:
                raise
            await asyncio.sleep(0.5)


def _timed_out(
    handle: WorkflowHandle[Any, Any], timeout: timedelta | None, trouble: Trouble | None
) -> WorkflowTimeoutError:
    seconds = timeout.total_seconds() if timeout else 0
    why = trouble.line if trouble else "it is running and nothing stands in its way"
    return WorkflowTimeoutError(
        f"Workflow Execution {handle.id!r} was still running after {seconds:g} s: {why}. "
        "It goes on; wait again with handle.result(), look with handle.describe()",
        workflow_id=handle.id,
        trouble=trouble,
    )


async def with_worker(client: Client, handle: WorkflowHandle[Any, Any], call: Awaitable[T]) -> T:
    """Await a call that only a worker can answer; raise `NoWorkerError` when none is there."""
    waiting = asyncio.ensure_future(call)
    try:
        while True:
            done, _ = await asyncio.wait({waiting}, timeout=2 * LOOK_EVERY_S)
            if done:
                return waiting.result()
            task_queue = (await handle.describe(rpc_timeout=_RPC_TIMEOUT)).task_queue
            if line := await who_polls(client, task_queue):
                raise NoWorkerError(f"nobody can answer: {line}", task_queue=task_queue)
    finally:
        waiting.cancel()


async def who_polls(client: Client, task_queue: str) -> str | None:
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
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
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
        < 3 + 2 * max(1, beat.elapsed_since_last_heartbeat.seconds)
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


def _is_untaken(pending: PendingActivityInfo) -> bool:
    scheduled = PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
    return pending.state == scheduled and pending.attempt <= 1


def _retry_line(pending: PendingActivityInfo) -> str:
    limit = f" of {pending.maximum_attempts}" if pending.maximum_attempts else ", no limit"
    failure = pending.last_failure
    kind = failure.application_failure_info.type or "timeout"
    return (
        f"activity {pending.activity_type.name} is retrying (attempt {pending.attempt}{limit}); "
        f"last failure: {kind}: {failure.message}"
    )


def _key(timestamp: Timestamp) -> str:
    return f"{timestamp.seconds}.{timestamp.nanos}"
