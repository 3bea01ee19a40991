"""`WorkerProcess`: the same worker in a process of its own, to be killed, restarted and scaled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any

from projectai_lab import _html
from projectai_lab.attempts import AttemptLog
from projectai_lab.config import LabConfig
from projectai_lab.errors import WorkerStartError, WorkflowDefinitionError
from projectai_lab.models import Duration, seconds
from projectai_lab.worker_spec import WorkerSpec

READY = "polling"
_START_S = 30.0
_KILL_AFTER_GRACE_S = 10.0


class WorkerProcess:
    """A `projectai-lab worker` that this process started; it ends with its parent."""

    def __init__(
        self, process: subprocess.Popen[bytes], log: int, task_queue: str, grace_s: float
    ) -> None:
        self._process = process
        self._log: int | None = log
        self._last_output = ""
        self._grace_s = grace_s
        self.task_queue = task_queue

    @classmethod
    def start(
        cls,
        config: LabConfig,
        workflows: Iterable[type] = (),
        activities: Iterable[Callable[..., Any]] = (),
        ai: Callable[..., Any] | None = None,
        *,
        task_queue: str | None = None,
        log: AttemptLog | None = None,
        grace: Duration = 10.0,
    ) -> WorkerProcess:
        """Start the process and return when it polls; what it runs must be importable by name."""
        queue = task_queue or config.task_queue
        workflows, activities = tuple(workflows), tuple(activities)
        WorkerSpec.build(workflows, activities)
        command = [sys.executable, "-m", "projectai_lab", "worker", "--with-parent"]
        command += ["--address", config.address, "--namespace", config.namespace]
        command += ["--task-queue", queue, "--grace", str(seconds(grace))]
        command += [part for one in workflows for part in ("--workflow", import_path(one))]
        command += [part for one in activities for part in ("--activity", import_path(one))]
        command += ["--ai", import_path(ai)] if ai else []
        command += ["--attempts", str(log.folder)] if log else []
        # A file without a name: nothing is left of it, however this process ends.
        descriptor, name = tempfile.mkstemp(prefix="projectai-lab-worker-")
        os.unlink(name)
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            env=_environment(config),
            start_new_session=True,
        )
        worker = cls(process, descriptor, queue, seconds(grace))
        worker._wait_until_polling()
        return worker

    def _wait_until_polling(self) -> None:
        deadline = time.monotonic() + _START_S
        try:
            while not any(line.startswith(READY) for line in self._output().splitlines()):
                if self._process.poll() is not None:
                    raise WorkerStartError(f"the worker process ended:\n{self.logs(8)}")
                if time.monotonic() > deadline:
                    raise WorkerStartError(f"the worker process does not poll:\n{self.logs(8)}")
                time.sleep(0.01)
        except BaseException:
            self.kill()
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    @property
    def status(self) -> str:
        """`running`, or `stopped` with the exit code."""
        code = self._process.poll()
        return "running" if code is None else f"stopped (exit code {code})"

    def logs(self, lines: int = 50) -> str:
        """Return the last lines that the process has written."""
        return "\n".join(self._output().splitlines()[-lines:])

    def _output(self) -> str:
        if self._log is None:
            return self._last_output
        # The process writes at the file's own position, which reading here must not move.
        return os.pread(self._log, os.fstat(self._log).st_size, 0).decode(errors="replace")

    def kill(self) -> None:
        """End the process at once, as a crash would (SIGKILL): its attempts stay unfinished."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Let it drain (SIGTERM) and wait for its end; closing twice is harmless."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(self._grace_s + _KILL_AFTER_GRACE_S)
            except subprocess.TimeoutExpired:
                self.kill()
        if self._process.stdin:
            self._process.stdin.close()
        self._last_output = self._output()
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.pid} on {self.task_queue!r}, {self.status}>"

    def _repr_html_(self) -> str:
        facts = {"status": self.status, "task queue": self.task_queue, "process": self.pid}
        return _html.card("Worker process", facts)


def import_path(thing: Callable[..., Any]) -> str:
    """Return `module:name`, by which another process finds a class or function."""
    module, name = thing.__module__, thing.__qualname__
    if module == "__main__" or "<" in name:
        raise WorkflowDefinitionError(
            f"{name} is defined in a cell or inside a function, so another process cannot import "
            "it: put it at the top level of a file and import it from there"
        )
    return f"{module}:{name}"


def _environment(config: LabConfig) -> dict[str, str]:
    """Give the child our import path; an embedded server wants nobody's TLS or API key."""
    embedded = config.address_source == "embedded"
    kept = {k: v for k, v in os.environ.items() if not (embedded and k.startswith("TEMPORAL_"))}
    path = [os.getcwd(), *(entry for entry in sys.path if entry)]
    return {**kept, "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}
