"""Whether a worker is alive on a Task Queue, by its heartbeats rather than the server's list."""

from __future__ import annotations

import socket
import time
from datetime import timedelta

from temporalio.api.deployment.v1 import WorkerDeploymentVersion
from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, ListWorkersRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab._connect import is_our_identity

_RPC_TIMEOUT = timedelta(seconds=2)
# The first heartbeat of a worker does not say how often they come; the SDK's own limit is a minute.
_OUR_BEAT_S, _SLOWEST_BEAT_S = 1.0, 60.0
# The time of a heartbeat is of its worker's clock.
_CLOCKS_APART_S = 10.0


async def who_polls(
    client: Client,
    task_queue: str,
    queue_type: TaskQueueType.ValueType = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    version: WorkerDeploymentVersion | None = None,
) -> str | None:
    """Return None when a worker (of the version) seems alive, else a line that says there is none.

    Heartbeats decide, because the server lists the pollers of a dead worker for over a minute. A
    poller that is not ours and sends no heartbeats (another SDK, an older one) counts as alive
    while it is listed.
    """
    beats = await _heartbeats(client, task_queue)
    fitting = [one for one in beats or () if version in (None, one.deployment_version)]
    if any(map(_is_alive, fitting)):
        return None
    known = {beat.worker_identity for beat in beats or ()}
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=queue_type,
    )
    answer = await client.workflow_service.describe_task_queue(request, timeout=_RPC_TIMEOUT)
    others = {poller.identity for poller in answer.pollers} - known
    if any(beats is None or not is_our_identity(identity) for identity in others):
        return None
    if version:
        return (
            f"no worker of build {version.build_id}, which the run is pinned to, polls Task Queue "
            f"{task_queue!r}: run its cell again, which brings one back while the run is open"
        )
    return (
        f"no worker polls Task Queue {task_queue!r}: start one with lab.start_worker() or "
        f"`projectai-lab worker --task-queue {task_queue}`"
    )


async def alive_workers(client: Client, task_queue: str) -> list[str]:
    """Return the identities of the workers on a Task Queue whose heartbeats say that they live."""
    beats = await _heartbeats(client, task_queue) or []
    return sorted(beat.worker_identity for beat in beats if _is_alive(beat))


async def _heartbeats(client: Client, task_queue: str) -> list[WorkerHeartbeat] | None:
    """Return the last heartbeat of each worker on the queue; None where the server keeps none."""
    quoted = task_queue.replace('"', '""')
    request = ListWorkersRequest(namespace=client.namespace, query=f'TaskQueue="{quoted}"')
    try:
        answer = await client.workflow_service.list_workers(request, timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status not in (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.INVALID_ARGUMENT):
            raise
        return None
    return [worker.worker_heartbeat for worker in answer.workers_info]


def _is_alive(beat: WorkerHeartbeat) -> bool:
    """Whether a worker has missed no more than one heartbeat, as far as is known."""
    first = _OUR_BEAT_S if is_our_identity(beat.worker_identity) else _SLOWEST_BEAT_S
    between = beat.elapsed_since_last_heartbeat.ToTimedelta().total_seconds() or first
    may_be_s = 2 + 2 * min(max(between, _OUR_BEAT_S), _SLOWEST_BEAT_S)
    if beat.host_info.host_name != socket.gethostname():
        may_be_s += _CLOCKS_APART_S
    running = beat.status == WorkerStatus.WORKER_STATUS_RUNNING
    return running and time.time() - beat.heartbeat_time.ToNanoseconds() / 1e9 < may_be_s
