"""Id, time, type and encoded size of many events at once.

Reading four fields of each event through Python costs more than encoding the event, which its size
asks for anyway: so the fields are taken from the front of the encoded event, where protobuf writes
them in the order of their numbers (https://protobuf.dev/programming-guides/encoding/). An event
that does not begin so is read field by field.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from temporalio.api.history.v1 import HistoryEvent

_FIELDS = attrgetter("event_id", "event_time.seconds", "event_time.nanos", "event_type")
# Tags: the field's number, and whether a varint (0) or something with a length (2) follows.
_ID, _TIME, _TYPE = 1 << 3, 2 << 3 | 2, 3 << 3
_SECONDS, _NANOS = 1 << 3, 2 << 3
# Bytes of the longest varint that is read here, 35 bits; and of all four, tags and length.
_VARINT, _FRONT = 5, 32
_AT_ONCE = 10_000


class Headers(NamedTuple):
    """One array a field; `times` are given apart, as seconds and nanoseconds."""

    ids: np.ndarray
    seconds: np.ndarray
    nanos: np.ndarray
    types: np.ndarray
    sizes: np.ndarray


def headers(events: Sequence[HistoryEvent]) -> Headers:
    """Return the headers of the events, encoding some of them at a time."""
    blocks = [_block(events[at : at + _AT_ONCE]) for at in range(0, len(events), _AT_ONCE)]
    columns = zip(*(blocks or [_block(())]), strict=True)
    return Headers(*(np.concatenate(column) for column in columns))


def _block(events: Sequence[HistoryEvent]) -> tuple[np.ndarray, ...]:
    encoded = list(map(HistoryEvent.SerializeToString, events))
    sizes = np.array(list(map(len, encoded)), dtype=np.int64)
    read, whole = _front(np.array(encoded, dtype=f"S{_FRONT}").view(np.uint8), len(encoded))
    for row in np.flatnonzero(~whole).tolist():
        for column, value in zip(read, _FIELDS(events[row]), strict=True):
            column[row] = value
    return *read, sizes


def _front(flat: np.ndarray, count: int) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Return the four fields, and for which events they were all found."""
    # Reading on past a front that is no such header must stay within the array.
    flat = np.append(flat, np.zeros(4 * (_VARINT + 1), dtype=np.uint8))
    begin = np.arange(count, dtype=np.int64) * _FRONT
    ids, at, whole = _varint(flat, begin + 1, flat[begin] == _ID)
    whole &= (flat[at] == _TIME) & (flat[at + 1] < 0x80)
    end = at + 2 + flat[at + 1]
    seconds, at, whole = _varint(flat, at + 3, whole & (flat[at + 2] == _SECONDS))
    nanos, after, known = _varint(flat, at + 1, flat[at] == _NANOS)
    at, nanos = np.where(at < end, after, at), np.where(at < end, nanos, 0)
    whole &= (known | (nanos == 0)) & (at == end) & (at < begin + _FRONT)
    types, at, whole = _varint(flat, np.where(whole, at, begin) + 1, whole & (flat[at] == _TYPE))
    return (ids, seconds, nanos, types), whole & (at <= begin + _FRONT)


def _varint(
    flat: np.ndarray, at: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the varints at some places, the places after them, and which are whole."""
    value, more = np.zeros(len(at), dtype=np.int64), np.ones(len(at), dtype=bool)
    for step in range(_VARINT):
        byte = flat[at].astype(np.int64)
        value |= np.where(more, (byte & 0x7F) << 7 * step, 0)
        at = at + more
        more &= byte >= 0x80
        if not more.any():
            break
    return value, at, wanted & ~more
