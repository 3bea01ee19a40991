"""`tables.attempts`: what is known of each attempt, and NA for what is not."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab import tables
from projectai_lab.histories import History
from tests.data import attempt_records, golden, goldens

SECOND = 1_000_000_000
START = 1_800_000_000 * SECOND


def at(seconds: float) -> int:
    """Return a time in nanoseconds, so many seconds after the run began."""
    return START + round(seconds * SECOND)


def event(event_id: int, seconds: float, kind: str, **attributes: Any) -> HistoryEvent:
    """Make an event from the JSON of its attributes."""
    words = kind.lower().split("_")
    name = words[0] + "".join(word.capitalize() for word in words[1:]) + "EventAttributes"
    data = {"eventId": event_id, "eventType": f"EVENT_TYPE_{kind}", name: attributes}
    made = ParseDict(data, HistoryEvent())
    made.event_time.FromNanoseconds(at(seconds))
    return made


def text(seconds: float) -> str:
    """Return a duration as protobuf's JSON has it."""
    duration = Duration()
    duration.FromNanoseconds(round(seconds * SECOND))
    return str(duration.ToJsonString())


def run(*events: HistoryEvent, clock: str = "fast") -> History:
    """Make a history of a beginning and these events."""
    begun = event(1, 0, "WORKFLOW_EXECUTION_STARTED", originalExecutionRunId="run")
    return History("made", [begun, *events], "default", clock)


def scheduled(event_id: int = 5, seconds: float = 0, **more: Any) -> HistoryEvent:
    """Make a Scheduled event with backoffs of 10, 20, 25, 25 … and a start-to-close of 100 s."""
    given: dict[str, Any] = {
        "activityId": "1",
        "activityType": {"name": "work"},
        "startToCloseTimeout": text(100),
        "retryPolicy": {
            "initialInterval": text(10),
            "backoffCoefficient": 2,
            "maximumInterval": text(25),
        },
    }
    return event(event_id, seconds, "ACTIVITY_TASK_SCHEDULED", **given | more)


def closing(attempt: int, start: float, end: float, last: dict[str, Any] | None = None) -> Any:
    """Make the Started and Completed events of the last attempt."""
    more: dict[str, Any] = {"lastFailure": last} if last else {}
    return (
        event(
            *(6, start, "ACTIVITY_TASK_STARTED"),
            scheduledEventId=5,
            attempt=attempt,
            identity="7@b",
            **more,
        ),
        event(7, end, "ACTIVITY_TASK_COMPLETED", scheduledEventId=5, startedEventId=6),
    )


def record(attempt: int, due: float, start: float, exec_s: float | None, **more: Any) -> Any:
    """Make an attempt record; worker clocks are an hour off and differ from host to host."""
    worker = at(start) + 3_600 * SECOND * attempt
    ended = (
        {}
        if exec_s is None
        else {
            "worker_exec_s": exec_s,
            "worker_finished_ns": worker + round(exec_s * SECOND),
            "outcome": "FAILED",
            "failure_type": "Busy",
            "failure_message": "too busy",
        }
    )
    return {
        **{"run_id": "run", "activity_id": "1", "attempt": attempt, "is_local": False},
        **{"scheduled_ns": at(0), "attempt_scheduled_ns": at(due), "started_ns": at(start)},
        **{"worker_started_ns": worker, "identity": f"{attempt}@host-{attempt}"},
        **ended,
        **more,
    }


def of(history: History, recorder: Sequence[Any] | None = None) -> pd.DataFrame:
    """Return the checked table, by attempt."""
    return tables.validate(tables.attempts(history, recorder)).set_index("attempt")


TWO_FAIL = [
    record(1, 0, 1, 2.0),
    record(2, 13, 14, 3.0),
    record(3, 37, 39, 1.0, outcome="COMPLETED", failure_type=None, failure_message=None),
]
BUSY = {"message": "too busy", "applicationFailureInfo": {"type": "Busy"}}
TIMEOUT = {
    "message": "activity StartToClose timeout",
    "timeoutFailureInfo": {"timeoutType": "TIMEOUT_TYPE_START_TO_CLOSE"},
}


