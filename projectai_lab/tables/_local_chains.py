"""Local Activities that waited for a retry longer than the worker keeps a Workflow Task.

The SDK then ends the Local Activity with a Marker that names the backoff, waits by a timer, and
schedules it again under another Activity Id; the attempts go on counting, and the Markers share the
time of the first schedule.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from temporalio.api.enums.v1 import EventType

from projectai_lab.tables._activity import Activity
from projectai_lab.tables._runs import Run

Ended = tuple[int, Any, str]
"""An attempt of a Local Activity that ended in a backoff: number, Marker, status."""
Chain = tuple[tuple[str, ...], tuple[Ended, ...]]
"""The Activity Ids that a Local Activity had, and its attempts that ended in a backoff."""

_MARKER = EventType.EVENT_TYPE_MARKER_RECORDED


def chains(activities: Sequence[Activity]) -> dict[int, Chain]:
    """Return, by the place in the list, the chains of Local Activities that have one."""
    runs = {one.run.run_id: one.run for one in activities if one.is_local}
    waits = {run_id: _waits(run) for run_id, run in runs.items()}
    found: dict[int, Chain] = {}
    for place, one in enumerate(activities):
        before = waits[one.run.run_id].get(_name(_facts(one.closed))) if one.is_local else None
        if before:
            ids = tuple(activity_id for activity_id, _ in before)
            found[place] = (*ids, one.activity_id), tuple(ended for _, ended in before)
    return found


def _waits(run: Run) -> dict[tuple[Any, ...], list[tuple[str, Ended]]]:
    found = defaultdict(list)
    for event in run.events:
        if event.event_type != _MARKER:
            continue
        marker = event.marker_recorded_event_attributes
        facts = _facts(marker)
        if facts.get("backoff") is not None:
            ended = facts["attempt"], marker, _status(marker)
            found[_name(facts)].append((str(facts.get("activity_id")), ended))
    return found


def _facts(marker: Any) -> dict[str, Any]:
    """Return what a Marker of the SDK's core holds; empty for any other."""
    if marker.marker_name != "core_local_activity" or "data" not in marker.details:
        return {}
    try:
        facts = json.loads(marker.details["data"].payloads[0].data)
        first = facts["original_schedule_time"]
        return {**facts, "attempt": int(facts["attempt"]), "first": tuple(first.items())}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


def _name(facts: dict[str, Any]) -> tuple[Any, ...]:
    return facts.get("activity_type"), facts.get("first")


def _status(marker: Any) -> str:
    timed_out = marker.failure.HasField("timeout_failure_info")
    return "TIMED_OUT" if timed_out else "FAILED"
