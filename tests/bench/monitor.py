"""A monitor over many executions: what a look costs the kernel, and the worker beside it."""

from __future__ import annotations

import asyncio
import statistics
import time
from functools import partial

from projectai_lab import widgets
from projectai_lab.lab import Lab
from projectai_lab.widgets._monitor import Monitor
from tests.bench.rounds import Row, Work, in_turns, say, timed, typical_ratio
from tests.bench.sides import through_lab

LIMIT_S = 0.2
METHOD = (
    "5,000 open executions that no worker takes, so that a look describes as many as it may. Tick: "
    "CPU time of the whole process for one look and its HTML, without a worker, median of 30. "
    "Throughput: three-activity runs without latency in the same kernel, 100 a turn, with a "
    "monitor that looks once a second and without one in turn; each round's ratio, their median. "
    "A monitor outside a kernel has no front end: sending the changed HTML is not in it."
)


def measure(
    executions: int = 5_000, looks: int = 30, rounds: int = 30, runs: int = 100
) -> list[Row]:
    """Return a row for the kernel time of a look, and one for the throughput beside it."""
    with Lab.start_local(worker=False) as lab:
        say(f"monitor: starting {executions:,} executions")
        lab.loop.run(partial(_crowd, lab, executions))
        with widgets.monitor(lab, every=3600) as panel:
            costs = [lab.loop.run(partial(_cost, panel)) for _ in range(looks)]
        lab.start_worker()
        through_lab(lab, runs)
        works: dict[str, Work] = {
            "with": partial(_beside, lab, runs),
            "without": timed(lambda: through_lab(lab, runs)),
        }
        seconds = in_turns("monitor", works, rounds)
    cost = statistics.median(costs)
    rate, alone = (runs / statistics.median(seconds[side]) for side in ("with", "without"))
    ratio = typical_ratio(seconds["without"], seconds["with"])
    tick = f"monitor: kernel time of a tick, {executions:,} executions"
    return [
        Row(tick, cost, LIMIT_S, "s", cost / LIMIT_S, at_most=1),
        Row("monitor: throughput with to without", rate, alone, "runs/s", *ratio, at_least=0.95),
    ]


async def _crowd(lab: Lab, count: int) -> None:
    """Start executions on a Task Queue that nobody polls, and wait until all are listed."""
    free = asyncio.Semaphore(50)

    async def start(number: int) -> None:
        async with free:
            await lab.client.start_workflow("Crowd", id=f"crowd-{number}", task_queue="nobody")

    await asyncio.gather(*map(start, range(count)))
    while (await lab.client.count_workflows("")).count < count:
        await asyncio.sleep(0.1)


async def _cost(panel: Monitor) -> float:
    """Look once and show it; return the CPU seconds of the process."""
    began = time.process_time()
    panel._show(await panel._look())
    return time.process_time() - began


def _beside(lab: Lab, runs: int) -> float:
    """Return the seconds that the runs take with a monitor open."""
    with widgets.monitor(lab):
        return timed(lambda: through_lab(lab, runs))()