def test_twelve_of_twelve_attempts_of_the_mixed_run_are_there() -> None:
    table = tables.validate(tables.attempts(golden("mixed"), recorder=attempt_records()))
    assert len(table) == 12
    counts = table.groupby("scheduled_event_id").attempt.agg(list).tolist()
    assert counts == [[1, 2, 3, 4], [1, 2, 3], [1, 2], [1], [1], [1]]
    assert table.is_last.sum() == 6
    retries = table[table.attempt > 1]
    assert retries.backoff_planned_s.tolist() == pytest.approx([0.2, 0.3, 0.45, 0.2, 0.4, 0.2])
    assert retries.backoff_observed_s.notna().all()
    assert (retries.backoff_error_s > -1e-6).all()
    assert table.dispatch_lag_s.notna().all()


def test_without_a_recorder_the_attempts_are_counted_and_the_middle_is_na() -> None:
    table = tables.validate(tables.attempts(golden("mixed")))
    assert len(table) == 12
    middle = table[~table.is_last.astype(bool)]
    assert (middle.time_quality == "unknown").all()
    assert (table.source == "history").all()
    nothing = ["started_time", "closed_time", "exec_s", "worker_exec_s", "gap_s", "worker_outcome"]
    assert middle[nothing].isna().all(axis=None)
    assert table.backoff_observed_s.isna().all()
    assert table.backoff_planned_s[table.attempt > 1].notna().all()
    last = table[table.is_last.astype(bool)]
    assert (last.time_quality == "measured_server").all()
    assert last.exec_s.notna().all()


def test_history_alone_tells_the_verdict_on_the_last_two_attempts() -> None:
    table = tables.attempts(golden("mixed"))
    four = table[table.activity_id == "1"].set_index("attempt")
    assert four.server_outcome[[3, 4]].tolist() == ["FAILED", "COMPLETED"]
    assert four.server_outcome[[1, 2]].isna().all()
    assert four.failure_type[3] == "TooEarly"
    assert pd.isna(four.failure_type[4])


def test_times_of_a_retried_activity_by_hand() -> None:
    table = of(run(scheduled(), *closing(3, 39, 41, BUSY)), TWO_FAIL)
    assert table.dispatch_lag_s.tolist() == [1, 1, 2]
    assert table.gap_s.tolist()[1:] == [11, 22]
    assert table.backoff_observed_s.tolist()[1:] == [10, 20]
    assert table.backoff_planned_s.tolist()[1:] == [10, 20]
    assert table.backoff_error_s.tolist()[1:] == [0, 0]
    firsts = ["gap_s", "backoff_planned_s", "backoff_observed_s", "backoff_error_s"]
    assert table.loc[1, firsts].isna().all()
    assert table.exec_s.tolist()[2] == 2
    assert table.exec_s[[1, 2]].isna().all()
    assert table.worker_exec_s.tolist() == [2, 3, 1]
    assert table.time_quality.tolist() == ["measured_worker"] * 2 + ["measured_server"]
    assert table.source.tolist() == ["recorder", "history+recorder", "history+recorder"]
    assert table.worker_identity.tolist() == ["1@host-1", "2@host-2", "7@b"]
    assert table.is_last.tolist() == [False, False, True]
    assert table.late_report.tolist() == [False, False, False]


def test_clocks_of_the_workers_never_enter_a_gap() -> None:
    moved = [{**one, "worker_started_ns": 0, "worker_finished_ns": 1} for one in TWO_FAIL]
    history = run(scheduled(), *closing(3, 39, 41, BUSY))
    columns = ["gap_s", "backoff_observed_s", "dispatch_lag_s"]
    pd.testing.assert_frame_equal(of(history, moved)[columns], of(history, TWO_FAIL)[columns])


