"""`tables.activities`: one row per Activity Execution, with its time split into parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any

import pandas as pd

from projectai_lab.tables import schema
from projectai_lab.tables._activity import Activity, activities_of
from projectai_lab.tables._attempt import Attempt, Record
from projectai_lab.tables._attempts import with_attempts
from projectai_lab.tables._runs import (
    Histories,
    clock_of,
    gc_paused,
    retry_state,
    runs_of,
    seconds,
    since,
    size,
)

_NO_POLICY = (None,) * 9
_SETTINGS = attrgetter(
    "retry_policy",
    *(f"{name}_timeout" for name in ("schedule_to_close", "schedule_to_start")),
    *("start_to_close_timeout", "heartbeat_timeout"),
)
Policies = dict[tuple[bytes, ...], tuple[Any, ...]]


@gc_paused()
def activities(histories: Histories, recorder: Iterable[Record] | None = None) -> pd.DataFrame:
    """Return one row per Activity Execution.

    exec_s + backoff_s + queue_s + unattributed_s = total_s, NA counting as 0. Without `recorder`
    (`lab.attempts`) all that came before the last attempt is unattributed.

    >>> tables.activities(history)[["activity_type", "attempts", "total_s"]]   # doctest: +SKIP
    """
    runs = runs_of(histories)
    found = with_attempts(activities_of(runs), recorder)
    policies: Policies = {}
    rows = [_row(one, of_one, policies) for one, of_one in found]
    return schema.frame("activities", rows, clock=clock_of(runs))


def _row(activity: Activity, attempts: Sequence[Attempt], policies: Policies) -> tuple[Any, ...]:
    run, scheduled = activity.run, activity.scheduled
    latest = attempts[-1].worker_identity if attempts else None
    return (
        *(run.namespace, run.workflow_id, run.run_id, activity.scheduled_event_id),
        *(activity.activity_id, activity.activity_type),
        scheduled.task_queue.name or None if scheduled else None,
        *(latest, activity.is_local, activity.status),
        *(activity.scheduled_ns, activity.started_ns, activity.closed_ns),
        attempts[-1].attempt if attempts else None,
        *(_NO_POLICY if scheduled is None else _policy(scheduled, policies)),
        *_parts(activity, attempts),
        _failures(activity),
        _retry_state(activity),
        size(scheduled.input) if scheduled and scheduled.HasField("input") else None,
        _result_bytes(activity),
    )


def _policy(scheduled: Any, known: Policies) -> tuple[Any, ...]:
    """Return the columns of policy and timeouts, decoded once for each that occurs."""
    parts = _SETTINGS(scheduled)
    key = tuple([part.SerializeToString() for part in parts])
    if key not in known:
        policy, *timeouts = parts
        known[key] = (
            seconds(policy.initial_interval),
            policy.backoff_coefficient or None,
            seconds(policy.maximum_interval),
            policy.maximum_attempts or None,
            ", ".join(policy.non_retryable_error_types) or None,
            *map(seconds, timeouts),
        )
    return known[key]


def _parts(activity: Activity, attempts: Sequence[Attempt]) -> tuple[float | None, ...]:
    """Return total, exec, backoff, queue, unattributed and planned backoff, in seconds."""
    total = since(activity.closed_ns, activity.scheduled_ns)
    execution = _sum([s for one in attempts if (s := one.run_s) is not None])
    queue = _sum([s for one in attempts if (s := one.dispatch_lag_s) is not None])
    once = activity.attempts == 1 and not activity.is_local
    observed = [s for one in attempts if (s := one.backoff_observed_s) is not None]
    planned = [s for one in attempts if (s := one.backoff_planned_s) is not None]
    backoff = 0.0 if once else _sum(observed)
    # Rounded to the nanosecond of the times, so that nothing left over is 0.
    known = (execution or 0.0) + (backoff or 0.0) + (queue or 0.0)
    rest = None if total is None else round(total - known, 9) + 0.0
    return total, execution, backoff, queue, rest, 0.0 if once else _sum(planned)


def _sum(known: Sequence[float]) -> float | None:
    return sum(known) if known else None


def _failures(activity: Activity) -> int | None:
    if activity.attempts is None or activity.status == "PENDING":
        return None
    return activity.attempts - (activity.status in ("COMPLETED", "CANCELED"))


def _retry_state(activity: Activity) -> str | None:
    if activity.is_local or activity.status not in ("FAILED", "TIMED_OUT"):
        return None
    return retry_state(activity.closed.retry_state)


def _result_bytes(activity: Activity) -> int | None:
    if activity.status != "COMPLETED":
        return None
    if activity.is_local:
        return size(activity.closed.details["result"]) if "result" in activity.closed.details else 0
    return size(activity.closed.result) if activity.closed.HasField("result") else None
