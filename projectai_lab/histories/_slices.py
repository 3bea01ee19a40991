"""What a trace viewer shows of a run: slices and instants on tracks, from the tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from temporalio.client import WorkflowHistory

from projectai_lab import tables
from projectai_lab.histories._sink import rows

Row = Mapping[str, Any]
_TOLD = ("status", "failure_type", "failure_message", "retry_state")


class Slice(NamedTuple):
    """Something on a track, in µs since 1970 by the server's clock; `end` None is an instant."""

    track: str
    name: str
    start: int
    end: int | None
    facts: dict[str, Any]


class Drawn(NamedTuple):
    """A run and its slices."""

    run: Row
    slices: list[Slice]


def drawn(
    runs: Sequence[WorkflowHistory], records: Sequence[tables.Record] | None
) -> Iterator[Drawn]:
    """Yield each run with what there is to draw of it."""
    built = tables.build(runs, recorder=records)
    events = built["events"]
    kinds = ["workflow_task", "signal", "update", "marker"]
    built["events"] = events[events.group_kind.isin(kinds)]
    of_run: dict[str, dict[str, list[Row]]] = {}
    for run in runs:
        of_run[run.run_id] = {name: [] for name in built}
    for name, table in built.items():
        for row in rows(table):
            of_run[row["run_id"]][name].append(row)
    for found in of_run.values():
        (execution,) = found["executions"]
        yield Drawn(execution, [_whole_run(execution), *_of_run(found)])


def _of_run(found: dict[str, list[Row]]) -> Iterator[Slice]:
    events = found["events"]
    yield from _workflow_tasks([e for e in events if e["group_kind"] == "workflow_task"])
    yield from _activities(found["activities"], found["attempts"])
    yield from _local_activities(found["activities"], events)
    yield from _spans("timers", found["timers"], "timer_id", "started_time")
    children = found["child_workflows"]
    yield from _spans("child workflows", children, "child_workflow_type", "initiated_time")
    for event in events:
        if event["group_kind"] in ("signal", "update"):
            name = event["signal_name"] or event["update_name"] or event["event_type"]
            facts = {"event_type": event["event_type"], "event_id": event["event_id"]}
            yield Slice("messages", name, _us(event["event_time"]), None, facts)


def _whole_run(run: Row) -> Slice:
    start, end = _us(run["start_time"]), run["close_time"]
    name = run["workflow_type"] or "workflow"
    return Slice("workflow", name, start, end and max(start, _us(end)), _facts(run, "run_id"))


def _workflow_tasks(events: Sequence[Row]) -> Iterator[Slice]:
    """Yield the waits and runs of Workflow Tasks, which follow each other."""
    groups: dict[int, list[Row]] = {}
    for event in events:
        groups.setdefault(event["group_id"], []).append(event)
    for group in groups.values():
        for before, after in zip(group, [*group[1:], None], strict=True):
            word = before["event_type"].removeprefix("WORKFLOW_TASK_")
            start = _us(before["event_time"])
            facts = _facts(before, "event_id", "identity")
            if word in ("SCHEDULED", "STARTED"):
                name = "waiting for a worker" if word == "SCHEDULED" else "workflow task"
                end = max(start, _us(after["event_time"])) if after else None
                closed = after["event_type"] if after else None
                yield Slice("workflow tasks", name, start, end, {**facts, "until": closed})
            elif word != "COMPLETED":
                yield Slice("workflow tasks", word, start, None, facts)


def _activities(activities: Sequence[Row], attempts: Sequence[Row]) -> Iterator[Slice]:
    of_activity: dict[int, list[Row]] = {}
    for attempt in attempts:
        of_activity.setdefault(attempt["scheduled_event_id"], []).append(attempt)
    remote = [one for one in activities if one["scheduled_time"] is not None]
    for one, lane in zip(remote, _lanes(remote, "scheduled_time"), strict=True):
        track, start = f"activities {lane}", _us(one["scheduled_time"])
        end = None if one["closed_time"] is None else max(start, _us(one["closed_time"]))
        facts = _facts(one, "activity_id", "scheduled_event_id", "attempts", "worker_identity")
        yield Slice(track, one["activity_type"], start, end, facts)
        yield from _attempts(track, of_activity.get(one["scheduled_event_id"], ()))


def _attempts(track: str, attempts: Sequence[Row]) -> Iterator[Slice]:
    """Yield what is known of each attempt: backoff before it, wait for a worker, run."""
    before: int | None = None
    for one in attempts:
        due, start = _us_or_none(one["attempt_scheduled_time"]), _us_or_none(one["started_time"])
        facts = _facts(one, "attempt", "worker_identity", "time_quality", "server_outcome")
        waited = one["backoff_observed_s"] is not None
        if waited and before is not None and due is not None and before < due:
            yield Slice(track, "backoff", before, due, {"before attempt": one["attempt"]})
        if due is not None and start is not None and due < start:
            yield Slice(track, "waiting for a worker", due, start, {"attempt": one["attempt"]})
        before = None if start is None else _end_of(one)
        if start is not None:
            yield Slice(track, f"attempt {one['attempt']}", start, before, facts)


def _end_of(attempt: Row) -> int | None:
    """Return when an attempt ended on the server's clock, where that is known.

    A worker's run time is added as a duration, so that its clock does not matter.
    """
    start = attempt["started_time"]
    if attempt["closed_time"] is not None:
        return max(_us(start), _us(attempt["closed_time"]))
    if attempt["time_quality"] == "measured_worker" and attempt["worker_exec_s"] is not None:
        return int((start.value + round(attempt["worker_exec_s"] * 1e9)) // 1000)
    return None


def _local_activities(activities: Sequence[Row], events: Sequence[Row]) -> Iterator[Slice]:
    """Yield an instant where the server recorded a Local Activity; it never saw it run."""
    recorded = {event["event_id"]: event["event_time"] for event in events}
    for one in activities:
        if one["is_local"]:
            start = _us(recorded[one["scheduled_event_id"]])
            facts = _facts(one, "activity_id", "attempts")
            yield Slice("local activities", one["activity_type"], start, None, facts)


def _spans(kind: str, found: Sequence[Row], name: str, begun: str) -> Iterator[Slice]:
    for one, lane in zip(found, _lanes(found, begun), strict=True):
        start = _us(one[begun])
        end = None if one["closed_time"] is None else max(start, _us(one["closed_time"]))
        facts = _facts(one, "timeout_s", "lag_s", "child_workflow_id", "child_run_id")
        yield Slice(f"{kind} {lane}", f"{one[name]}", start, end, facts)


def _lanes(found: Sequence[Row], begun: str) -> list[int]:
    """Return a track for each, the first that is free; who has not closed keeps its own."""
    lanes: dict[int, int] = {}
    free_at: list[float] = []
    for place in sorted(range(len(found)), key=lambda place: found[place][begun]):
        start, closed = _us(found[place][begun]), found[place]["closed_time"]
        lane = next((n for n, free in enumerate(free_at) if free <= start), len(free_at))
        free_at[lane : lane + 1] = [float("inf") if closed is None else _us(closed)]
        lanes[place] = lane + 1
    return [lanes[place] for place in range(len(found))]


def _facts(row: Row, *names: str) -> dict[str, Any]:
    told = {name: row.get(name) for name in (*names, *_TOLD)}
    return {name: value for name, value in told.items() if value is not None}


def _us(time: Any) -> int:
    return int(time.value // 1000)


def _us_or_none(time: Any) -> int | None:
    return None if time is None else _us(time)
