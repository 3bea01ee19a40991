"""`tables.attempts`: one row per activity attempt, from all who know something of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from numbers import Integral
from operator import attrgetter

import pandas as pd

from projectai_lab.errors import TableError
from projectai_lab.tables import schema
from projectai_lab.tables._activity import Activity, activities_of
from projectai_lab.tables._attempt import Attempt, Record
from projectai_lab.tables._attempt_checks import checked
from projectai_lab.tables._attempt_fusion import attempts_of
from projectai_lab.tables._columns import TABLES
from projectai_lab.tables._local_chains import chains
from projectai_lab.tables._runs import Histories, clock_of, gc_paused, runs_of
from projectai_lab.tables._time_skips import due_by_skips, skips_time

_OF_ATTEMPT = attrgetter(*(column.name for column in TABLES["attempts"].columns[6:]))
_ID = ("run_id", "activity_id", "attempt")
_PASS = {
    "recorder": "pass recorder=lab.attempts",
    "seen": "pass seen=handle.poll_attempts() or attempts.from_description(handle.describe())",
}
Name = tuple[str, str, bool]
ByActivity = dict[Name, list[Record]]


@gc_paused()
def attempts(
    histories: Histories,
    recorder: Iterable[Record] | None = None,
    *,
    seen: Iterable[Record] | None = None,
) -> pd.DataFrame:
    """Return one row per activity attempt.

    `recorder` yields attempt records (`lab.attempts`), `seen` what the server said while the
    activities were open (`handle.poll_attempts()`, `attempts.from_description`). Without them,
    what happened in the attempts before the last is NA, since history does not keep it.

    The table is checked as it is built: a row that contradicts what else is known has a `doubt`,
    and TableError is raised where only the table itself can be wrong.

    >>> tables.attempts(history, recorder=lab.attempts)[["attempt", "gap_s"]]  # doctest: +SKIP
    """
    runs = runs_of(histories)
    found = with_attempts(activities_of(runs), recorder, seen)
    rows = [
        (
            *(one.run.namespace, one.run.workflow_id, one.run.run_id, one.scheduled_event_id),
            *(one.activity_id, one.activity_type, *_OF_ATTEMPT(attempt)),
        )
        for one, of_one in found
        for attempt in of_one
    ]
    frame = schema.frame("attempts", rows, clock=clock_of(runs))
    skipping = {run.run_id for run in runs if skips_time(run)}
    return checked(frame, frame["run_id"].isin(skipping).to_numpy(dtype=bool))


def with_attempts(
    activities: Sequence[Activity],
    recorder: Iterable[Record] | None,
    seen: Iterable[Record] | None = None,
) -> list[tuple[Activity, list[Attempt]]]:
    """Return each activity with its attempts."""
    runs = {one.run.run_id: one.run for one in activities}
    records = _by_activity("recorder", recorder, runs.keys())
    looks = _by_activity("seen", seen, runs.keys())
    # An Activity Id may be used again within a run; then the scheduled time tells which is meant.
    used = Counter(map(_name, activities)) if records or looks else Counter()
    chained = chains(activities)
    due = {run_id: due_by_skips(run) for run_id, run in runs.items() if skips_time(run)}
    found = []
    for place, one in enumerate(activities):
        ids, ended = chained.get(place, ((one.activity_id,), ()))
        of_one = attempts_of(
            one,
            _matching(one, ids, records, used) if records else (),
            _within(one, looks, used) if looks else (),
            skips=due[one.run.run_id].get(one.scheduled_event_id, ())
            if one.run.run_id in due
            else (),
            ended=ended,
        )
        found.append((one, of_one))
    return found


def _name(activity: Activity) -> Name:
    return activity.run.run_id, activity.activity_id, activity.is_local


def _by_activity(what: str, source: Iterable[Record] | None, run_ids: Container[str]) -> ByActivity:
    found: ByActivity = defaultdict(list)
    if source is not None and not isinstance(source, Iterable):
        raise TableError(f"{what} must be records, not {type(source).__name__}; {_PASS[what]}")
    for record in () if source is None else source:
        _check(what, record)
        if record["run_id"] in run_ids:
            name = (record["run_id"], record["activity_id"], bool(record.get("is_local")))
            found[name].append(record)
    return found


def _check(what: str, record: object) -> None:
    if not isinstance(record, Mapping):
        raise TableError(
            f"{what} must yield attempt records, not {type(record).__name__}; {_PASS[what]}"
        )
    if missing := [name for name in _ID if record.get(name) is None]:
        raise TableError(
            f"{what} holds a record without {', '.join(missing)}; {_PASS[what]}", missing=missing
        )
    if not isinstance(record["attempt"], Integral) or int(record["attempt"]) < 1:
        raise TableError(
            f"{what} holds a record with attempt {record['attempt']!r}; attempts count from 1"
        )
    # What the server says of an activity that is open has a state, what a worker writes has none.
    if ("state" in record) != (what == "seen"):
        other = "seen" if what == "recorder" else "recorder"
        raise TableError(f"{what} holds what belongs in {other}=; {_PASS[what]}")


def _matching(
    activity: Activity, ids: Sequence[str], by_activity: ByActivity, used: Counter[Name]
) -> list[Record]:
    """Return the records of an activity, under all ids that it had."""
    run_id, _, local = name = _name(activity)
    records = [one for id_ in ids for one in by_activity.get((run_id, id_, local), ())]
    if used[name] == 1 or activity.scheduled_ns is None:
        return records
    # The worker is told times in whole microseconds.
    due = activity.scheduled_ns // 1000
    return [one for one in records if (one.get("scheduled_ns") or 0) // 1000 == due]


def _within(activity: Activity, by_activity: ByActivity, used: Counter[Name]) -> list[Record]:
    """Return the observations of an activity, whose attempts were due while it was open."""
    name = _name(activity)
    seen = by_activity.get(name, [])
    if used[name] == 1 or activity.scheduled_ns is None:
        return seen
    first, last = activity.scheduled_ns, activity.closed_ns
    due = [(one.get("attempt_scheduled_ns") or 0, one) for one in seen]
    return [one for time, one in due if first <= time and (last is None or time <= last)]
