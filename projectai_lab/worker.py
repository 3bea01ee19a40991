"""The SDK's worker with the kit's defaults, and `BackgroundWorker`, on the Lab's own thread."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import logging
import re
import traceback
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Worker

from projectai_lab import _html
from projectai_lab._connect import PATIENT, connect, new_identity, silent
from projectai_lab._loop import LoopThread
from projectai_lab.attempts import AttemptLog, AttemptRecorder
from projectai_lab.config import LabConfig
from projectai_lab.errors import WorkerError, WorkerStartError, WorkflowDefinitionError
from projectai_lab.fault_injection import FaultInjector
from projectai_lab.models import Duration, seconds
from projectai_lab.worker_spec import WorkerSpec

_LOG_LINES = 1000
_THREADS = 100


def make_worker(
    client: Client,
    spec: WorkerSpec,
    task_queue: str,
    *,
    recorder: AttemptRecorder | None = None,
    may_kill: bool = False,
    grace: Duration = 10.0,
    fail_workflow_on_exception: bool = True,
    **options: Any,
) -> Worker:
    """Return an SDK worker with the kit's defaults; `options` are the SDK's and win.

    An exception in workflow code fails the run; with `fail_workflow_on_exception=False` it blocks
    the run until the code is mended, as Temporal does by itself. A dead worker's sticky queue is
    given up after 2 s instead of 10. Fault plans strike every activity; one that kills the worker
    is carried out only with `may_kill`.
    """
    threads = options.get("max_concurrent_activities") or _THREADS
    defaults: dict[str, Any] = {
        "workflows": list(spec.workflows.values()),
        "activities": list(spec.activities.values()),
        "activity_executor": concurrent.futures.ThreadPoolExecutor(
            threads, thread_name_prefix="projectai-lab-activity"
        ),
        "sticky_queue_schedule_to_start_timeout": timedelta(seconds=2),
        "graceful_shutdown_timeout": timedelta(seconds=seconds(grace)),
        "workflow_failure_exception_types": [Exception] if fail_workflow_on_exception else [],
    }
    if not {"build_id", "deployment_config"} & options.keys():
        defaults["build_id"] = spec.build_id()
    if "tuner" not in options:
        defaults["max_concurrent_activities"] = threads
    injector = FaultInjector(recorder.injected if recorder else None, may_kill=may_kill)
    # The recorder outermost: an injected failure is the attempt's outcome too.
    ours = [recorder, injector] if recorder else [injector]
    options["interceptors"] = [*ours, *options.get("interceptors", ())]
    return Worker(client, task_queue=task_queue, **{**defaults, **options})


class BackgroundWorker:
    """A worker on the Lab's loop thread; plain (`def`) activities run in threads of its pool."""

    def __init__(
        self, loop: LoopThread, config: LabConfig, spec: WorkerSpec, task_queue: str
    ) -> None:
        self._loop = loop
        self._config = config
        self.spec = spec
        self.task_queue = task_queue
        self.identity = new_identity()
        self._logs = _LogTail()
        self._closing = contextlib.AsyncExitStack()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(
        cls,
        loop: LoopThread,
        config: LabConfig,
        spec: WorkerSpec,
        *,
        task_queue: str,
        log: AttemptLog | None = None,
        **options: Any,
    ) -> BackgroundWorker:
        """Start polling; return when the server has accepted the worker."""
        worker = cls(loop, config, spec, task_queue)
        loop.run(lambda: worker._start(log, options))
        return worker

    async def _start(self, log: AttemptLog | None, options: dict[str, Any]) -> None:
        client = await connect(self._config, PATIENT)
        self.identity = options.get("identity") or self.identity
        recorder = AttemptRecorder(log, self.identity) if log else None
        try:
            worker = make_worker(
                client,
                self.spec,
                self.task_queue,
                recorder=recorder,
                **{"identity": self.identity, **options},
            )
        except (ValueError, TypeError, RuntimeError) as error:
            raise _not_made(error) from error
        self._own(worker, recorder, executor="activity_executor" not in options)
        self._task = asyncio.create_task(worker.run(), name=f"worker {self.task_queue}")
        try:
            await until_polling(worker, self._task)
        except BaseException:
            await self._closing.aclose()
            raise

    def _own(self, worker: Worker, recorder: AttemptRecorder | None, *, executor: bool) -> None:
        """Plan the end, last step first: drain, close the recorder, free threads of our own."""
        self._logs.attach()
        self._closing.callback(self._logs.detach)
        threads = worker.config()["activity_executor"]
        if executor and threads:
            self._closing.callback(threads.shutdown, wait=False, cancel_futures=True)
        if recorder:
            self._closing.callback(recorder.close)
        self._closing.push_async_callback(self._drain, worker)

    async def _drain(self, worker: Worker) -> None:
        """Let running activities end within the grace; a server that is gone hears of no end."""
        grace = worker.config()["graceful_shutdown_timeout"].total_seconds()
        ends = [asyncio.create_task(worker.shutdown()), asyncio.create_task(silent(self._config))]
        await asyncio.wait(ends, timeout=grace + 5, return_when=asyncio.FIRST_COMPLETED)
        for task in (*ends, *filter(None, [self._task])):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @property
    def status(self) -> str:
        """`running`, `stopped`, or `failed: …` with the reason."""
        if self._task is None or self._loop.closed:
            return "stopped"
        if not self._task.done():
            return "running"
        error = None if self._task.cancelled() else self._task.exception()
        return f"failed: {error}" if error else "stopped"

    def logs(self, lines: int = 50) -> str:
        """Return the last lines that workers and activities of this process have logged."""
        return self._logs.text(lines)

    def close(self) -> None:
        """Stop polling, let running activities end within the grace, free the threads."""
        if not self._loop.closed:
            self._loop.run(self._closing.aclose)

    def __repr__(self) -> str:
        return f"<BackgroundWorker {self.identity} on {self.task_queue!r}, {self.status}>"

    def _repr_html_(self) -> str:
        facts = {
            "status": self.status,
            "task queue": self.task_queue,
            "identity": self.identity,
            "workflows": ", ".join(self.spec.workflows),
            "activities": ", ".join(self.spec.activities),
        }
        return _html.card("Worker", facts)