def test_parts_of_the_activity_by_hand() -> None:
    history = run(scheduled(), *closing(3, 39, 41, BUSY))
    row = tables.activities(history, TWO_FAIL).iloc[0]
    assert (row.total_s, row.exec_s, row.backoff_s) == (41, 7, 30)
    assert (row.queue_s, row.unattributed_s) == (4, 0)
    partly = tables.activities(history, TWO_FAIL[1:]).iloc[0]
    assert (partly.exec_s, partly.backoff_s, partly.queue_s) == (5, 20, 3)
    assert partly.unattributed_s == 13


def test_planned_backoff_is_capped_and_survives_ten_thousand_attempts() -> None:
    table = of(run(scheduled(), *closing(10_000, 39, 41)))
    assert table.backoff_planned_s.tolist()[1:6] == [10, 20, 25, 25, 25]
    assert table.backoff_planned_s[10_000] == 25


def test_a_failure_that_names_its_own_delay_is_planned_so() -> None:
    own = {**BUSY, "applicationFailureInfo": {"type": "Busy", "nextRetryDelay": text(7)}}
    by_history = of(run(scheduled(), *closing(2, 39, 41, own)))
    assert by_history.backoff_planned_s[2] == 7
    records = [{**TWO_FAIL[0], "next_retry_delay_s": 4.0}, *TWO_FAIL[1:]]
    by_record = of(run(scheduled(), *closing(3, 39, 41, BUSY)), records)
    assert by_record.backoff_planned_s.tolist()[1:] == [4, 20]
    assert by_record.backoff_error_s.tolist()[1:] == [6, 0]


def test_the_delay_of_a_report_that_came_too_late_does_not_count() -> None:
    late = record(1, 0, 1, 150.0, next_retry_delay_s=4.0)
    table = of(run(scheduled(), *closing(2, 112, 113, TIMEOUT)), [late])
    assert table.backoff_planned_s[2] == 10


def test_a_timeout_in_the_middle_is_inferred_from_the_servers_word() -> None:
    records = [record(1, 0, 1, 150.0, outcome="COMPLETED"), record(2, 111.25, 112, 1.0)]
    table = of(run(scheduled(), *closing(2, 112, 113, TIMEOUT)), records)
    first = table.loc[1]
    assert (first.server_outcome, first.worker_outcome) == ("TIMED_OUT", "COMPLETED")
    assert bool(first.late_report)
    assert first.closed_time == pd.Timestamp(at(101), tz="UTC")
    assert first.time_quality == "inferred"
    assert pd.isna(first.exec_s)
    assert first.worker_exec_s == 150
    assert first.failure_type == "TimeoutFailure"
    assert table.gap_s[2] == 11
    assert table.backoff_observed_s[2] == 10.25


def test_a_worker_that_died_leaves_a_timeout_that_is_inferred() -> None:
    records = [record(1, 0, 1, None), record(2, 111, 111, 1.0), record(3, 132, 132, 1.0)]
    table = of(run(scheduled(), *closing(3, 132, 133, BUSY)), records)
    first = table.loc[1]
    assert first.closed_time == pd.Timestamp(at(101), tz="UTC")
    assert (first.timeout_type, first.time_quality) == ("START_TO_CLOSE", "inferred")
    assert pd.isna(first.server_outcome)
    assert pd.isna(first.worker_outcome)
    assert pd.isna(first.late_report)
    assert table.backoff_observed_s[2] == 10


@pytest.mark.parametrize("outcome", ["COMPLETED", "FAILED"])
def test_a_report_after_the_limit_is_late(outcome: str) -> None:
    records = [record(1, 0, 1, 150.0, outcome=outcome), *TWO_FAIL[1:]]
    first = of(run(scheduled(), *closing(3, 39, 41, BUSY)), records).loc[1]
    assert first.timeout_type == "START_TO_CLOSE"
    assert bool(first.late_report)


