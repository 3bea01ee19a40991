"""Activities as history tells them: the Scheduled, Started and closing events brought together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from temporalio.api.enums.v1 import EventType

from projectai_lab.tables._column import OUTCOMES
from projectai_lab.tables._markers import Marker, markers_of
from projectai_lab.tables._runs import NAT, Run
from projectai_lab.tables._walk import Part, Walk, walk_of

_SCHEDULED = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
_STARTED = EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
_CLOSED = [EventType.Value(f"EVENT_TYPE_ACTIVITY_TASK_{status}") for status in OUTCOMES]


@dataclass(slots=True)
class Activity:
    """One Activity Execution; `scheduled`, `started`, `closed` are the events' attributes.

    A Local Activity has a Marker instead: `closed` holds its attributes and there are no times.
    `attempts` is None where history does not say how many there were.
    """

    run: Run
    scheduled_event_id: int
    activity_id: str
    activity_type: str
    is_local: bool = False
    status: str = "PENDING"
    attempts: int | None = None
    scheduled: Any = None
    started: Any = None
    closed: Any = None
    scheduled_ns: int | None = None
    started_ns: int | None = None
    closed_ns: int | None = None


class Joined(NamedTuple):
    """The activities of a walk that have a Scheduled event, as arrays, in order.

    `begun`, `closed` and `outcome` are positions: in `started`, in the part of `closing` that
    belongs to the outcome, and in OUTCOMES; −1 for none. `times` say when they were scheduled,
    started and closed.
    """

    scheduled: Part
    started: Part
    closing: tuple[Part, ...]
    begun: np.ndarray
    closed: np.ndarray
    outcome: np.ndarray
    times: tuple[np.ndarray, np.ndarray, np.ndarray]

    @property
    def attempts(self) -> np.ndarray:
        """Return the number of attempts; 0 where history does not say."""
        told = np.array(self.started.columns["attempt"], dtype=np.int64)
        return np.asarray(np.append(told, 0)[self.begun])

    @property
    def identities(self) -> list[str]:
        """Return the worker of the last attempt, "" where history does not say."""
        told = [*self.started.columns["identity"], ""]
        return [told[at] for at in self.begun.tolist()]


def joined(walk: Walk) -> Joined:
    """Return the activities of a walk; what is joined once is kept with it."""
    if "activities" not in walk.kept:
        walk.kept["activities"] = _joined(walk)
    kept: Joined = walk.kept["activities"]
    return kept


def _joined(walk: Walk) -> Joined:
    scheduled, started = walk.part(_SCHEDULED), walk.part(_STARTED)
    closing = tuple(map(walk.part, _CLOSED))
    begun, closed, outcome, end = (np.full(len(scheduled.rows), -1) for _ in range(4))
    of_row = np.full(len(walk.events) + 1, -1)
    of_row[scheduled.rows] = np.arange(len(scheduled.rows))
    _join(walk, of_row, started, begun)
    for number, part in enumerate(closing):
        known = _join(walk, of_row, part, closed)
        outcome[known], end[known] = number, part.rows[closed[known]]
    rows = scheduled.rows, np.append(started.rows, -1)[begun], end
    all_times = np.append(walk.times, NAT)
    times = all_times[rows[0]], all_times[rows[1]], all_times[rows[2]]
    return Joined(scheduled, started, closing, begun, closed, outcome, times)


def _join(walk: Walk, of_row: np.ndarray, part: Part, into: np.ndarray) -> np.ndarray:
    """Write the positions of events to the activities they are about; return those."""
    activities = of_row[walk.find(part.rows, part.columns["scheduled_event_id"])]
    known = np.flatnonzero(activities >= 0)
    into[activities[known]] = known
    return np.asarray(activities[known])


def attempts_by_run(walk: Walk) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how many activities, attempts and retries each run has, as far as history knows."""
    remote, attempts = joined(walk).scheduled.rows, joined(walk).attempts
    local = [m for m in markers_of(walk) if m.is_local_activity and not m.retries]
    rows = np.append(remote, np.array([marker.row for marker in local], dtype=np.int64))
    counts = np.append(attempts, np.array([m.attempt or 0 for m in local], dtype=np.int64))
    retries = np.maximum(counts - 1, 0)
    return walk.count(rows), walk.count(rows, counts), walk.count(rows, retries)


def activities_of(runs: Sequence[Run]) -> list[Activity]:
    """Return the activities of the runs in the order in which they were scheduled."""
    walk = walk_of(runs)
    remote = list(zip(joined(walk).scheduled.rows.tolist(), remote_of(walk), strict=True))
    both = sorted([*remote, *local_of(walk)], key=lambda item: item[0])
    return [activity for _, activity in both]


def remote_of(walk: Walk, which: Iterable[int] | None = None) -> list[Activity]:
    """Return the activities with a Scheduled event, all or those at the positions."""
    found = joined(walk)
    rows, attempts = found.scheduled.rows, found.attempts
    asked, started = found.scheduled.attributes, found.started.attributes
    made = []
    for at in range(len(rows)) if which is None else which:
        outcome, closed, begun = found.outcome[at], found.closed[at], found.begun[at]
        made.append(
            Activity(
                walk.runs[walk.owner[rows[at]]],
                int(walk.ids[rows[at]]),
                asked[at].activity_id,
                asked[at].activity_type.name,
                False,
                OUTCOMES[outcome] if outcome >= 0 else "PENDING",
                int(attempts[at]) or None,
                asked[at],
                started[begun] if begun >= 0 else None,
                found.closing[outcome].attributes[closed] if outcome >= 0 else None,
                *(None if time[at] == NAT else int(time[at]) for time in found.times),
            )
        )
    return made


def local_of(walk: Walk) -> list[tuple[int, Activity]]:
    """Return the Local Activities, each with the row of its Marker; a mere backoff is none."""
    return [
        (marker.row, _local(walk, marker))
        for marker in markers_of(walk)
        if marker.is_local_activity and not marker.retries
    ]


def _local(walk: Walk, marker: Marker) -> Activity:
    return Activity(
        walk.runs[walk.owner[marker.row]],
        int(walk.ids[marker.row]),
        marker.activity_id or "",
        marker.activity_type or "",
        True,
        marker.status,
        marker.attempt,
        closed=marker.attributes,
    )
