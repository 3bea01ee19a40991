"""What is known of each attempt of one activity, and what is not.

History keeps the number of attempts, the last one, and the failure of the one before. A worker's
attempt record keeps what the server told the worker (when the attempt became due and was handed
out) and how long the function ran. Only instants of the server's clock are subtracted from each
other; the worker adds its run time as a duration, so hosts need no common clock, and a server that
skips time (clock "virtual") is read right.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from projectai_lab.tables._activity import Activity
from projectai_lab.tables._runs import failure_facts, seconds, since

Record = Mapping[str, Any]


@dataclass(slots=True)
class Attempt:
    """One attempt: the columns of `tables.attempts`, times in epoch nanoseconds, and more.

    `run_s` is how long it ran, `timed_out` whether a timeout ended it; None where nobody knows,
    and `undecided` where a worker's record leaves that open.
    """

    attempt: int
    recorded: bool
    is_last: bool | None = None
    attempt_scheduled_time: int | None = None
    started_time: int | None = None
    closed_time: int | None = None
    worker_started_time: int | None = None
    worker_finished_time: int | None = None
    dispatch_lag_s: float | None = None
    exec_s: float | None = None
    worker_exec_s: float | None = None
    gap_s: float | None = None
    backoff_planned_s: float | None = None
    backoff_observed_s: float | None = None
    backoff_error_s: float | None = None
    server_outcome: str | None = None
    worker_outcome: str | None = None
    late_report: bool | None = None
    failure_type: str | None = None
    failure_message: str | None = None
    timeout_type: str | None = None
    worker_identity: str | None = None
    time_quality: str = "unknown"
    source: str = "history"
    next_retry_delay_s: float | None = None
    timed_out: bool | None = None
    undecided: bool = False
    run_s: float | None = None


def attempts_of(activity: Activity, records: Iterable[Record] = ()) -> list[Attempt]:
    """Return the attempts of an activity in order: all that history counts or a record tells of."""
    by_start = sorted(records, key=lambda record: record.get("worker_started_ns") or 0)
    known = {int(record["attempt"]): record for record in by_start}
    numbers = sorted(known.keys() | range(1, (activity.attempts or 0) + 1))
    found = [_recorded(number, known.get(number)) for number in numbers]
    _mark_last(activity, found)
    if activity.is_local:
        _add_local_history(activity, found)
    else:
        _add_history(activity, found)
        if len(found) > 1:
            _add_timeouts(activity, found)
        _add_ends(found)
        _add_waits(activity, found)
    return found


def _recorded(number: int, record: Record | None) -> Attempt:
    if record is None:
        return Attempt(number, recorded=False)
    return Attempt(
        number,
        recorded=True,
        attempt_scheduled_time=record.get("attempt_scheduled_ns"),
        started_time=record.get("started_ns"),
        worker_started_time=record.get("worker_started_ns"),
        worker_finished_time=record.get("worker_finished_ns"),
        worker_exec_s=record.get("worker_exec_s"),
        worker_outcome=record.get("outcome"),
        failure_type=record.get("failure_type"),
        failure_message=record.get("failure_message"),
        worker_identity=record.get("identity"),
        source="recorder",
        next_retry_delay_s=record.get("next_retry_delay_s"),
    )


def _mark_last(activity: Activity, found: Sequence[Attempt]) -> None:
    for one in found[:-1]:
        one.is_last = False
    if found and activity.closed is not None and found[-1].attempt == activity.attempts:
        found[-1].is_last = True


def _add_local_history(activity: Activity, found: Sequence[Attempt]) -> None:
    """Add the Marker's verdict; a Local Activity never was on the server's clock."""
    for one in found:
        one.attempt_scheduled_time = one.started_time = None
        if one.worker_finished_time is not None:
            one.time_quality, one.run_s = "measured_worker", one.worker_exec_s
        if one.is_last:
            one.server_outcome = activity.status
            _add_failure(one, activity.closed, activity.status)
            one.source = "history+recorder" if one.recorded else "history"


def _add_history(activity: Activity, found: Sequence[Attempt]) -> None:
    last = activity.attempts
    for one in found:
        if one.attempt == 1:
            one.attempt_scheduled_time = activity.scheduled_ns
        if last and one.attempt == last:
            _add_started(activity, one)
        elif last and one.attempt == last - 1 and activity.started.HasField("last_failure"):
            _add_last_failure(activity.started, one)
        else:
            continue
        one.source = "history+recorder" if one.recorded else "history"


def _add_started(activity: Activity, one: Attempt) -> None:
    one.started_time = activity.started_ns
    one.worker_identity = activity.started.identity or one.worker_identity
    if activity.closed is None:
        return
    one.closed_time, one.server_outcome = activity.closed_ns, activity.status
    one.run_s = one.exec_s = since(activity.closed_ns, activity.started_ns)
    one.timed_out = activity.status == "TIMED_OUT"
    one.time_quality = "measured_server"
    _add_failure(one, activity.closed, activity.status)


def _add_failure(one: Attempt, closed: Any, status: str) -> None:
    one.failure_type = one.failure_message = None
    if status in ("FAILED", "TIMED_OUT"):
        facts = failure_facts(closed)
        one.failure_type, one.failure_message = facts.failure_type, facts.failure_message
        one.timeout_type = facts.timeout_type


def _add_last_failure(started: Any, one: Attempt) -> None:
    failure, facts = started.last_failure, failure_facts(started, "last_failure")
    one.failure_type, one.failure_message = facts.failure_type, facts.failure_message
    one.timeout_type = facts.timeout_type
    one.timed_out = failure.HasField("timeout_failure_info")
    canceled = failure.HasField("canceled_failure_info")
    one.server_outcome = "TIMED_OUT" if one.timed_out else "CANCELED" if canceled else "FAILED"
    application = failure.application_failure_info
    one.next_retry_delay_s = (
        application.next_retry_delay.ToTimedelta().total_seconds()
        if application.HasField("next_retry_delay")
        else None
    )


def _add_timeouts(activity: Activity, found: Sequence[Attempt]) -> None:
    """Find the attempts that were followed by another because they timed out, and how."""
    limit = seconds(activity.scheduled.start_to_close_timeout)
    heartbeat = seconds(activity.scheduled.heartbeat_timeout)
    for one, after in pairwise(found):
        apart = _apart(one, after)
        if one.timed_out is None and one.recorded:
            one.timed_out = _outran_server(one, apart, limit, heartbeat)
            one.undecided = one.timed_out is None
        if one.timed_out and one.timeout_type is None:
            one.timeout_type = _which_timeout(apart, limit, heartbeat)
        if one.timeout_type == "START_TO_CLOSE" and one.started_time is not None and limit:
            one.closed_time = one.started_time + round(limit * 1e9)
            one.time_quality, one.run_s = "inferred", limit


def _apart(one: Attempt, after: Attempt) -> float | None:
    """Return how long after the start of an attempt the next one became due."""
    if after.attempt != one.attempt + 1:
        return None
    return since(after.attempt_scheduled_time, one.started_time)


def _outran_server(
    one: Attempt, apart: float | None, limit: float | None, heartbeat: float | None
) -> bool | None:
    """Tell whether a timeout ended an attempt before another; None where nobody can tell."""
    # Due again before start-to-close could fire: then it did not.
    in_time = limit is not None and apart is not None and apart < limit and heartbeat is None
    run = one.worker_exec_s
    if one.worker_outcome is None or run is None:
        return None if in_time else True
    if (limit is not None and run >= limit) or (apart is not None and run > apart):
        return True
    if heartbeat is not None and run >= heartbeat:
        return True if one.worker_outcome == "COMPLETED" else None
    if one.worker_outcome == "COMPLETED":
        # Another attempt followed all the same: the server did not take or never got the result.
        return False if in_time else None
    return False


def _which_timeout(apart: float | None, limit: float | None, heartbeat: float | None) -> str | None:
    if heartbeat is None:
        return "START_TO_CLOSE"
    # Due again before start-to-close could fire: only the heartbeat timeout is left.
    return "HEARTBEAT" if apart is not None and limit and apart < limit else None


def _add_ends(found: Sequence[Attempt]) -> None:
    for one in found:
        known = one.worker_exec_s is not None and not one.timed_out and not one.undecided
        if one.time_quality == "unknown" and known:
            one.time_quality, one.run_s = "measured_worker", one.worker_exec_s
        if one.worker_outcome == "CANCELED":
            one.late_report = False
        elif one.worker_outcome is not None:
            one.late_report = one.timed_out


def _add_waits(activity: Activity, found: Sequence[Attempt]) -> None:
    for one in found:
        one.dispatch_lag_s = since(one.started_time, one.attempt_scheduled_time)
        if one.attempt > 1:
            one.backoff_planned_s = _policy_backoff(activity.scheduled.retry_policy, one.attempt)
    for before, one in pairwise(found):
        if before.attempt == one.attempt - 1:
            _add_gap(before, one)


def _add_gap(before: Attempt, one: Attempt) -> None:
    if before.next_retry_delay_s is not None and not before.timed_out:
        one.backoff_planned_s = before.next_retry_delay_s
    apart = since(one.started_time, before.started_time)
    if apart is None or before.run_s is None:
        return
    one.gap_s = apart - before.run_s
    if one.dispatch_lag_s is not None:
        one.backoff_observed_s = one.gap_s - one.dispatch_lag_s
        if one.backoff_planned_s is not None:
            one.backoff_error_s = one.backoff_observed_s - one.backoff_planned_s


def _policy_backoff(policy: Any, attempt: int) -> float | None:
    """Return the backoff before an attempt: initial · coefficient^(attempt − 2), capped."""
    initial, longest = seconds(policy.initial_interval), seconds(policy.maximum_interval)
    if initial is None:
        return None
    try:
        wait = initial * float(policy.backoff_coefficient or 1.0) ** (attempt - 2)
    except OverflowError:
        return longest
    return wait if longest is None else min(wait, longest)
