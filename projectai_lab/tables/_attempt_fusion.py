"""The attempts of one activity, put together from all who know something of them.

In order of trust: the worker's records, the history, what `describe` said while the activity was
open, time-skip events. A lower one fills what the ones above leave open and overrides nothing,
except that history's own nanoseconds and verdicts stand for the last attempt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from projectai_lab.tables import _attempt_ends
from projectai_lab.tables._activity import Activity
from projectai_lab.tables._attempt import Attempt, Record
from projectai_lab.tables._attempt_seen import add_seen, begun
from projectai_lab.tables._local_chains import Ended
from projectai_lab.tables._runs import failure_facts, seconds, since


def attempts_of(
    activity: Activity,
    records: Iterable[Record] = (),
    seen: Sequence[Record] = (),
    *,
    skips: Sequence[int] = (),
    ended: Sequence[Ended] = (),
) -> list[Attempt]:
    """Return the attempts of an activity, 1 to the last that began by anybody's word.

    `skips` are the times at which time skips say that an attempt became due, `ended` the attempts
    of a Local Activity that Markers before the last one tell of.
    """
    by_start = sorted(records, key=lambda record: record.get("worker_started_ns") or 0)
    known = {int(record["attempt"]): record for record in by_start}
    last = max(activity.attempts or 0, len(skips), *known, *map(begun, seen))
    found = [_recorded(number, known.get(number)) for number in range(1, last + 1)]
    _mark(activity, found)
    if activity.is_local:
        _add_local_history(activity, found, ended)
    else:
        _add_history(activity, found)
        if seen:
            add_seen(found, seen)
        if skips:
            _add_skips(found, skips)
        _attempt_ends.add_timeouts(activity, found)
        _attempt_ends.add_ends(found)
        _add_waits(activity, found)
    _attempt_ends.add_states(activity, found)
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
        next_retry_delay_s=record.get("next_retry_delay_s"),
        undecided=bool(record.get("completes_elsewhere")),
        elsewhere=bool(record.get("completes_elsewhere")),
        known_to=("recorder",),
    )


def _mark(activity: Activity, found: Sequence[Attempt]) -> None:
    for one in found[:-1]:
        one.is_last = False
    counted = activity.attempts or 0
    for one in found:
        if one.attempt <= counted and not one.recorded:
            one.known_to += ("count",)
    if activity.closed is None or not counted:
        return
    if found[-1].attempt == counted:
        found[-1].is_last = True
    # History counts fewer: somebody has reset the activity, and its attempts began anew.
    for one in found[counted:]:
        one.doubts += ("sources_disagree",)


def _add_local_history(
    activity: Activity, found: Sequence[Attempt], ended: Sequence[Ended]
) -> None:
    """Add the Markers' verdicts; a Local Activity never was on the server's clock."""
    for one in found:
        one.attempt_scheduled_time = one.started_time = None
        if one.worker_finished_time is not None:
            one.time_quality, one.run_s = "measured_worker", one.worker_exec_s
        if one.is_last:
            _close(one, activity.closed, activity.status)
    for attempt, marker, status in ended:
        if attempt <= len(found):
            _close(found[attempt - 1], marker, status)


def _close(one: Attempt, closed: Any, status: str) -> None:
    """Add the verdict of a closing Event or Marker."""
    one.server_outcome = status
    one.failure_type = one.failure_message = None
    if status in ("FAILED", "TIMED_OUT"):
        facts = failure_facts(closed)
        one.failure_type, one.failure_message = facts.failure_type, facts.failure_message
        one.timeout_type = facts.timeout_type
    one.known_to += ("history",)


def _add_history(activity: Activity, found: Sequence[Attempt]) -> None:
    if found:
        found[0].attempt_scheduled_time = activity.scheduled_ns
    last = activity.attempts
    if not last:
        return
    _add_started(activity, found[last - 1])
    if last > 1 and activity.started.HasField("last_failure"):
        _attempt_ends.add_last_failure(found[last - 2], activity.started)
        found[last - 2].known_to += ("history",)


def _add_started(activity: Activity, one: Attempt) -> None:
    one.learn("started_time", activity.started_ns)
    one.started_time = activity.started_ns
    one.worker_identity = activity.started.identity or one.worker_identity
    one.known_to += ("history",)
    if activity.closed is None:
        return
    _close(one, activity.closed, activity.status)
    one.closed_time = activity.closed_ns
    one.run_s = one.exec_s = since(activity.closed_ns, activity.started_ns)
    one.timed_out = activity.status == "TIMED_OUT"
    one.time_quality, one.undecided = "measured_server", False


def _add_skips(found: Sequence[Attempt], skips: Sequence[int]) -> None:
    """Add when attempts became due, if each attempt after the first was skipped to."""
    for one in found[: len(skips)]:
        one.known_to += ("time_skip",)
    if len(skips) == len(found) - 1:
        for one, due in zip(found[1:], skips, strict=True):
            one.learn("attempt_scheduled_time", due)
            one.known_to += ("time_skip",)


def _add_waits(activity: Activity, found: Sequence[Attempt]) -> None:
    for one in found:
        one.dispatch_lag_s = since(one.started_time, one.attempt_scheduled_time)
        if one.attempt > 1:
            one.backoff_planned_s = _policy_backoff(activity.scheduled.retry_policy, one.attempt)
    for before, one in pairwise(found):
        _add_gap(before, one)


def _add_gap(before: Attempt, one: Attempt) -> None:
    if before.next_retry_delay_s is not None and not before.timed_out:
        one.backoff_planned_s = before.next_retry_delay_s
    one.gap_s = since(one.started_time, before.closed_time)
    one.backoff_observed_s = since(one.attempt_scheduled_time, before.closed_time)
    if before.closed_time is None and before.run_s is not None:
        one.gap_s = _less(since(one.started_time, before.started_time), before.run_s)
        one.backoff_observed_s = _less(one.gap_s, one.dispatch_lag_s)
    one.backoff_error_s = _less(one.backoff_observed_s, one.backoff_planned_s)


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


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
