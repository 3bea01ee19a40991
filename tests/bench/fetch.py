"""Fetch many histories and make tables of them, against fetching alone by the SDK."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence

import pandas as pd
from temporalio.client import Client, WorkflowHistory

from projectai_lab import Lab, tables
from projectai_lab.histories import History
from tests.bench.rounds import Row, in_turns, say, timed, typical_ratio
from tests.bench.sides import through_lab

QUERY = "WorkflowType = 'ExampleWorkflow'"
AT_ONCE = 50
METHOD = (
    "The same completed three-activity runs, found by the same query. Ours: lab.fetch_histories, "
    "then executions, events and activities. Raw: the SDK's client with its defaults, "
    f"handle.fetch_history() {AT_ONCE} at once, no tables. They take turns; medians; the ratio is "
    "the median of the rounds' ratios."
)


def measure(runs: int = 1000, rounds: int = 7) -> list[Row]:
    """Return the row, and one of the fetch alone."""
    with Lab.start_local(attempts=False) as lab, asyncio.Runner() as runner:
        say(f"fetch: making {runs:,} runs")
        through_lab(lab, runs)
        _wait_until_listed(lab, runs)
        client = runner.run(Client.connect(lab.address))
        works = {
            "ours": timed(lambda: make_tables(_fetch(lab))),
            "raw": timed(lambda: runner.run(fetch_raw(client))),
            "ours alone": timed(lambda: _fetch(lab)),
        }
        seconds = in_turns("fetch", works, rounds)
    return [
        _row(f"fetch: {runs:,} histories and their tables", runs, seconds, "ours", at_most=1.15),
        _row(f"fetch: {runs:,} histories alone", runs, seconds, "ours alone"),
    ]


def _row(
    what: str, runs: int, seconds: dict[str, list[float]], ours: str, at_most: float | None = None
) -> Row:
    medians = statistics.median(seconds[ours]), statistics.median(seconds["raw"])
    return Row(what, *medians, "s", *typical_ratio(seconds[ours], seconds["raw"]), at_most=at_most)


def _wait_until_listed(lab: Lab, runs: int) -> None:
    deadline = time.monotonic() + 30
    while (
        listed := lab.count_workflows(f"{QUERY} AND ExecutionStatus = 'Completed'").count
    ) < runs:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the server lists {listed} of {runs} runs as completed")
        time.sleep(0.05)


def _fetch(lab: Lab) -> list[History]:
    return lab.fetch_histories(QUERY, progress=False)


def make_tables(histories: Sequence[WorkflowHistory]) -> list[pd.DataFrame]:
    """Return the three tables."""
    return [make(histories) for make in (tables.executions, tables.events, tables.activities)]


async def fetch_raw(client: Client) -> list[WorkflowHistory]:
    """Fetch as a script does that knows the SDK alone."""
    found = [(run.id, run.run_id) async for run in client.list_workflows(QUERY)]
    free = asyncio.Semaphore(AT_ONCE)

    async def one(workflow_id: str, run_id: str) -> WorkflowHistory:
        async with free:
            return await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()

    return await asyncio.gather(*(one(*ids) for ids in found))
