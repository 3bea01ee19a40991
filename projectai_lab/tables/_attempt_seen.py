"""What `describe` told of an activity while it was not closed, as facts of its attempts."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.json_format import ParseDict
from temporalio.api.failure.v1 import Failure
from temporalio.api.workflow.v1 import PendingActivityInfo

from projectai_lab.tables._attempt import Attempt, Record
from projectai_lab.tables._attempt_ends import add_last_failure
from projectai_lab.tables._runs import since


def begun(one: Record) -> int:
    """Return the last attempt that an observation knows to have begun."""
    return int(one["attempt"]) - (one.get("started_ns") is None)


def add_seen(found: Sequence[Attempt], seen: Sequence[Record]) -> None:
    """Fill what records and history leave open; the order of the observations does not matter."""
    for one in seen:
        if (number := int(one["attempt"])) <= len(found):
            _add_attempt(found[number - 1], one)
    for one in seen:
        if (number := int(one["attempt"])) > 1 and one.get("last_failure") is not None:
            _add_end(found[number - 2], one)


def _add_attempt(attempt: Attempt, one: Record) -> None:
    attempt.learn("attempt_scheduled_time", one.get("attempt_scheduled_ns"))
    attempt.learn("started_time", one.get("started_ns"))
    attempt.worker_identity = attempt.worker_identity or one.get("identity")
    attempt.known_to += ("describe",)
    running = one.get("started_ns") is not None
    attempt.cut_off |= running and one.get("run_is_open") is False


def _add_end(attempt: Attempt, one: Record) -> None:
    attempt.known_to += ("describe",)
    attempt.worker_identity = attempt.worker_identity or one.get("last_identity")
    if attempt.server_outcome is None:
        failure = ParseDict(one["last_failure"], Failure(), ignore_unknown_fields=True)
        add_last_failure(attempt, PendingActivityInfo(last_failure=failure))
        attempt.undecided = False
    if one.get("last_closed_ns") is not None and not attempt.timed_out:
        attempt.learn("closed_time", one["last_closed_ns"])
        attempt.time_quality = "measured_server"
        attempt.run_s = attempt.exec_s = since(attempt.closed_time, attempt.started_time)
