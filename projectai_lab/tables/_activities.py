"""`tables.activities`: one row per Activity Execution, with its time split into parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat
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

# Column → attribute of `Activity`.
_PLAIN = {
    **{name: f"run.{name}" for name in ("namespace", "workflow_id", "run_id")},
    **{name: name for name in ("scheduled_event_id", "activity_id", "activity_type")},
    **{name: name for name in ("is_local", "status")},
    "scheduled_time": "scheduled_ns",
    "last_started_time": "started_ns",
    "closed_time": "closed_ns",
}
_POLICY = (
    *("initial_interval_s", "backoff_coefficient", "maximum_interval_s", "maximum_attempts"),
    *("non_retryable_types", "schedule_to_close_timeout_s", "schedule_to_start_timeout_s"),
    *("start_to_close_timeout_s", "heartbeat_timeout_s"),
)
_PARTS = (
    *("total_s", "exec_s", "backoff_s", "queue_s", "unattributed_s"),
    "planned_backoff_s",
)
_SETTINGS = attrgetter("retry_policy", *(name.removesuffix("_s") for name in _POLICY[5:]))
Policies = dict[tuple[Any, ...], tuple[Any, ...]]


@gc_paused()
def activities(histories: Histories, recorder: Iterable[Record] | None = None) -> pd.DataFrame:
    """Return one row per Activity Execution.

    exec_s + backoff_s + queue_s + unattributed_s = total_s, NA counting as 0. Without `recorder`
    (`lab.attempts`) all that came before the last attempt is unattributed.

    >>> tables.activities(history)[["activity_type", "attempts", "total_s"]]   # doctest: +SKIP
    """
    runs = runs_of(histories)
    found = with_attempts(activities_of(runs), recorder)
    known = [one for one, _ in found]
    policies: Policies = {}
    data: dict[str, Any] = {
        **{column: list(map(attrgetter(name), known)) for column, name in _PLAIN.items()},
        **_columns(_POLICY, [_policy(one.scheduled, policies) for one in known]),
        **_columns(_PARTS, [_parts(one, of_one) for one, of_one in found]),
        "task_queue": [(one.scheduled and one.scheduled.task_queue.name) or None for one in known],
        "worker_identity": [of_one[-1].worker_identity if of_one else None for _, of_one in found],
        "attempts": [of_one[-1].attempt if of_one else None for _, of_one in found],
        "failures": list(map(_failures, known)),
        "retry_state": list(map(_retry_state, known)),
        "input_bytes": [_bytes(one.scheduled, "input") for one in known],
        "result_bytes": list(map(_result_bytes, known)),
    }
    return schema.frame("activities", data, clock=clock_of(runs))


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, Sequence[Any]]:
    return dict(zip(names, zip(*rows, strict=True) if rows else repeat(()), strict=False))


def _policy(scheduled: Any, known: Policies) -> tuple[Any, ...]:
    """Return the columns of policy and timeouts, decoded once for each that occurs."""
    if scheduled is None:
        return (None,) * len(_POLICY)
    policy, *timeouts = _SETTINGS(scheduled)
    key = (policy.SerializeToString(), *[(wait.seconds, wait.nanos) for wait in timeouts])
    if key not in known:
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
    return _bytes(activity.closed, "result")


def _bytes(attributes: Any, name: str) -> int | None:
    if attributes is None or not attributes.HasField(name):
        return None
    return size(getattr(attributes, name))
