"""Sends runs at their intended times and writes down, on one clock, what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from projectai_lab._calls import cause_in_words, status_of
from projectai_lab._connect import is_away

_ASK_AGAIN_AFTER_S = 0.5
# A start that fails at once would otherwise be sent again thousands of times a second.
_AFTER_FAILURE_S = 0.25


@dataclass(slots=True)
class Run:
    """One run of a load, as far as it has come; seconds since the load began."""

    number: int
    workflow_id: str
    intended_s: float
    client: int | None = None
    run_id: str | None = None
    sent_s: float | None = None
    accepted_s: float | None = None
    done_s: float | None = None
    status: str = "NOT_STARTED"
    error: str | None = None


@dataclass
class Sender:
    """One load on one loop: `begin` it, look at it with `over_within`, and `stop` it."""

    client: Client
    workflow: Any
    options: dict[str, Any]
    name: str
    make_input: Callable[[int], Any]
    drain_s: float
    max_in_flight: int
    runs: list[Run] = field(default_factory=list)
    in_flight: int = 0
    ended: int = 0
    full_at_s: float | None = None
    began: float = 0.0
    began_at: float = 0.0
    ended_s: float = 0.0
    _task: asyncio.Task[None] | None = None

    def now(self) -> float:
        """Return the seconds since the load began, on this process's monotonic clock."""
        return time.monotonic() - self.began

    async def begin(self, loop: Callable[[Sender], Coroutine[Any, Any, None]]) -> None:
        """Start a loop, such as `in_open_loop`, and return."""
        self.began, self.began_at = time.monotonic(), time.time()
        self._task = asyncio.create_task(self._whole(loop))

    async def over_within(self, limit_s: float) -> bool:
        """Wait for the load's end, at most so long; raise what broke it."""
        assert self._task is not None
        await asyncio.wait({self._task}, timeout=limit_s)
        if not self._task.done():
            return False
        self._task.result()
        return True

    async def stop(self) -> None:
        """Send no more and wait no longer; runs that were started go on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _whole(self, loop: Callable[[Sender], Coroutine[Any, Any, None]]) -> None:
        try:
            await loop(self)
        finally:
            self.ended_s = self.now()

    def add(self, intended_s: float, client: int | None = None) -> Run:
        """Write down a further run."""
        number = len(self.runs)
        self.runs.append(Run(number, f"{self.name}-{number:05d}", intended_s, client))
        return self.runs[-1]

    async def until(self, moment_s: float) -> None:
        """Wait for a moment of the load; one that has passed still lets others have their turn."""
        await asyncio.sleep(max(0.0, moment_s - self.now()))

    async def room(self) -> None:
        """Wait while as many runs are in flight as may be; remember that it came to that."""
        while self.in_flight >= self.max_in_flight:
            if self.full_at_s is None:
                self.full_at_s = self.now()
            await asyncio.sleep(0.005)

    async def send(self, run: Run, argument: Any) -> None:
        """Send a run and wait for its end; what goes wrong is written down, not raised."""
        self.in_flight += 1
        run.status, run.sent_s = "UNKNOWN", self.now()
        try:
            handle = await self.client.start_workflow(
                self.workflow, argument, id=run.workflow_id, **self.options
            )
            run.accepted_s, run.run_id = self.now(), handle.first_execution_run_id
            run.status = "RUNNING"
            await self._result(run, handle)
            run.status, run.error = "COMPLETED", None
        except WorkflowFailureError as error:
            run.status, run.error = status_of(error), cause_in_words(error)
        except WorkflowAlreadyStartedError:
            run.status, run.error = "NOT_STARTED", f"Workflow Id {run.workflow_id!r} is in use"
        except Exception as error:
            refused = isinstance(error, RPCError) and not is_away(error)
            run.status = "NOT_STARTED" if refused and run.accepted_s is None else "UNKNOWN"
            run.error = f"{type(error).__name__}: {error}"
        finally:
            self.in_flight -= 1
            self.ended += 1

    async def _result(self, run: Run, handle: WorkflowHandle[Any, Any]) -> None:
        """Wait for the run's end, over outages of the server, and write down when it was seen."""
        while True:
            try:
                await handle.result()
            except RPCError as error:
                if not is_away(error):
                    raise
                run.status, run.error = "UNKNOWN", f"the server was away: {error.message}"
                await asyncio.sleep(_ASK_AGAIN_AFTER_S)
            except WorkflowFailureError:
                run.done_s = self.now()
                raise
            else:
                run.done_s = self.now()
                return


async def in_open_loop(sender: Sender, times: list[float]) -> None:
    """Send each run at its time, whatever became of those before it; then wait for their ends."""
    for time_s in times:
        sender.add(time_s)
    sent: set[asyncio.Task[None]] = set()
    async with _cancelled_at_the_end(sent):
        for run in sender.runs:
            argument = sender.make_input(run.number)
            await sender.until(run.intended_s)
            await sender.room()
            sent.add(asyncio.create_task(sender.send(run, argument)))
        await asyncio.wait(sent, timeout=sender.drain_s)


async def in_closed_loop(sender: Sender, clients: int, think_s: float, duration_s: float) -> None:
    """Let each client send a run, wait for its end, think, and send the next, until the end."""

    async def client(number: int) -> None:
        # Thinking clients begin one after the other, as they are in the middle of the load.
        intended_s = number * think_s / clients
        while intended_s < duration_s:
            run = sender.add(intended_s, number)
            argument = sender.make_input(run.number)
            await sender.until(intended_s)
            await sender.send(run, argument)
            wait_s = think_s if run.done_s is not None else max(think_s, _AFTER_FAILURE_S)
            intended_s = (sender.now() if run.done_s is None else run.done_s) + wait_s

    loops = {asyncio.create_task(client(number)) for number in range(clients)}
    async with _cancelled_at_the_end(loops):
        ended, _ = await asyncio.wait(
            loops, timeout=duration_s + sender.drain_s, return_when=asyncio.FIRST_EXCEPTION
        )
        for task in ended:
            task.result()


@contextlib.asynccontextmanager
async def _cancelled_at_the_end(tasks: set[asyncio.Task[None]]) -> Any:
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
