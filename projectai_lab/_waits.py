"""Wait for a Workflow Execution and say why it does not come: no wait hangs in silence."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from projectai_lab._connect import is_away
from projectai_lab._troubles import FATAL, Trouble, Watch
from projectai_lab.errors import NoWorkerError, WorkflowTimeoutError

T = TypeVar("T")

LOOK_EVERY_S = 1.0
SAY_AGAIN_AFTER_S = 30.0
# A retry is the policy at work; it is worth a line only when it drags on.
_RETRYING_AFTER_S = 2.5
# A live worker may need two seconds to be back after its server was.
_DESERTED_LOOKS = 3


async def result(
    client: Client,
    handle: WorkflowHandle[Any, T],
    *,
    limit_s: float,
    on_trouble: Callable[[Trouble], None],
    waited_s: float = 0.0,
) -> T:
    """Return the run's result; call `on_trouble` when it stands still; survive a server restart.

    Raises `WorkflowTimeoutError` after `limit_s`, with the last trouble in the message, and
    whatever `on_trouble` raises. The same kind of trouble is told once in half a minute.
    `waited_s` are seconds that the caller has waited before, for the message.
    """
    deadline = time.monotonic() + limit_s
    watch = Watch(client, handle)
    quiet_until = defaultdict(float, retrying=time.monotonic() + _RETRYING_AFTER_S)
    waiting = asyncio.ensure_future(again_while(is_away, handle.result))
    try:
        while time.monotonic() < deadline:
            pause = min(LOOK_EVERY_S, deadline - time.monotonic())
            if await _done(waiting, pause):
                return waiting.result()
            trouble = await watch.look() if time.monotonic() < deadline else None
            if trouble and time.monotonic() > quiet_until[trouble.kind]:
                quiet_until[trouble.kind] = time.monotonic() + SAY_AGAIN_AFTER_S
                on_trouble(trouble)
        trouble = watch.last or await watch.look(patience_s=0)
        # Of a run that has ended, the result is on its way.
        if await _done(waiting, LOOK_EVERY_S if watch.ended else 0):
            return waiting.result()
        raise _timed_out(handle, waited_s + limit_s, trouble)
    finally:
        _abandon(waiting)


async def with_worker(client: Client, handle: WorkflowHandle[Any, Any], call: Awaitable[T]) -> T:
    """Await a call that only a worker can answer; raise a `LabError` when none will.

    `NoWorkerError` when none is there, `WorkflowStuckError` when the Workflow Task keeps failing.
    """
    watch, deserted = Watch(client, handle), 0
    waiting = asyncio.ensure_future(call)
    try:
        while not await _done(waiting, LOOK_EVERY_S):
            trouble = await watch.look()
            if trouble and trouble.kind in ("stuck", "server away"):
                raise FATAL[trouble.kind](
                    f"nobody can answer for {handle.id!r}: {trouble.line}", workflow_id=handle.id
                )
            line = await watch.who_polls(watch.task_queue)
            deserted = deserted + 1 if line else 0
            if deserted == _DESERTED_LOOKS:
                raise NoWorkerError(f"nobody can answer: {line}", task_queue=watch.task_queue)
        return waiting.result()
    finally:
        _abandon(waiting)


async def again_while(
    passing: Callable[[RPCError], bool], call: Callable[..., Awaitable[T]], **options: Any
) -> T:
    """Make a call, and again as long as it fails for a reason that passes."""
    while True:
        try:
            return await call(**options)
        except RPCError as error:
            if not passing(error):
                raise
            await asyncio.sleep(0.5)


async def _done(waiting: asyncio.Future[Any], within_s: float) -> bool:
    return bool((await asyncio.wait({waiting}, timeout=within_s))[0])


def _abandon(waiting: asyncio.Future[Any]) -> None:
    """Cancel without a word: the SDK turns the cancellation of an Update into an error."""
    waiting.cancel()
    waiting.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def _timed_out(
    handle: WorkflowHandle[Any, Any], limit_s: float, trouble: Trouble | None
) -> WorkflowTimeoutError:
    why = trouble.line if trouble else "it is running and nothing stands in its way"
    return WorkflowTimeoutError(
        f"Workflow Execution {handle.id!r} was still running after {limit_s:g} s: {why}. "
        "It goes on; wait again with handle.result(), look with handle.describe()",
        workflow_id=handle.id,
        trouble=trouble,
    )
