"""`AttemptRecorder`: the worker interceptor that writes every attempt and fault down."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from projectai_lab._verdict import verdict
from projectai_lab.attempts._log import FAULT, AttemptLog

logger = logging.getLogger("projectai_lab")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


def _ns(instant: datetime) -> int:
    delta = instant - _EPOCH
    return ((delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1_000
