"""List the runs of a List Filter; with a cache, ask only for what changed since the last time."""

from __future__ import annotations

import asyncio
import json
import time
import zlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab.histories._answers import answered
from projectai_lab.histories._atomic import replaced
from projectai_lab.histories._cache import Cache

Ids = tuple[str, str | None]

_REFUSED = (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED)
_PAGE, _NS, _MARGIN_S = 1000, 1_000_000_000, 1
_HEAD = "{:012d} {:012d} {:010d}\n"


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
        old = _Old.open(path, stack) if path else None
        if old and not await _still_true(client, query, old):
            old = None
        new = _New(path, stack, old.cut_s if old else None)
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


async def _still_true(client: Client, query: str, old: _Old) -> bool:
    try:
        return await count(client, _and(query, old.until)) == old.count
    except RPCError as error:
        # Some filters (ORDER BY on servers that know it) cannot be part of another.
        if error.status is not RPCStatusCode.INVALID_ARGUMENT:
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
        if error.status not in _REFUSED:
            raise
        return None
    key = f"{answer.namespace_info.id}\0{query}".encode()
    return Path(cache.path(key, "listing"))


class _Old:
    """The end of an earlier listing: the runs that had closed by the cut, one a line, in order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.cut_s, self.count, crc32 = map(int, file.readline().split())
        body = file.tell()
        if crc32 != zlib.crc32(file.read()):
            raise ValueError("the file is damaged")
        file.seek(body)
        cut = datetime.fromtimestamp(self.cut_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.until = f"CloseTime <= '{cut}'"
        self.after = f"(CloseTime > '{cut}' OR CloseTime IS NULL)"

    @classmethod
    def open(cls, path: Path, stack: ExitStack) -> _Old | None:
        """Return what a file remembers; None when there is none, or a damaged one."""
        try:
            return cls(stack.enter_context(path.open("rb")))
        except (FileNotFoundError, ValueError):
            return None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)


class _New:
    """Writes the next `_Old` while a listing goes by, if its cut is a later one."""

    def __init__(self, path: Path | None, stack: ExitStack, old_cut_s: int | None) -> None:
        self._path, self._stack, self._old_cut_s = path, stack, old_cut_s
        self._file: BinaryIO | None = None
        self._cut_s = self._count = self._crc32 = 0

    def add(self, run: WorkflowExecutionInfo) -> None:
        """Remember a run that had closed by the cut."""
        if self._path is None or not run.HasField("close_time"):
            return
        closed = run.close_time.ToNanoseconds()
        self._begin(self._path, closed)
        if closed <= self._cut_s * _NS:
            self.write(
                json.dumps([run.execution.workflow_id, run.execution.run_id]).encode() + b"\n"
            )

    def _begin(self, path: Path, closed_ns: int) -> None:
        """Take the cut from the run that closed last, which is listed first of the closed ones.

        Not later than now: on a virtual clock runs close in the future.
        """
        if self._cut_s:
            return
        self._cut_s = min(closed_ns // _NS, int(time.time())) - _MARGIN_S
        if self._old_cut_s is None or self._cut_s > self._old_cut_s:
            self._file = self._stack.enter_context(replaced(path))
            self._file.write(_HEAD.format(0, 0, 0).encode())

    def write(self, line: bytes) -> None:
        """Append a line as it is."""
        if self._file:
            self._file.write(line)
            self._count, self._crc32 = self._count + 1, zlib.crc32(line, self._crc32)

    def finish(self) -> None:
        """Write the head, without which the file counts for nothing."""
        if self._file:
            self._file.seek(0)
            self._file.write(_HEAD.format(self._cut_s, self._count, self._crc32).encode())
