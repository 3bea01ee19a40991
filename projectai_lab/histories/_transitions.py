"""What process mining asks of histories: each activity's transitions, run by run, in time order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pandas as pd
from temporalio.client import WorkflowHistory

from projectai_lab import tables

# The standard lifecycle model of XES has one word for all that ends an activity without a result.
LIFECYCLE = {
    "SCHEDULED": "schedule",
    "STARTED": "start",
    "COMPLETED": "complete",
    "FAILED": "ate_abort",
    "TIMED_OUT": "ate_abort",
    "CANCELED": "ate_abort",
}
_PREFIX = "ACTIVITY_TASK_"
_COLUMNS = (
    *("run_id", "event_id", "group_id", "event_time", "event_type", "started_event_id"),
    *("identity", "failure_type"),
)
_OF_ACTIVITY = (
    *("run_id", "scheduled_event_id", "activity_id", "activity_type", "task_queue", "attempts"),
    *("is_local", "status"),
)


class Transition(NamedTuple):
    """One step of one activity, as one Event of the history tells it.

    `word` is Temporal's: SCHEDULED, STARTED or the status it closed with. A Local Activity has one
    transition, its Marker, at the time at which the server recorded that.
    """

    run_id: str
    event_id: int
    time: pd.Timestamp
    word: str
    lifecycle: str
    scheduled_event_id: int
    activity_id: str
    activity_type: str
    attempt: int | None
    worker: str | None
    task_queue: str | None
    failure_type: str | None


def transitions(runs: Sequence[WorkflowHistory]) -> dict[str, list[Transition]]:
    """Return each run's transitions by its Run Id, in order of time and, at one time, of events.

    A request to cancel changes no state and is left out.
    """
    events = tables.events(runs)[list(_COLUMNS)]
    activities = tables.activities(runs)[list(_OF_ACTIVITY)]
    words = events.event_type.astype(object).str.removeprefix(_PREFIX)
    remote = events[words.isin(LIFECYCLE) & events.event_type.str.startswith(_PREFIX)]
    remote = remote.assign(word=words, key=remote.group_id)
    local = activities[activities.is_local].rename(columns={"scheduled_event_id": "event_id"})
    local = events.merge(local[["run_id", "event_id", "status"]], on=["run_id", "event_id"])
    local = local.assign(word=local.status.astype(object), key=local.event_id)
    found = pd.concat([remote, local.drop(columns="status")])
    found = found.merge(
        activities.drop(columns="status"),
        left_on=["run_id", "key"],
        right_on=["run_id", "scheduled_event_id"],
    ).sort_values(["event_time", "event_id"])
    by_run: dict[str, list[Transition]] = {run.run_id: [] for run in runs}
    for one in _transitions(found):
        by_run[one.run_id].append(one)
    return by_run


def _transitions(found: pd.DataFrame) -> Iterator[Transition]:
    withdrawn = (found.word == "CANCELED") & found.started_event_id.isna() & ~found.is_local
    lifecycle = found.word.map(LIFECYCLE).mask(withdrawn, "withdraw")
    ran = (found.word != "SCHEDULED") & ~withdrawn
    # What a Started event tells of a failure is about the attempt before.
    failure = found.failure_type.where(found.word != "STARTED")
    columns = (
        *(found.run_id, found.event_id, found.event_time, found.word, lifecycle),
        *(found.scheduled_event_id, found.activity_id, found.activity_type),
        *(found.attempts.where(ran), found.identity, found.task_queue, failure),
    )
    known = (column.astype(object).where(column.notna(), None).tolist() for column in columns)
    return map(Transition._make, zip(*known, strict=True))


def iso(time: pd.Timestamp) -> str:
    """Return an instant in ISO 8601, UTC, to the microsecond, the rest cut off."""
    return str(time.tz_localize(None).isoformat(timespec="microseconds")) + "Z"
