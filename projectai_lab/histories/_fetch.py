"""Fetch the histories of many runs at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from tqdm.auto import tqdm

from projectai_lab.histories._history import History

WorkflowRef = str | tuple[str, str | None]
"""A Workflow Id, or a Workflow Id and a Run Id."""

_QUIET_BELOW, _QUIET_SECONDS = 20, 1.0
# tqdm's own monitor thread would outlive the bar.
_Bar: Any = type("_Bar", (tqdm,), {"monitor_interval": 0})
_log = logging.getLogger("projectai_lab")


async def fetch(
    client: Client,
    query_or_ids: str | Iterable[WorkflowRef],
    *,
    concurrency: int = 50,
    progress: bool = True,
    clock: str | None = None,
) -> list[History]:
    """Return the histories of all runs that a List Filter finds, or of the ids, in that order.

    Runs that are gone by the time they are fetched (retention, deletion) are left out and logged.

    >>> await histories.fetch(client, "WorkflowType = 'ExampleWorkflow'")      # doctest: +SKIP
    >>> await histories.fetch(client, ["req-1", ("req-2", run_id)])            # doctest: +SKIP
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, got {concurrency}")
    refs = await _refs(client, query_or_ids)
    found: dict[int, History | None] = {}
    waiting = iter(enumerate(refs))
    quiet = not progress or len(refs) < _QUIET_BELOW
    with _Bar(total=len(refs), unit="run", delay=_QUIET_SECONDS, disable=quiet, leave=False) as bar:

        async def take_turns() -> None:
            for position, ref in waiting:
                found[position] = await _fetch(client, *ref, clock)
                bar.update()

        tasks = [asyncio.create_task(take_turns()) for _ in range(min(concurrency, len(refs)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
    return [history for _, history in sorted(found.items()) if history is not None]


async def _refs(
    client: Client, query_or_ids: str | Iterable[WorkflowRef]
) -> list[tuple[str, str | None]]:
    if not isinstance(query_or_ids, str):
        return [(ref, None) if isinstance(ref, str) else ref for ref in query_or_ids]
    try:
        return [(run.id, run.run_id) async for run in client.list_workflows(query_or_ids)]
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            error.add_note('a text is a List Filter; give Workflow Ids as a list: ["req-1"]')
        raise


async def _fetch(
    client: Client, workflow_id: str, run_id: str | None, clock: str | None
) -> History | None:
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    # Looking into the archive costs the server one more lookup a run: so only for what is gone.
    for skip_archival in (True, False):
        try:
            found = await handle.fetch_history(skip_archival=skip_archival)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        else:
            return History(workflow_id, found.events, client.namespace, clock)
    _log.warning("Workflow Id %s, Run Id %s is gone: left out", workflow_id, run_id)
    return None
