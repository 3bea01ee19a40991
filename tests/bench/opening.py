"""Seconds from `Lab.open()` to the first result, against the SDK's own local environment.

`python -m tests.bench.opening SIDE` opens one side in this interpreter and prints its seconds.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

from tests.bench.rounds import Row, in_turns, typical_ratio

ROOT = Path(__file__).parents[2]
METHOD = (
    "A fresh interpreter each time, alternating. Raw: WorkflowEnvironment.start_local on the same "
    "binary with the same flags and Web UI, then a Worker and one run. Imports come before the "
    "clock starts on both sides; the second row counts them on both. Medians; the ratio is the "
    "median of the rounds' ratios."
)
# What the Lab's own server is started with on the clock "fast".
FLAGS = (
    "--ui-disable-news-fetch",
    *("--dynamic-config-value", 'frontend.httpAllowedHosts=["disabled.invalid"]'),
    *(
        "--dynamic-config-value",
        "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=1",
    ),
    *("--dynamic-config-value", 'history.timerProcessorMaxTimeShift="10ms"'),
)


def measure(rounds: int = 15) -> list[Row]:
    """Return a row without and a row with the imports."""
    imports: dict[str, list[float]] = {"lab": [], "raw": []}

    def opened(side: str, folder: str) -> float:
        answer = in_fresh_interpreter(side, folder)
        imports[side].append(answer[0])
        return answer[1]

    with tempfile.TemporaryDirectory() as folder:
        works = {side: partial(opened, side, folder) for side in imports}
        seconds = in_turns("open", works, rounds)
    both = {
        side: [a + b for a, b in zip(imports[side], seconds[side], strict=True)] for side in imports
    }
    return [
        _row("open: Lab.open() to first result", seconds, at_most=1.2),
        _row("open: the same, imports included", both),
    ]


def _row(what: str, seconds: dict[str, list[float]], at_most: float | None = None) -> Row:
    ours, raw = seconds["lab"], seconds["raw"]
    medians = statistics.median(ours), statistics.median(raw)
    return Row(what, *medians, "s", *typical_ratio(ours, raw), at_most=at_most)


def in_fresh_interpreter(side: str, folder: str) -> tuple[float, float]:
    """Return the seconds of the imports and those to the first result."""
    # Without the user's settings and profile file, `Lab.open` starts a server of its own.
    env = {name: value for name, value in os.environ.items() if not name.startswith("TEMPORAL_")}
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.opening", side],
        cwd=ROOT,
        env={**env, "HOME": folder, "XDG_CONFIG_HOME": folder},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"the side {side!r} failed:\n{done.stderr}")
    imports, first_result = json.loads(done.stdout.splitlines()[-1])
    return imports, first_result


def open_lab() -> tuple[float, float]:
    """Open a Lab and run once."""
    began = time.perf_counter()
    from projectai_lab import Lab, WorkflowInput
    from projectai_lab.workflows import ExampleWorkflow

    imported = time.perf_counter()
    with Lab.open() as lab:
        lab.execute_workflow(ExampleWorkflow.run, WorkflowInput("ping", "bench"))
        return imported - began, time.perf_counter() - imported


async def _open_raw() -> tuple[float, float]:
    began = time.perf_counter()
    from temporalio.testing import WorkflowEnvironment
    from temporalio.worker import Worker

    from projectai_lab.activities import process_ai_task, simulate_ai_call, validate_input
    from projectai_lab.devserver import find_binary
    from projectai_lab.models import WorkflowInput
    from projectai_lab.workflows import ExampleWorkflow

    imported = time.perf_counter()
    async with (
        await WorkflowEnvironment.start_local(
            dev_server_existing_path=str(find_binary()), dev_server_extra_args=FLAGS, ui=True
        ) as environment,
        Worker(
            environment.client,
            task_queue="bench",
            workflows=[ExampleWorkflow],
            activities=[validate_input, simulate_ai_call, process_ai_task],
        ),
    ):
        await environment.client.execute_workflow(
            ExampleWorkflow.run,
            WorkflowInput("ping", "bench"),
            id="first",
            task_queue="bench",
        )
        return imported - began, time.perf_counter() - imported


def open_raw() -> tuple[float, float]:
    """Do the same with the SDK alone."""
    return asyncio.run(_open_raw())


SIDES = {"lab": open_lab, "raw": open_raw}

if __name__ == "__main__":
    print(json.dumps(SIDES[sys.argv[1]]()))
