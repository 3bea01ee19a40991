"""A run told line by line as it happens: each Event, and the retries that history leaves out."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import textwrap
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, NamedTuple, TextIO

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from projectai_lab import histories
from projectai_lab._closes import CLOSES
from projectai_lab._troubles import Queue, Watch, retry_line
from projectai_lab._words import duration

_LOOK_EVERY_S = 1.0
_NAMES = ("activity_type", "workflow_type", "timer_id", "signal_name", "update_name", "marker_name")
_OPENERS = ("scheduled_event_id", "initiated_event_id")
_OVER = {
    "no worker": "a worker polls Task Queue {queue!r} now, after {took}",
    "stuck": "its Workflow Task no longer fails, after {took}",
    "server away": "the server answers again after {took}",
}
_INDENT = " " * 19
_UNKNOWN_WIDTH, _NARROW, _MOST_ROWS = 500, 60, 3


class Line(NamedTuple):
    """One line; `bad` are failures and troubles.

    The Event that closes the run has its `status`, and the `next_run` that goes on in its place.
    """

    words: str
    event_id: int = 0
    status: str = ""
    bad: bool = False
    next_run: str = ""


async def lines(
    client: Client, handle: WorkflowHandle[Any, Any], after: int
) -> AsyncGenerator[Line]:
    """Yield a line an Event after `after`, and one a retry or trouble, until the run closes.

    As a result does, it goes on with the run that continues it (Continue-As-New, retry, cron).
    """
    run: WorkflowHandle[Any, Any] | None = handle
    while run:
        this, run = run, None
        async with aclosing(_of_run(client, this, after)) as coming:
            async for line in coming:
                yield line
                if line.next_run:
                    run = client.get_workflow_handle(handle.id, run_id=line.next_run)
        after = 0


async def _of_run(
    client: Client, handle: WorkflowHandle[Any, Any], after: int
) -> AsyncGenerator[Line]:
    queue: asyncio.Queue[Line | BaseException | None] = asyncio.Queue()
    tasks = [
        asyncio.create_task(_put(_events(handle, after), queue, last=True)),
        asyncio.create_task(_put(_troubles(client, handle), queue)),
    ]
    try:
        while line := await queue.get():
            if isinstance(line, BaseException):
                raise line
            yield line
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _put(coming: AsyncGenerator[Line], queue: asyncio.Queue[Any], last: bool = False) -> None:
    try:
        async with aclosing(coming):
            async for line in coming:
                queue.put_nowait(line)
    except Exception as error:
        queue.put_nowait(error)
    if last:
        queue.put_nowait(None)


async def _events(handle: WorkflowHandle[Any, Any], after: int) -> AsyncGenerator[Line]:
    names: dict[int, str] = {}
    start = 0
    async with aclosing(histories.follow(handle)) as coming:
        async for event in coming:
            start = start or event.event_time.ToNanoseconds()
            at = (event.event_time.ToNanoseconds() - start) / 1e9
            line = _line(event, names, at)
            if event.event_id > after:
                yield line


async def _troubles(client: Client, handle: WorkflowHandle[Any, Any]) -> AsyncGenerator[Line]:
    watch = Watch(client, handle)
    standing = _Standing(watch)
    while not watch.ended:
        await asyncio.sleep(_LOOK_EVERY_S)
        for line in await standing.news():
            yield line


class _Standing:
    """The troubles that were told and stand: each is told when it comes, and when it has ended."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._since: dict[tuple[str, Queue | None], float] = {}
        self._told: set[tuple[Any, ...]] = set()

    async def news(self) -> list[Line]:
        """Look, and return a line for each trouble that has ended or come."""
        began = time.monotonic()
        trouble = await self._watch.look()
        ended = await self._ended()
        found: dict[tuple[Any, ...], tuple[str, str]] = {
            ("retrying", one.activity_id, one.attempt): (retry_line(one), due(one))
            for one in self._watch.retrying
        }
        if trouble and trouble.kind != "retrying":
            found[*trouble.key, trouble.line] = trouble.line, ""
        if trouble and trouble.kind in _OVER:
            self._since.setdefault(trouble.key, began)
        come = [words for key, words in found.items() if key not in self._told]
        # What may come and go while its trouble stands, such as which task waits, is told once.
        self._told = {*found, *(key for key in self._told if key[:2] in self._since)}
        return [*map(_beside, ended), *_alike(come)]

    async def _ended(self) -> list[str]:
        try:
            over = [key for key in self._since if await self._is_over(*key)]
        except RPCError:
            # Not known: the next look will tell.
            return []
        now = time.monotonic()
        took = {key: duration(max(1, round(now - self._since.pop(key)))) for key in over}
        return [
            _OVER[kind].format(queue=queue and queue[0], took=took[kind, queue])
            for kind, queue in over
            # Of a run that has ended, its last Event tells.
            if kind == "server away" or not self._watch.ended
        ]

    async def _is_over(self, kind: str, queue: Queue | None) -> bool:
        last = self._watch.last
        if last and (last.kind == "server away" or last.key == (kind, queue)):
            return False
        if kind == "stuck":
            return not last or last.kind != "no worker"
        # That nothing waits for a worker right now says nothing of workers.
        return self._watch.ended or not queue or not await self._watch.who_polls(*queue)


