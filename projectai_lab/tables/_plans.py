"""How to read each event type: which attribute gives which column.

The plans are read off the protobuf descriptors once, so that the event types of a newer SDK need
no code here.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab.tables._column import GROUPS
from projectai_lab.tables._runs import size

_REQUESTS = ("accepted_request", "request", "rejected_request")
_PATHS: dict[str, tuple[str, ...]] = {
    "scheduled_event_id": ("scheduled_event_id",),
    "started_event_id": ("started_event_id",),
    "workflow_task_completed_event_id": ("workflow_task_completed_event_id",),
    "attempt": ("attempt",),
    "timeout_type": ("timeout_type",),
    "retry_state": ("retry_state",),
    "activity_id": ("activity_id",),
    "activity_type": ("activity_type.name",),
    "timer_id": ("timer_id",),
    "signal_name": ("signal_name",),
    "marker_name": ("marker_name",),
    "child_workflow_id": ("workflow_execution.workflow_id", "workflow_id"),
    "update_id": (
        *("meta.update_id", "protocol_instance_id"),
        *(f"{request}.meta.update_id" for request in _REQUESTS),
    ),
    "update_name": tuple(f"{request}.input.name" for request in _REQUESTS),
    "identity": ("identity", "meta.identity", *(f"{r}.meta.identity" for r in _REQUESTS)),
}
_FAILURES = ("failure", "last_failure", "continued_failure", "outcome.failure")
_PAYLOADS = (
    *("input", "result", "details", "outcome.success"),
    *(f"{request}.input.args" for request in _REQUESTS),
)
# Prefix of the event type → kind of group, and the attribute that names the Event which opened it.
_GROUPS = {
    "ACTIVITY_": ("activity", "scheduled_event_id"),
    "TIMER_": ("timer", "started_event_id"),
    "WORKFLOW_TASK_": ("workflow_task", "scheduled_event_id"),
    "START_CHILD_WORKFLOW": ("child_workflow", "initiated_event_id"),
    "CHILD_WORKFLOW": ("child_workflow", "initiated_event_id"),
    "SIGNAL_EXTERNAL": ("external_signal", "initiated_event_id"),
    "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED": ("external_signal", "initiated_event_id"),
    "REQUEST_CANCEL_EXTERNAL": ("external_cancel", "initiated_event_id"),
    "EXTERNAL_WORKFLOW_EXECUTION_CANCEL": ("external_cancel", "initiated_event_id"),
    "NEXUS_OPERATION": ("nexus_operation", "scheduled_event_id"),
    "WORKFLOW_EXECUTION_UPDATE_": ("update", "accepted_event_id"),
    "WORKFLOW_EXECUTION_SIGNALED": ("signal", ""),
    "MARKER_RECORDED": ("marker", ""),
}


class Plan(NamedTuple):
    """How to read one event type; `read` gives the values of `columns` from its attributes.

    `opener` is the attribute that names the Event which opened the group; "" where that is the
    Event itself. `failure` is the field that may hold one, and what gives its parent message.
    `payload_bytes` gives −1 where an Event has no payload.
    """

    attributes: Callable[[HistoryEvent], Any]
    columns: tuple[str, ...]
    read: Callable[[Any], tuple[Any, ...]]
    failure: tuple[Callable[[Any], Any] | None, str] | None
    payload_bytes: Callable[[Any], int] | None
    group_kind: int
    opener: str


def _plans() -> dict[int, Plan]:
    attributes = HistoryEvent.DESCRIPTOR.oneofs_by_name["attributes"].fields
    by_name = {field.name.removesuffix("_event_attributes").upper(): field for field in attributes}
    return {
        number: _plan(name.removeprefix("EVENT_TYPE_"), by_name[name.removeprefix("EVENT_TYPE_")])
        for name, number in EventType.items()
        if name.removeprefix("EVENT_TYPE_") in by_name
    }


def _plan(event_type: str, field: FieldDescriptor) -> Plan:
    message = field.message_type
    assert message is not None
    kind, opener = next(
        (group for prefix, group in _GROUPS.items() if event_type.startswith(prefix)),
        ("workflow_execution", ""),
    )
    paths = {column: _first(message, paths) for column, paths in _PATHS.items()}
    if kind != "child_workflow":
        paths["child_workflow_id"] = None
    found = {column: path for column, path in paths.items() if path}
    return Plan(
        attrgetter(field.name),
        tuple(found),
        _reader(tuple(found.values())),
        _at(_first(message, _FAILURES)),
        _payload_reader(message),
        GROUPS.index(kind),
        opener if _follow(message, opener) else "",
    )


def _first(message: Descriptor, paths: tuple[str, ...]) -> str | None:
    return next((path for path in paths if _follow(message, path)), None)


def _follow(message: Descriptor, path: str) -> FieldDescriptor | None:
    *parents, last = path.split(".")
    for name in parents:
        field = message.fields_by_name.get(name)
        if field is None or field.message_type is None:
            return None
        message = field.message_type
    return message.fields_by_name.get(last)


def _reader(paths: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    # attrgetter gives a bare value for one path, so that is read twice.
    return attrgetter(*(paths if len(paths) > 1 else paths * 2)) if paths else _nothing


def _nothing(_: Any) -> tuple[Any, ...]:
    return ()


def _at(path: str | None) -> tuple[Callable[[Any], Any] | None, str] | None:
    """Return what gives the message that holds a field (None: it is at hand), and its name."""
    if path is None:
        return None
    parent, _, name = path.rpartition(".")
    return attrgetter(parent) if parent else None, name


def _payload_reader(message: Descriptor) -> Callable[[Any], int] | None:
    path = _first(message, _PAYLOADS)
    field = path and _follow(message, path)
    at = _at(path)
    if not field or at is None or field.message_type is None:
        return None
    if field.message_type.GetOptions().map_entry:
        return lambda a: sum(size(payloads) for payloads in a.details.values()) or -1
    parent, name = at
    value = attrgetter(name)
    measure: Callable[[Any], int] = _one_size if field.message_type.name == "Payload" else size
    if parent is None:
        return lambda a: measure(value(a)) if a.HasField(name) else -1
    return lambda a: measure(value(p)) if (p := parent(a)).HasField(name) else -1


def _one_size(payload: Any) -> int:
    return len(payload.data)


PLANS = _plans()
