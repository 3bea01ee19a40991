"""A workflow in a cell: from the edit to the new worker that polls, stored histories replayed."""

from __future__ import annotations

import os
import statistics
import tempfile
from itertools import count
from pathlib import Path
from unittest.mock import patch

from IPython.core.interactiveshell import InteractiveShell

from projectai_lab import Lab
from tests.bench.rounds import Row, in_turns, say, timed

LIMIT_S = 2.0
CELL = '''\
from datetime import timedelta
from temporalio import activity, workflow

@activity.defn
async def step(name: str) -> str:
    return name

@workflow.defn
class Steps:
    """Edit {number}."""

    @workflow.run
    async def run(self, name: str) -> str:
        await workflow.wait_condition(lambda: name != "wait")
        for _ in range(2):
            name = await workflow.execute_activity(
                step, name, start_to_close_timeout=timedelta(seconds=10)
            )
        return name
'''
OPEN = 10
METHOD = (
    "A %%workflow cell is run again with an edited docstring, in this process, on the embedded "
    "server: its text checked and imported, the newest 100 runs of its type fetched and replayed "
    "(none was replayed against this text before), the worker swapped, the new one accepted by the "
    "server. Median; the other is what it may take. With open runs: 10 of them too, which a worker "
    "of the code of before goes on with, and which the server pins to it."
)


def measure(histories: int = 100, rounds: int = 7) -> list[Row]:
    """Return two rows: of closed runs alone, and with open ones."""
    numbers, shell = count(), InteractiveShell()
    shell.run_line_magic("load_ext", "projectai_lab")
    with (
        tempfile.TemporaryDirectory() as place,
        patch.dict(os.environ, {"XDG_DATA_HOME": str(Path(place))}),
        Lab.start_local() as lab,
    ):
        shell.user_ns["lab"] = lab
        line = f"steps --histories {histories}"

        def edit(pinned: int = 0) -> None:
            cell = shell.run_cell_magic("workflow", line, CELL.format(number=next(numbers)))
            if 0 < cell.replayed < histories or len(cell.pinned) != pinned:
                raise RuntimeError(f"not what is to be measured: {cell!r}")

        def edit_with_open_runs() -> float:
            runs = [lab.start_workflow("Steps", "wait") for _ in range(OPEN)]
            try:
                return timed(lambda: edit(OPEN))()
            finally:
                for run in runs:
                    run.terminate()

        edit()
        say("cells: the runs to replay")
        handles = [lab.start_workflow("Steps", "a") for _ in range(histories)]
        for handle in handles:
            handle.result(timeout=60)
        seconds = in_turns("cells", {"edit": timed(edit)}, rounds)["edit"]
        seconds_open = in_turns("cells", {"open": edit_with_open_runs}, rounds)["open"]
    return [
        _row(f"cells: edit to polling, {histories} runs replayed", seconds),
        _row(f"cells: the same, and {OPEN} open runs pinned", seconds_open),
    ]


def _row(what: str, seconds: list[float]) -> Row:
    median = statistics.median(seconds)
    return Row(what, median, LIMIT_S, "s", median / LIMIT_S, at_most=1.0)
