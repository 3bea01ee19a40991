"""Executions per second: the Lab against a plain SDK script, and the recorder on against off."""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from functools import partial

from projectai_lab.devserver import DevServer
from tests.bench.rounds import Row, in_turns, say, typical_ratio
from tests.bench.sides import AT_ONCE, Side

METHOD = (
    f"Three-activity runs without latency, {AT_ONCE} at once, start_workflow and result() in "
    "turn. Three processes on one server: the Lab (thread worker, blocking calls, recorder on), "
    "the Lab without recorder, and a script of the SDK alone with the same worker options and "
    "sandbox. They take turns of ten runs, A B C, C B A, 500 runs each. Median of each; the ratio "
    "is the median of the rounds' ratios."
)


def measure(rounds: int = 50, runs: int = 10) -> list[Row]:
    """Return two rows; each side does rounds × runs executions."""
    with DevServer.start() as server, ExitStack() as stack:
        sides = [stack.enter_context(Side(name, server.address)) for name in ("lab", "sdk", "bare")]
        say("throughput: warming up")
        for side in sides:
            side.seconds(runs)
        works = {side.name: partial(side.seconds, runs) for side in sides}
        seconds = in_turns("throughput", works, rounds)
    return [
        _row("throughput: Lab to plain SDK script", runs, seconds, "sdk"),
        _row("throughput: attempt recorder on to off", runs, seconds, "bare"),
    ]


def _row(what: str, runs: int, seconds: dict[str, list[float]], other: str) -> Row:
    rates = [runs / statistics.median(seconds[side]) for side in ("lab", other)]
    ratio = typical_ratio(seconds[other], seconds["lab"])
    return Row(what, rates[0], rates[1], "runs/s", *ratio, at_least=0.95)
