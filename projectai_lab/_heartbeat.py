"""Heartbeats from beside an activity's work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from temporalio import activity


@contextlib.asynccontextmanager
async def heartbeating(
    details: Callable[[], Sequence[Any]] = tuple,
) -> AsyncIterator[None]:
    """Heartbeat while the body runs, so that cancellation and a lost server reach the call.

    `details` are asked for each time: a heartbeat without any would erase those of the activity.
    """
    timeout = activity.info().heartbeat_timeout
    interval = timeout.total_seconds() / 4 if timeout else 1.0

    async def beat() -> None:
        while True:
            activity.heartbeat(*details())
            await asyncio.sleep(interval)

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
