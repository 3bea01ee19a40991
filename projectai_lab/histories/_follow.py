"""Follow a running execution: its Events as they happen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle
from temporalio.service import RPCError

from projectai_lab._closes import CLOSES
from projectai_lab._connect import is_away
from projectai_lab.histories._answers import answered

_OUTAGE_S, _AGAIN_AFTER_S = 60.0, 0.5


async def follow(
    handle: Any, *, after: int = 0, follow_runs: bool = False
) -> AsyncGenerator[HistoryEvent]:
    """Yield the Events of a run, those after an Event Id, as they happen, until the run closes.

    `handle` is the SDK's or the Lab's. With `follow_runs` the run that continues a closed one
    (Continue-As-New, retry, cron) is followed too; its Event Ids begin at 1 again. An outage of
    the server is waited for, a minute at most; then its RPCError is raised.

    >>> async for event in histories.follow(handle, after=last_event_id):     # doctest: +SKIP
    ...     print(event.event_id, event.event_type)
    """
    handle = getattr(handle, "handle", handle)
    run_id: str = handle.run_id or (await handle.describe()).run_id
    while run_id:
        run: WorkflowHandle[Any, Any]
        run = handle._client.get_workflow_handle(handle.id, run_id=run_id)
        events, run_id = _events(run, after), ""
        async with aclosing(events):
            async for event in events:
                yield event
                if follow_runs and event.event_type in CLOSES:
                    run_id = _next_run(event)
        after = 0


async def _events(run: WorkflowHandle[Any, Any], last: int) -> AsyncGenerator[HistoryEvent]:
    """Yield the Events of one run after the last one, over outages of the server."""
    away_since: float | None = None
    while True:
        # The server has no way to begin later: what came before is read again and passed over.
        pages = run.fetch_history_events(wait_new_event=True, skip_archival=True)
        try:
            while pages.current_page is None or pages.next_page_token:
                await answered(run._client, pages.fetch_next_page())
                away_since = None
                for event in pages.current_page or ():
                    if event.event_id > last:
                        last = event.event_id
                        yield event
            return
        except RPCError as error:
            away_since = away_since or time.monotonic()
            if not is_away(error) or time.monotonic() - away_since > _OUTAGE_S:
                raise
            await asyncio.sleep(_AGAIN_AFTER_S)


def _next_run(event: HistoryEvent) -> str:
    attributes = getattr(event, str(event.WhichOneof("attributes")))
    return str(getattr(attributes, "new_execution_run_id", ""))
