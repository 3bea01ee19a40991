"""A server that goes away and comes back: everybody waits, one asks, and the user is told."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab._connect import is_away
from projectai_lab.errors import LabError

T = TypeVar("T")

_ASK_EVERY_S, _TRIES = 0.5, 60
_ANSWER_WITHIN = timedelta(seconds=2)
_AWAY = (
    "the server at {} does not answer ({}): no more starts until it is back; waiting up to {:g} s"
)


class Outage:
    """Lets calls through while the server answers; afterwards they wait until it is back.

    `give_up` makes the error for a server that was away for `patience_s`; `for_good` tells that it
    will not come back.
    """

    def __init__(
        self,
        client: Client,
        patience_s: float,
        say: Callable[[str], None],
        give_up: Callable[[float], LabError],
        for_good: Callable[[], bool],
    ) -> None:
        self._client, self._patience_s, self._say = client, patience_s, say
        self._give_up, self._for_good = give_up, for_good
        self._asking: asyncio.Task[None] | None = None

    @property
    def now(self) -> bool:
        """Whether the server is away."""
        return self._asking is not None

    async def through(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call, and again each time the server was away.

        What a server that is there refuses again and again is raised in the end.
        """
        for left in itertools.count(_TRIES, -1):
            if self._asking:
                await asyncio.shield(self._asking)
            try:
                return await call()
            except RPCError as error:
                if not (left and _passes(error)):
                    raise
                self._asking = self._asking or asyncio.create_task(self._until_back(error))
        raise AssertionError("unreachable")

    async def _until_back(self, error: RPCError) -> None:
        began, told = time.monotonic(), False
        address = self._client.service_client.config.target_host
        while not await self._answers():
            if not told:
                self._say(_AWAY.format(address, error.message[:120], self._patience_s))
            told = True
            away_s = time.monotonic() - began
            if away_s >= self._patience_s or self._for_good():
                raise self._give_up(away_s) from error
            await asyncio.sleep(_ASK_EVERY_S)
        # Also where it answers at once: what it refused because of too much is not sent at once.
        await asyncio.sleep(_ASK_EVERY_S)
        self._asking = None
        if told:
            self._say(f"the server at {address} is back; the sweep goes on")

    async def _answers(self) -> bool:
        request = DescribeNamespaceRequest(namespace=self._client.namespace)
        try:
            await self._client.workflow_service.describe_namespace(request, timeout=_ANSWER_WITHIN)
        except RPCError as error:
            # Who may not describe the Namespace has been answered all the same.
            return error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED)
        return True

    async def close(self) -> None:
        """Stop asking."""
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)


def _passes(error: RPCError) -> bool:
    """Whether a call may succeed later: nobody answers, or too many calls were made at once."""
    text = error.message.lower()
    too_big = "size" in text or "larger than max" in text
    return is_away(error) or (error.status == RPCStatusCode.RESOURCE_EXHAUSTED and not too_big)