def _not_made(error: Exception) -> WorkerError:
    if str(error).startswith("Failed validating workflow"):
        return WorkflowDefinitionError(
            f"{error}: {error.__cause__}. The workflow sandbox loads the file again for each run: "
            "keep what the clock, chance or files decide out of its top level, or import it with "
            "`with workflow.unsafe.imports_passed_through():`"
        )
    return WorkerStartError(f"the worker could not be made: {error}")


async def until_polling(worker: Worker, task: asyncio.Task[None]) -> None:
    """Return when the server has accepted the worker; raise `WorkerStartError` when it has not."""
    while not worker.is_running:
        if task.done():
            error = task.exception()
            raise WorkerStartError(f"the worker did not start: {error}") from error
        # The SDK has no event for this; it validates the Namespace first, some milliseconds.
        await asyncio.sleep(0.002)


class OneLine(logging.Formatter):
    """One line a record: an activity's failure without the SDK's own frames of its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's message and, of an exception, its last line."""
        text = re.split(r" \(?\{'", record.getMessage(), maxsplit=1)[0]
        about = getattr(record, "temporal_activity", None) or {}
        if about:
            text += (
                f" {about['activity_type']} attempt {about['attempt']} of {about['workflow_id']}"
            )
        if record.exc_info and record.exc_info[1]:
            text += f": {traceback.format_exception_only(record.exc_info[1])[-1].strip()}"
        short = logging.makeLogRecord(
            {**record.__dict__, "msg": text, "args": None, "exc_info": None, "exc_text": None}
        )
        return super().format(short)


class _LogTail(logging.Handler):
    """Keeps the last lines of the SDK's loggers, so that they do not spray into cells."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        self._lines: collections.deque[str] = collections.deque(maxlen=_LOG_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record))
        except Exception as error:
            # A line that cannot be formatted must not fail the activity that logs it.
            text = str(record.msg).partition(" ({")[0]
            self._lines.append(f"unreadable log line of {record.name}, {text!r}: {error}")

    def text(self, lines: int) -> str:
        return "\n".join(list(self._lines)[-lines:])

    def attach(self) -> None:
        logging.getLogger("temporalio").addHandler(self)

    def detach(self) -> None:
        logging.getLogger("temporalio").removeHandler(self)