def test_a_run_time_above_the_limit_alone_tells_a_late_report() -> None:
    records = [record(1, 0, 1, 120.0), record(2, 131, 131, 1.0), record(3, 152, 152, 1.0)]
    first = of(run(scheduled(), *closing(3, 152, 153, BUSY)), records).loc[1]
    assert bool(first.late_report)
    assert first.time_quality == "inferred"


def test_an_attempt_that_ran_on_when_the_next_was_due_alone_tells_a_late_report() -> None:
    asked = scheduled(heartbeatTimeout=text(5))
    records = [record(1, 0, 1, 50.0), record(2, 16, 16, 1.0), record(3, 37, 37, 1.0)]
    first = of(run(asked, *closing(3, 37, 38, BUSY)), records).loc[1]
    assert bool(first.late_report)
    assert first.timeout_type == "HEARTBEAT"


def test_the_delay_of_a_late_report_in_the_middle_does_not_count_either() -> None:
    late = record(1, 0, 1, 120.0, next_retry_delay_s=4.0)
    records = [late, record(2, 111, 111, 1.0), record(3, 132, 132, 1.0)]
    table = of(run(scheduled(), *closing(3, 132, 133, BUSY)), records)
    assert table.backoff_planned_s[2] == 10


def test_due_again_before_start_to_close_can_only_be_the_heartbeat() -> None:
    asked = scheduled(heartbeatTimeout=text(5))
    records = [record(1, 0, 1, None), record(2, 16, 16, 1.0), record(3, 37, 37, 1.0)]
    table = of(run(asked, *closing(3, 37, 38, BUSY)), records)
    first = table.loc[1]
    assert (first.timeout_type, first.time_quality) == ("HEARTBEAT", "unknown")
    assert pd.isna(first.closed_time)
    assert pd.isna(table.gap_s[2])
    assert pd.isna(table.backoff_observed_s[2])


@pytest.mark.parametrize("heartbeat", [100, 500])
def test_a_heartbeat_timeout_not_below_start_to_close_cannot_have_fired(heartbeat: int) -> None:
    asked = scheduled(heartbeatTimeout=text(heartbeat))
    records = [record(1, 0, 1, None), record(2, 111, 111, 1.0), record(3, 132, 132, 1.0)]
    first = of(run(asked, *closing(3, 132, 133, BUSY)), records).loc[1]
    assert (first.timeout_type, first.time_quality) == ("START_TO_CLOSE", "inferred")
    assert first.closed_time == pd.Timestamp(at(101), tz="UTC")


def test_which_of_two_timeouts_fired_is_na_when_both_could_have() -> None:
    asked = scheduled(heartbeatTimeout=text(5))
    records = [record(1, 0, 1, None), record(2, 111, 111, 1.0), record(3, 132, 132, 1.0)]
    first = of(run(asked, *closing(3, 132, 133, BUSY)), records).loc[1]
    assert pd.isna(first.timeout_type)
    assert first.time_quality == "unknown"


def test_skipped_time_is_read_right() -> None:
    """On the virtual clock an hour of backoff passes at once for the worker."""
    asked = scheduled(retryPolicy={"initialInterval": text(3600), "backoffCoefficient": 1})
    records = [
        record(1, 0, 0.01, 0.02, worker_started_ns=at(0.01), worker_finished_ns=at(0.03)),
        record(2, 3600.03, 3600.04, 0.02, worker_started_ns=at(0.05)),
    ]
    table = of(run(asked, *closing(2, 3600.04, 3600.06, BUSY), clock="virtual"), records)
    assert table.backoff_observed_s[2] == pytest.approx(3600, abs=1e-6)
    assert table.backoff_error_s[2] == pytest.approx(0, abs=1e-6)


