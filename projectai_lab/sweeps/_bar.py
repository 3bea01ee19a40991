"""The progress of a sweep, as a bar and as notes on what keeps its runs from going on."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

from temporalio.client import Client
from temporalio.service import RPCError

from projectai_lab._bar import Bar
from projectai_lab._troubles import FATAL, Trouble, Watch
from projectai_lab.sweeps._carry import Progress
from projectai_lab.sweeps._outage import Outage

_DRAW_EVERY_S, _LOOK_EVERY_S = 0.2, 2.0
_SAY_AGAIN_AFTER_S = 30.0
# A look is a call a run: the few that are open longest tell what is wrong, at no cost to the rest.
_LOOK_AT, _OPEN_FOR_S = 10, 2.0


class Display:
    """Draws a sweep's progress and says what somebody has to mend."""

    def __init__(
        self, client: Client, progress: Progress, outage: Outage, say: Callable[[str], None]
    ) -> None:
        self._client, self._progress, self._outage, self._say = client, progress, outage, say
        self._watches: dict[str, Watch] = {}
        self._quiet_until: Counter[str] = Counter()
        self._seen: Counter[str] = Counter()
        self._all_looked_at = True

    async def run(self, *, visible: bool) -> None:
        """Draw until cancelled."""
        done = self._progress.ended.total()
        bar = Bar(total=self._progress.total, initial=done, unit="run", disable=not visible)
        looking = asyncio.create_task(self._look_now_and_then())
        try:
            while True:
                self._draw(bar)
                await asyncio.sleep(_DRAW_EVERY_S)
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            self._seen.clear()
            self._draw(bar)
            bar.close()

    def _draw(self, bar: Bar) -> None:
        bar.set_postfix_str(self.line(), refresh=False)
        if not bar.update(self._progress.ended.total() - bar.n):
            bar.refresh()

    def line(self) -> str:
        """Return the counts as one line; `+` where only some of the open runs were looked at."""
        more = "" if self._all_looked_at else "+"
        parts = [f"{status} {count}" for status, count in sorted(self._progress.ended.items())]
        parts += [f"open {len(self._progress.open)}"] if self._progress.open else []
        parts += [f"{kind} {count}{more}" for kind, count in sorted(self._seen.items())]
        return ", ".join([*parts, *(["server away"] if self._outage.now else [])])

    async def _look_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if not self._outage.now:
                await self.look()

    async def look(self) -> None:
        """Ask why the runs that are open longest have not ended yet."""
        old = [
            run
            for run, since in self._progress.open.items()
            if time.monotonic() - since >= _OPEN_FOR_S
        ]
        self._all_looked_at = len(old) <= _LOOK_AT
        self._watches = {run: self._watch(run) for run in old[:_LOOK_AT]}
        looks = [watch.look() for watch in self._watches.values()]
        troubles = await asyncio.gather(*looks, return_exceptions=True)
        found = {
            run: trouble
            for run, trouble in zip(self._watches, troubles, strict=True)
            if isinstance(trouble, Trouble)
        }
        for error in troubles:
            if isinstance(error, BaseException) and not isinstance(error, RPCError):
                raise error
        self._seen = Counter(trouble.kind for trouble in found.values())
        self._tell(found)

    def _watch(self, run: str) -> Watch:
        known = self._watches.get(run)
        return known or Watch(self._client, self._client.get_workflow_handle(run))

    def _tell(self, found: dict[str, Trouble]) -> None:
        """Say what mends itself not; each kind once in half a minute."""
        for run, trouble in found.items():
            now = time.monotonic()
            # The outage has words of its own.
            telling = trouble.kind in FATAL and trouble.kind != "server away"
            if telling and now >= self._quiet_until[trouble.kind]:
                self._quiet_until[trouble.kind] = int(now + _SAY_AGAIN_AFTER_S)
                self._say(f"{run}: {trouble.line} ({self._progress})")
