"""List the runs of a List Filter; with a cache, ask only for what changed since the last time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path

from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab.histories._answers import answered
from projectai_lab.histories._cache import Cache
from projectai_lab.histories._refs import Ids
from projectai_lab.histories._remembered import Remembered, Remembering

NOT_ALLOWED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED)
"""How a server refuses what it would be good to know but can be done without."""

_PAGE = 1000


async def count(client: Client, query: str) -> int:
    """Return how many runs a List Filter finds."""
    with _explained():
        return (await answered(client, client.count_workflows(query))).count


async def listed(client: Client, query: str, cache: Cache | None = None) -> AsyncGenerator[Ids]:
    """Yield the runs of a List Filter in the server's order, a page ahead of the consumer.

    With a cache, the runs that had closed by a certain instant, the cut, are remembered, and only
    the others are listed, as long as the server counts as many up to the cut as were remembered:
    what has closed stays as it is, so both together are the whole listing.
    """
    path = await _place(client, query, cache) if cache else None
    with ExitStack() as stack:
        old = Remembered.open(path, stack) if path else None
        if old and not await _still_true(client, query, old):
            old = None
        new = Remembering(path, stack, old.cut_s if old else None)
        runs = _pages(client, _and(query, old.after) if old else query)
        async with aclosing(runs):
            async for run in runs:
                new.add(run)
                yield run.execution.workflow_id, run.execution.run_id
        for line in old or ():
            new.write(line)
            workflow_id, run_id = json.loads(line)
            yield workflow_id, run_id
        new.finish()


def _and(query: str, condition: str) -> str:
    return f"({query}) AND {condition}" if query.strip() else condition


async def _still_true(client: Client, query: str, old: Remembered) -> bool:
    try:
        return await count(client, _and(query, old.until)) == old.count
    except RPCError as error:
        # Some filters (ORDER BY on servers that know it) cannot be part of another.
        if error.status not in (RPCStatusCode.INVALID_ARGUMENT, *NOT_ALLOWED):
            raise
        return False


async def _pages(client: Client, query: str) -> AsyncGenerator[WorkflowExecutionInfo]:
    """Yield the runs as they come: decoded by the SDK, each would cost a third more."""
    were_open: set[str] = set()
    coming: asyncio.Task[ListWorkflowExecutionsResponse] | None
    coming = asyncio.create_task(_page(client, query, b""))
    try:
        while coming:
            page = await answered(client, coming)
            token = page.next_page_token
            coming = asyncio.create_task(_page(client, query, token)) if token else None
            for run in page.executions:
                # A run that closes meanwhile moves in the order, and would come a second time.
                if run.execution.run_id in were_open:
                    continue
                if not run.HasField("close_time"):
                    were_open.add(run.execution.run_id)
                yield run
    finally:
        if coming:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


async def _page(client: Client, query: str, token: bytes) -> ListWorkflowExecutionsResponse:
    request = ListWorkflowExecutionsRequest(
        namespace=client.namespace, query=query, page_size=_PAGE, next_page_token=token
    )
    with _explained():
        return await client.workflow_service.list_workflow_executions(request, retry=True)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            error.add_note('a text is a List Filter; give Workflow Ids as a list: ["req-1"]')
        raise


async def _place(client: Client, query: str, cache: Cache) -> Path | None:
    """Return the file of a listing; None where the server does not say who it is.

    A Namespace's own id tells it from one of the same name on another server.
    """
    request = DescribeNamespaceRequest(namespace=client.namespace)
    try:
        call = client.workflow_service.describe_namespace(request)
        answer = await answered(client, call)
    except RPCError as error:
        if error.status not in NOT_ALLOWED:
            raise
        return None
    key = f"{answer.namespace_info.id}\0{query}".encode()
    return Path(cache.path(key, "listing"))
