"""What Markers say: Local Activities and versions, as each SDK writes them.

Formats, each from the source of the SDK that writes it:

- core (Python, TypeScript, .NET, Ruby, Rust): `core_local_activity` and `core_patch`, sdk-core
  `external_data.proto` and `build_local_activity_marker_details` in `common/src/protos/mod.rs`;
- Go, and PHP, whose worker is built on it: `LocalActivity` and `Version`, sdk-go
  `internal_event_handlers.go` (`localActivityMarkerData`), `internal_command_state_machine.go`;
- Java: the same names with other details, sdk-java `LocalActivityMarkerUtils.java`,
  `LocalActivityMarkerMetadata.java`, `VersionMarkerUtils.java`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from temporalio.api.enums.v1 import EventType

from projectai_lab.tables._runs import root_cause, size
from projectai_lab.tables._walk import Walk

_MARKER = EventType.EVENT_TYPE_MARKER_RECORDED
LOCAL_ACTIVITY = ("core_local_activity", "LocalActivity")
_VERSION = {"core_patch": ("patch-data", "patch_id"), "Version": ("change-id", "changeId")}
_OUTCOMES = {"timeout_failure_info": "TIMED_OUT", "canceled_failure_info": "CANCELED"}


class Marker(NamedTuple):
    """A Marker of a Local Activity or a version; None is what it does not say or cannot be read.

    `retries` tells a Local Activity that goes on after a timer: a further Marker closes it.
    """

    row: int
    attributes: Any
    is_local_activity: bool = False
    activity_id: str | None = None
    activity_type: str | None = None
    attempt: int | None = None
    retries: bool = False
    change_id: str | None = None

    @property
    def status(self) -> str:
        """How the Local Activity ended."""
        if not self.attributes.HasField("failure"):
            return "COMPLETED"
        info = root_cause(self.attributes.failure).WhichOneof("failure_info")
        return _OUTCOMES.get(info or "", "FAILED")


def result_bytes(attributes: Any) -> int:
    """Return the data bytes of the result of a Local Activity, from its Marker's attributes."""
    details = attributes.details
    # Java once called the result "data"; for the others that is what they tell of the activity.
    old = "data" if "activityId" in details else "result"
    name = "result" if "result" in details else old
    return size(details[name]) if name in details else 0


def markers_of(walk: Walk) -> list[Marker]:
    """Return the Markers of Local Activities and versions, in order."""
    if "markers" not in walk.kept:
        walk.kept["markers"] = list(_markers(walk))
    found: list[Marker] = walk.kept["markers"]
    return found


def _markers(walk: Walk) -> Iterator[Marker]:
    part = walk.part(_MARKER)
    for row, attributes in zip(part.rows.tolist(), part.attributes, strict=True):
        name = attributes.marker_name
        if name in LOCAL_ACTIVITY and (local := _local_activity(row, attributes)).activity_id:
            yield local
        elif name in _VERSION:
            yield Marker(row, attributes, change_id=_change_id(attributes.details, *_VERSION[name]))


def _local_activity(row: int, attributes: Any) -> Marker:
    details = attributes.details
    if "activityId" in details:
        told = _object(details, "meta")
        name, kind = _value(details, "activityId"), _value(details, "type")
        attempt, backoff = told.get("atpt"), told.get("backoff")
    elif attributes.marker_name == "LocalActivity":
        told = _object(details, "data")
        name, kind = told.get("ActivityID"), told.get("ActivityType")
        attempt, backoff = told.get("Attempt"), told.get("Backoff")
    else:
        told = _object(details, "data")
        name, kind = told.get("activity_id"), told.get("activity_type")
        attempt, backoff = told.get("attempt"), told.get("backoff")
    return Marker(row, attributes, True, _text(name), _text(kind), _count(attempt), _waits(backoff))


def _waits(backoff: Any) -> bool:
    # Go writes nanoseconds, 0 or −1 for no retry; Java milliseconds or null; core a Duration.
    return backoff > 0 if isinstance(backoff, int | float) else backoff is not None


def _change_id(details: Any, *names: str) -> str | None:
    for name in (name for name in names if name in details):
        found = _value(details, name)
        if found is None and name == "patch_id" and len(details[name].payloads):
            # The first form of core: plain bytes.
            return details[name].payloads[0].data.decode(errors="replace") or None
        return _text(found.get("id") if isinstance(found, dict) else found)
    return None


def _object(details: Any, name: str) -> dict[str, Any]:
    found = _value(details, name)
    return found if isinstance(found, dict) else {}


def _value(details: Any, name: str) -> Any:
    """Return the first payload of a detail from JSON; None when that cannot be read."""
    # A protobuf map makes the entry that is asked for.
    if name not in details or not len(details[name].payloads):
        return None
    try:
        return json.loads(details[name].payloads[0].data)
    except (ValueError, RecursionError):
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    plain = isinstance(value, int) and not isinstance(value, bool)
    return value if plain and 0 < value < 2**31 else None
