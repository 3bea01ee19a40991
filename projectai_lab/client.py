"""`LabClient` and `LabWorkflowHandle`: the SDK's client and handle with the awaits taken out."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Generic, Self, TypeVar, overload
from urllib.parse import quote
from uuid import uuid4

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionCount,
    WorkflowExecutionDescription,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateHandle,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode
from temporalio.types import MethodAsyncSingleParam
from temporalio.workflow import _Definition

from projectai_lab import _html, _waits, histories
from projectai_lab._connect import ANSWER_WITHIN_S, connect, translated
from projectai_lab._loop import LoopThread, Say
from projectai_lab._troubles import Trouble
from projectai_lab.config import LabConfig
from projectai_lab.errors import LabClosedError, PayloadError
from projectai_lab.models import Duration, seconds

SelfType = TypeVar("SelfType")
Param = TypeVar("Param")
Result = TypeVar("Result")
T = TypeVar("T")

_RPC_TIMEOUT = timedelta(seconds=ANSWER_WITHIN_S)


class LabClient:
    """Blocking twin of the SDK's client; names, arguments and answers are the SDK's own.

    Workflow Id and Task Queue may be left out. `client` is the SDK's client, for `await`.
    """

    def __init__(self, loop: LoopThread, client: Client, config: LabConfig) -> None:
        self._loop = loop
        self.client = client
        self.config = config
        self.ui_url = _guess_ui_url(config.address)
        self.clock: str | None = None

    @classmethod
    def connect(cls, config: LabConfig | None = None) -> Self:
        """Connect to a server that runs elsewhere; `close` leaves it running."""
        config = config or LabConfig.load()
        loop = LoopThread()
        try:
            return cls(loop, loop.run(lambda: connect(config)), config)
        except BaseException:
            loop.close()
            raise

    @property
    def address(self) -> str:
        """Where the server listens, host:port."""
        return self.config.address

    @property
    def namespace(self) -> str:
        """Namespace of every call."""
        return self.client.namespace

    @property
    def task_queue(self) -> str:
        """Task Queue of every start that names none."""
        return self.config.task_queue

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

        >>> handle = lab.start_workflow(ExampleWorkflow.run, WorkflowInput("…", "u-1"), id="req-1")
        """
        if len(args) == 1:
            options["arg"] = args[0]
        elif args:
            options["args"] = args
        name, queue = _workflow_type(workflow), task_queue or self.task_queue
        self._before_start(name, queue)
        options |= {"id": id or f"{name}-{uuid4().hex[:12]}", "task_queue": queue}
        return self._handle(self._loop.run(lambda: start(self.client, workflow, options)))

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

    def list_workflows(
        self, query: str = "", *, limit: int | None = None
    ) -> list[WorkflowExecution]:
        """Return the Workflow Executions of a visibility query, newest first."""

        async def collect() -> list[WorkflowExecution]:
            found = self.client.list_workflows(query, limit=limit, rpc_timeout=_RPC_TIMEOUT)
            with translated(self.client):
                return [run async for run in found]

        return self._loop.run(collect)

    def count_workflows(self, query: str = "") -> WorkflowExecutionCount:
        """Count Workflow Executions; the server groups by ExecutionStatus only."""
        return self._within(lambda: self.client.count_workflows(query))

    def fetch_histories(
        self, query: str | list[str], *, concurrency: int = 50, progress: bool = True
    ) -> list[histories.History]:
        """Fetch the histories of a visibility query, or of Workflow Ids, many at once."""

        async def fetch() -> list[histories.History]:
            with translated(self.client):
                return await histories.fetch(
                    self.client, query, concurrency=concurrency, progress=progress, clock=self.clock
                )

        return self._loop.run(fetch)

    def close(self) -> None:
        """Close the connection's loop; the server goes on. Closing twice is harmless."""
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._loop.closed else ""
        where = f"{self.address}, namespace {self.namespace!r}, task queue {self.task_queue!r}"
        return f"<{type(self).__name__} {where}{state}>"

    def url(self, workflow_id: str, run_id: str | None = None) -> str | None:
        """Return the Web UI's page of a Workflow Execution, None where no Web UI is known."""
        if not self.ui_url:
            return None
        page = f"{self.ui_url}/namespaces/{quote(self.namespace, '')}/workflows/"
        return page + quote(workflow_id, "") + (f"/{quote(run_id, '')}/history" if run_id else "")

    def _check_open(self) -> None:
        if self._loop.closed:
            raise LabClosedError(f"{self!r}: open a new one, with Lab.open()")

    def _before_start(self, workflow_type: str, task_queue: str) -> None:
        """Refuse what cannot run; a bare client knows of no worker and refuses nothing."""

    def _handle(self, handle: WorkflowHandle[Any, T]) -> LabWorkflowHandle[T]:
        return LabWorkflowHandle(self, handle)

    def _within(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run one short call; a server that does not answer is an error, not a wait."""

        async def bounded() -> T:
            with translated(self.client):
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    return await call()

        return self._loop.run(bounded)


async def start(client: Client, workflow: Any, options: dict[str, Any]) -> WorkflowHandle[Any, Any]:
    """Start a Workflow Execution; say what to do when the server refuses."""
    arguments = options.get("args", [options.get("arg")])
    try:
        with translated(client):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await sent(client, arguments, client.start_workflow(workflow, **options))
    except WorkflowAlreadyStartedError as error:
        error.add_note(
            f"Workflow Id {options['id']!r} is in use: take the running execution with "
            f"get_workflow_handle({options['id']!r}), or choose another id or id_conflict_policy"
        )
        raise


async def sent(client: Client, arguments: Sequence[Any], call: Awaitable[T]) -> T:
    """Await a call that sends arguments; name the one that cannot be serialised."""
    try:
        return await call
    except (TypeError, ValueError, RecursionError) as error:
        # Asked only on the way out: encoding twice on every call would cost.
        for argument in arguments:
            await _check_serialisable(client, argument, error)
        raise


async def _check_serialisable(client: Client, argument: Any, error: Exception) -> None:
    try:
        await client.data_converter.encode([argument])
    except (TypeError, ValueError, RecursionError):
        raise PayloadError(
            f"an argument of type {type(argument).__name__} cannot be serialised to JSON "
            f"({error}): pass text, numbers, lists, dicts or dataclasses of these"
        ) from error


class LabWorkflowHandle(Generic[Result]):
    """Blocking twin of the SDK's `WorkflowHandle`, which is at `.handle`."""

    def __init__(self, lab: LabClient, handle: WorkflowHandle[Any, Result]) -> None:
        self._lab = lab
        self.handle = handle
        self._status = "unknown"

    @property
    def id(self) -> str:
        """Workflow Id."""
        return self.handle.id

    @property
    def run_id(self) -> str | None:
        """Run Id: the one that this handle started, or was made with."""
        return self.handle.run_id or self.handle.result_run_id

    @property
    def url(self) -> str | None:
        """Page in the Web UI."""
        return self._lab.url(self.id, self.run_id)

    def result(self, *, timeout: Duration | None = None) -> Result:
        """Wait for the result; a wait that cannot progress says why within 5 s.

        `timeout` is a timedelta or seconds; afterwards `WorkflowTimeoutError` says what stood in
        the way and the execution goes on. An unhappy end raises the SDK's `WorkflowFailureError`.
        """
        limit = None if timeout is None else timedelta(seconds=seconds(timeout))

        async def wait(say: Say) -> Result:
            def on_trouble(trouble: Trouble) -> None:
                say(f"{self.id}: {trouble.line}")

            with translated(self._lab.client), explained(self.handle, self.url):
                return await _waits.result(
                    self._lab.client, self.handle, timeout=limit, on_trouble=on_trouble
                )

        answer = self._lab._loop.call(wait)
        self._status = "COMPLETED"
        return answer

    def query(self, query: Any, *args: Any, **options: Any) -> Any:
        """Query the workflow; raises `NoWorkerError` within 5 s when nobody can answer."""
        return self._ask(functools.partial(self.handle.query, query), args, options)

    def execute_update(self, update: Any, *args: Any, **options: Any) -> Any:
        """Send an Update and wait for its result; `NoWorkerError` when nobody can answer."""
        return self._ask(functools.partial(self.handle.execute_update, update), args, options)

    def start_update(self, update: Any, *args: Any, **options: Any) -> WorkflowUpdateHandle[Any]:
        """Send an Update and return the SDK's handle once it has reached `wait_for_stage`."""
        start_update: Any = functools.partial(self.handle.start_update, update)
        handle: WorkflowUpdateHandle[Any] = self._ask(start_update, args, options)
        return handle

    def signal(self, signal: Any, *args: Any, **options: Any) -> None:
        """Send a Signal; returns when the server has it."""
        client = self._lab.client
        self._lab._within(
            lambda: sent(client, args, self.handle.signal(signal, args=args, **options))
        )

    def cancel(self) -> None:
        """Ask the workflow to cancel itself; returns when the server has the request."""
        self._lab._within(lambda: self.handle.cancel())

    def terminate(self, *details: Any, reason: str | None = None) -> None:
        """End the execution at once, without asking its code."""
        self._lab._within(lambda: self.handle.terminate(*details, reason=reason))

    def describe(self) -> WorkflowExecutionDescription:
        """Return what the server knows of the execution."""
        description = self._lab._within(lambda: self.handle.describe())
        self._status = description.status.name if description.status else "unknown"
        return description

    def fetch_history(self) -> histories.History:
        """Fetch the event history; an open execution's holds the events so far."""
        lab = self._lab

        async def fetch() -> histories.History:
            with translated(lab.client), explained(self.handle, self.url):
                whole = await self.handle.fetch_history(rpc_timeout=_RPC_TIMEOUT)
            return histories.History(
                whole.workflow_id, whole.events, namespace=lab.namespace, clock=lab.clock
            )

        return lab._loop.run(fetch)

    def _ask(self, call: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        async def ask() -> Any:
            lab = self._lab
            answer = sent(lab.client, args, call(args=args, **options))
            with translated(lab.client):
                return await _waits.with_worker(lab.client, self.handle, answer)

        return self._lab._loop.run(ask)

    def __repr__(self) -> str:
        return f"<LabWorkflowHandle {self.id!r}, run {self.run_id}>"

    def _repr_html_(self) -> str:
        facts = {
            "run id": self.run_id,
            "status": f"{self._status} (when last asked; ask with .describe())",
        }
        return _html.card(self.id, facts, url=self.url, status=self._status)


@contextmanager
def explained(handle: WorkflowHandle[Any, Any], url: str | None) -> Iterator[None]:
    """Add to an unhappy end which execution it was, its root cause and where to look."""
    try:
        yield
    except WorkflowFailureError as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        error.add_note(f"Workflow Execution {handle.id!r} ended: {type(cause).__name__}: {cause}")
        error.add_note(f"Next step: handle.fetch_history(){f', or {url}' if url else ''}")
        raise
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            error.add_note(f"There is no Workflow Execution {handle.id!r} in this Namespace")
        raise


def _guess_ui_url(address: str) -> str | None:
    """Return the Web UI of a server on this machine: `temporal server start-dev` adds 1000."""
    host, _, port = address.rpartition(":")
    local = host in ("localhost", "127.0.0.1") and int(port) + 1000 < 65536
    return f"http://{host}:{int(port) + 1000}" if local else None


def _workflow_type(workflow: Any) -> str:
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
