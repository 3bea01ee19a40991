"""What histories hold, walked event by event over the raw protobuf, beside none of our tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

from temporalio.client import WorkflowHistory

ENDS = ("completed", "failed", "timed_out", "canceled")
RUN_ENDS = (*ENDS, "terminated", "continued_as_new")


class Step(NamedTuple):
    """One event of one activity or run; `key` names the activity."""

    time_ns: int
    event_id: int
    what: str
    word: str
    key: tuple[str, int]


def steps(run: WorkflowHistory) -> list[Step]:
    """Return the transitions of a run's activities in order of time."""
    types: dict[int, str] = {}
    found = []
    for event in run.events:
        time = event.event_time.seconds * 10**9 + event.event_time.nanos
        if event.HasField("activity_task_scheduled_event_attributes"):
            scheduled = event.activity_task_scheduled_event_attributes
            types[event.event_id] = scheduled.activity_type.name
            key = (run.run_id, event.event_id)
            found.append(Step(time, event.event_id, types[event.event_id], "SCHEDULED", key))
        for word in ("started", *ENDS):
            name = f"activity_task_{word}_event_attributes"
            if event.WhichOneof("attributes") == name:
                opener = getattr(event, name).scheduled_event_id
                key = (run.run_id, opener)
                found.append(Step(time, event.event_id, types[opener], word.upper(), key))
        if event.marker_recorded_event_attributes.marker_name == "core_local_activity":
            marker = event.marker_recorded_event_attributes
            facts = json.loads(marker.details["data"].payloads[0].data)
            if facts.get("backoff") is None:
                word = "FAILED" if marker.HasField("failure") else "COMPLETED"
                key = (run.run_id, event.event_id)
                found.append(Step(time, event.event_id, facts["activity_type"], word, key))
    return sorted(found)


def run_steps(run: WorkflowHistory) -> list[Step]:
    """Return the start and the end of a run."""
    found = []
    for event in run.events:
        for word in ("started", *RUN_ENDS):
            if event.WhichOneof("attributes") == f"workflow_execution_{word}_event_attributes":
                time = event.event_time.seconds * 10**9 + event.event_time.nanos
                what = f"WORKFLOW_EXECUTION_{word.upper()}"
                found.append(Step(time, event.event_id, what, "", (run.run_id, 0)))
    return found


def recorded_starts(
    runs: Iterable[WorkflowHistory], records: Iterable[dict[str, Any]]
) -> list[Step]:
    """Return the starts of attempts that the recorder knows and history leaves out."""
    types, known = {}, set()
    for run in runs:
        for event in run.events:
            if event.HasField("activity_task_scheduled_event_attributes"):
                scheduled = event.activity_task_scheduled_event_attributes
                types[run.run_id, scheduled.activity_id] = event.event_id
            if event.HasField("activity_task_started_event_attributes"):
                started = event.activity_task_started_event_attributes
                known.add((run.run_id, started.scheduled_event_id, started.attempt))
    found = []
    for one in records:
        event_id = types.get((one["run_id"], one["activity_id"]))
        new = event_id and (one["run_id"], event_id, one["attempt"]) not in known
        if new and not one["is_local"]:
            key = (one["run_id"], int(event_id or 0))
            found.append(Step(one["started_ns"], 0, one["activity_type"], "STARTED", key))
    return found


def follows(traces: Iterable[list[str]]) -> Counter[tuple[str, str]]:
    """Return how often one follows another directly."""
    return Counter(pair for trace in traces for pair in pairwise(trace))
