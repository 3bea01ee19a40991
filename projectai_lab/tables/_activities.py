"""`tables.activities`: one row per Activity Execution, with its time split into parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from projectai_lab.tables import schema
from projectai_lab.tables._activity import Activity, Joined, joined, local_of, remote_of
from projectai_lab.tables._attempt import Attempt, Record
from projectai_lab.tables._attempt_checks import check_parts
from projectai_lab.tables._attempts import with_attempts
from projectai_lab.tables._column import OUTCOMES, RETRY_STATES
from projectai_lab.tables._markers import result_bytes
from projectai_lab.tables._policies import POLICY, policies
from projectai_lab.tables._runs import NAT, Histories, clock_of, gc_paused, runs_of, since
from projectai_lab.tables._walk import elapsed, walk_of

_SPANS = ("total_s", "exec_s", "backoff_s", "queue_s", "unattributed_s", "planned_backoff_s")
_COUNTS = ("attempts", "failures", "input_bytes", "result_bytes")
_COMPLETED, _CANCELED = OUTCOMES.index("COMPLETED"), OUTCOMES.index("CANCELED")
Columns = dict[str, Any]


@gc_paused()
def activities(
    histories: Histories,
    recorder: Iterable[Record] | None = None,
    *,
    seen: Iterable[Record] | None = None,
) -> pd.DataFrame:
    """Return one row per Activity Execution.

    exec_s + backoff_s + queue_s + unattributed_s = total_s, NA counting as 0; a table of which
    this is not so is a TableError. Without `recorder` or `seen`, which are those of
    `tables.attempts`, all that came before the last attempt is unattributed.

    >>> tables.activities(history)[["activity_type", "attempts", "total_s"]]   # doctest: +SKIP
    """
    runs = runs_of(histories)
    walk = walk_of(runs)
    remote, local = joined(walk), local_of(walk)
    data = _from_events(remote, [one for _, one in local])
    alone = recorder is None and seen is None
    plain = _add_plain(data, remote) if alone else np.zeros(0, dtype=np.int64)
    others = np.delete(np.arange(len(data["status"])), plain)
    asked = remote_of(walk, others[others < len(remote.outcome)].tolist())
    told = with_attempts([*asked, *(one for _, one in local)], recorder, seen)
    _add_attempts(data, others, told)
    data |= {name: pd.arrays.IntegerArray(data[name], data[name] < 0) for name in _COUNTS}
    rows = np.append(remote.scheduled.rows, np.array([row for row, _ in local], dtype=np.int64))
    data |= {**walk.names(walk.owner[rows]), "scheduled_event_id": walk.ids[rows]}
    made = check_parts(schema.frame("activities", data, clock=clock_of(runs)))
    return made.iloc[np.argsort(rows)].reset_index(drop=True) if local else made


def _from_events(found: Joined, local: Sequence[Activity]) -> Columns:
    """Return what the events tell: first of the remote activities, then of the local ones."""
    asked, more = found.scheduled, len(local)
    count = len(found.outcome) + more
    times = (np.append(of_one, np.full(more, NAT)) for of_one in found.times)
    outcomes = np.append(found.outcome, [OUTCOMES.index(one.status) for one in local]).astype(int)
    attempts = np.append(found.attempts, [one.attempts or 0 for one in local]).astype(int)
    failures = attempts - np.isin(outcomes, (_COMPLETED, _CANCELED))
    data: Columns = {
        "activity_id": [*asked.columns["activity_id"], *(one.activity_id for one in local)],
        "activity_type": [*asked.columns["activity_type"], *(one.activity_type for one in local)],
        "task_queue": [one.task_queue.name for one in asked.attributes],
        "worker_identity": found.identities,
        "is_local": np.arange(count) >= count - more,
        "status": outcomes + 1,
        **dict(zip(("scheduled_time", "last_started_time", "closed_time"), times, strict=True)),
        **{name: np.full(count, np.nan) for name in _SPANS},
        **{name: np.full(count, -1, dtype=np.int64) for name in _COUNTS},
        "failures": np.where((attempts > 0) & (outcomes >= 0), failures, -1),
        "retry_state": np.full(count, -1, dtype=np.int64),
        **policies(asked.attributes),
    }
    for name in ("task_queue", "worker_identity", *POLICY):
        data[name] = [value or None for value in data[name]] + [None] * more
    _add_closing(data, found)
    data["result_bytes"][count - more :] = [
        result_bytes(one.closed) if one.status == "COMPLETED" else -1 for one in local
    ]
    return data


def _add_closing(data: Columns, found: Joined) -> None:
    """Add what the first and the closing event tell of payloads and retries."""
    data["input_bytes"][: len(found.outcome)] = found.scheduled.payload_bytes
    for outcome, part in enumerate(found.closing):
        which = np.flatnonzero(found.outcome == outcome)
        closed = found.closed[which]
        if outcome == _COMPLETED:
            data["result_bytes"][which] = np.asarray(part.payload_bytes)[closed]
        if "retry_state" in part.columns:
            states = np.array(part.columns["retry_state"], dtype=np.int64)[closed]
            data["retry_state"][which] = np.where(states > len(RETRY_STATES), -1, states - 1)


def _add_plain(data: Columns, found: Joined) -> np.ndarray:
    """Add the parts of what closed with attempt 1, nearly all as a rule; return where it stands.

    Then history alone holds every time, and nothing is left over.
    """
    scheduled, started, closed = found.times
    known = (scheduled != NAT) & (started != NAT) & (closed != NAT)
    at = np.flatnonzero((found.attempts == 1) & (found.outcome >= 0) & known)
    total, execution = elapsed(closed, scheduled)[at], elapsed(closed, started)[at]
    queue = elapsed(started, scheduled)[at]
    # Rounded to the nanosecond of the times, so that nothing left over is 0.
    rest = np.round(total - (execution + queue), 9) + 0.0
    for name, values in zip(_SPANS, (total, execution, 0.0, queue, rest, 0.0), strict=True):
        data[name][at] = values
    data["attempts"][at] = 1
    return at


def _add_attempts(
    data: Columns, rows: np.ndarray, found: Sequence[tuple[Activity, Sequence[Attempt]]]
) -> None:
    """Add what follows from the attempts of each activity."""
    for row, (activity, attempts) in zip(rows.tolist(), found, strict=True):
        for name, value in zip(_SPANS, _parts(activity, attempts), strict=True):
            data[name][row] = np.nan if value is None else value
        if attempts:
            data["worker_identity"][row] = attempts[-1].worker_identity
            data["attempts"][row] = attempts[-1].attempt


def _parts(activity: Activity, attempts: Sequence[Attempt]) -> tuple[float | None, ...]:
    """Return total, exec, backoff, queue, unattributed and planned backoff, in seconds."""
    total = since(activity.closed_ns, activity.scheduled_ns)
    execution = _sum([s for one in attempts if (s := one.run_s) is not None])
    queue = _sum([s for one in attempts if (s := one.dispatch_lag_s) is not None])
    once = activity.attempts == 1 and not activity.is_local
    observed = [s for one in attempts if (s := one.backoff_observed_s) is not None]
    planned = [s for one in attempts if (s := one.backoff_planned_s) is not None]
    backoff = 0.0 if once else _sum(observed)
    known = (execution or 0.0) + (backoff or 0.0) + (queue or 0.0)
    rest = None if total is None else round(total - known, 9) + 0.0
    return total, execution, backoff, queue, rest, 0.0 if once else _sum(planned)


def _sum(known: Sequence[float]) -> float | None:
    return sum(known) if known else None