def test_an_open_activity_has_the_attempts_that_the_recorder_saw() -> None:
    table = of(run(scheduled()), TWO_FAIL[1:])
    # There was a first attempt, though nobody tells of it.
    assert table.index.tolist() == [1, 2, 3]
    assert table.is_last.tolist()[:2] == [False, False]
    assert pd.isna(table.is_last[3])
    assert table.source.tolist()[1:] == ["recorder", "recorder"]
    assert pd.isna(table.source[1])
    assert pd.isna(table.state[1])
    assert pd.isna(table.late_report[3])
    row = tables.activities(run(scheduled()), TWO_FAIL).iloc[0]
    assert (row.status, row.attempts) == ("PENDING", 3)
    assert len(of(run(scheduled()))) == 0


def test_an_attempt_that_runs_has_no_end() -> None:
    table = of(run(scheduled()), [record(1, 0, 1, None)])
    assert table.time_quality.tolist() == ["unknown"]
    assert table.dispatch_lag_s.tolist() == [1]
    assert table[["closed_time", "worker_finished_time", "timeout_type"]].isna().all(axis=None)


def test_an_activity_id_used_twice_is_told_apart_by_its_scheduled_time() -> None:
    again = scheduled(event_id=8, seconds=50)
    mine = {**record(1, 50, 51, 1.0), "scheduled_ns": at(50) + 999}
    history = run(scheduled(), *closing(1, 1, 2), again)
    table = tables.validate(tables.attempts(history, [record(1, 0, 1, 0.5), mine]))
    assert table.scheduled_event_id.tolist() == [5, 8]
    assert table.worker_exec_s.tolist() == [0.5, 1.0]


def test_records_of_other_runs_are_left_out() -> None:
    strange = {**record(1, 0, 1, 0.5), "run_id": "another"}
    table = of(run(scheduled(), *closing(1, 1, 2)), [strange])
    assert table.worker_exec_s.isna().all()
    assert table.source.tolist() == ["history"]


def test_an_attempt_number_given_twice_keeps_the_later_record() -> None:
    earlier = {**record(1, 0, 1, 0.5), "worker_started_ns": at(0)}
    table = of(run(scheduled(), *closing(1, 1, 2)), [record(1, 0, 1, 0.7), earlier])
    assert table.worker_exec_s.tolist() == [0.7]


def test_a_record_may_lack_what_the_worker_never_learned() -> None:
    bare = {"run_id": "run", "activity_id": "1", "attempt": 2, "attempt_scheduled_ns": None}
    table = of(run(scheduled(), *closing(2, 39, 41, BUSY)), [bare])
    assert table.index.tolist() == [1, 2]
    assert table.dispatch_lag_s[2] != table.dispatch_lag_s[2]
    assert table.exec_s[2] == 2


def test_a_local_activity_has_worker_times_only() -> None:
    table = tables.attempts(golden("everything"), recorder=attempt_records())
    local = table[table.activity_id == "1"].set_index("attempt")
    assert local.index.tolist() == [1, 2, 3]
    server = ["attempt_scheduled_time", "started_time", "closed_time", "gap_s", "dispatch_lag_s"]
    assert local[server].isna().all(axis=None)
    assert local.worker_exec_s.notna().all()
    assert (local.time_quality == "measured_worker").all()
    assert local.server_outcome[3] == "COMPLETED"
    assert local.is_last.tolist() == [False, False, True]


def marker(event_id: int, data: dict[str, Any] | str, name: str = "core_local_activity") -> Any:
    """Make the Marker of a Local Activity."""
    written = data if isinstance(data, str) else json.dumps(data)
    payload = {"data": base64.b64encode(written.encode()).decode()}
    details = {"data": {"payloads": [payload]}}
    return event(event_id, 1, "MARKER_RECORDED", markerName=name, details=details)


