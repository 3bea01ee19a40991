"""Events out of JSON, straight into protobuf: as the SDK reads them, some ten times faster.

The mapping is that of https://protobuf.dev/programming-guides/json/, led by the descriptors of the
messages. The Web UI can download payloads with the data decoded, or the decoded value alone in the
payload's place: these are encoded again.
"""

from __future__ import annotations

import json
import operator
import re
from base64 import b64decode
from collections.abc import Callable
from datetime import datetime
from functools import cache, lru_cache, partial
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent

Convert = Callable[[Any], Any]

_JSON_ENCODINGS = ("json/plain", "json/protobuf")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
_KEYS_OF_A_PAYLOAD = {"metadata", "data", "externalPayloads"}


def events_of(events: list[Any]) -> list[HistoryEvent]:
    """Return the events of a history's JSON, their unknown keys left out.

    Raises ValueError, TypeError or ParseError where a value does not fit its field.
    """
    return [HistoryEvent(**_values(HistoryEvent.DESCRIPTOR, event)) for event in events]


def _values(descriptor: Descriptor, content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise TypeError(f"{descriptor.name} is no JSON object but {content!r:.80}")
    known, values = _fields(descriptor), dict[str, Any]()
    for key, value in content.items():
        if value is not None and (field := known.get(key)):
            values[field[0]] = field[1](value)
    return values


@cache
def _fields(descriptor: Descriptor) -> dict[str, tuple[str, Convert]]:
    """Return by each of its two JSON names a field's own name and how its value is converted."""
    found: dict[str, tuple[str, Convert]] = {}
    convert: Convert
    for field in descriptor.fields:
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            key, value = (_single(entry.fields_by_name[name]) for name in ("key", "value"))
            convert = partial(_map, key, _message_maker(entry.fields_by_name["value"]) or value)
        else:
            one = _single(field)
            convert = partial(_list, one) if field.is_repeated else one
        found[field.name] = found[field.json_name] = field.name, convert
    return found


def _list(convert: Convert, values: Any) -> list[Any]:
    return [convert(value) for value in values]


def _map(key: Convert, value: Convert, content: Any) -> dict[Any, Any]:
    return {key(one): value(other) for one, other in content.items()}


def _message_maker(field: FieldDescriptor) -> Convert | None:
    """Return how a map's value becomes a message: unlike a field's it cannot be a dict."""
    if field.message_type is None:
        return None
    convert, made = _single(field), GetMessageClass(field.message_type)
    return lambda value: made(**convert(value))


def _single(field: FieldDescriptor) -> Convert:
    if field.message_type is not None:
        return _OF_MESSAGES.get(field.message_type.full_name) or _plain_message(field.message_type)
    if field.enum_type is not None:
        return partial(_enum, _words(field.enum_type))
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes
    return _OF_NUMBERS.get(field.cpp_type, _as_it_is)


def _plain_message(descriptor: Descriptor) -> Convert:
    if descriptor.full_name.startswith("google.protobuf."):
        made = GetMessageClass(descriptor)
        return lambda value: ParseDict(value, made(), ignore_unknown_fields=True)
    return partial(_values, descriptor)


def _as_it_is(value: Any) -> Any:
    return value


def _integer(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) else operator.index(value)


def _bytes(text: str) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"no base64 but {text!r:.80}")
    return b64decode(
        text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True
    )


@cache
def _words(enum: EnumDescriptor) -> dict[Any, int]:
    """Return the numbers by name, also by the short one: EVENT_TYPE_TIMER_FIRED, TimerFired."""
    full = {value.name: value.number for value in enum.values}
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    short = {
        name.removeprefix(prefix).title().replace("_", ""): number for name, number in full.items()
    }
    return short | full


def _enum(words: dict[Any, int], value: Any) -> int:
    # A word of a newer server is as good as none, as the SDK has it.
    return value if isinstance(value, int) else words.get(value, 0)


@lru_cache(maxsize=1024)
def _second(text: str) -> int:
    return int(datetime.fromisoformat(f"{text}+00:00").timestamp())


def _timestamp(text: Any) -> Timestamp:
    if isinstance(text, str) and _RFC3339.fullmatch(text):
        return Timestamp(seconds=_second(text[:19]), nanos=int(text[20:-1].ljust(9, "0")))
    stamp = Timestamp()
    stamp.FromJsonString(text)
    return stamp


@lru_cache(maxsize=1024)
def _duration(text: str) -> Duration:
    span = Duration()
    span.FromJsonString(text)
    return span


def _payloads(content: Any) -> dict[str, Any]:
    """Return Payloads; the short form of the CLI and the HTTP API is the list alone."""
    payloads = content if isinstance(content, list) else content.get("payloads") or []
    return {"payloads": [_payload(one) for one in payloads]}


def _payload(content: Any) -> dict[str, Any]:
    """Return a Payload as it is, or one of the value that stands in its place."""
    if content == {}:
        return {}
    if not (isinstance(content, dict) and "metadata" in content.keys() <= _KEYS_OF_A_PAYLOAD):
        return _encoded({"encoding": "binary/null" if content is None else "json/plain"}, content)
    metadata = content["metadata"]
    if _is_base64(metadata.get("encoding")):
        return _values(Payload.DESCRIPTOR, content)
    return _encoded(metadata, content.get("data"))


def _encoded(metadata: dict[str, str], value: Any) -> dict[str, Any]:
    encoding, data = metadata.get("encoding"), b""
    if encoding in _JSON_ENCODINGS:
        data = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    elif encoding != "binary/null" or value is not None:
        raise ValueError(f"a payload of encoding {encoding!r} was decoded, its bytes are lost")
    return {"metadata": {key: text.encode() for key, text in metadata.items()}, "data": data}


@lru_cache(maxsize=1024)
def _is_base64(encoding: str | None) -> bool:
    """Tell an encoded encoding from a readable one, which is never the base64 of a word."""
    if encoding is None:
        return True
    try:
        return b64decode(encoding, validate=True).decode("ascii").isprintable()
    except ValueError:
        return False


_OF_MESSAGES: dict[str, Convert] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Duration": _duration,
    "temporal.api.common.v1.Payload": _payload,
    "temporal.api.common.v1.Payloads": _payloads,
}
_OF_NUMBERS: dict[int, Convert] = {
    **dict.fromkeys(
        (
            *(FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64),
            *(FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64),
        ),
        _integer,
    ),
    **dict.fromkeys((FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE), float),
}
