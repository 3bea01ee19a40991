"""Fetch the histories of many runs at once, as they come or as a list."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator, Container, Iterable
from contextlib import aclosing

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowHistoryEventAsyncIterator
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab._bar import Bar
from projectai_lab.histories._answers import answered
from projectai_lab.histories._cache import Cache
from projectai_lab.histories._history import History
from projectai_lab.histories._listing import NOT_ALLOWED, count, listed
from projectai_lab.histories._refs import Ids, WorkflowRef, refs_of

Folder = str | os.PathLike[str]
_Coming = History | asyncio.Task[History | Ids]
_QUIET_BELOW, _QUIET_SECONDS = 20, 1.0
# Reading the cache waits for nothing: all else on the loop, also a cancellation, would have to.
_LET_OTHERS_EVERY = 100
_log = logging.getLogger("projectai_lab")


async def fetch(
    client: Client,
    query_or_ids: str | Iterable[WorkflowRef],
    *,
    concurrency: int = 50,
    progress: bool = True,
    clock: str | None = None,
    cache: Folder | None = None,
) -> list[History]:
    """Return the histories of all runs that a List Filter finds, or of the ids, in that order.

    `cache` is a folder that keeps the histories of closed runs: called again, also after an
    interrupt, only what is not there is fetched. Open runs are fetched each time. Runs that are
    gone by the time they are fetched (retention, deletion) are left out and logged.

    >>> await histories.fetch(client, "WorkflowType = 'ExampleWorkflow'")      # doctest: +SKIP
    >>> await histories.fetch(client, ["req-1", ("req-2", run_id), handle])    # doctest: +SKIP
    """
    found: list[History] = []
    refs = refs_of(query_or_ids)
    total = await _total(client, refs) if progress else 0
    quiet = total is not None and total < _QUIET_BELOW
    with Bar(total=total, unit="run", delay=_QUIET_SECONDS, disable=quiet, leave=False) as bar:
        coming = stream(client, refs, concurrency=concurrency, clock=clock, cache=cache)
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
    cache: Folder | None = None,
    gone: list[Ids] | None = None,
    skip: Container[str | None] = (),
) -> AsyncGenerator[History]:
    """Yield the histories of a List Filter or of ids, in that order, as they come.

    At most `concurrency` are being fetched and twice as many held, however many there are: a slow
    consumer makes it wait. Runs that are gone by then are logged and appended to `gone`, those
    whose Run Id is in `skip` are passed over; `cache` is as for `fetch`.

    >>> async for history in histories.stream(client, query):                 # doctest: +SKIP
    ...     tables.events(history)
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, got {concurrency}")
    reader = _Reader(client, clock, None if cache is None else Cache(cache, client.namespace))
    free, ahead, looked = asyncio.Semaphore(concurrency), deque[_Coming](), 0
    refs = _each(client, refs_of(query_or_ids), reader.cache)
    try:
        async with aclosing(refs):
            async for ids in refs:
                if (looked := looked + 1) % _LET_OTHERS_EVERY == 0:
                    await asyncio.sleep(0)
                if ids[1] in skip:
                    continue
                ahead.append(reader.kept(*ids) or asyncio.create_task(reader.read(ids, free)))
                if len(ahead) == 2 * concurrency and (one := await _next(client, ahead, gone)):
                    yield one
        while ahead:
            if one := await _next(client, ahead, gone):
                yield one
    finally:
        tasks = [one for one in ahead if isinstance(one, asyncio.Task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _next(client: Client, ahead: deque[_Coming], gone: list[Ids] | None) -> History | None:
    """Return the first history of those ahead; None when that run is gone."""
    first = ahead[0]
    found = await answered(client, first) if isinstance(first, asyncio.Task) else first
    ahead.popleft()
    if isinstance(found, History):
        return found
    _log.warning("Workflow Id %s, Run Id %s is gone: left out", *found)
    if gone is not None:
        gone.append(found)
    return None


class _Reader:
    """Reads one history after the other, from the cache or from the server."""

    def __init__(self, client: Client, clock: str | None, cache: Cache | None) -> None:
        self._client, self._clock, self.cache = client, clock, cache

    def kept(self, workflow_id: str, run_id: str | None) -> History | None:
        """Return the history that the cache keeps of a run."""
        if self.cache is None or run_id is None:
            return None
        return self.cache.get(workflow_id, run_id, self._clock)

    async def read(self, ids: Ids, free: asyncio.Semaphore) -> History | Ids:
        """Return the history of a run, or its ids when the run is gone."""
        async with free:
            found = await self._latest(ids[0]) if self.cache and ids[1] is None else None
            found = found or await self._fetch(*ids)
        if found and self.cache:
            self.cache.put(found, ids[1])
        return found or ids

    async def _latest(self, workflow_id: str) -> History | None:
        """Return what the cache keeps of the latest run, which only the server knows."""
        try:
            latest = await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if not _is_gone(error):
                raise
            return None
        return self.kept(workflow_id, latest.run_id)

    async def _fetch(self, workflow_id: str, run_id: str | None) -> History | None:
        handle = self._client.get_workflow_handle(workflow_id, run_id=run_id)
        # Looking into the archive costs the server a lookup a run: so only for what is gone.
        for skip_archival in (True, False):
            try:
                events = await whole(handle.fetch_history_events(skip_archival=skip_archival))
            except RPCError as error:
                if not _is_gone(error):
                    raise
            else:
                return History(workflow_id, events, self._client.namespace, self._clock)
        return None


async def whole(pages: WorkflowHistoryEventAsyncIterator) -> list[HistoryEvent]:
    """Return the events of all pages: of a run that goes on meanwhile, its beginning."""
    await pages.fetch_next_page()
    events = list(pages.current_page or ())
    while pages.next_page_token:
        await pages.fetch_next_page()
        events += pages.current_page or ()
    return events


async def _each(client: Client, refs: str | list[Ids], cache: Cache | None) -> AsyncGenerator[Ids]:
    if not isinstance(refs, str):
        for ids in refs:
            yield ids
        return
    found = listed(client, refs, cache)
    async with aclosing(found):
        async for ids in found:
            yield ids


async def _total(client: Client, refs: str | list[Ids]) -> int | None:
    if not isinstance(refs, str):
        return len(refs)
    try:
        return await count(client, refs)
    except RPCError as error:
        # Some servers list but do not count: then the bar has no end.
        if error.status not in NOT_ALLOWED:
            raise
        return None


def _is_gone(error: RPCError) -> bool:
    return error.status is RPCStatusCode.NOT_FOUND and "namespace" not in error.message.lower()
