"""Fetch the histories of many runs at once, as they come or as a list."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator
from contextlib import aclosing, contextmanager
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from tqdm.auto import tqdm

from projectai_lab.histories._history import History

T = TypeVar("T")


class Named(Protocol):
    """Anything that names a run: a workflow handle, or an execution out of a listing."""

    @property
    def id(self) -> str:
        """Workflow Id."""

    @property
    def run_id(self) -> str | None:
        """Run Id, None for the latest run."""


WorkflowRef = str | tuple[str, str | None] | Named
"""A Workflow Id, a Workflow Id and a Run Id, or a handle."""

Ids = tuple[str, str | None]
_QUIET_BELOW, _QUIET_SECONDS = 20, 1.0
_SILENT_AFTER_S, _ANSWER_WITHIN = 2.5, timedelta(seconds=2)
# tqdm's own monitor thread would outlive the bar.
_Bar: Any = type("_Bar", (tqdm,), {"monitor_interval": 0})
_log = logging.getLogger("projectai_lab")


async def fetch(
    client: Client,
    query_or_ids: str | Iterable[WorkflowRef],
    *,
    concurrency: int = 50,
    progress: bool = True,
    clock: str | None = None,
) -> list[History]:
    """Return the histories of all runs that a List Filter finds, or of the ids, in that order.

    Runs that are gone by the time they are fetched (retention, deletion) are left out and logged.

    >>> await histories.fetch(client, "WorkflowType = 'ExampleWorkflow'")      # doctest: +SKIP
    >>> await histories.fetch(client, ["req-1", ("req-2", run_id)])            # doctest: +SKIP
    """
    if not isinstance(query_or_ids, str):
        query_or_ids = list(query_or_ids)
    total = await _total(client, query_or_ids) if progress else 0
    quiet = total < _QUIET_BELOW
    found = []
    with _Bar(total=total, unit="run", delay=_QUIET_SECONDS, disable=quiet, leave=False) as bar:
        coming = stream(client, query_or_ids, concurrency=concurrency, clock=clock)
        async with aclosing(coming):
            async for history in coming:
                found.append(history)
                bar.update()
    return found


async def stream(
    client: Client,
    query_or_ids: str | Iterable[WorkflowRef],
    *,
    concurrency: int = 50,
    clock: str | None = None,
    gone: list[Ids] | None = None,
) -> AsyncGenerator[History, None]:
    """Yield the histories of a List Filter or of ids, in that order, as they come.

    At most `concurrency` are being fetched and twice as many held, however many there are: a slow
    consumer makes it wait. Runs that are gone by then are logged and appended to `gone`.

    >>> async for history in histories.stream(client, query):                 # doctest: +SKIP
    ...     tables.events(history)
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, got {concurrency}")
    free, ahead = asyncio.Semaphore(concurrency), deque[asyncio.Task[History | Ids]]()

    async def read(ids: Ids) -> History | Ids:
        async with free:
            return await _read(client, *ids, clock) or ids

    refs = _refs(client, query_or_ids)
    try:
        async with aclosing(refs):
            async for ids in refs:
                ahead.append(asyncio.create_task(read(ids)))
                if len(ahead) == 2 * concurrency and (one := await _next(client, ahead, gone)):
                    yield one
        while ahead:
            if one := await _next(client, ahead, gone):
                yield one
    finally:
        for task in ahead:
            task.cancel()
        await asyncio.gather(*ahead, return_exceptions=True)


async def _next(
    client: Client, ahead: deque[asyncio.Task[History | Ids]], gone: list[Ids] | None
) -> History | None:
    """Return the first history of those ahead; None when that run is gone."""
    found = await _answered(client, ahead[0])
    ahead.popleft()
    if isinstance(found, History):
        return found
    _log.warning("Workflow Id %s, Run Id %s is gone: left out", *found)
    if gone is not None:
        gone.append(found)
    return None


async def _answered(client: Client, call: asyncio.Task[T] | Coroutine[Any, Any, T]) -> T:
    """Await a task; when it takes long, ask whether the server still answers at all.

    So a long fetch may take its time, and a silent server is an error within five seconds.
    """
    waiting = asyncio.ensure_future(call)
    try:
        while not (await asyncio.wait({waiting}, timeout=_SILENT_AFTER_S))[0]:
            await client.workflow_service.get_system_info(
                GetSystemInfoRequest(), timeout=_ANSWER_WITHIN
            )
        return waiting.result()
    finally:
        waiting.cancel()


async def _refs(
    client: Client, query_or_ids: str | Iterable[WorkflowRef]
) -> AsyncGenerator[Ids, None]:
    if not isinstance(query_or_ids, str):
        for ref in query_or_ids:
            yield _ids(ref)
        return
    listed = client.list_workflows(query_or_ids)
    while listed.current_page is None or listed.next_page_token:
        with _list_filter():
            await _answered(client, listed.fetch_next_page())
        for run in listed.current_page or ():
            yield run.id, run.run_id


def _ids(ref: WorkflowRef) -> Ids:
    if isinstance(ref, str):
        return ref, None
    if isinstance(ref, tuple):
        return ref
    return ref.id, ref.run_id


async def _total(client: Client, query_or_ids: str | list[WorkflowRef]) -> int:
    if not isinstance(query_or_ids, str):
        return len(query_or_ids)
    with _list_filter():
        return (await _answered(client, client.count_workflows(query_or_ids))).count


@contextmanager
def _list_filter() -> Iterator[None]:
    try:
        yield
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            error.add_note('a text is a List Filter; give Workflow Ids as a list: ["req-1"]')
        raise


async def _read(
    client: Client, workflow_id: str, run_id: str | None, clock: str | None
) -> History | None:
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    # Looking into the archive costs the server one more lookup a run: so only for what is gone.
    for skip_archival in (True, False):
        try:
            found = await handle.fetch_history(skip_archival=skip_archival)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        else:
            return History(workflow_id, found.events, client.namespace, clock)
    return None
