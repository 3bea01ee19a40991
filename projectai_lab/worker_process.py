"""`WorkerProcess`: the same worker in a process of its own, to be killed, restarted and scaled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from projectai_lab import _html
from projectai_lab._checks import whole_number
from projectai_lab.attempts import AttemptLog
from projectai_lab.config import LabConfig
from projectai_lab.errors import WorkerStartError, WorkflowDefinitionError
from projectai_lab.models import Duration, seconds
from projectai_lab.worker_spec import WorkerSpec

READY = "polling"
_START_S = 30.0
_KILL_AFTER_GRACE_S = 10.0


class WorkerProcess:
    """A `projectai-lab worker` that this process started; it ends with its parent.

    One that ends by itself (killed, crashed) is started again, `restarts` times at most.
    """

    def __init__(
        self,
        command: list[str],
        environment: dict[str, str],
        spec: WorkerSpec,
        task_queue: str,
        grace_s: float,
        restarts: int,
    ) -> None:
        self._command, self._environment = command, environment
        # A file without a name: nothing is left of it, however this process ends.
        descriptor, name = tempfile.mkstemp(prefix="projectai-lab-worker-")
        os.unlink(name)
        self._log: int | None = descriptor
        self._last_output = ""
        self._grace_s = grace_s
        self.spec = spec
        self.task_queue = task_queue
        self.most_restarts = restarts
        self.restarts = 0
        """How often it was started again."""
        self.last_exit: int | None = None
        """Exit code of the last process that ended by itself; −9 is kill −9."""
        self._ending = threading.Lock()
        self._closed = False
        self._supervisor: threading.Thread | None = None
        self._process = self._spawn()

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
        restarts: int = 0,
    ) -> WorkerProcess:
        """Start the process and return when it polls; what it runs must be importable by name."""
        restarts = whole_number("restarts", restarts, 0)
        queue = task_queue or config.task_queue
        workflows, activities = tuple(workflows), tuple(activities)
        spec = WorkerSpec.build(workflows, activities, ai)
        command = [sys.executable, "-m", "projectai_lab", "worker", "--with-parent"]
        command += ["--address", config.address, "--namespace", config.namespace]
        command += ["--task-queue", queue, "--grace", str(seconds(grace))]
        command += [part for one in workflows for part in ("--workflow", import_path(one))]
        command += [part for one in activities for part in ("--activity", import_path(one))]
        command += ["--ai", import_path(ai)] if ai else []
        command += ["--attempts", str(log.folder)] if log else []
        worker = cls(command, _environment(config), spec, queue, seconds(grace), restarts)
        worker._wait_until_polling()
        if restarts:
            worker._supervise()
        return worker

    def _spawn(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
        )

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

    def _supervise(self) -> None:
        self._supervisor = threading.Thread(
            target=self._bring_back, name=f"projectai-lab-restart {self.task_queue}", daemon=True
        )
        self._supervisor.start()

    def _bring_back(self) -> None:
        """Start the process again whenever it has ended by itself, until there were enough."""
        while True:
            ended = self._process
            code = ended.wait()
            with self._ending:
                # Drained is what somebody asked for.
                if self._closed or code == 0:
                    return
                self.last_exit = code
                if self.restarts == self.most_restarts:
                    return
                self._process = self._spawn()
                self.restarts += 1
            _close_input(ended)

    @property
    def pid(self) -> int:
        """Process id of the worker; another one after a restart."""
        return self._process.pid

    @property
    def status(self) -> str:
        """`running`, or `stopped` with the exit code."""
        code = self._process.poll()
        return "running" if code is None else f"stopped (exit code {code})"

    def logs(self, lines: int = 50) -> str:
        """Return the last lines that the process, and those before it, have written."""
        return "\n".join(self._output().splitlines()[-lines:])

    def _output(self) -> str:
        if self._log is None:
            return self._last_output
        # The process writes at the file's own position, which reading here must not move.
        return os.pread(self._log, os.fstat(self._log).st_size, 0).decode(errors="replace")

    def kill(self) -> None:
        """End the process at once, as a crash would (SIGKILL): its attempts stay unfinished."""
        process = self._process
        process.kill()
        process.wait()

    def close(self) -> None:
        """Let it drain (SIGTERM) and wait for its end; closing twice is harmless."""
        with self._ending:
            self._closed = True
        process = self._process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(self._grace_s + _KILL_AFTER_GRACE_S)
            except subprocess.TimeoutExpired:
                self.kill()
        if self._supervisor:
            self._supervisor.join()
        _close_input(process)
        self._last_output = self._output()
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def __repr__(self) -> str:
        return f"<WorkerProcess {self.pid} on {self.task_queue!r}, {self.status}>"

    def _repr_html_(self) -> str:
        facts = {"status": self.status, "task queue": self.task_queue, "process": self.pid}
        if self.most_restarts:
            facts["restarts"] = f"{self.restarts} of at most {self.most_restarts}"
            if self.last_exit is not None:
                facts["last exit"] = f"exit code {self.last_exit}"
        return _html.card("Worker process", facts)


def _close_input(process: subprocess.Popen[bytes]) -> None:
    if process.stdin:
        process.stdin.close()


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
