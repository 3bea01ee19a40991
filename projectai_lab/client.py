"""`LabClient`: the SDK's client with the awaits taken out."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, closing
from datetime import timedelta
from typing import Any, TypeVar, overload
from uuid import uuid4

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionCount,
    WorkflowHandle,
)
from temporalio.types import MethodAsyncSingleParam
from temporalio.workflow import _Definition

from projectai_lab import _many, histories
from projectai_lab._calls import start
from projectai_lab._connect import ANSWER_WITHIN_S, translated
from projectai_lab._connection import Connection
from projectai_lab._loop import LoopThread
from projectai_lab.config import LabConfig
from projectai_lab.fault_injection import planned
from projectai_lab.handle import LabWorkflowHandle, limit_of
from projectai_lab.models import Duration, FaultPlan

SelfType = TypeVar("SelfType")
Param = TypeVar("Param")
Result = TypeVar("Result")
T = TypeVar("T")

_RPC_TIMEOUT = timedelta(seconds=ANSWER_WITHIN_S)
_LISTED_WITHIN_S = 10.0


class LabClient(Connection):
    """Blocking twin of the SDK's client; names, arguments and answers are the SDK's own.

    Workflow Id and Task Queue may be left out. `client` is the SDK's client, for `await`.
    """

    def __init__(self, loop: LoopThread, client: Client, config: LabConfig) -> None:
        super().__init__(loop, client, config)
        self._started: deque[tuple[float, LabWorkflowHandle[Any]]] = deque(maxlen=1000)

    @overload
    def start_workflow(
        self,
        workflow: MethodAsyncSingleParam[SelfType, Param, Result],
        arg: Param,
        *,
        id: str | None = None,
        task_queue: str | None = None,
        **options: Any,
    ) -> LabWorkflowHandle[Result]: ...

    @overload
    def start_workflow(
        self,
        workflow: str | Callable[..., Awaitable[Any]],
        *args: Any,
        id: str | None = None,
        task_queue: str | None = None,
        **options: Any,
    ) -> LabWorkflowHandle[Any]: ...

    def start_workflow(
        self,
        workflow: Any,
        *args: Any,
        id: str | None = None,
        task_queue: str | None = None,
        **options: Any,
    ) -> LabWorkflowHandle[Any]:
        """Start a Workflow Execution; options are those of `temporalio.client.Client`.

        `faults=` and `seed=` let its activities meet a fault plan, whatever workflow it is; one
        that takes a `WorkflowInput` has them there.

        >>> handle = lab.start_workflow(ExampleWorkflow.run, WorkflowInput("…", "u-1"), id="req-1")
        """
        if len(args) == 1:
            options["arg"] = args[0]
        elif args:
            options["args"] = args
        name, queue = workflow_type_of(workflow), task_queue or self.task_queue
        client, plan = planned(self.client, args, options)
        self.check_start(name, queue, plan)
        options |= {"id": id or f"{name}-{uuid4().hex[:12]}", "task_queue": queue}
        handle = self._handle(self._loop.run(lambda: start(client, workflow, options)))
        self._started.append((time.monotonic(), handle))
        return handle

    @overload
    def execute_workflow(
        self,
        workflow: MethodAsyncSingleParam[SelfType, Param, Result],
        arg: Param,
        *,
        id: str | None = None,
        task_queue: str | None = None,
        timeout: Duration | None = None,
        **options: Any,
    ) -> Result: ...

    @overload
    def execute_workflow(
        self,
        workflow: str | Callable[..., Awaitable[Any]],
        *args: Any,
        id: str | None = None,
        task_queue: str | None = None,
        timeout: Duration | None = None,
        **options: Any,
    ) -> Any: ...

    def execute_workflow(
        self, workflow: Any, *args: Any, timeout: Duration | None = None, **options: Any
    ) -> Any:
        """Start a Workflow Execution and wait for its result; see `LabWorkflowHandle.result`."""
        return self.start_workflow(workflow, *args, **options).result(timeout=timeout)

    def get_workflow_handle(self, id: str, *, run_id: str | None = None) -> LabWorkflowHandle[Any]:
        """Return the handle of an existing Workflow Execution; asks the server nothing."""
        return self._handle(self.client.get_workflow_handle(id, run_id=run_id))

    def results(
        self,
        handles: Iterable[LabWorkflowHandle[Any]],
        *,
        timeout: Duration | None = None,
        progress: bool = True,
    ) -> list[Any]:
        """Wait for many executions under a progress bar; return results or exceptions in order.

        Where one ended otherwise than COMPLETED its exception stands, as of
        `asyncio.gather(return_exceptions=True)`; `timeout` (a timedelta or seconds) is for all, and
        `WorkflowTimeoutError` stands where one still runs. An interrupt leaves them running.

        Errors: TypeError for what is no handle, LabClosedError.

        >>> lab.results([lab.start_workflow("ExampleWorkflow", one) for one in inputs])
        """
        if isinstance(handles, str | LabWorkflowHandle) or not isinstance(handles, Iterable):
            raise TypeError(
                "results takes a list of handles, such as lab.results([handle]); one has "
                f"handle.result(); got {handles!r}"
            )
        chosen, limit_s = list(handles), limit_of(timeout)
        for one in chosen:
            if not isinstance(one, LabWorkflowHandle):
                raise TypeError(
                    "results takes handles, of lab.start_workflow or lab.get_workflow_handle; "
                    f"got {one!r}"
                )
        return _many.results(self._loop, self.client, chosen, limit_s=limit_s, progress=progress)

    def list_workflows(
        self, query: str = "", *, limit: int | None = None
    ) -> list[WorkflowExecution]:
        """Return the Workflow Executions of a List Filter, newest first."""

        async def collect() -> list[WorkflowExecution]:
            found = self.client.list_workflows(query, limit=limit, rpc_timeout=_RPC_TIMEOUT)
            with translated(self.client):
                return [run async for run in found]

        return self._loop.run(collect)

    def just_started(self) -> list[LabWorkflowHandle[Any]]:
        """Return the handles of the last seconds' starts, which the server may not list yet."""
        since = time.monotonic() - _LISTED_WITHIN_S
        return [handle for at, handle in self._started if at > since]

    def count_workflows(self, query: str = "") -> WorkflowExecutionCount:
        """Count Workflow Executions; the server groups by ExecutionStatus only."""
        return self.within(lambda: self.client.count_workflows(query))

    def fetch_histories(
        self,
        query: str | Iterable[histories.WorkflowRef],
        *,
        concurrency: int = 50,
        progress: bool = True,
        cache: str | os.PathLike[str] | None = None,
    ) -> list[histories.History]:
        """Fetch the histories of a List Filter, of Workflow Ids or of handles, many at once.

        `cache` is a folder that keeps those of closed runs, so that each is fetched once; see
        `histories.fetch`.
        """

        async def fetch() -> list[histories.History]:
            with translated(self.client):
                return await histories.fetch(
                    self.client,
                    query,
                    concurrency=concurrency,
                    progress=progress,
                    clock=self.clock,
                    cache=cache,
                )

        return self._loop.run(fetch)

    def export_histories(
        self,
        query: str | Iterable[histories.WorkflowRef],
        to: str | os.PathLike[str],
        *,
        concurrency: int = 50,
        **options: Any,
    ) -> histories.Export:
        """Export what a List Filter finds, or ids; options as `histories.export`.

        Closed runs that the folder holds already are not fetched again; runs that are gone by the
        time they are fetched stand in the manifest.

        >>> lab.export_histories("WorkflowType = 'ExampleWorkflow'", "study")
        """
        gone: list[histories.Ids] = []
        by_query = query if isinstance(query, str) else None
        server, known = self.server_version(), histories.exported(to)
        coming = self._loop.iterate(lambda: self._histories(query, known, concurrency, gone))
        with closing(coming):
            return histories.export(coming, to, query=by_query, gone=gone, server=server, **options)

    async def _histories(
        self,
        query: str | Iterable[histories.WorkflowRef],
        known: set[str],
        concurrency: int,
        gone: list[histories.Ids],
    ) -> AsyncGenerator[histories.History, None]:
        """Yield what a query finds, except the known runs."""
        options: dict[str, Any] = {"concurrency": concurrency, "clock": self.clock}
        coming = histories.stream(self.client, query, gone=gone, skip=known, **options)
        with translated(self.client):
            async with aclosing(coming):
                async for history in coming:
                    yield history

    def check_start(
        self, workflow_type: str, task_queue: str, faults: FaultPlan | None = None
    ) -> None:
        """Raise for a start that would come to nothing.

        A bare client knows of no worker: it refuses only when it is closed.
        """
        self._check_open()

    def _handle(self, handle: WorkflowHandle[Any, T]) -> LabWorkflowHandle[T]:
        return LabWorkflowHandle(self, handle)


def workflow_type_of(workflow: Any) -> str:
    """Return the Workflow Type of a name or of a workflow's run method."""
    if isinstance(workflow, str):
        return workflow
    if not callable(workflow):
        raise TypeError(
            "a workflow is named by its Workflow Type or its run method, "
            f"such as ExampleWorkflow.run; got {workflow!r}"
        )
    definition = _Definition.from_run_fn(workflow)
    return (definition and definition.name) or workflow.__qualname__
