"""Wait for a server that takes its time; give up on one that says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client

T = TypeVar("T")

_SILENT_AFTER_S, _ANSWER_WITHIN = 2.5, timedelta(seconds=2)


async def answered(client: Client, call: asyncio.Task[T] | Coroutine[Any, Any, T]) -> T:
    """Await a call; while it takes long, ask whether the server still answers at all.

    So a long call may take its time, and a silent server is an RPCError within five seconds.
    """
    waiting = asyncio.ensure_future(call)
    try:
        while not (await asyncio.wait({waiting}, timeout=_SILENT_AFTER_S))[0]:
            await client.workflow_service.get_system_info(
                GetSystemInfoRequest(), timeout=_ANSWER_WITHIN
            )
        return waiting.result()
    finally:
        waiting.cancel()
