"""One row of the benchmark's table, and how two ways of doing the same are timed fairly."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Work = Callable[[], float]
"""Does something once and returns the seconds that counted."""


@dataclass(frozen=True)
class Row:
    """What was measured: two absolutes in one unit, and their ratio, ours to the other's.

    `error` is the ratio's standard error, None where the shortest times are compared.
    """

    what: str
    ours: float
    other: float
    unit: str
    ratio: float
    error: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the ratio is as wanted; true where nothing is wanted."""
        above = self.at_least is None or self.ratio >= self.at_least
        return above and (self.at_most is None or self.ratio <= self.at_most)


def say(line: str) -> None:
    """Tell on stderr how far the benchmark is."""
    print(f"bench: {line}", file=sys.stderr, flush=True)


def timed(work: Callable[[], object]) -> Work:
    """Return the work as one that times itself from begin to end."""

    def run() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return run


def in_turns(name: str, works: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each work, one a round.

    The works take turns, in the order A B C and in the next round C B A, so that all meet the same
    load of the machine and the same growth of the server.
    """
    seconds: dict[str, list[float]] = {each: [] for each in works}
    for number in range(rounds):
        if number % max(1, rounds // 10) == 0:
            say(f"{name}: round {number + 1} of {rounds}")
        order = list(works) if number % 2 == 0 else list(works)[::-1]
        for each in order:
            seconds[each].append(works[each]())
    return seconds


def typical_ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, float]:
    """Return the median of the rounds' ratios and its standard error.

    What slows a whole round cancels out. The error is that of a normal sample's median: 1.253
    standard deviations by √n, where the quartiles are 1.349 standard deviations apart.
    """
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    if len(ratios) < 2:
        return ratios[0], math.inf
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return middle, 1.253 * (high - low) / 1.349 / math.sqrt(len(ratios))
