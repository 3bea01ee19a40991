"""What every table starts from: histories as runs, and the few protobuf values as Python ones."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.common.v1 import Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from projectai_lab.errors import TableError
from projectai_lab.tables._column import RETRY_STATES, TIMEOUT_TYPES

NAT = -(2**63)
"""What arrays of epoch nanoseconds hold where there is no time, as pandas does."""

_WRAPPERS = (
    "activity_failure_info",
    "child_workflow_execution_failure_info",
    "nexus_operation_execution_failure_info",
)


class Run(NamedTuple):
    """One Workflow Execution and its events."""

    namespace: str | None
    workflow_id: str
    run_id: str
    clock: str | None
    events: Sequence[HistoryEvent]


class Runs(list[Run]):
    """Runs, and the walk over their events once there was one (see `_walk`)."""

    walk: Any = None


Histories = WorkflowHistory | Iterable[WorkflowHistory] | Runs
"""What each table is made of: one history, or any number."""


class FailureFacts(NamedTuple):
    """What the tables tell of a failure."""

    failure_type: str | None = None
    failure_message: str | None = None
    timeout_number: int = 0

    @property
    def timeout_type(self) -> str | None:
        """Temporal's word for the timeout that fired."""
        known = 0 < self.timeout_number <= len(TIMEOUT_TYPES)
        return TIMEOUT_TYPES[self.timeout_number - 1] if known else None


NO_FAILURE = FailureFacts()


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the cycle collector.

    Decoding makes many objects and no cycles; a full collection in its midst costs as much again.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def runs_of(histories: Histories) -> Runs:
    """Return the runs that have events; TableError for anything but histories."""
    if isinstance(histories, Runs):
        return histories
    found = [histories] if isinstance(histories, WorkflowHistory) else histories
    if isinstance(found, str | bytes) or not isinstance(found, Iterable):
        raise TableError(
            f"expected histories, got {type(found).__name__}; "
            "read a file with histories.load(path), a run with handle.fetch_history()"
        )
    return Runs(_run(history) for history in found if _is_history(history) and history.events)


def clock_of(runs: Iterable[Run]) -> str:
    """Return the clocks of the runs, joined; "unknown" for none."""
    return ", ".join(sorted({run.clock or "unknown" for run in runs})) or "unknown"


def ns(time: Timestamp) -> int | None:
    """Return a protobuf time as epoch nanoseconds; None when not set or outside of 64 bits."""
    since_epoch = time.seconds * 1_000_000_000 + time.nanos
    return since_epoch if since_epoch and NAT < since_epoch < -NAT else None


def seconds(duration: Duration) -> float | None:
    """Return a protobuf duration in seconds; None for zero, which Temporal reads as not set."""
    return (duration.seconds + duration.nanos / 1e9) or None


def since(end: int | None, start: int | None) -> float | None:
    """Return end − start in seconds, of two instants in nanoseconds on one clock."""
    return None if end is None or start is None else (end - start) / 1e9


def size(payloads: Payloads) -> int:
    """Return the data bytes of payloads."""
    items = payloads.payloads
    # Iterating a repeated field costs far more than one index, and one payload is the rule.
    return len(items[0].data) if len(items) == 1 else sum(len(item.data) for item in items)


def retry_state(number: int) -> str | None:
    """Return Temporal's word for a RetryState."""
    return RETRY_STATES[number - 1] if 0 < number <= len(RETRY_STATES) else None


def root_cause(failure: Failure) -> Failure:
    """Return the failure below Temporal's wrappers."""
    while failure.WhichOneof("failure_info") in _WRAPPERS and failure.HasField("cause"):
        failure = failure.cause
    return failure


def failure_facts(attributes: Any, name: str = "failure") -> FailureFacts:
    """Return type, message and timeout of the failure below Temporal's wrappers, if there is one.

    The type is the application's own, else Temporal's name, e.g. TimeoutFailure.
    """
    if not attributes.HasField(name):
        return NO_FAILURE
    failure = root_cause(getattr(attributes, name))
    info = failure.WhichOneof("failure_info")
    own = failure.application_failure_info.type if info == "application_failure_info" else ""
    words = (info or "failure_info").removesuffix("_info").split("_")
    fired = failure.timeout_failure_info.timeout_type if info == "timeout_failure_info" else 0
    kind = own or "".join(word.capitalize() for word in words)
    return FailureFacts(kind, failure.message or None, fired)


def _is_history(candidate: object) -> bool:
    if isinstance(candidate, WorkflowHistory):
        return True
    raise TableError(
        f"expected histories, found {type(candidate).__name__} among them; "
        "tables take what histories.fetch, histories.load and handle.fetch_history() return"
    )


def _run(history: WorkflowHistory) -> Run:
    namespace, clock = getattr(history, "namespace", None), getattr(history, "clock", None)
    try:
        return Run(namespace, history.workflow_id, history.run_id, clock, history.events)
    except RuntimeError as error:
        raise TableError(
            f"the history of Workflow Id {history.workflow_id!r} does not begin with "
            "WorkflowExecutionStarted; fetch it whole",
            workflow_id=history.workflow_id,
        ) from error
