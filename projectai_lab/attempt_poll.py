"""`AttemptPoll`: asks for the pending activities of a run again and again, until it closes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Self

from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from projectai_lab._connect import is_away
from projectai_lab._loop import LoopThread, repeat
from projectai_lab.attempts import Observation, from_description

logger = logging.getLogger("projectai_lab")
_RPC_TIMEOUT = timedelta(seconds=2)


class AttemptPoll:
    """What the server said of the attempts of one Workflow Execution while it was open.

    Iterate it for observations, oldest first, each once; `tables.attempts(..., seen=poll)` takes
    it. It ends by itself with the run, follows Continue-As-New, and waits for a server that is
    away. An attempt that begins and ends between two looks leaves no trace but its number.
    """

    def __init__(self, loop: LoopThread, handle: WorkflowHandle[Any, Any], every_s: float) -> None:
        if not every_s > 0:
            raise ValueError(f"every must be above 0 s, got {every_s:g}")
        self._loop = loop
        self._handle = handle
        self._every_s = every_s
        self._looks = 0
        self._found: list[Observation] = []
        self._last: dict[tuple[str, str], Observation] = {}
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def start(cls, loop: LoopThread, handle: WorkflowHandle[Any, Any], every_s: float) -> Self:
        """Start to look; return when the first look is done."""
        poll = cls(loop, handle, every_s)
        loop.run(poll._start)
        return poll

    async def _start(self) -> None:
        if await self._look():
            self._task = asyncio.create_task(self._go_on(), name=f"attempts of {self._handle.id}")

    async def _go_on(self) -> None:
        await asyncio.sleep(self._every_s)
        try:
            await repeat(self._look, lambda: self._every_s)
        except RPCError as error:
            logger.warning("the poll of %s ended early: %s", self._handle.id, error.message)

    async def _look(self) -> bool:
        """Keep what is new; tell whether the run is open, as far as is known."""
        try:
            description = await self._handle.describe(rpc_timeout=_RPC_TIMEOUT)
        except RPCError as error:
            if is_away(error):
                return True
            raise
        self._looks += 1
        for one in from_description(description):
            key = one["run_id"], one["activity_id"]
            if one != self._last.get(key):
                self._last[key] = one
                self._found.append(one)
        return description.close_time is None

    @property
    def running(self) -> bool:
        """Whether it still looks."""
        return self._task is not None and not self._task.done() and not self._loop.closed

    def records(self) -> list[Observation]:
        """Return all observations so far, oldest first."""
        return list(self._found)

    def __iter__(self) -> Iterator[Observation]:
        return iter(self.records())

    def close(self) -> None:
        """Stop looking and keep what was seen; closing twice is harmless."""
        if self.running:
            self._loop.run(self._stop)

    async def _stop(self) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "running" if self.running else "ended"
        seen = f"{len(self._found)} observations in {self._looks} looks"
        return f"<AttemptPoll of {self._handle.id!r}, {seen}, {state}>"
