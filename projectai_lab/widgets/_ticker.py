"""`Ticker`: looks at a server every so often, on the Lab's loop, until it is stopped."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from temporalio.service import RPCError

from projectai_lab._loop import LoopThread, repeat
from projectai_lab.errors import LabError

logger = logging.getLogger("projectai_lab")
T = TypeVar("T")


class Ticker(Generic[T]):
    """One look at a time, each `seconds` after the one before began, or at once when it took more.

    `show` gets what was seen. A look that fails is tried again; `say` is told why, and None when
    one works again. Both answer whether they could: what nobody could be told is told again.
    `paused` holds the looks back.
    """

    def __init__(
        self,
        loop: LoopThread,
        seconds: float,
        look: Callable[[], Awaitable[T]],
        show: Callable[[T], bool],
        say: Callable[[str | None], bool],
    ) -> None:
        self.seconds = seconds
        self.paused = False
        self.looks = 0
        self._trouble: str | None = None
        self._look, self._show, self._say = look, show, say
        self.stop = loop.spawn(lambda: repeat(self._once, lambda: self.seconds))

    async def _once(self) -> bool:
        if not self.paused:
            await self._look_and_show()
        return True

    async def _look_and_show(self) -> None:
        try:
            seen = await self._look()
            self.looks += 1
            self._show(seen)
        except (RPCError, LabError, TimeoutError) as error:
            self._tell(str(error) or type(error).__name__)
        except Exception as error:
            # Whatever it is, a view that stands still without a word would be worse.
            logger.debug("a look failed", exc_info=True)
            self._tell(f"{type(error).__name__}: {error}")
        else:
            self._tell(None)

    def _tell(self, trouble: str | None) -> None:
        if trouble != self._trouble and self._say(trouble):
            self._trouble = trouble
