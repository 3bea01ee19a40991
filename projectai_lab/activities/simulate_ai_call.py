"""Second activity: the AI call, simulated by the fault plan's latency law or real."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from temporalio import activity

from projectai_lab._heartbeat import heartbeating
from projectai_lab.faults import fate
from projectai_lab.models import AIResponse, WorkflowInput

SIMULATES = "projectai_lab_simulates"
"""Set on the activity's function: whether it plays the plan's latency, so that planned failures
come after that and not, as for all others, before the call."""

AICallable = Callable[[str], Any] | Callable[[str], Awaitable[Any]]
"""Takes the request's text and returns (or awaits) the answer, any JSON value."""


def make_ai_call(ai: AICallable | None = None) -> Callable[[WorkflowInput], Awaitable[AIResponse]]:
    """Return the activity `simulate_ai_call` around a real AI callable, or around the simulation.

    The plan's failures and hangs strike a real callable too; its latency law does not. A plain
    callable runs in a thread, so it may block.
    """

    @activity.defn(name="simulate_ai_call")
    async def simulate_ai_call(request: WorkflowInput) -> AIResponse:
        async with heartbeating():
            started = time.monotonic()
            if ai is None:
                await asyncio.sleep(_latency_s(request))
            text = str(request.data)
            answer = await _ask(ai, text) if ai else f"simulated answer to {len(text)} characters"
            return AIResponse(answer, time.monotonic() - started)

    setattr(simulate_ai_call, SIMULATES, ai is None)
    return simulate_ai_call


def _latency_s(request: WorkflowInput) -> float:
    info = activity.info()
    # Only of the latency, which no window decides.
    plan = replace(request.faults, rules=())
    return fate(plan, request.seed, info.activity_type, info.attempt).latency_s


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


simulate_ai_call = make_ai_call()
