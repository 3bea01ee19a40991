"""Executions per second with nest_asyncio applied and without."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from functools import partial

from projectai_lab.devserver import DevServer
from tests.bench.rounds import Row, in_turns, say, typical_ratio
from tests.bench.sides import AT_ONCE, Side

METHOD = (
    f"Three-activity runs without latency, {AT_ONCE} at once, through two Labs on one server, each "
    "in a process of its own, one of them after allow_nested_asyncio(). Turns of ten runs, A B, "
    "B A; the ratio is the median of the rounds' ratios."
)


def measure(rounds: int = 30, runs: int = 10) -> list[Row]:
    """Return one row."""
    with DevServer.start() as server, ExitStack() as stack:
        sides = [stack.enter_context(Side(name, server.address)) for name in ("nested", "lab")]
        say("nested: warming up")
        for side in sides:
            side.seconds(runs)
        works = {side.name: partial(side.seconds, runs) for side in sides}
        seconds = in_turns("nested", works, rounds)
    ours, other = [runs / statistics.median(seconds[side]) for side in ("nested", "lab")]
    ratio = typical_ratio(seconds["lab"], seconds["nested"])
    return [Row("nested: nest_asyncio to without", ours, other, "runs/s", *ratio, at_least=0.9)]
