"""Every activity attempt, written down by the worker that runs it: history keeps only the last.

An attempt log is a folder of append-only JSON-lines files, one a process: a `start` row when an
attempt begins and an `end` row when it ends, so that a start without an end is an attempt that died
with its worker; between them a `fault` row for each fault that was injected. Instants are integer
nanoseconds since the epoch; `scheduled_ns`, `attempt_scheduled_ns` and `started_ns` are the
server's clock, `worker_…_ns` the worker's.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio import activity
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import WorkflowExecutionDescription
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from projectai_lab._verdict import verdict
from projectai_lab.errors import HistoryFileError

AttemptRecord = dict[str, Any]
"""One attempt: its start row and, once it has ended, its end row in one dict."""
FaultRecord = dict[str, Any]
"""One injected fault: its row."""
Observation = dict[str, Any]
"""One look of the server at an activity that was not closed: its attempt, the end of the last."""

logger = logging.getLogger("projectai_lab")
FAULT = "fault"
_LEFT_OUT = ("stackTrace", "encodedAttributes", "details", "lastHeartbeatDetails")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AttemptLog:
    """A folder of attempt rows; iterate it for one record an attempt, in order of their start.

    Without a folder it lives in a temporary one, made in `within`, and in memory after `close`.
    """

    def __init__(
        self, folder: str | Path | None = None, *, within: str | Path | None = None
    ) -> None:
        self._temporary = folder is None
        self._kept: list[AttemptRecord] | None = None
        self._kept_faults: list[FaultRecord] = []
        if folder is None:
            folder = tempfile.mkdtemp(prefix="projectai-lab-attempts-", dir=within)
        self.folder = Path(folder).expanduser().resolve()
        self.folder.mkdir(parents=True, exist_ok=True)

    def records(self) -> list[AttemptRecord]:
        """Return all attempts so far, oldest start first."""
        return list(self._kept) if self._kept is not None else read(self.folder)

    def faults(self) -> list[FaultRecord]:
        """Return all injected faults so far, oldest first; `tables.faults` takes the log itself."""
        return list(self._kept_faults) if self._kept is not None else read_faults(self.folder)

    def __iter__(self) -> Iterator[AttemptRecord]:
        return iter(self.records())

    def save(self, path: str | Path) -> Path:
        """Write attempts and faults to one JSON-lines file that `read` takes; return its path."""
        rows = [{"kind": "attempt", **record} for record in self.records()]
        lines = map(json.dumps, [*rows, *self.faults()])
        target = Path(path)
        target.write_text("".join(f"{line}\n" for line in lines))
        return target

    def close(self) -> None:
        """Keep the records in memory and remove a temporary folder; twice is harmless."""
        if self._temporary and self._kept is None:
            self._kept_faults = read_faults(self.folder)
            self._kept = read(self.folder)
            shutil.rmtree(self.folder, ignore_errors=True)

    def __repr__(self) -> str:
        where = "in memory" if self._kept is not None else str(self.folder)
        return f"<AttemptLog {where}>"


class AttemptRecorder(Interceptor):
    """Worker interceptor that writes a row when an activity attempt starts and when it ends."""

    def __init__(self, log: AttemptLog, identity: str) -> None:
        name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._file: int | None = os.open(log.folder / name, flags, 0o600)
        self._complained = False
        self._worker = {"identity": identity, "pid": os.getpid(), "host": socket.gethostname()}

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the activity chain; called by the worker."""
        return _Recording(next, self)

    def started(self, info: activity.Info) -> str:
        """Write the start row and return the key that its end row repeats."""
        key = uuid.uuid4().hex
        self._write(
            {
                "kind": "start",
                "key": key,
                "namespace": info.namespace,
                "workflow_id": info.workflow_id,
                "run_id": info.workflow_run_id,
                "workflow_type": info.workflow_type,
                "activity_id": info.activity_id,
                "activity_type": info.activity_type,
                "attempt": info.attempt,
                "is_local": info.is_local,
                "task_queue": info.task_queue,
                **self._worker,
                "scheduled_ns": _ns(info.scheduled_time),
                "attempt_scheduled_ns": _ns(info.current_attempt_scheduled_time),
                "started_ns": _ns(info.started_time),
                "worker_started_ns": time.time_ns(),
            }
        )
        return key

    def ended(self, key: str, exec_s: float, error: BaseException | None) -> None:
        """Write the end row."""
        row = {
            "kind": "end",
            "key": key,
            "worker_finished_ns": time.time_ns(),
            "worker_exec_s": exec_s,
        }
        self._write({**row, **verdict(error)})

    def injected(self, info: activity.Info, facts: dict[str, Any]) -> None:
        """Write the row of a fault that is about to strike the attempt."""
        attempt = {
            "kind": FAULT,
            "key": uuid.uuid4().hex,
            "namespace": info.namespace,
            "workflow_id": info.workflow_id,
            "run_id": info.workflow_run_id,
            "activity_id": info.activity_id,
            "activity_type": info.activity_type,
            "attempt": info.attempt,
        }
        self._write({**attempt, **facts, **self._worker, "injected_ns": time.time_ns()})

    def _write(self, row: dict[str, Any]) -> None:
        if self._file is None:
            return
        try:
            # One write of one whole line: O_APPEND keeps lines of several writers apart.
            os.write(self._file, json.dumps(row).encode() + b"\n")
        except OSError as error:
            # A full disk must not fail the activities that we only watch.
            if not self._complained:
                logger.warning("the attempt log is incomplete from now on: %s", error)
            self._complained = True

    def close(self) -> None:
        """Close the file; rows of attempts that end later are dropped."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


class _Recording(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, recorder: AttemptRecorder) -> None:
        super().__init__(next)
        self._recorder = recorder

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        key = self._recorder.started(activity.info())
        began = time.monotonic()
        error: BaseException | None = None
        try:
            return await super().execute_activity(input)
        except BaseException as raised:
            error = raised
            raise
        finally:
            self._recorder.ended(key, time.monotonic() - began, error)


def read(path: str | Path) -> list[AttemptRecord]:
    """Read an attempt log, a folder or one saved file, oldest start first.

    >>> read("attempts.jsonl")[0]["activity_type"]
    'validate_input'
    """
    records: dict[str, AttemptRecord] = {}
    for row in _rows_of(path):
        if row.get("kind") != FAULT:
            records.setdefault(row["key"], {}).update(row)
    for record in records.values():
        record.pop("kind", None)
    whole = [record for record in records.values() if "attempt" in record]
    return sorted(whole, key=lambda record: int(record["worker_started_ns"]))


def read_faults(path: str | Path) -> list[FaultRecord]:
    """Read the injected faults of an attempt log, a folder or one saved file, oldest first.

    >>> tables.faults(read_faults("attempts.jsonl"))                           # doctest: +SKIP
    """
    found = [row for row in _rows_of(path) if row.get("kind") == FAULT]
    return sorted(found, key=lambda row: int(row["injected_ns"]))


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


def _rows_of(path: str | Path) -> Iterator[dict[str, Any]]:
    source = Path(path)
    if not source.exists():
        raise HistoryFileError(f"there is no attempt log at {source}", path=source)
    for file in sorted(source.glob("*.jsonl")) if source.is_dir() else [source]:
        yield from _rows(file)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    skipped = []
    for number, line in enumerate(file.read_text("utf-8", errors="replace").splitlines(), 1):
        try:
            row = json.loads(line)
            row["key"]
        except (ValueError, KeyError, TypeError):
            # A process killed in the middle of a write leaves half a line.
            skipped.append(number)
            continue
        yield row
    if skipped:
        lines = f"line {skipped[0]}" + (f" and {len(skipped) - 1} more" if skipped[1:] else "")
        logger.warning("%s: %s not an attempt row; skipped", file.name, lines)


def _ns(instant: datetime) -> int:
    delta = instant - _EPOCH
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1_000
