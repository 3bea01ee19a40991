"""Fetch many histories and make tables of them, against fetching alone by the SDK; and again."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from temporalio.client import Client, WorkflowHistory

from projectai_lab import Lab, tables
from projectai_lab.histories import History
from tests.bench.rounds import Row, in_turns, say, timed, typical_ratio
from tests.bench.sides import through_lab

QUERY = "WorkflowType = 'ExampleWorkflow'"
AT_ONCE = 50
METHOD = (
    "The same completed three-activity runs, found by the same query. Ours: lab.fetch_histories, "
    "then tables.build, every table. Raw: the SDK's client with its defaults, "
    f"handle.fetch_history() {AT_ONCE} at once, no tables. Again: the same call with a cache that "
    "has them all, against the call with an empty one; events are parsed when first looked at, in "
    "the last row they are. They take turns; medians; the ratio is the median of the rounds' "
    "ratios."
)


def measure(runs: int = 2000, rounds: int = 5) -> list[Row]:
    """Return the rows: with tables, alone, and again with nothing new."""
    with (
        Lab.start_local(attempts=False) as lab,
        asyncio.Runner() as runner,
        tempfile.TemporaryDirectory() as folder,
    ):
        say(f"fetch: making {runs:,} runs")
        through_lab(lab, runs)
        _wait_until_listed(lab, runs)
        client = runner.run(Client.connect(lab.address))
        caches = (Path(folder, str(number)) for number in itertools.count())
        filled = next(caches)
        _fetch(lab, filled)
        works: dict[str, Callable[[], object]] = {
            "tables": lambda: tables.build(_fetch(lab)),
            "raw": lambda: runner.run(fetch_raw(client)),
            "alone": lambda: _fetch(lab),
            "first": lambda: _fetch(lab, next(caches)),
            "again": lambda: _fetch(lab, filled),
            "again, parsed": lambda: [len(one.events) for one in _fetch(lab, filled)],
        }
        seconds = in_turns("fetch", {name: timed(work) for name, work in works.items()}, rounds)
    name = f"fetch: {runs:,} histories"
    return [
        _row(f"{name} and their tables", seconds, "tables", "raw", at_most=1.15),
        _row(f"{name} alone", seconds, "alone", "raw"),
        _times_faster(f"{name} again, nothing new", seconds, "again", at_least=20),
        _times_faster(f"{name} again, and parsed", seconds, "again, parsed"),
    ]


def _row(
    what: str,
    seconds: dict[str, list[float]],
    ours: str,
    other: str,
    at_most: float | None = None,
) -> Row:
    medians = statistics.median(seconds[ours]), statistics.median(seconds[other])
    return Row(what, *medians, "s", *typical_ratio(seconds[ours], seconds[other]), at_most=at_most)


def _times_faster(
    what: str, seconds: dict[str, list[float]], ours: str, at_least: float | None = None
) -> Row:
    medians = statistics.median(seconds[ours]), statistics.median(seconds["first"])
    ratio = typical_ratio(seconds["first"], seconds[ours])
    return Row(what, *medians, "s", *ratio, at_least=at_least)


def _wait_until_listed(lab: Lab, runs: int) -> None:
    deadline = time.monotonic() + 30
    while (
        listed := lab.count_workflows(f"{QUERY} AND ExecutionStatus = 'Completed'").count
    ) < runs:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the server lists {listed} of {runs} runs as completed")
        time.sleep(0.05)


def _fetch(lab: Lab, cache: Path | None = None) -> list[History]:
    return lab.fetch_histories(QUERY, progress=False, cache=cache)


async def fetch_raw(client: Client) -> list[WorkflowHistory]:
    """Fetch as a script does that knows the SDK alone."""
    found = [(run.id, run.run_id) async for run in client.list_workflows(QUERY)]
    free = asyncio.Semaphore(AT_ONCE)

    async def one(workflow_id: str, run_id: str) -> WorkflowHistory:
        async with free:
            return await client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history()

    return await asyncio.gather(*(one(*ids) for ids in found))
