"""`tables.payloads`: one row per payload; the one table with contents, made only on request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import pandas as pd
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload

from projectai_lab.errors import TableError
from projectai_lab.tables import schema
from projectai_lab.tables._events import events
from projectai_lab.tables._runs import Histories, clock_of, gc_paused, runs_of
from projectai_lab.tables._walk import walk_of

Redact = Callable[[Any], Any] | Collection[str]
_JSON = ("json/plain", "json/protobuf")
_HIDDEN = "***"
# Part of the path to a payload → its role; the first that fits.
_ROLES = {
    **dict.fromkeys(("memo", "upserted_memo"), "memo"),
    **dict.fromkeys(("header", "nexus_header"), "header"),
    **{"search_attributes": "search_attribute", "user_metadata": "user_metadata"},
    **dict.fromkeys(("failure", "last_failure", "continued_failure"), "failure"),
    **dict.fromkeys(("input", "args"), "input"),
    **dict.fromkeys(("result", "success", "last_completion_result"), "result"),
    "details": "details",
}


class _Found(NamedTuple):
    path: tuple[str, ...]
    name: str | None
    position: int
    payload: Payload

    @property
    def role(self) -> str:
        return next((role for part, role in _ROLES.items() if part in self.path), "other")


@gc_paused()
def payloads(
    histories: Histories,
    *,
    allow: Collection[str] | None = None,
    redact: Redact | None = None,
    decode: Callable[[Payload], Payload] | None = None,
) -> pd.DataFrame:
    """Return one row per payload of the histories, with its content as JSON text.

    `allow` names the Activity Types and roles whose contents may be read; of all others only size
    and hash are told. `redact` is what turns each decoded value into the one to keep, or the names
    of keys whose values become "***". `decode` undoes a codec, payload by payload. What is not
    JSON has no data.

    >>> tables.payloads(history, allow=["input"], redact=["user_id"])          # doctest: +SKIP
    """
    _check(allow, redact)
    runs = runs_of(histories)
    of_event = events(runs)[["event_id", "event_type", "activity_type"]].astype(object)
    known = of_event.where(of_event.notna(), None).itertuples(index=False, name=None)
    rows = []
    for owner, event, told in zip(walk_of(runs).owner, walk_of(runs).events, known, strict=True):
        event_id, event_type, activity_type = told
        for number, found in enumerate(_find(event, ()), start=1):
            open_to_all = allow is None or found.role in allow or activity_type in allow
            data = _data(found, redact, decode) if open_to_all else None
            rows.append(
                (
                    *(*runs[owner][:3], event_id, event_type, number, activity_type),
                    *(found.role, ".".join(found.path), found.name, found.position),
                    *(*_facts(found.payload), data),
                )
            )
    return schema.frame("payloads", rows, clock=clock_of(runs))


def _check(allow: Collection[str] | None, redact: Redact | None) -> None:
    if isinstance(allow, str):
        raise TableError(f"allow={allow!r} must be a list of Activity Types and roles: [{allow!r}]")
    if isinstance(redact, str):
        raise TableError(f"redact={redact!r} must be a function or a list of keys: [{redact!r}]")


def _find(message: Message, path: tuple[str, ...]) -> Iterator[_Found]:
    """Yield the payloads below a message, in the order of the fields."""
    for field, value in message.ListFields():
        below = path if field.name.endswith("_event_attributes") else (*path, field.name)
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            for name in sorted(value):
                if isinstance(value[name], Message):
                    yield from _under(value[name], below, str(name))
        elif field.is_repeated:
            for one in value:
                yield from _under(one, below, None)
        else:
            yield from _under(value, below, None)


def _under(value: Any, path: tuple[str, ...], name: str | None) -> Iterator[_Found]:
    kind = value.DESCRIPTOR.full_name
    if kind == "temporal.api.common.v1.Payload":
        yield _Found(path, name, 0, value)
    elif kind == "temporal.api.common.v1.Payloads":
        for position, payload in enumerate(value.payloads):
            yield _Found(path, name, position, payload)
    else:
        yield from _find(value, path)


def _facts(payload: Payload) -> tuple[Any, ...]:
    encoding = payload.metadata.get("encoding", b"")
    kind = payload.metadata.get("messageType", b"")
    sha256 = hashlib.sha256(payload.data).hexdigest()
    texts = (part.decode(errors="replace") or None for part in (encoding, kind))
    return *texts, len(payload.data), sha256


def _data(
    found: _Found, redact: Redact | None, decode: Callable[[Payload], Payload] | None
) -> str | None:
    payload = found.payload if decode is None else decode(found.payload)
    encoding = _facts(payload)[0]
    if encoding == "binary/null":
        return "null"
    if encoding not in _JSON:
        return None
    try:
        value = json.loads(payload.data)
    except (ValueError, RecursionError):
        return None
    if callable(redact):
        value = redact(value)
    elif redact is not None:
        value = _HIDDEN if found.name in redact else _without(value, redact)
    return _text(value)


def _without(value: Any, keys: Collection[str]) -> Any:
    """Return a JSON value with the values of some keys hidden, at any depth."""
    if isinstance(value, dict):
        return {k: _HIDDEN if k in keys else _without(v, keys) for k, v in value.items()}
    return [_without(one, keys) for one in value] if isinstance(value, list) else value


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair is JSON, but no text that a table or file could hold.
        return json.dumps(value)
    return text
