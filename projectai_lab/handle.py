"""`LabWorkflowHandle`: the SDK's workflow handle with the awaits taken out."""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from collections.abc import AsyncGenerator, Iterator
from datetime import timedelta
from typing import Any, Generic, TypeVar

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowHandle,
    WorkflowUpdateHandle,
)

from projectai_lab import _html, _waits, _watching, histories
from projectai_lab._calls import explained, sent
from projectai_lab._connect import ANSWER_WITHIN_S, lost_worker, translated
from projectai_lab._connection import Connection
from projectai_lab._loop import Say
from projectai_lab._troubles import Trouble
from projectai_lab.attempt_poll import AttemptPoll
from projectai_lab.errors import BlockingCallError, LabClosedError
from projectai_lab.models import Duration, seconds

Result = TypeVar("Result")
_RPC_TIMEOUT = timedelta(seconds=ANSWER_WITHIN_S)


class LabWorkflowHandle(Generic[Result]):
    """Blocking twin of the SDK's `WorkflowHandle`, which is at `.handle`."""

    def __init__(self, connection: Connection, handle: WorkflowHandle[Any, Result]) -> None:
        self._connection = connection
        self.handle = handle
        self._status = "unknown"

    @property
    def connection(self) -> Connection:
        """The Lab or client that it belongs to."""
        return self._connection

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
        return self._connection.url(self.id, self.run_id)

    def result(self, *, timeout: Duration | None = None) -> Result:
        """Wait for the result; a wait that cannot progress says why within 5 s.

        `timeout` is a timedelta or seconds; afterwards `WorkflowTimeoutError` says what stood in
        the way and the execution goes on. An unhappy end raises the SDK's `WorkflowFailureError`.
        """
        limit_s = limit_of(timeout)

        async def wait(say: Say) -> Result:
            def on_trouble(trouble: Trouble) -> None:
                say(f"{self.id}: {trouble.line}")

            with translated(self._connection.client), explained(self.handle, self.url):
                return await _waits.result(
                    self._connection.client, self.handle, limit_s=limit_s, on_trouble=on_trouble
                )

        answer = self._connection.loop.call(wait)
        self._status = "COMPLETED"
        return answer

    def query(self, query: Any, *args: Any, **options: Any) -> Any:
        """Query the workflow; raises `NoWorkerError` within 5 s when nobody can answer."""
        call = functools.partial(self.handle.query, query)
        return self._ask(functools.partial(_waits.again_while, lost_worker, call), args, options)

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
        client = self._connection.client
        self._connection.within(
            lambda: sent(client, args, self.handle.signal(signal, args=args, **options))
        )

    def cancel(self) -> None:
        """Ask the workflow to cancel itself; returns when the server has the request."""
        self._connection.within(lambda: self.handle.cancel())

    def terminate(self, *details: Any, reason: str | None = None) -> None:
        """End the execution at once, without asking its code."""
        self._connection.within(lambda: self.handle.terminate(*details, reason=reason))

    def describe(self) -> WorkflowExecutionDescription:
        """Return what the server knows of the execution."""
        description = self._connection.within(lambda: self.handle.describe())
        self._status = description.status.name if description.status else "unknown"
        return description

    def poll_attempts(self, *, every: Duration = 0.02) -> AttemptPoll:
        """Look at the pending activities every so often (a timedelta or seconds) until it closes.

        >>> poll = handle.poll_attempts()                                      # doctest: +SKIP
        >>> tables.attempts(handle.fetch_history(), seen=poll)                 # doctest: +SKIP
        """
        with translated(self._connection.client):
            return AttemptPoll.start(self._connection.loop, self.handle, seconds(every))

    def fetch_history(self) -> histories.History:
        """Fetch the event history; an open execution's holds the events so far."""
        connection = self._connection

        async def fetch() -> histories.History:
            with translated(connection.client), explained(self.handle, self.url):
                whole = await self.handle.fetch_history(rpc_timeout=_RPC_TIMEOUT)
            return histories.History(
                whole.workflow_id,
                whole.events,
                namespace=connection.namespace,
                clock=connection.clock,
            )

        return connection.loop.run(fetch)

    def follow(self, *, after: int = 0, follow_runs: bool = False) -> Iterator[HistoryEvent]:
        """Yield the Events as they happen, until the run closes; see `histories.follow`.

        After an interrupt, go on with `follow(after=last.event_id)`.
        """
        loop, client = self._connection.loop, self._connection.client
        events = histories.follow(self.handle, after=after, follow_runs=follow_runs)

        async def come() -> HistoryEvent | None:
            with translated(client), explained(self.handle, self.url):
                return await anext(events, None)

        while event := loop.run(come):
            try:
                yield event
            except BaseException:
                with contextlib.suppress(LabClosedError, BlockingCallError):
                    loop.run(events.aclose)
                raise

    def watch(self, *, after: int = 0, most: int = 1000) -> str:
        """Tell each Event in one line as it happens, and each retry; return the status at the end.

        What stands in the way is told when it comes and when it has ended. As `result` does, it
        goes on with the run that continues this one. Time counts from a run's start, on the
        server's clock. Beyond `most` lines only the end is told. An interrupt is a
        KeyboardInterrupt that says how to go on; the run goes on by itself.
        """
        loop, client = self._connection.loop, self._connection.client

        async def lines() -> AsyncGenerator[_watching.Line]:
            with translated(client), explained(self.handle, self.url):
                async for line in _watching.lines(client, self.handle, after):
                    yield line

        with contextlib.closing(loop.iterate(lines)) as coming:
            self._status = _watching.tell(coming, sys.stdout, most)
        return self._status

    def _ask(self, call: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        async def ask() -> Any:
            connection = self._connection
            answer = sent(connection.client, args, call(args=args, **options))
            with translated(connection.client):
                return await _waits.with_worker(connection.client, self.handle, answer)

        return self._connection.loop.run(ask)

    def __repr__(self) -> str:
        return f"<LabWorkflowHandle {self.id!r}, run {self.run_id}>"

    def _repr_html_(self) -> str:
        facts = {
            "run id": self.run_id,
            "status": f"{self._status} (when last asked; ask with .describe())",
        }
        return _html.card(self.id, facts, url=self.url, status=self._status)


def limit_of(timeout: Duration | None) -> float:
    """Return a timeout (a timedelta or seconds) in seconds, infinite for None."""
    limit_s = math.inf if timeout is None else seconds(timeout)
    if not limit_s >= 0:
        raise ValueError(f"timeout must be a timedelta or seconds, 0 or more; got {timeout}")
    return limit_s
