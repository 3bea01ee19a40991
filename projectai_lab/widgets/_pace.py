"""How fast executions close, and how long they took, from what a monitor has seen."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterable

from projectai_lab._words import duration
from projectai_lab.widgets._executions import OPEN, Row, Seen
from projectai_lab.widgets._look import Html, text
from projectai_lab.widgets._sparkline import sparkline

_SAMPLES, _RUNS = 60, 200
_LAST_S = 10.0


class Pace:
    """Closed runs per second by this computer's clock; durations of closed runs by the server's."""

    def __init__(self) -> None:
        self._closed: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        self._took: dict[str, float] = {}

    def add(self, seen: Seen, now: float | None = None) -> None:
        """Take note of one look; `now` is monotonic seconds."""
        closed = seen.counts.total() - sum(seen.counts[status] for status in OPEN)
        self._closed.append((time.monotonic() if now is None else now, closed))
        self._keep(row for row in reversed(seen.rows) if row.closed)

    def _keep(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self._took.setdefault(row.run_id, row.seconds(row.began))
        for run in list(self._took)[:-_RUNS]:
            del self._took[run]

    @property
    def rates(self) -> list[float]:
        """Runs closed per second between each look and the next."""
        pairs = zip(self._closed, list(self._closed)[1:], strict=False)
        return [max(0, now - then) / (b - a) for (a, then), (b, now) in pairs if b > a]

    @property
    def rate(self) -> float | None:
        """Runs closed per second over the last 10 s or one look; None before the second look."""
        return self._recent[0]

    @property
    def _recent(self) -> tuple[float | None, float]:
        """Return the rate, and the seconds that it is of."""
        last, closed = self._closed[-1] if self._closed else (0.0, 0)
        before = [one for one in self._closed if one[0] < last]
        if not before:
            return None, 0.0
        recent = [one for one in before if last - one[0] <= _LAST_S] or before[-1:]
        since_s = last - recent[0][0]
        return max(0, closed - recent[0][1]) / since_s, since_s

    @property
    def took(self) -> list[float]:
        """Seconds that the closed runs took which were seen last, oldest first."""
        return list(self._took.values())

    def words(self) -> tuple[str, str]:
        """Return throughput and latency, each with its unit and clock."""
        rate, since_s = self._recent
        told = "not known yet" if rate is None else f"{rate:.3g} closed per s, last {since_s:.0f} s"
        return (
            f"throughput: {told} (this computer's clock)",
            f"latency: {self._latency()} (server's clock)",
        )

    def _latency(self) -> str:
        took = self.took
        if not took:
            return "no closed run seen yet"
        if len(took) == 1:
            return f"{duration(took[0])}, 1 closed run seen"
        high = statistics.quantiles(took, n=20, method="inclusive")[-1]
        middle = statistics.median(took)
        return (
            f"p50 {duration(middle)}, p95 {duration(high)} of the last {len(took)} closed runs seen"
        )

    def html(self) -> Html:
        """Return throughput and latency as words with a line each."""
        lines = zip(self.words(), (self.rates, self.took), strict=True)
        return Html("".join(f"<div>{text(w)} {sparkline(line, w)}</div>" for w, line in lines))
