"""Virtual time: a month of waiting, alone and many at once, against what it may take."""

from __future__ import annotations

import statistics
from functools import partial
from itertools import count

from projectai_lab import Lab
from tests.bench.rounds import Row, in_turns, say, timed
from tests.virtual_workflows import ACTIVITIES, WORKFLOWS, Month

ALONE_S, TOGETHER_S = 2.0, 15.0
ATTEMPTS = 7
METHOD = (
    "A timer of 30 days, then an activity that fails six times under a policy of 1, 2, 4 … 32 "
    "hours, on the embedded server with the clock virtual: from the start to the result, alone and "
    "50 at once, in turns, after one that does not count. Medians; the other is what they may take."
)


def measure(together: int = 50, rounds: int = 5) -> list[Row]:
    """Return a row for a month alone and one for many at once."""
    numbers = count()
    with Lab.start_local(clock="virtual", workflows=WORKFLOWS, activities=ACTIVITIES) as lab:
        say("virtual: warming up")
        _months(lab, 1, numbers)
        works = {
            "alone": timed(partial(_months, lab, 1, numbers)),
            "together": timed(partial(_months, lab, together, numbers)),
        }
        seconds = in_turns("virtual", works, rounds)
    limits = {"alone": ALONE_S, "together": TOGETHER_S}
    names = {"alone": "a month", "together": f"{together} months at once"}
    return [_row(f"virtual: {names[name]}", seconds[name], limit) for name, limit in limits.items()]


def _months(lab: Lab, many: int, numbers: count[int]) -> None:
    handles = [lab.start_workflow(Month.run, id=f"month-{next(numbers)}") for _ in range(many)]
    for handle in handles:
        if handle.result(timeout=300) != ATTEMPTS:
            raise RuntimeError(f"{handle.id} did not take {ATTEMPTS} attempts")


def _row(what: str, seconds: list[float], limit: float) -> Row:
    median = statistics.median(seconds)
    return Row(what, median, limit, "s", median / limit, at_most=1.0)
