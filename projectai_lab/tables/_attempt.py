"""`Attempt`: what is known of one attempt of one activity, by whom, and what contradicts it.

History keeps the number of attempts, the last one, and the failure of the one before. A worker's
attempt record keeps what the server told the worker (when the attempt became due and was handed
out) and how long the function ran. `describe` tells of an activity that is not closed, and when the
attempt before ended. Only instants of the server's clock are subtracted from each other; the
worker adds its run time as a duration, so hosts need no common clock, and a server that skips time
(clock "virtual") is read right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Record = Mapping[str, Any]
"""One attempt record, as `lab.attempts` yields them, or one observation."""
SOURCES = ("history", "recorder", "describe")
_AGREE_NS = 1_000  # The worker is told times in whole microseconds.


@dataclass(slots=True)
class Attempt:
    """One attempt: the columns of `tables.attempts`, times in epoch nanoseconds, and more.

    `run_s` is how long it ran, `timed_out` whether a timeout ended it; None where nobody knows,
    and `undecided` where a worker's record leaves that open. `elsewhere`: its function returned and
    somebody else completes it. `cut_off`: the run closed while it ran. `known_to` and `doubts`
    hold what becomes the columns source and doubt ("count" for a number without more).
    """

    attempt: int
    recorded: bool
    is_last: bool | None = None
    state: str | None = None
    attempt_scheduled_time: int | None = None
    started_time: int | None = None
    closed_time: int | None = None
    worker_started_time: int | None = None
    worker_finished_time: int | None = None
    dispatch_lag_s: float | None = None
    exec_s: float | None = None
    worker_exec_s: float | None = None
    gap_s: float | None = None
    backoff_planned_s: float | None = None
    backoff_observed_s: float | None = None
    backoff_error_s: float | None = None
    server_outcome: str | None = None
    worker_outcome: str | None = None
    late_report: bool | None = None
    failure_type: str | None = None
    failure_message: str | None = None
    timeout_type: str | None = None
    worker_identity: str | None = None
    time_quality: str = "unknown"
    next_retry_delay_s: float | None = None
    timed_out: bool | None = None
    undecided: bool = False
    elsewhere: bool = False
    run_s: float | None = None
    cut_off: bool = False
    known_to: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    @property
    def source(self) -> str | None:
        """Who knew of it, joined by "+"; time skips only where nobody else did."""
        return _source(self.known_to)

    @property
    def doubt(self) -> str | None:
        """What of it contradicts what else is known."""
        return ", ".join(sorted(set(self.doubts))) or None

    def learn(self, name: str, value: int | None) -> None:
        """Take a server's time that a less trusted source tells, or note that it disagrees."""
        known = getattr(self, name)
        if known is None:
            setattr(self, name, value)
        elif value is not None and abs(known - value) > _AGREE_NS:
            self.doubts += ("sources_disagree",)


@lru_cache
def _source(known_to: tuple[str, ...]) -> str | None:
    told = "+".join(name for name in SOURCES if name in known_to)
    if told or not known_to:
        return told or None
    return "time_skip" if "time_skip" in known_to else "history"
