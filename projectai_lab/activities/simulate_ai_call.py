"""Second activity: the AI call, simulated by the fault plan's latency law or real."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from temporalio import activity

from projectai_lab.activities._meet import fate_here, meet
from projectai_lab.models import AIResponse, WorkflowInput

AICallable = Callable[[str], Any] | Callable[[str], Awaitable[Any]]
"""Takes the request's text and returns (or awaits) the answer, any JSON value."""


def make_ai_call(ai: AICallable | None = None) -> Callable[[WorkflowInput], Awaitable[AIResponse]]:
    """Return the activity `simulate_ai_call` around a real AI callable, or around the simulation.

    The plan's failures and hangs strike a real callable too; its latency law does not. A plain
    callable runs in a thread, so it may block.
    """

    @activity.defn(name="simulate_ai_call")
    async def simulate_ai_call(request: WorkflowInput) -> AIResponse:
        here = fate_here(request)
        async with _heartbeating():
            started = time.monotonic()
            if ai is None:
                await asyncio.sleep(here.latency_s)
            await meet(request, here)
            text = str(request.data)
            answer = await _ask(ai, text) if ai else f"simulated answer to {len(text)} characters"
            return AIResponse(answer, time.monotonic() - started)

    return simulate_ai_call


async def _ask(ai: AICallable, text: str) -> Any:
    if inspect.iscoroutinefunction(ai):
        return await ai(text)
    calling = asyncio.ensure_future(asyncio.to_thread(ai, text))
    try:
        answer = await asyncio.shield(calling)
    except asyncio.CancelledError:
        # A thread cannot be stopped: wait for it, so that nothing runs on behind a canceled run.
        await asyncio.gather(calling, return_exceptions=True)
        raise
    return await answer if inspect.isawaitable(answer) else answer


@contextlib.asynccontextmanager
async def _heartbeating() -> AsyncIterator[None]:
    """Heartbeat while the body runs, so that cancellation and a lost server reach the call."""
    timeout = activity.info().heartbeat_timeout
    interval = timeout.total_seconds() / 4 if timeout else 1.0

    async def beat() -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(interval)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()


simulate_ai_call = make_ai_call()
