"""The executions that a form started, one row each: status, result or cause, link, seconds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab._calls import cause_in_words
from projectai_lab._connect import ANSWER_WITHIN_S, translated
from projectai_lab._html import link
from projectai_lab._troubles import Watch
from projectai_lab._words import cut
from projectai_lab.errors import LabError
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.widgets._look import Html, badge, table

_AT_ONCE = 8
_LONGEST = 1000
_COLUMNS = ("Workflow Id", "status", "result or cause", "started", "seconds", "Web UI")


@dataclass
class Row:
    """One execution; `told` is its result, its cause of failure or why it waits."""

    handle: LabWorkflowHandle[Any]
    watch: Watch
    status: str = "RUNNING"
    told: str = ""
    seconds: str = ""
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    looked: int = 0

    async def look(self) -> None:
        """Ask the server how it stands; of a closed run, what it ended in."""
        self.looked += 1
        try:
            trouble = await self.watch.look()
            self.told = trouble.line if trouble else ""
            if self.watch.ended:
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    await self._end()
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            self.status, self.told = "unknown", "the server does not have it any more"

    async def _end(self) -> None:
        seen = await self.handle.handle.describe()
        if seen.close_time and seen.start_time:
            self.seconds = f"{(seen.close_time - seen.start_time).total_seconds():.2f}"
        self.told = cut(await self._outcome(), _LONGEST)
        self.status = seen.status.name if seen.status else "unknown"

    async def _outcome(self) -> str:
        try:
            return repr(await self.handle.handle.result())
        except WorkflowFailureError as error:
            return cause_in_words(error)
        except (RPCError, LabError, OSError, TimeoutError):
            raise
        except Exception as error:
            # It may be of another type than the run method's hint says: this ends no row's looks.
            return f"the result cannot be read: {error or type(error).__name__}"


class Rows:
    """All rows, the newest first."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.all: list[Row] = []

    def add(self, handle: LabWorkflowHandle[Any]) -> None:
        """Take an execution that was started just now."""
        self.all.append(Row(handle, Watch(self._client, handle.handle)))

    async def look(self, at_once: int = _AT_ONCE) -> None:
        """Look at so many open rows at once; who was looked at least comes first."""
        waiting = [row for row in self.all if row.status == "RUNNING"]
        waiting.sort(key=lambda row: row.looked)
        with translated(self._client):
            await asyncio.gather(*(row.look() for row in waiting[:at_once]))

    def html(self) -> Html:
        """Return the table of rows; empty while there are none."""
        if not self.all:
            return Html("")
        return table(_COLUMNS, map(self._cells, reversed(self.all)), caption="started here")

    def _cells(self, row: Row) -> list[object]:
        page = Html(link(row.handle.url, "open")) if row.handle.url else ""
        began = f"{row.began:%H:%M:%S} UTC"
        return [row.handle.id, badge(row.status), row.told, began, row.seconds, page]

    def text(self) -> str:
        """Return the rows as lines of text."""
        told = ((row.handle.id, row.status, row.told, row.seconds) for row in reversed(self.all))
        return "\n".join("  ".join(filter(None, one)) for one in told)
