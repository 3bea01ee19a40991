"""How attempts ended: the server's word, a timeout that can be inferred, or that nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from projectai_lab._closes import CLOSES
from projectai_lab.tables._activity import Activity
from projectai_lab.tables._attempt import Attempt
from projectai_lab.tables._runs import failure_facts, seconds, since


def add_last_failure(one: Attempt, holder: Any) -> None:
    """Add how an attempt ended, told by the `last_failure` of what knows of the next one."""
    failure, facts = holder.last_failure, failure_facts(holder, "last_failure")
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


def add_timeouts(activity: Activity, found: Sequence[Attempt]) -> None:
    """Find the attempts that were followed by another because they timed out, and how."""
    if len(found) < 2 and not (found and found[0].timeout_type):
        return
    limit = seconds(activity.scheduled.start_to_close_timeout)
    heartbeat = seconds(activity.scheduled.heartbeat_timeout)
    if heartbeat is not None and limit is not None and heartbeat >= limit:
        # The server caps it at start-to-close, whose timer goes first when both are due.
        heartbeat = None
    for one, after in pairwise(found):
        apart = since(after.attempt_scheduled_time, one.started_time)
        if one.timed_out is None and one.recorded and not one.undecided:
            one.timed_out = _outran_server(one, apart, limit, heartbeat)
            one.undecided = one.timed_out is None
        if one.timed_out and one.timeout_type is None:
            one.timeout_type = _which_timeout(apart, limit, heartbeat)
    for one in found:
        _infer_end(one, limit)


def _infer_end(one: Attempt, limit: float | None) -> None:
    """Let a start-to-close timeout end an attempt at the earliest that it can have."""
    if one.timeout_type != "START_TO_CLOSE" or one.closed_time is not None or not limit:
        return
    if one.started_time is not None:
        one.closed_time = one.started_time + round(limit * 1e9)
        one.time_quality, one.run_s = "inferred", limit


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


def add_ends(found: Sequence[Attempt]) -> None:
    """Let the worker's run time stand where the server's is not known, and tell late reports."""
    for one in found:
        known = one.worker_exec_s is not None and not one.timed_out and not one.undecided
        if one.time_quality == "unknown" and known:
            one.time_quality, one.run_s = "measured_worker", one.worker_exec_s
        if one.worker_outcome == "CANCELED":
            one.late_report = False
        elif one.worker_outcome is not None:
            one.late_report = one.timed_out


def add_states(activity: Activity, found: Sequence[Attempt]) -> None:
    """Say of each attempt whether it ended, runs, or was given up; None where nobody can tell."""
    for one in found:
        silent = one.recorded and one.worker_outcome is None and not one.elsewhere
        if one.server_outcome == "TIMED_OUT":
            one.state = "ABANDONED" if silent else "ENDED"
        elif one.server_outcome or one.worker_outcome:
            one.state = "ENDED"
        else:
            one.state = _open_state(activity, one, silent, one.attempt < found[-1].attempt)


def _open_state(activity: Activity, one: Attempt, silent: bool, followed: bool) -> str | None:
    over = activity.closed is not None or activity.run.events[-1].event_type in CLOSES
    if one.cut_off or (silent and (one.timed_out if followed else over)):
        return "ABANDONED"
    begun = one.recorded or one.started_time is not None
    return "RUNNING" if begun and not (followed or over) else None
