"""The forms in which a history can be: which one it is, the histories in it, and whether whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from google.protobuf.json_format import ParseError
from google.protobuf.message import DecodeError
from temporalio.api.export.v1 import WorkflowExecutions
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab.histories._history import History
from projectai_lab.histories._json import events_of

KEY = "projectai_lab"

_BOM, _HEAD = b"\xef\xbb\xbf", 1000
_SPACE = re.compile(r"\s*")
_ITEMS = b"\x0a"
"""A Cloud export begins with the tag of field 1, `items`, of `WorkflowExecutions`."""


class UnusableError(Exception):
    """Why something is no whole history; reads on after the name of the file."""


def histories_in(content: bytes, name: str) -> Iterator[History | UnusableError]:
    """Yield each history in a file's content, or why that one cannot be used.

    `name` is the Workflow Id where the history has none. Raises UnusableError when the content
    is of no known form.
    """
    if content.removeprefix(_BOM).isspace() or content in (b"", _BOM):
        raise UnusableError("is empty; fetch the history again and save it")
    head = content[:_HEAD].removeprefix(_BOM).lstrip()
    if head.startswith((b"{", b"[")) or not content.startswith(_ITEMS):
        for parsed in _documents(content.removeprefix(_BOM).lstrip()):
            yield _or_why(_of_json, parsed, name)
    else:
        for item in _items(content):
            yield _or_why(_of_events, item.history.events, name)


def _or_why(make: Any, *parts: Any) -> History | UnusableError:
    try:
        made: History = make(*parts)
    except UnusableError as error:
        return error
    return made


def _documents(content: bytes) -> Iterator[Any]:
    """Yield the documents of a file: one, or one after the other, as in JSON Lines."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise UnusableError(
            "is not text, so not the JSON of a history, and no Cloud export either"
        ) from error
    decode, position = json.JSONDecoder().raw_decode, 0
    while position < len(text):
        try:
            parsed, position = decode(text, position)
        except (ValueError, RecursionError) as error:
            raise UnusableError(
                f"is not whole JSON ({error}); it may be cut off: save or download it again"
            ) from error
        yield parsed
        position = next(_SPACE.finditer(text, position)).end()


def _of_json(parsed: Any, name: str) -> History:
    if not isinstance(parsed, dict) or not isinstance(parsed.get("events"), list):
        raise UnusableError(
            'is JSON but no history: it has no list "events"; see histories.save(history, path)'
        )
    try:
        events = events_of(parsed["events"])
    except (ParseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UnusableError(
            f"holds events that cannot be read ({error}); in the Web UI download it with the "
            "payloads left encoded, or use: temporal workflow show -o json"
        ) from error
    workflow_id, namespace, clock = _origin(parsed.get(KEY))
    return _of_events(events, workflow_id or name, namespace, clock)


def _origin(told: Any) -> tuple[str | None, ...]:
    """Return Workflow Id, Namespace and clock as `save` wrote them; a file may hold anything."""
    found = told if isinstance(told, dict) else {}
    texts = (found.get(name) for name in ("workflow_id", "namespace", "clock"))
    return tuple(text if isinstance(text, str) else None for text in texts)


def _items(content: bytes) -> Sequence[Any]:
    """Return the executions of a Cloud export: one or several messages, one after the other."""
    try:
        items: Sequence[Any] = WorkflowExecutions.FromString(content).items
    except DecodeError as error:
        raise UnusableError(
            "begins like a Cloud export but is no whole one; it may be cut off: download it again"
        ) from error
    return items


def _of_events(
    events: Sequence[HistoryEvent],
    name: str,
    namespace: str | None = None,
    clock: str | None = None,
) -> History:
    """Return the history of these events, in order; raise UnusableError when one is missing."""
    events = list(events)
    ids = [event.event_id for event in events]
    if ids != list(range(1, len(ids) + 1)):
        events = sorted(events, key=lambda event: event.event_id)
        ids = [event.event_id for event in events]
    if not ids or not events[0].HasField("workflow_execution_started_event_attributes"):
        raise UnusableError(
            "does not begin with WorkflowExecutionStarted; export the whole history"
        )
    for expected, event_id in enumerate(ids, 1):
        if event_id != expected:
            what = (
                f"has Event {event_id} twice"
                if event_id < expected
                else _missing(expected, event_id)
            )
            raise UnusableError(f"{what}; export the whole history")
    own = events[0].workflow_execution_started_event_attributes.workflow_id
    return History(own or name, events, namespace, clock)


def _missing(first: int, then: int) -> str:
    return f"misses Event {first}" + (f" to {then - 1}" if then - first > 1 else "")