def _alike(come: list[tuple[str, str]]) -> list[Line]:
    """Return one line for all that is told in the same words, with when the first is due."""
    found = []
    for words, count in Counter(words for words, _ in come).items():
        when = next(when for one, when in come if one == words)
        more = f" (and {count - 1:,} more alike)" if count > 1 else ""
        found.append(_beside(when + words + more, bad=True))
    return found


def _beside(words: str, bad: bool = False) -> Line:
    """Return a line that is no Event."""
    return Line(_INDENT + words, bad=bad)


def due(pending: PendingActivityInfo) -> str:
    """Return when the next attempt is due, on the server's clock; "" where the server is silent."""
    if not pending.HasField("next_attempt_schedule_time"):
        return ""
    at = pending.next_attempt_schedule_time
    wait = ""
    if pending.HasField("last_attempt_complete_time"):
        ended = pending.last_attempt_complete_time
        wait = f", {duration((at.ToNanoseconds() - ended.ToNanoseconds()) / 1e9)} after the last"
    return f"next attempt at {at.ToDatetime():%H:%M:%S} UTC{wait}: "


def _line(event: HistoryEvent, names: dict[int, str], at: float) -> Line:
    kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    attributes = getattr(event, str(event.WhichOneof("attributes")), None)
    name = _name(attributes) or next(
        (names[one] for key in _OPENERS if (one := getattr(attributes, key, 0)) in names), ""
    )
    names[event.event_id] = name
    status = CLOSES.get(event.event_type, "")
    next_run = getattr(attributes, "new_execution_run_id", "") if status else ""
    goes_on = "goes on in a new run" if next_run else ""
    facts = " · ".join(filter(None, (name, *_facts(event, attributes), goes_on)))
    words = f"{'+' + duration(at):>10} {event.event_id:>6}  {kind}  {facts}".rstrip()
    bad = kind.endswith(("FAILED", "TIMED_OUT", "TERMINATED"))
    return Line(words, event.event_id, status, bad, next_run)


def _name(attributes: Any) -> str:
    found = next((one for key in _NAMES if (one := getattr(attributes, key, None))), "")
    return str(getattr(found, "name", found))


def _facts(event: HistoryEvent, attributes: Any) -> list[str]:
    """Return child, attempt, failure and result of an Event, as far as it has them."""
    if event.event_type == EventType.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
        return [f"id {attributes.workflow_id}"]
    fields = attributes.DESCRIPTOR.fields_by_name if attributes is not None else {}
    found = [f"attempt {attributes.attempt}"] if "attempt" in fields and attributes.attempt else []
    if "failure" in fields and attributes.HasField("failure"):
        failure = attributes.failure
        while failure.HasField("cause"):
            failure = failure.cause
        kind = failure.application_failure_info.type or "failure"
        found.append(f"{kind}: {failure.message}")
    result = getattr(attributes, "result", None)
    if payloads := getattr(result, "payloads", None):
        try:
            found.append(f"result {json.loads(payloads[0].data)!r}")
        except ValueError:
            found.append(f"result of {len(payloads[0].data):,} bytes")
    return found


def tell(coming: Iterable[Line], out: TextIO, most: int) -> str:
    """Write the lines as the terminal has room, and return the status that closes.

    An interrupt is a KeyboardInterrupt that says how to go on.
    """
    color = out.isatty() and not os.environ.get("NO_COLOR")
    width = max(20, shutil.get_terminal_size((_UNKNOWN_WIDTH, 24)).columns)
    count = last = 0
    status, first_run = "unknown", True
    try:
        for line in coming:
            count, last, status = count + 1, line.event_id or last, line.status or status
            first_run = first_run and not line.next_run
            if count <= most or line.status:
                _write(out, line, width, color)
            elif count == most + 1:
                _write(out, Line(f"… more than {most:,} lines: only the end is told"), width, color)
    except KeyboardInterrupt:
        # Event Ids begin anew with each run.
        after = f"after={last}" if last and first_run else ""
        words = f"no longer watched; the run goes on: handle.watch({after})"
        raise KeyboardInterrupt(words) from None
    return status


def _write(out: TextIO, line: Line, width: int, color: bool) -> None:
    # A message must not end the line, nor steer the terminal.
    words = "".join(one if one.isprintable() else "·" for one in line.words)
    for row in _rows(words, width, _MOST_ROWS if line.bad or width < _NARROW else 1):
        out.write(f"\x1b[31m{row}\x1b[0m\n" if color and line.bad else f"{row}\n")
    out.flush()


def _rows(words: str, width: int, most: int) -> list[str]:
    """Fold a line that is longer than the terminal is wide; what does not fit is cut.

    In a narrow terminal the columns go, so that the words have room.
    """
    narrow = width < _NARROW
    words = " ".join(words.split()) if narrow else words
    if len(words) <= width:
        return [words]
    indent = "  " if narrow else _INDENT
    fold = textwrap.TextWrapper(width, subsequent_indent=indent, break_on_hyphens=False)
    rows = fold.wrap(words) if most > 1 else [words]
    kept = rows[:most]
    if len(rows) > most or len(kept[-1]) > width:
        kept[-1] = f"{kept[-1][: width - 1]}…"
    return kept
