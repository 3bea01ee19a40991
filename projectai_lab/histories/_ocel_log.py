"""An OCEL 2.0 log as a JSON file, written as its events and objects come."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from typing import IO, Any

_BORN = "1970-01-01T00:00:00Z"
_STRING, _INTEGER, _FLOAT, _BOOLEAN = "string", "integer", "float", "boolean"
OBJECTS = {
    "workflow": {"workflow_id": _STRING, "namespace": _STRING},
    "run": {
        **dict.fromkeys(("run_id", "workflow_type", "status", "failure_type", "clock"), _STRING),
        "duration_s": _FLOAT,
    },
    "activity": {
        **dict.fromkeys(("activity_id", "activity_type", "status"), _STRING),
        "is_local": _BOOLEAN,
        "attempts": _INTEGER,
        "total_s": _FLOAT,
    },
    "attempt": {
        "attempt": _INTEGER,
        **dict.fromkeys(("server_outcome", "worker_outcome", "failure_type"), _STRING),
        **dict.fromkeys(("time_quality", "source"), _STRING),
        **dict.fromkeys(("exec_s", "worker_exec_s"), _FLOAT),
    },
    "worker": {"identity": _STRING},
    "task queue": {"name": _STRING},
}
"""Object type → its attributes, mostly columns of the tables, and their types in OCEL's words."""
EVENT = {"event_id": _INTEGER, "attempt": _INTEGER, "failure_type": _STRING}
"""The attributes of an event of any type."""
Related = Sequence[tuple[str, str]]
"""Pairs of object id and qualifier."""
# Many rows name the same one of these; an id of the others comes once.
_SHARED = ("workflow", "run", "worker", "task queue")


def object_id(kind: str, *names: object) -> str:
    """Return the id of an object, which no other object has, of whatever type.

    >>> object_id("attempt", "run-1", 5, 2)
    'attempt:run-1/5/2'
    """
    return f"{kind}:{'/'.join(map(str, names))}"


class Log:
    """Writes events into `file` and keeps objects in `spool`, to be put behind them by `end`."""

    def __init__(self, file: IO[str], spool: IO[str]) -> None:
        self._file, self._spool = file, spool
        self._event_types: dict[str, None] = {}
        self._made: set[str] = set()
        self._named: set[str] = set()
        self._events = self._objects = 0
        file.write('{"events": [')

    def event(self, id: str, kind: str, time: str, facts: Mapping[str, Any], to: Related) -> None:
        """Add an event and what it is about."""
        self._event_types[kind] = None
        attributes = [{"name": name, "value": value} for name, value in _known(EVENT, facts)]
        told = {"id": id, "type": kind, "time": time, "attributes": attributes}
        self._file.write(",\n" if self._events else "\n")
        self._file.write(_json({**told, "relationships": self._related(to)}))
        self._events += 1

    def object(self, kind: str, id: str, facts: Mapping[str, Any], to: Related = ()) -> None:
        """Add an object, once; its attributes are those of `facts` that its type has."""
        if kind in _SHARED:
            if id in self._made:
                return
            self._made.add(id)
        attributes = [
            {"name": name, "time": _BORN, "value": value}
            for name, value in _known(OBJECTS[kind], facts)
        ]
        told = {"id": id, "type": kind, "attributes": attributes}
        self._spool.write(",\n" if self._objects else "\n")
        self._spool.write(_json({**told, "relationships": self._related(to)}))
        self._objects += 1

    def _related(self, to: Related) -> list[dict[str, str]]:
        self._named.update(id for id, _ in to if id.startswith("run:"))
        return [{"objectId": id, "qualifier": qualifier} for id, qualifier in to]

    def end(self) -> None:
        """Put the objects and the types behind the events; a run that is only named is made."""
        for id in sorted(self._named - self._made):
            self.object("run", id, {"run_id": id.removeprefix("run:")})
        self._file.write('\n],\n"objects": [')
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, self._file)
        kinds = [_type(name, EVENT) for name in self._event_types]
        objects = [_type(name, attributes) for name, attributes in OBJECTS.items()]
        self._file.write(
            f'\n],\n"eventTypes": {_json(kinds)},\n"objectTypes": {_json(objects)}}}\n'
        )


def _known(attributes: Mapping[str, str], facts: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(name, facts[name]) for name in attributes if facts.get(name) is not None]


def _type(name: str, attributes: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "attributes": [{"name": key, "type": kind} for key, kind in attributes.items()],
    }


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
