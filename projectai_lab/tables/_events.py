"""`tables.events`: one row per Event, for every event type that the installed SDK knows."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from temporalio.api.enums.v1 import EventType

from projectai_lab.tables import schema
from projectai_lab.tables._column import EVENT_TYPES, GROUPS, RETRY_STATES, TIMEOUT_TYPES
from projectai_lab.tables._columns import TABLES
from projectai_lab.tables._markers import markers_of
from projectai_lab.tables._runs import Histories, clock_of, failure_facts, gc_paused, runs_of
from projectai_lab.tables._walk import Part, Walk, elapsed, walk_of

_STATES = {"retry_state": RETRY_STATES, "timeout_type": TIMEOUT_TYPES}
_COUNTS = tuple(column.name for column in TABLES["events"].columns if column.kind == "count")
_TEXTS = tuple(column.name for column in TABLES["events"].columns if column.kind == "text")
_WORKFLOW_EXECUTION = GROUPS.index("workflow_execution")
_SPREAD_KINDS = [GROUPS.index("activity"), GROUPS.index("update")]
_MOST = max(EventType.values()) + 1
_CODES = np.full(_MOST + 1, EVENT_TYPES.index("OTHER"))
_CODES[[EventType.Value(f"EVENT_TYPE_{name}") for name in EVENT_TYPES[:-1]]] = range(
    len(EVENT_TYPES) - 1
)

Columns = dict[str, Any]


@gc_paused()
def events(histories: Histories) -> pd.DataFrame:
    """Return one row per Event of the histories, in their order.

    >>> tables.events(history)[["event_id", "event_type", "since_start_s"]]    # doctest: +SKIP
    """
    runs = runs_of(histories)
    walk = walk_of(runs)
    data = _common(walk)
    for part in walk.parts():
        _fill(data, walk, part)
    _spread_over_groups(data, walk)
    for marker in markers_of(walk):
        data["activity_id"][marker.row] = marker.activity_id
        data["activity_type"][marker.row] = marker.activity_type
        data["change_id"][marker.row] = marker.change_id
    return schema.frame("events", _with_na(data), clock=clock_of(runs))


def _common(walk: Walk) -> Columns:
    count = len(walk.events)
    inside = (walk.kinds >= 0) & (walk.kinds < _MOST)
    return {
        **{name: np.full(count, None, dtype=object) for name in _TEXTS},
        **{name: np.zeros(count, dtype=np.int64) for name in (*_COUNTS, *_STATES)},
        **walk.names(walk.owner),
        "event_id": walk.ids,
        "event_time": walk.times,
        "event_type": _CODES[np.where(inside, walk.kinds, _MOST)],
        "event_type_number": walk.kinds,
        "payload_bytes": np.full(count, -1, dtype=np.int64),
        "group_kind": np.full(count, -1, dtype=np.int64),
        "since_start_s": elapsed(walk.times, walk.times[walk.first]),
    }


def _fill(data: Columns, walk: Walk, part: Part) -> None:
    """Fill the rows of one event type."""
    rows = part.rows
    for column, of_column in part.columns.items():
        if column in _COUNTS or column in _STATES:
            data[column][rows] = of_column
        else:
            data[column][rows] = np.array(of_column, dtype=object)
    if part.payload_bytes is not None:
        data["payload_bytes"][rows] = part.payload_bytes
    if part.plan.failure:
        _fill_failures(data, part)
    _group(data, walk, part)


def _fill_failures(data: Columns, part: Part) -> None:
    assert part.plan.failure
    parent, name = part.plan.failure
    holders = map(parent, part.attributes) if parent else part.attributes
    for row, holder in zip(part.rows.tolist(), holders, strict=True):
        if holder.HasField(name):
            facts = failure_facts(holder, name)
            data["failure_type"][row] = facts.failure_type
            data["failure_message"][row] = facts.failure_message
            data["timeout_type"][row] = facts.timeout_number


def _group(data: Columns, walk: Walk, part: Part) -> None:
    rows, plan = part.rows, part.plan
    data["group_kind"][rows] = plan.group_kind
    if plan.opener in part.columns:
        data["group_id"][rows] = part.columns[plan.opener]
    elif plan.opener:
        data["group_id"][rows] = list(map(attrgetter(plan.opener), part.attributes))
    elif plan.group_kind == _WORKFLOW_EXECUTION:
        data["group_id"][rows] = walk.ids[walk.first[rows]]
    else:
        data["group_id"][rows] = walk.ids[rows]


def _spread_over_groups(data: Columns, walk: Walk) -> None:
    """Copy what only the opening Event carries to every Event of its group."""
    rows = np.flatnonzero(np.isin(data["group_kind"], _SPREAD_KINDS))
    openers = walk.find(rows, data["group_id"][rows])
    known = (openers >= 0) & (openers != rows)
    for column in ("activity_id", "activity_type", "update_name"):
        data[column][rows[known]] = data[column][openers[known]]


def _with_na(data: Columns) -> Columns:
    """Turn the 0 of protobuf's unset numbers into NA."""
    for name in _COUNTS:
        unset = data[name] < 0 if name == "payload_bytes" else data[name] == 0
        unset &= name != "event_type_number"
        data[name] = pd.arrays.IntegerArray(data[name], unset)
    for name, known in _STATES.items():
        data[name] = np.where((data[name] > 0) & (data[name] <= len(known)), data[name] - 1, -1)
    return data
