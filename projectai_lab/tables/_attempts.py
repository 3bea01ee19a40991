"""`tables.attempts`: one row per activity attempt, from history and attempt records."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter

import pandas as pd

from projectai_lab.errors import TableError
from projectai_lab.tables import schema
from projectai_lab.tables._activity import Activity, activities_of
from projectai_lab.tables._attempt import Attempt, Record, attempts_of
from projectai_lab.tables._columns import TABLES
from projectai_lab.tables._runs import Histories, clock_of, gc_paused, runs_of

_OF_ATTEMPT = attrgetter(*(column.name for column in TABLES["attempts"].columns[6:]))


@gc_paused()
def attempts(histories: Histories, recorder: Iterable[Record] | None = None) -> pd.DataFrame:
    """Return one row per activity attempt.

    `recorder` yields attempt records (`lab.attempts`); without it, what happened in the attempts
    before the last is NA, since history does not keep it.

    >>> tables.attempts(history, recorder=lab.attempts)[["attempt", "gap_s"]]  # doctest: +SKIP
    """
    runs = runs_of(histories)
    found = with_attempts(activities_of(runs), recorder)
    rows = [
        (
            *(one.run.namespace, one.run.workflow_id, one.run.run_id, one.scheduled_event_id),
            *(one.activity_id, one.activity_type, *_OF_ATTEMPT(attempt)),
        )
        for one, of_one in found
        for attempt in of_one
    ]
    return schema.frame("attempts", rows, clock=clock_of(runs))


def with_attempts(
    activities: Sequence[Activity], recorder: Iterable[Record] | None
) -> list[tuple[Activity, list[Attempt]]]:
    """Return each activity with its attempts."""
    if recorder is None:
        return [(one, attempts_of(one)) for one in activities]
    records = _by_activity(recorder, {one.run.run_id for one in activities})
    # An Activity Id may be used again within a run; then the scheduled time tells which is meant.
    used = Counter(map(_name, activities))
    return [
        (one, attempts_of(one, _matching(one, records.get(_name(one), ()), used[_name(one)])))
        for one in activities
    ]


def _name(activity: Activity) -> tuple[str, str, bool]:
    return activity.run.run_id, activity.activity_id, activity.is_local


def _by_activity(
    recorder: Iterable[Record], run_ids: set[str]
) -> dict[tuple[str, str, bool], list[Record]]:
    found: dict[tuple[str, str, bool], list[Record]] = defaultdict(list)
    for record in recorder:
        if not isinstance(record, Mapping):
            raise TableError(
                f"recorder must yield attempt records, not {type(record).__name__}; "
                "pass recorder=lab.attempts"
            )
        if record["run_id"] in run_ids:
            name = (record["run_id"], record["activity_id"], bool(record.get("is_local")))
            found[name].append(record)
    return found


def _matching(activity: Activity, records: Sequence[Record], used: int) -> Sequence[Record]:
    if used == 1 or activity.scheduled_ns is None:
        return records
    # The worker is told times in whole microseconds.
    due = activity.scheduled_ns // 1000
    return [one for one in records if (one.get("scheduled_ns") or 0) // 1000 == due]
