"""`Lab`: a server, a client and workers, opened in order and closed in reverse."""

from __future__ import annotations

import atexit
import contextlib
import os
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from temporalio.client import Client

from projectai_lab import _html
from projectai_lab._connect import connect
from projectai_lab._loop import LoopThread, logger
from projectai_lab._pollers import alive_workers
from projectai_lab._time_skipping import skipping
from projectai_lab.activities import AICallable
from projectai_lab.attempts import AttemptLog
from projectai_lab.client import LabClient
from projectai_lab.config import LabConfig
from projectai_lab.devserver import CLOCKS, Clock, DevServer, check_clock
from projectai_lab.fault_injection import check_names
from projectai_lab.models import FaultPlan
from projectai_lab.worker import BackgroundWorker
from projectai_lab.worker_process import WorkerProcess
from projectai_lab.worker_spec import WorkerSpec

if TYPE_CHECKING:
    from projectai_lab.histories import Export, WorkflowRef

AnyWorker = BackgroundWorker | WorkerProcess
_OPEN: weakref.WeakSet[Lab] = weakref.WeakSet()
_OPEN_ALREADY = (
    "another Lab is open in this process, at %s on Task Queue %r, and goes on beside this one; "
    "a cell that is run again may begin with Lab.close_all()"
)
_SHARED = (
    "Task Queue %r has another worker already (%s): what that takes is not in this Lab's attempt "
    "log, so some attempts will be NA; for a queue of your own set TEMPORAL_TASK_QUEUE, or "
    "Lab.open(task_queue=…)"
)


