"""What `describe` tells of activities that are not closed, as observations of their attempts."""

from __future__ import annotations

from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import WorkflowExecutionDescription

Observation = dict[str, Any]
"""One look of the server at an activity that was not closed: its attempt, the end of the last."""

_LEFT_OUT = ("stackTrace", "encodedAttributes", "details", "lastHeartbeatDetails")


def from_description(description: WorkflowExecutionDescription) -> list[Observation]:
    """Return what `describe` tells of each activity that is not closed, for `tables.attempts`.

    `attempt` is the one that runs or is due next; `last_…` tells how the one before ended. All
    times are the server's, which does not keep when a timeout ended an attempt. A run that closed
    with activities open still answers with them.

    >>> from_description(handle.describe())                                    # doctest: +SKIP
    [{'activity_type': 'simulate_ai_call', 'attempt': 2, 'state': 'SCHEDULED', ...}]
    """
    run = {
        "namespace": description.namespace,
        "workflow_id": description.id,
        "run_id": description.run_id,
        "run_is_open": description.close_time is None,
    }
    return [run | _pending(one) for one in description.raw_description.pending_activities]


def _pending(one: PendingActivityInfo) -> Observation:
    started = _stamp(one, "last_started_time")
    # Until an attempt starts, the server still names the worker of the one before.
    identity = "last_identity" if started is None else "identity"
    failure = _bare(MessageToDict(one.last_failure)) if one.HasField("last_failure") else None
    # A timeout leaves the time at which an earlier attempt failed.
    stale = one.last_failure.HasField("timeout_failure_info")
    return {
        "activity_id": one.activity_id,
        "activity_type": one.activity_type.name,
        "attempt": one.attempt,
        "state": PendingActivityState.Name(one.state).removeprefix("PENDING_ACTIVITY_STATE_"),
        "attempt_scheduled_ns": _stamp(one, "scheduled_time"),
        "started_ns": started,
        "last_closed_ns": None if stale else _stamp(one, "last_attempt_complete_time"),
        "last_failure": failure,
        identity: one.last_worker_identity or None,
    }


def _stamp(one: Any, name: str) -> int | None:
    time: Timestamp = getattr(one, name)
    return time.seconds * 1_000_000_000 + time.nanos if one.HasField(name) else None


def _bare(node: dict[str, Any]) -> dict[str, Any]:
    """Leave payloads and stack traces out of protobuf's JSON of a failure."""
    kept = {name: value for name, value in node.items() if name not in _LEFT_OUT}
    return {name: _bare(v) if isinstance(v, dict) else v for name, v in kept.items()}
