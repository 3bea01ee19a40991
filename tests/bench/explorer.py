"""How long the history explorer needs until it stands, by the kernel's processor."""

from __future__ import annotations

import time

from projectai_lab import widgets
from projectai_lab.histories import History
from tests import made
from tests.bench.rounds import Row, in_turns

METHOD = (
    "history_browser(history), of activities one after the other, by the process's CPU time; the "
    "other is one second. Shortest of the rounds."
)


def measure(events: int = 5_000, many: int = 50_000, rounds: int = 3) -> list[Row]:
    """Return the seconds that a history and a long one take to open."""
    runs = {f"explorer: {size:,} events": steps(size) for size in (events, many)}

    def opened(history: History) -> float:
        began = time.process_time()
        panel = widgets.history_browser(history)
        took = time.process_time() - began
        panel.close()
        return took

    works = {name: (lambda run=run: opened(run)) for name, run in runs.items()}
    taken = {name: min(all_) for name, all_ in in_turns("explorer", works, rounds).items()}
    (first, short), (second, long) = taken.items()
    return [Row(first, short, 1.0, "s", short, at_most=1.0), Row(second, long, 1.0, "s", long)]


def steps(events: int) -> History:
    """Return a run of so many events."""
    return made.history("long", *["call"] * (events // 3))