class Lab(LabClient):
    """A Temporal server (its own or yours), a client, workers and a record of every attempt.

    `Lab.open()` chooses by the environment; `Lab.start_local` and `Lab.connect` are the two doors
    behind it. Each is a context manager too.

    >>> with Lab.open() as lab:
    ...     lab.execute_workflow(ExampleWorkflow.run, WorkflowInput("hello", "u-1")).success
    True
    """

    def __init__(self, loop: LoopThread, client: Client, config: LabConfig) -> None:
        super().__init__(loop, client, config)
        self.server: DevServer | None = None
        self.attempts: AttemptLog | None = None
        self.workers: dict[str, AnyWorker] = {}
        self.specs: dict[str, WorkerSpec] = {}  # what the Lab's workers have run, by build id
        self._given: dict[str, tuple[WorkerSpec, dict[str, Any]]] = {}
        self._added: defaultdict[str, WorkerSpec] = defaultdict(WorkerSpec)
        self._closing = contextlib.ExitStack()
        _OPEN.add(self)

    @classmethod
    def open(
        cls,
        *,
        address: str | None = None,
        namespace: str | None = None,
        task_queue: str | None = None,
        **options: Any,
    ) -> Self:
        """Connect where an argument, TEMPORAL_HOST or a profile says; else start a server here.

        `options` are those of `start_local` and `connect`; `db_filename`, `ui_port` and the clocks
        "fast" and "default" shape the embedded server and are ignored where one runs already.
        """
        config = LabConfig.load(address=address, namespace=namespace, task_queue=task_queue)
        for other in list(_OPEN):
            logger.warning(_OPEN_ALREADY, other.address, other.task_queue)
        if config.is_default:
            return cls.start_local(config, **options)
        for name in ("db_filename", "ui_port"):
            options.pop(name, None)
        return cls.connect(config, **options)

    @classmethod
    def start_local(
        cls,
        config: LabConfig | None = None,
        *,
        clock: Clock = "fast",
        db_filename: str | Path | None = None,
        ui_port: int | None = None,
        **options: Any,
    ) -> Self:
        """Start an embedded server that ends with this Lab; then go on as `connect` does.

        On the clock "virtual" each run skips its own idle time: timers, backoffs, start delays and
        the timeouts of workflows pass at once, and so does a wait for a Signal that has a timeout.
        Attempts run in real time, up to their start-to-close and heartbeat timeouts, and a run that
        has a Child Workflow waits for it by its own clock.
        """
        config = LabConfig.of(config or LabConfig(namespace="default"))
        server = DevServer.start(
            clock=clock, db_filename=db_filename, ui_port=ui_port, namespace=config.namespace
        )
        local = LabConfig(
            address=server.address,
            namespace=config.namespace,
            task_queue=config.task_queue,
            address_source="embedded",
        )
        try:
            return cls._open(local, server, clock, **options)
        except BaseException:
            server.close()
            raise

    @classmethod
    def connect(
        cls, config: LabConfig | None = None, *, clock: Clock | None = None, **options: Any
    ) -> Self:
        """Connect to a server that runs elsewhere, which `close` leaves running.

        `clock="virtual"` makes the runs that this Lab starts skip their idle time, or raises
        `NoTimeSkippingError` where the server cannot; the other clocks are the server's to choose.
        `worker=False` starts none; `workflows`, `activities`, `ai` and the SDK's worker options
        are those of `start_worker`; `attempts` is a folder for the attempt log, or False for none.
        """
        check_clock(clock or "fast")
        virtual: Clock | None = "virtual" if clock == "virtual" else None
        return cls._open(LabConfig.of(config), None, virtual, **options)

    @classmethod
    def _open(
        cls,
        config: LabConfig,
        server: DevServer | None,
        clock: Clock | None,
        *,
        worker: bool = True,
        attempts: str | Path | bool = True,
        **worker_options: Any,
    ) -> Self:
        with contextlib.ExitStack() as undo:
            loop = LoopThread()
            undo.callback(loop.close)
            client = loop.run(lambda: connect(config))
            if clock == "virtual":
                client = loop.run(lambda: skipping(client))
            lab = cls(loop, client, config)
            lab.clock = clock
            undo.callback(lab.close)
            lab._closing.callback(loop.close)
            if server:
                lab.server, lab.ui_url = server, server.ui_url
                lab._closing.callback(server.close)
            if attempts:
                # Beside an embedded server's own files, which go even when this process is killed.
                within = server.scratch if server else None
                lab.attempts = AttemptLog(None if attempts is True else attempts, within=within)
                lab._closing.callback(lab.attempts.close)
            lab._closing.callback(lab._close_workers)
            if worker:
                lab._tell_of_others()
                lab.start_worker(**worker_options)
            undo.pop_all()
            return lab

    @property
    def worker(self) -> AnyWorker | None:
        """The worker on the Lab's own Task Queue."""
        return self.workers.get(self.task_queue)

    def start_worker(
        self,
        *,
        workflows: Iterable[type] = (),
        activities: Iterable[Callable[..., Any]] = (),
        ai: AICallable | None = None,
        task_queue: str | None = None,
        process: bool = False,
        **options: Any,
    ) -> AnyWorker:
        """Start a worker for the kit's workflow and activities and those given, by name.

        A worker of this Lab on the same Task Queue is drained and replaced; what `add_to_worker`
        gave it stays. `ai` takes the place of the simulated AI call; `process=True` runs it in a
        process of its own with the options `grace` and `restarts`, how often it comes back from the
        dead; else `options` are those of `make_worker` and of the SDK's `Worker`.
        """
        self._check_open()
        queue = task_queue or self.task_queue
        asked = self._added[queue].plus(workflows, activities)
        workflows, activities = asked.workflows.values(), asked.activities.values()
        spec = WorkerSpec.build(workflows, activities, ai)
        # The old one goes when the new one polls: a start that fails takes nothing away.
        old = self.workers.get(queue)
        worker: AnyWorker
        own: dict[str, Any] = {"task_queue": queue, "log": self.attempts}
        if process:
            worker = WorkerProcess.start(self.config, workflows, activities, ai, **own, **options)
        else:
            worker = BackgroundWorker.start(self._loop, self.config, spec, **own, **options)
        self.workers[queue], self.specs[spec.build_id()] = worker, spec
        self._given[queue] = asked, {"ai": ai, "process": process, **options}
        if old:
            old.close()
        return worker

    def add_to_worker(
        self, workflows: Iterable[type] = (), activities: Iterable[Callable[..., Any]] = ()
    ) -> AnyWorker:
        """Swap the Lab's worker for one that runs these too, and so each that comes after it."""
        asked, options = self._given.get(self.task_queue, (WorkerSpec(), {}))
        new = tuple(workflows), tuple(activities)
        both = vars(asked.plus(*new))
        added, old = self._added[self.task_queue], self.worker
        self._added[self.task_queue] = added.plus(*new)
        try:
            return self.start_worker(**{kind: both[kind].values() for kind in both}, **options)
        except BaseException:
            # An interrupt while the old one drains comes after the swap.
            if self.worker is old:
                self._added[self.task_queue] = added
            raise

    def worker_options(self) -> dict[str, Any]:
        """Return the options that the Lab's worker was started with, without what it runs."""
        return dict(self._given.get(self.task_queue, (None, {}))[1])

    def _tell_of_others(self) -> None:
        """Say who else takes tasks of the Task Queue, on a server that is not this Lab's alone."""
        if self.server or not self.attempts:
            return
        others = self.within(lambda: alive_workers(self.client, self.task_queue))
        if others:
            logger.warning(_SHARED, self.task_queue, ", ".join(others))

    def _close_workers(self) -> None:
        while self.workers:
            self.workers.popitem()[1].close()

    def check_start(
        self, workflow_type: str, task_queue: str, faults: FaultPlan | None = None
    ) -> None:
        """Raise for a type or a fault rule's activity that our workers on the queue lack."""
        super().check_start(workflow_type, task_queue)
        worker = self.workers.get(task_queue)
        if isinstance(worker, BackgroundWorker):
            worker.spec.check_type(workflow_type, task_queue)
        if task_queue in self.workers:
            known = {name for one in self.workers.values() for name in one.spec.activities}
            check_names(faults, sorted(known), task_queue)

    def export_histories(
        self, query: str | Iterable[WorkflowRef], to: str | PathLike[str], **options: Any
    ) -> Export:
        """Export as `LabClient` does; the attempt log goes along, unless `recorder` is given."""
        return super().export_histories(query, to, **{"recorder": self.attempts, **options})

    def close(self) -> None:
        """Drain the workers, stop the server that this Lab started, end its thread."""
        self._loop.refuse_own_thread()
        _OPEN.discard(self)
        self._say_farewell()
        self._closing.close()

    @classmethod
    def close_all(cls) -> None:
        """Close every open Lab of this process."""
        for lab in list(_OPEN):
            lab.close()

    def _repr_html_(self) -> str:
        closed = self._loop.closed
        facts = {
            "address": f"{self.address} ({self.config.address_source})",
            "namespace": self.namespace,
            "task queue": self.task_queue,
            "worker": None if closed else self.worker or "none: lab.start_worker()",
            "clock": f"{self.clock} ({CLOCKS[self.clock]})" if self.clock in CLOCKS else "unknown",
            "state": "closed" if closed else "open",
        }
        # A server that this Lab started ended with it, and its Web UI too.
        url = None if closed and self.server else self.ui_url
        return _html.card("Lab", facts, url=url)


# A forked child owns nothing: what it inherits is its parent's to close.
os.register_at_fork(after_in_child=_OPEN.clear)
atexit.register(Lab.close_all)