def test_markers_that_end_no_local_activity_give_no_rows() -> None:
    local = {"activity_id": "1", "activity_type": "work", "attempt": 2, "backoff": None}
    waiting = {**local, "backoff": {"seconds": 70, "nanos": 0}}
    history = run(
        marker(5, waiting), marker(6, "no json"), marker(7, {}), marker(8, local, "patch")
    )
    assert len(tables.activities(history)) == 0
    assert len(tables.attempts(history)) == 0
    ended = tables.attempts(run(marker(5, waiting), marker(6, local)))
    assert ended.scheduled_event_id.tolist() == [6, 6]
    assert ended.attempt.tolist() == [1, 2]


def local(activity_id: str, attempt: int, first_ns: int, *, waits: bool) -> dict[str, Any]:
    """Return what a Marker holds of a Local Activity that ended, or waits for its next attempt."""
    return {
        **{"activity_id": activity_id, "activity_type": "work", "attempt": attempt},
        "original_schedule_time": {"seconds": 1, "nanos": first_ns},
        "backoff": {"seconds": 70, "nanos": 0} if waits else None,
    }


def test_a_local_activity_keeps_its_records_under_all_its_ids() -> None:
    history = run(
        marker(5, local("1", 2, 7, waits=True)),
        marker(6, local("2", 1, 8, waits=True)),
        marker(7, local("3", 3, 7, waits=False)),
        marker(8, local("4", 2, 8, waits=False)),
    )
    ran = (("1", 1), ("1", 2), ("2", 1), ("3", 3), ("4", 2))
    records = [
        record(attempt, 0, 1, float(attempt), is_local=True, activity_id=activity_id)
        for activity_id, attempt in ran
    ]
    table = tables.validate(tables.attempts(history, records))
    assert table.activity_id.tolist() == ["3", "3", "3", "4", "4"]
    assert table.worker_exec_s.tolist() == [1, 2, 3, 1, 2]
    assert table.source.tolist() == ["recorder", *["history+recorder"] * 4]
    assert table.server_outcome.tolist()[1:] == ["FAILED", "COMPLETED", "FAILED", "COMPLETED"]
    alone = tables.attempts(history)
    assert alone.server_outcome.tolist()[1:] == table.server_outcome.tolist()[1:]
    assert alone.time_quality.tolist() == ["unknown"] * 5


def test_the_recorded_timeouts_are_told_as_they_happened() -> None:
    table = tables.attempts(golden("timeouts"), recorder=attempt_records())
    limit = table[table.activity_id == "1"].set_index("attempt")
    assert limit.time_quality.tolist() == ["inferred", "inferred", "measured_server"]
    assert limit.late_report.tolist() == [True, True, False]
    assert limit.timeout_type.tolist()[:2] == ["START_TO_CLOSE"] * 2
    inferred = (limit.closed_time - limit.started_time).dt.total_seconds()
    assert inferred.tolist()[:2] == [1, 1]
    beats = table[table.activity_id == "2"].set_index("attempt")
    assert beats.timeout_type.tolist()[:2] == ["HEARTBEAT"] * 2
    delay = table[table.activity_type == "fail_with_delay"].set_index("attempt")
    assert delay.backoff_planned_s[2] == pytest.approx(0.6)
    assert delay.backoff_observed_s[2] == pytest.approx(0.6, abs=0.1)


def test_every_golden_attempt_agrees_with_its_record() -> None:
    table = tables.attempts(goldens(), recorder=attempt_records())
    by_key = table.set_index(["run_id", "activity_id", "attempt"])
    records = [one for one in attempt_records() if (one["run_id"]) in set(table.run_id)]
    assert len(by_key) == len(records)
    for one in records:
        row = by_key.loc[(one["run_id"], one["activity_id"], one["attempt"])]
        assert row.worker_exec_s == one["worker_exec_s"]
        assert row.worker_outcome == one["outcome"]
        assert row.worker_started_time.value == one["worker_started_ns"]
        if not one["is_local"]:
            # The worker is told whole microseconds; the server's own times have nanoseconds.
            assert 0 <= row.started_time.value - one["started_ns"] < 1000
            assert 0 <= row.attempt_scheduled_time.value - one["attempt_scheduled_ns"] < 1000
