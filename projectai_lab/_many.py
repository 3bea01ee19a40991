"""Wait for many Workflow Executions under one progress bar."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from temporalio.client import Client, WorkflowFailureError

from projectai_lab import _waits
from projectai_lab._bar import Bar
from projectai_lab._calls import explained, status_of
from projectai_lab._connect import translated
from projectai_lab._loop import LoopThread, Say
from projectai_lab._troubles import Trouble
from projectai_lab.errors import WorkflowTimeoutError
from projectai_lab.handle import LabWorkflowHandle

AT_ONCE = 100
"""A server answers only some hundreds of waiting calls at a time."""


def results(
    loop: LoopThread,
    client: Client,
    handles: Sequence[LabWorkflowHandle[Any]],
    *,
    limit_s: float,
    progress: bool,
) -> list[Any]:
    """Return each run's result, or the exception that its wait ended in, in the order given.

    An interrupt is a KeyboardInterrupt that says how far the wait was and how to go on.
    """
    shown: dict[str, Any] = {"total": len(handles), "unit": "run", "desc": "results"}
    with Bar(**shown, disable=not (progress and handles)) as bar:
        waiting = Waiting(client, limit_s, bar)
        try:
            return loop.call(lambda say: waiting.gather(handles, say))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{waiting.ended:,} of {len(handles):,} waits have ended; the other executions go "
                "on at the server: wait again with lab.results(handles)"
            ) from None


class Waiting:
    """A wait for many runs: one deadline, one bar, one line for each kind of trouble."""

    def __init__(self, client: Client, limit_s: float, bar: Any) -> None:
        self._client, self._bar = client, bar
        self._limit_s, self._began = limit_s, time.monotonic()
        self._free = asyncio.Semaphore(AT_ONCE)
        self._quiet_until: defaultdict[str, float] = defaultdict(float)
        self._ends: Counter[str] = Counter()

    @property
    def ended(self) -> int:
        """How many of the waits have ended, in whatever."""
        return self._ends.total()

    async def gather(self, handles: Sequence[LabWorkflowHandle[Any]], say: Say) -> list[Any]:
        """Wait for all; what each ended in stands where its handle stood."""
        return await asyncio.gather(*(self._one(handle, say) for handle in handles))

    async def _one(self, handle: LabWorkflowHandle[Any], say: Say) -> Any:
        async with self._free:
            try:
                answer = await self._result(handle, say)
                self._count("COMPLETED")
            except Exception as error:
                # Whatever it is, such as a result that is not of its type: the others have theirs.
                answer = error
                self._count(_end(error))
        return answer

    async def _result(self, handle: LabWorkflowHandle[Any], say: Say) -> Any:
        def on_trouble(trouble: Trouble) -> None:
            # A hundred runs without a worker have one trouble.
            if time.monotonic() > self._quiet_until[trouble.kind]:
                self._quiet_until[trouble.kind] = time.monotonic() + _waits.SAY_AGAIN_AFTER_S
                say(f"{handle.id}: {trouble.line}")

        waited_s = time.monotonic() - self._began
        with translated(self._client), explained(handle.handle, handle.url):
            return await _waits.result(
                self._client,
                handle.handle,
                limit_s=max(0.0, self._limit_s - waited_s),
                waited_s=min(waited_s, self._limit_s),
                on_trouble=on_trouble,
            )

    def _count(self, end: str) -> None:
        self._ends[end] += 1
        words = ", ".join(f"{count:,} {end}" for end, count in sorted(self._ends.items()))
        self._bar.set_postfix_str(words, refresh=False)
        self._bar.update()


def _end(error: BaseException) -> str:
    if isinstance(error, WorkflowFailureError):
        return status_of(error)
    return "RUNNING" if isinstance(error, WorkflowTimeoutError) else "unknown"
