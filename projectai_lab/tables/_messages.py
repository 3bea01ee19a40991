"""`tables.messages`: one row per Signal, Update, and Signal or cancel request sent elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
from temporalio.api.enums.v1 import (
    CancelExternalWorkflowExecutionFailedCause,
    EventType,
    SignalExternalWorkflowExecutionFailedCause,
)

from projectai_lab.tables import schema
from projectai_lab.tables._columns import TABLES
from projectai_lab.tables._runs import (
    NAT,
    Histories,
    clock_of,
    failure_facts,
    gc_paused,
    runs_of,
    since,
    size,
)
from projectai_lab.tables._walk import Walk, walk_of

_NAMES = [column.name for column in TABLES["messages"].columns]
Message = dict[str, Any]
# Messages by the run and what names them there: an Event Id, or an Update Id.
Open = dict[tuple[int, int | str], Message]


@gc_paused()
def messages(histories: Histories) -> pd.DataFrame:
    """Return one row per message of the histories, in the order of their first Events.

    >>> tables.messages(history)[["kind", "name", "status"]]                   # doctest: +SKIP
    """
    runs = runs_of(histories)
    walk = walk_of(runs)
    found: Open = {}
    for row in walk.rows(*_READ).tolist():
        event = walk.events[row]
        read, name = _READ[event.event_type]
        time = None if walk.times[row] == NAT else int(walk.times[row])
        read(found, int(walk.owner[row]), event.event_id, time, getattr(event, name))
    rows = [_row(walk, owner, message) for (owner, _), message in found.items()]
    return schema.frame("messages", rows, clock=clock_of(runs))


def _row(walk: Walk, owner: int, message: Message) -> tuple[Any, ...]:
    run = walk.runs[owner]
    names = {"namespace": run.namespace, "workflow_id": run.workflow_id, "run_id": run.run_id}
    lag = since(message.get("closed_time"), message.get("opened_time"))
    told = {**names, **message, "lag_s": lag}
    return tuple(told.get(name) for name in _NAMES)


def _signaled(found: Open, owner: int, event_id: int, time: int | None, signal: Any) -> None:
    found[owner, event_id] = {
        **{"event_id": event_id, "kind": "SIGNAL", "status": "RECEIVED", "opened_time": time},
        **{"name": signal.signal_name or None, "message_id": signal.request_id or None},
        **{"identity": signal.identity or None, "input_bytes": _bytes(signal, "input")},
        **_other(signal.external_workflow_execution),
    }


def _initiated(kind: str) -> Callable[..., None]:
    def read(found: Open, owner: int, event_id: int, time: int | None, asked: Any) -> None:
        signal = kind == "EXTERNAL_SIGNAL"
        found[owner, event_id] = {
            **{"event_id": event_id, "kind": kind, "status": "INITIATED", "opened_time": time},
            "name": (signal and asked.signal_name) or None,
            "input_bytes": _bytes(asked, "input") if signal else None,
            **_other(asked.workflow_execution),
        }

    return read


def _delivered(found: Open, owner: int, event_id: int, time: int | None, answer: Any) -> None:
    if message := found.get((owner, answer.initiated_event_id)):
        message |= {"status": "DELIVERED", "closed_time": time}


def _undelivered(causes: Any, prefix: str) -> Callable[..., None]:
    def read(found: Open, owner: int, event_id: int, time: int | None, answer: Any) -> None:
        if message := found.get((owner, answer.initiated_event_id)):
            known = answer.cause in causes.values() and answer.cause
            cause = causes.Name(answer.cause).removeprefix(prefix) if known else None
            message |= {"status": "FAILED", "closed_time": time, "failure_type": cause}

    return read


def _update(found: Open, owner: int, event_id: int, update_id: str, request: Any) -> Message:
    """Return the message of an Update, a new one or the one that was admitted."""
    message = found.setdefault((owner, update_id or event_id), {"event_id": event_id})
    message |= {"kind": "UPDATE", "message_id": update_id or None}
    if request.HasField("input"):
        message |= {
            "name": request.input.name or None,
            "input_bytes": _bytes(request.input, "args"),
        }
    if request.meta.identity:
        message["identity"] = request.meta.identity
    return message


def _admitted(found: Open, owner: int, event_id: int, time: int | None, event: Any) -> None:
    update_id = event.request.meta.update_id
    message = _update(found, owner, event_id, update_id, event.request)
    message |= {"status": "ADMITTED", "opened_time": time}


def _accepted(found: Open, owner: int, event_id: int, time: int | None, event: Any) -> None:
    request = event.accepted_request
    update_id = event.protocol_instance_id or request.meta.update_id
    message = _update(found, owner, event_id, update_id, request)
    message.setdefault("opened_time", time)
    message |= {"status": "ACCEPTED", "accepted_time": time}


def _rejected(found: Open, owner: int, event_id: int, time: int | None, event: Any) -> None:
    request = event.rejected_request
    update_id = event.protocol_instance_id or request.meta.update_id
    message = _update(found, owner, event_id, update_id, request)
    message.setdefault("opened_time", time)
    message |= {"status": "REJECTED", "closed_time": time, **_failure(event)}


def _completed(found: Open, owner: int, event_id: int, time: int | None, event: Any) -> None:
    message = found.get((owner, event.meta.update_id))
    if message is None:
        return
    failed = event.outcome.HasField("failure")
    message |= {"status": "FAILED" if failed else "COMPLETED", "closed_time": time}
    message |= _failure(event.outcome) if failed else {}
    message["result_bytes"] = _bytes(event.outcome, "success")


def _failure(holder: Any) -> Message:
    facts = failure_facts(holder)
    return {"failure_type": facts.failure_type, "failure_message": facts.failure_message}


def _other(execution: Any) -> Message:
    return {
        "other_workflow_id": execution.workflow_id or None,
        "other_run_id": execution.run_id or None,
    }


def _bytes(holder: Any, name: str) -> int | None:
    return size(getattr(holder, name)) if holder.HasField(name) else None


_SIGNAL_CAUSES = (
    SignalExternalWorkflowExecutionFailedCause,
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_",
)
_CANCEL_CAUSES = (
    CancelExternalWorkflowExecutionFailedCause,
    "CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED_CAUSE_",
)
_READERS: dict[str, Callable[..., None]] = {
    "WORKFLOW_EXECUTION_SIGNALED": _signaled,
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED": _initiated("EXTERNAL_SIGNAL"),
    "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED": _undelivered(*_SIGNAL_CAUSES),
    "EXTERNAL_WORKFLOW_EXECUTION_SIGNALED": _delivered,
    "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED": _initiated("EXTERNAL_CANCEL"),
    "REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED": _undelivered(*_CANCEL_CAUSES),
    "EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED": _delivered,
    "WORKFLOW_EXECUTION_UPDATE_ADMITTED": _admitted,
    "WORKFLOW_EXECUTION_UPDATE_ACCEPTED": _accepted,
    "WORKFLOW_EXECUTION_UPDATE_REJECTED": _rejected,
    "WORKFLOW_EXECUTION_UPDATE_COMPLETED": _completed,
}
_READ = {
    EventType.Value(f"EVENT_TYPE_{name}"): (read, f"{name.lower()}_event_attributes")
    for name, read in _READERS.items()
}
