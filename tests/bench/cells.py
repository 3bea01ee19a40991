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
        for _ in range(2):
            name = await workflow.execute_activity(
                step, name, start_to_close_timeout=timedelta(seconds=10)
            )
        return name
'''
METHOD = (
    "A %%workflow cell is run again with an edited docstring, in this process, on the embedded "
    "server: its text checked and imported, the newest 100 runs of its type fetched and replayed "
    "(none was replayed against this text before), the worker swapped, the new one accepted by the "
    "server. Median; the other is what it may take."
)


def measure(histories: int = 100, rounds: int = 7) -> list[Row]:
    """Return one row."""
    numbers, shell = count(), InteractiveShell()
    shell.run_line_magic("load_ext", "projectai_lab")
    with (
        tempfile.TemporaryDirectory() as place,
        patch.dict(os.environ, {"XDG_DATA_HOME": str(Path(place))}),
        Lab.start_local() as lab,
    ):
        shell.user_ns["lab"] = lab
        line = f"steps --histories {histories}"

        def edit() -> None:
            cell = shell.run_cell_magic("workflow", line, CELL.format(number=next(numbers)))
            if cell.replayed not in (0, histories):
                raise RuntimeError(f"replayed {cell.replayed} of {histories} runs")

        edit()
        say("cells: the runs to replay")
        handles = [lab.start_workflow("Steps", "a") for _ in range(histories)]
        for handle in handles:
            handle.result(timeout=60)
        seconds = in_turns("cells", {"edit": timed(edit)}, rounds)["edit"]
    median = statistics.median(seconds)
    what = f"cells: edit to polling, {histories} runs replayed"
    return [Row(what, median, LIMIT_S, "s", median / LIMIT_S, at_most=1.0)]
