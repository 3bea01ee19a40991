"""A run told line by line as it happens: each Event, and the retries that history leaves out."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, NamedTuple, TextIO

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowHandle

from projectai_lab import histories
from projectai_lab._closes import CLOSES
from projectai_lab._troubles import Watch, retry_line
from projectai_lab._words import duration

_LOOK_EVERY_S = 1.0
_NAMES = ("activity_type", "workflow_type", "timer_id", "signal_name", "update_name", "marker_name")
_OPENERS = ("scheduled_event_id", "initiated_event_id")


class Line(NamedTuple):
    """One line; `status` is set by the Event that closes the run, `bad` by failures."""

    words: str
    event_id: int = 0
    status: str = ""
    bad: bool = False


async def lines(
    client: Client, handle: WorkflowHandle[Any, Any], after: int
) -> AsyncGenerator[Line]:
    """Yield a line an Event after `after`, and one a retry or trouble, until the run closes."""
    queue: asyncio.Queue[Line | BaseException | None] = asyncio.Queue()
    tasks = [
        asyncio.create_task(_put(_events(handle, after), queue, last=True)),
        asyncio.create_task(_put(_troubles(Watch(client, handle)), queue)),
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


async def _troubles(watch: Watch) -> AsyncGenerator[Line]:
    told: set[str] = set()
    while not watch.ended:
        await asyncio.sleep(_LOOK_EVERY_S)
        trouble = await watch.look()
        found = {} if trouble is None or trouble.kind == "retrying" else {trouble.line: ""}
        found |= {retry_line(one): due(one) for one in watch.retrying}
        for words, when in found.items():
            # An attempt that has begun since has no due time: it is told once.
            if words not in told:
                told.add(words)
                yield Line(f"{'':>10} {'':>6}  {when}{words}", bad=True)


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
    facts = " · ".join(filter(None, (name, *_facts(attributes))))
    words = f"{'+' + duration(at):>10} {event.event_id:>6}  {kind}  {facts}"
    bad = kind.endswith(("FAILED", "TIMED_OUT", "TERMINATED"))
    return Line(words, event.event_id, CLOSES.get(event.event_type, ""), bad)


def _name(attributes: Any) -> str:
    found = next((one for key in _NAMES if (one := getattr(attributes, key, None))), "")
    return str(getattr(found, "name", found))


def _facts(attributes: Any) -> list[str]:
    """Return attempt, failure and result of an Event, as far as it has them."""
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
    """Write the lines, each cut to the terminal's width, and return the status that closes."""
    color = out.isatty()
    width = max(40, shutil.get_terminal_size((120, 24)).columns)
    count = last = 0
    status = "unknown"
    try:
        for line in coming:
            count, last, status = count + 1, line.event_id or last, line.status or status
            if count <= most or line.status:
                _write(out, line, width, color)
            elif count == most + 1:
                _write(out, Line(f"… more than {most:,} lines: only the end is told"), width, color)
    except KeyboardInterrupt:
        words = f"no longer watched; the run goes on: handle.watch(after={last})"
        _write(out, Line(words), width, color)
        raise
    return status


def _write(out: TextIO, line: Line, width: int, color: bool) -> None:
    # A message must not end the line, nor steer the terminal.
    words = "".join(one if one.isprintable() else "·" for one in line.words)
    words = words if len(words) <= width else f"{words[: width - 1]}…"
    out.write(f"\x1b[31m{words}\x1b[0m\n" if color and line.bad else f"{words}\n")
    out.flush()
