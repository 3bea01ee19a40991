"""`tables.events`: one row per Event, for every event type that the installed SDK knows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab.tables import schema
from projectai_lab.tables._column import EVENT_TYPES, GROUPS, RETRY_STATES, TIMEOUT_TYPES
from projectai_lab.tables._columns import TABLES
from projectai_lab.tables._plans import PLANS, Plan
from projectai_lab.tables._runs import Histories, Run, clock_of, failure_facts, gc_paused, runs_of

_STATES = {"retry_state": RETRY_STATES, "timeout_type": TIMEOUT_TYPES}
_COUNTS = tuple(column.name for column in TABLES["events"].columns if column.kind == "count")
_TEXTS = tuple(column.name for column in TABLES["events"].columns if column.kind == "text")
_WORKFLOW_EXECUTION = GROUPS.index("workflow_execution")
_SPREAD_KINDS = [GROUPS.index("activity"), GROUPS.index("update")]
_MOST = max(EventType.values()) + 1
_CODES = np.full(_MOST + 1, -1)
_CODES[[EventType.Value(f"EVENT_TYPE_{name}") for name in EVENT_TYPES]] = range(len(EVENT_TYPES))

Columns = dict[str, Any]


@gc_paused()
def events(histories: Histories) -> pd.DataFrame:
    """Return one row per Event of the histories, in their order.

    >>> tables.events(history)[["event_id", "event_type", "since_start_s"]]    # doctest: +SKIP
    """
    runs = runs_of(histories)
    found = list(chain.from_iterable(run.events for run in runs))
    kinds = np.array([event.event_type for event in found], dtype=np.int64)
    owner = np.repeat(np.arange(len(runs)), [len(run.events) for run in runs])
    data = _common(runs, owner, found, kinds)
    for kind in np.unique(kinds):
        if plan := PLANS.get(int(kind)):
            _read(data, found, np.flatnonzero(kinds == kind), plan)
    _spread_over_groups(data)
    return schema.frame("events", _with_na(data), clock=clock_of(runs))


def _common(
    runs: Sequence[Run], owner: np.ndarray, found: Sequence[HistoryEvent], kinds: np.ndarray
) -> Columns:
    count = len(found)
    stamps = [event.event_time for event in found]
    times = np.array([stamp.seconds for stamp in stamps], dtype=np.int64) * 1_000_000_000
    times += np.array([stamp.nanos for stamp in stamps], dtype=np.int64)
    first = np.cumsum([0, *(len(run.events) for run in runs)])[:-1][owner]
    data: Columns = {name: np.full(count, None, dtype=object) for name in _TEXTS}
    data |= {name: np.zeros(count, dtype=np.int64) for name in (*_COUNTS, *_STATES)}
    for name in ("namespace", "workflow_id", "run_id"):
        data[name] = pd.array([getattr(run, name) for run in runs], dtype="str").take(owner)
    return data | {
        "first": first,
        "event_id": np.array([event.event_id for event in found], dtype=np.int64),
        "event_time": times,
        "event_type": _CODES[np.minimum(kinds, _MOST)],
        "payload_bytes": np.full(count, -1, dtype=np.int64),
        "group_kind": np.full(count, -1, dtype=np.int64),
        "since_start_s": (times - times[first]) / 1e9,
    }


def _read(data: Columns, found: Sequence[HistoryEvent], rows: np.ndarray, plan: Plan) -> None:
    """Fill the rows of one event type."""
    attributes = [plan.attributes(found[row]) for row in rows.tolist()]
    values = zip(*map(plan.read, attributes), strict=True)
    for column, of_column in zip(plan.columns, values, strict=False):
        if column in _COUNTS or column in _STATES:
            data[column][rows] = of_column
        else:
            data[column][rows] = [value or None for value in of_column]
    if plan.payload_bytes:
        sizes = [plan.payload_bytes(one) for one in attributes]
        data["payload_bytes"][rows] = [-1 if size is None else size for size in sizes]
    if plan.failure:
        _read_failures(data, attributes, rows, plan)
    _group(data, attributes, rows, plan)


def _read_failures(data: Columns, attributes: Sequence[Any], rows: np.ndarray, plan: Plan) -> None:
    assert plan.failure
    parent, name = plan.failure
    holders = map(parent, attributes) if parent else attributes
    for row, holder in zip(rows.tolist(), holders, strict=True):
        if holder.HasField(name):
            facts = failure_facts(holder, name)
            data["failure_type"][row] = facts.failure_type
            data["failure_message"][row] = facts.failure_message
            data["timeout_type"][row] = facts.timeout_number


def _group(data: Columns, attributes: Sequence[Any], rows: np.ndarray, plan: Plan) -> None:
    data["group_kind"][rows] = plan.group_kind
    if plan.opener:
        data["group_id"][rows] = list(map(attrgetter(plan.opener), attributes))
    elif plan.group_kind == _WORKFLOW_EXECUTION:
        data["group_id"][rows] = data["event_id"][data["first"][rows]]
    else:
        data["group_id"][rows] = data["event_id"][rows]


def _spread_over_groups(data: Columns) -> None:
    """Copy what only the opening Event carries to every Event of its group."""
    first, ids, groups = data.pop("first"), data["event_id"], data["group_id"]
    rows = np.flatnonzero(np.isin(data["group_kind"], _SPREAD_KINDS))
    openers = first[rows] + groups[rows] - ids[first[rows]]
    inside = (openers >= first[rows]) & (openers < len(ids))
    rows, openers = rows[inside], openers[inside]
    same = (ids[openers] == groups[rows]) & (first[openers] == first[rows])
    for column in ("activity_id", "activity_type", "update_name"):
        data[column][rows[same]] = data[column][openers[same]]


def _with_na(data: Columns) -> Columns:
    """Turn the 0 of protobuf's unset numbers into NA."""
    for name in _COUNTS:
        unset = data[name] < 0 if name == "payload_bytes" else data[name] == 0
        data[name] = pd.arrays.IntegerArray(data[name], unset)
    for name, known in _STATES.items():
        data[name] = np.where((data[name] > 0) & (data[name] <= len(known)), data[name] - 1, -1)
    return data
