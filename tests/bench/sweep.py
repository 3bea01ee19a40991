"""A sweep against a plain loop over the SDK's client, and against the same sweep again."""

from __future__ import annotations

import asyncio
import statistics
import time
import uuid

import pandas as pd
from temporalio.client import Client

from projectai_lab import FaultPlan, Lab, Latency, WorkflowInput, sweeps
from projectai_lab.models import RetrySettings
from projectai_lab.workflows import ExampleWorkflow
from tests.bench.rounds import Row, in_turns, typical_ratio

AT_ONCE = 50
BASE = WorkflowInput("ping", "bench", faults=FaultPlan(latency=Latency(a=0)))
INTERVAL = "retry.simulate_ai_call.initial_interval"
METHOD = (
    f"Three-activity runs without latency, {AT_ONCE} open at once, on one embedded server with one "
    "worker in a process of its own. Ours: sweeps.run with its bar, from the call to its return. "
    "The other: as many tasks over a client of the SDK alone, each start_workflow and result() in "
    "turn, the same input in each. They take turns, A B, B A; medians; the ratio is the median of "
    "the rounds' ratios. Then the same sweep again, finished, to the time of its first run."
)


def measure(runs: int = 1000, rounds: int = 3) -> list[Row]:
    """Return the rates of a sweep and of a plain loop, then the seconds of a re-run."""
    with Lab.start_local(worker=False, attempts=False) as lab:
        lab.start_worker(process=True)
        design = sweeps.grid({INTERVAL: [0.1]}, replicates=runs, seed=7)
        again: list[float] = []

        def sweep() -> float:
            name = f"bench-{uuid.uuid4().hex[:8]}"
            seconds = _sweep(lab, design, name)
            again.append(_sweep(lab, design, name))
            return seconds

        _sweep(lab, design.head(min(runs, AT_ONCE)), "warm-up")
        works = {"ours": sweep, "loop": lambda: asyncio.run(_plain(lab.address, design))}
        seconds = in_turns("sweep", works, rounds)
    ours, loop = (runs / statistics.median(seconds[side]) for side in ("ours", "loop"))
    ratio = typical_ratio(seconds["loop"], seconds["ours"])
    shares = typical_ratio(again, seconds["ours"])
    both = statistics.median(again), statistics.median(seconds["ours"])
    return [
        Row(f"sweep: {runs:,} runs to a plain loop", ours, loop, "runs/s", *ratio, at_least=0.95),
        Row(f"sweep: {runs:,} runs again, finished", *both, "s", *shares, at_most=0.02),
    ]


def _sweep(lab: Lab, design: pd.DataFrame, name: str) -> float:
    began = time.perf_counter()
    sweeps.run(lab, ExampleWorkflow.run, design, name=name, base=BASE, concurrency=AT_ONCE)
    return time.perf_counter() - began


async def _plain(address: str, design: pd.DataFrame) -> float:
    client = await Client.connect(address)
    coming, prefix = iter(design["seed"].tolist()), f"plain-{uuid.uuid4().hex[:8]}"
    retry = {"simulate_ai_call": RetrySettings(0.1, maximum_interval=10, maximum_attempts=5)}

    async def lane() -> None:
        for seed in coming:
            request = WorkflowInput("ping", "bench", BASE.faults, seed=seed, retry=retry)
            handle = await client.start_workflow(
                ExampleWorkflow.run,
                request,
                id=f"{prefix}-{seed}",
                task_queue="project-ai-tasks",
            )
            await handle.result()

    began = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(AT_ONCE)))
    return time.perf_counter() - began
