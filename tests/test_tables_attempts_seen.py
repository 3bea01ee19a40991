"""`tables.attempts` of what describe told: it fills what is open, and nothing is made up."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from projectai_lab import tables
from projectai_lab.errors import TableError
from tests.data import attempt_records, golden
from tests.test_tables_attempts import (
    BUSY,
    TIMEOUT,
    TWO_FAIL,
    at,
    closing,
    event,
    record,
    run,
    scheduled,
    text,
)


def seen(
    attempt: int, due: float, start: float | None = None, end: float | None = None, **more: Any
) -> dict[str, Any]:
    """Make an observation: an attempt that is due or runs, and the end of the one before."""
    identity = {"last_identity": "9@d"} if start is None else {"identity": f"{attempt}@d"}
    return {
        **{"run_id": "run", "activity_id": "1", "activity_type": "work", "attempt": attempt},
        **{"state": "SCHEDULED" if start is None else "STARTED", "run_is_open": True},
        "attempt_scheduled_ns": at(due),
        "started_ns": None if start is None else at(start),
        "last_closed_ns": None if end is None else at(end),
        "last_failure": BUSY if attempt > 1 else None,
        **identity,
        **more,
    }


THREE = [seen(1, 0, 1), seen(2, 13, None, 3), seen(2, 13, 14, 3), seen(3, 37, 39, 17)]


def of(history: Any, recorder: Any = None, *, looks: Any = ()) -> pd.DataFrame:
    """Return the checked table, by attempt."""
    table = tables.attempts(history, recorder, seen=looks)
    return tables.validate(table).set_index("attempt")


def test_describe_alone_tells_times_verdicts_and_workers_of_the_middle() -> None:
    table = of(run(scheduled(), *closing(3, 39, 41, BUSY)), looks=THREE)
    assert table.closed_time.tolist() == [pd.Timestamp(at(s), tz="UTC") for s in (3, 17, 41)]
    assert table.exec_s.tolist() == [2, 3, 2]
    assert table.dispatch_lag_s.tolist() == [1, 1, 2]
    assert table.gap_s.tolist()[1:] == [11, 22]
    assert table.backoff_observed_s.tolist()[1:] == [10, 20]
    assert table.backoff_error_s.tolist()[1:] == [0, 0]
    assert table.server_outcome.tolist() == ["FAILED", "FAILED", "COMPLETED"]
    assert table.failure_type.tolist()[:2] == ["Busy", "Busy"]
    assert table.worker_identity.tolist() == ["1@d", "2@d", "7@b"]
    assert (table.time_quality == "measured_server").all()
    assert table.source.tolist() == ["describe", "history+describe", "history+describe"]
    assert table.worker_outcome.isna().all()
    assert table.doubt.isna().all()


def test_the_order_of_the_looks_does_not_matter() -> None:
    history = run(scheduled(), *closing(3, 39, 41, BUSY))
    pd.testing.assert_frame_equal(of(history, looks=THREE), of(history, looks=THREE[::-1]))


def test_the_servers_end_takes_the_place_of_the_workers_run_time() -> None:
    history = run(scheduled(), *closing(3, 39, 41, BUSY))
    table = of(history, [{**TWO_FAIL[0], "worker_exec_s": 1.5}, *TWO_FAIL[1:]], looks=THREE)
    assert table.exec_s.tolist() == [2, 3, 2]
    assert table.worker_exec_s.tolist() == [1.5, 3, 1]
    assert table.gap_s.tolist()[1:] == [11, 22]
    assert table.source.tolist() == ["recorder+describe"] + ["history+recorder+describe"] * 2


def test_an_attempt_that_is_due_has_no_row_before_it_begins() -> None:
    table = of(run(scheduled()), looks=[seen(2, 13, None, 3)])
    assert table.index.tolist() == [1]
    assert (table.state[1], table.time_quality[1]) == ("ENDED", "measured_server")
    # When it began was not seen, so nobody knows how long it ran.
    assert table[["started_time", "exec_s", "dispatch_lag_s"]].isna().all(axis=None)
    assert len(of(run(scheduled()), looks=[seen(1, 0)])) == 0


def test_the_wait_is_known_without_the_next_start() -> None:
    table = of(run(scheduled(), *closing(3, 39, 41, BUSY)), looks=[*THREE[:2], THREE[3]])
    assert table.backoff_observed_s[2] == 10
    assert table[["gap_s", "dispatch_lag_s"]].loc[2].isna().all()


def test_a_look_that_missed_an_attempt_leaves_it_without_a_word() -> None:
    table = of(run(scheduled()), looks=[seen(1, 0, 1), seen(4, 60, 61, 35)])
    assert table.index.tolist() == [1, 2, 3, 4]
    assert table.state.tolist()[2:] == ["ENDED", "RUNNING"]
    # It ended, or the second had not begun; how, nobody saw.
    assert pd.isna(table.state[1])
    assert pd.isna(table.source[2])
    assert table.source.tolist()[3] == "describe"
    assert table.loc[2].drop(["is_last", "time_quality", "backoff_planned_s"])[9:].isna().all()


def test_a_timeout_by_describe_is_the_servers_verdict_on_a_report() -> None:
    looks = [seen(2, 113, None, 102, last_failure=TIMEOUT)]
    late = record(1, 0, 1, 50.0, outcome="COMPLETED")
    first = of(run(scheduled()), [late], looks=looks).loc[1]
    assert (first.server_outcome, first.worker_outcome) == ("TIMED_OUT", "COMPLETED")
    assert (first.timeout_type, bool(first.late_report)) == ("START_TO_CLOSE", True)
    # What describe calls the last end is that of an earlier failure.
    assert first.time_quality == "inferred"
    assert first.closed_time == pd.Timestamp(at(101), tz="UTC")


def test_a_delay_of_the_failures_own_is_planned_also_by_describe() -> None:
    own = {**BUSY, "applicationFailureInfo": {"type": "Busy", "nextRetryDelay": text(7)}}
    table = of(run(scheduled()), looks=[seen(2, 10, 11, 3, last_failure=own)])
    assert (table.backoff_planned_s[2], table.backoff_error_s[2]) == (7, 0)


def closed(kind: str = "TERMINATED", at_s: float = 50) -> Any:
    """Make the event that closes the run."""
    return event(9, at_s, f"WORKFLOW_EXECUTION_{kind}")


@pytest.mark.parametrize("kind", ["TERMINATED", "CANCELED", "TIMED_OUT", "COMPLETED"])
def test_what_runs_when_the_run_closes_is_abandoned(kind: str) -> None:
    history = run(scheduled(), closed(kind))
    recorded = of(history, [record(1, 0, 1, None)]).loc[1]
    assert (recorded.state, recorded.time_quality) == ("ABANDONED", "unknown")
    told = of(history, looks=[seen(1, 0, 1, run_is_open=False)]).loc[1]
    assert (told.state, told.source) == ("ABANDONED", "describe")
    # Seen while the run was open, it may have ended since.
    assert pd.isna(of(history, looks=[seen(1, 0, 1)]).state[1])


def test_a_record_without_an_end_is_abandoned_once_another_attempt_follows() -> None:
    records = [record(1, 0, 1, None), record(2, 111, 111, None)]
    table = of(run(scheduled()), records)
    assert table.state.tolist() == ["ABANDONED", "RUNNING"]


def test_an_end_that_the_log_lost_is_not_taken_for_a_death() -> None:
    # Due again before the timeout could fire: the server has had a report.
    table = of(run(scheduled()), [record(1, 0, 1, None), record(2, 13, 14, None)])
    assert pd.isna(table.state[1])
    assert table.time_quality[1] == "unknown"


def test_observations_of_an_id_used_twice_go_to_the_activity_that_was_open() -> None:
    again = scheduled(event_id=8, seconds=50)
    looks = [seen(1, 0, 1), seen(1, 50, 51), seen(2, 62, 63, 52)]
    history = run(scheduled(), *closing(1, 1, 2), again)
    table = tables.validate(tables.attempts(history, seen=looks))
    assert table.scheduled_event_id.tolist() == [5, 8, 8]
    assert table.time_quality.tolist() == ["measured_server", "measured_server", "unknown"]


def test_observations_of_other_runs_are_left_out() -> None:
    assert len(of(run(scheduled()), looks=[seen(1, 0, 1, run_id="another")])) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"recorder": [{}]}, r"recorder holds a record without run_id, activity_id, attempt; pass"),
        ({"recorder": [{"run_id": "run", "attempt": 1}]}, r"a record without activity_id; pass"),
        ({"recorder": 5}, r"recorder must be records, not int; pass recorder=lab\.attempts"),
        ({"recorder": ["x"]}, r"recorder must yield attempt records, not str"),
        ({"recorder": [seen(1, 0)]}, r"recorder holds what belongs in seen="),
        ({"seen": [{}]}, r"seen holds a record without run_id.*pass seen=handle\.poll_attempts"),
        ({"seen": TWO_FAIL}, r"seen holds what belongs in recorder="),
        ({"seen": "text"}, r"seen must yield attempt records, not str"),
        ({"seen": [seen(0, 0)]}, r"seen holds a record with attempt 0; attempts count from 1"),
        ({"seen": [{**seen(1, 0), "attempt": "1"}]}, r"a record with attempt '1'"),
    ],
)
def test_what_is_no_record_is_refused_with_what_it_lacks(given: Any, message: str) -> None:
    with pytest.raises(TableError, match=message):
        tables.attempts(golden("clean"), **given)


def skip(event_id: int, seconds: float, target: float) -> Any:
    """Make a time skip at some second to another."""
    made = event(event_id, seconds, "WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED")
    attributes = made.workflow_execution_time_skipping_transitioned_event_attributes
    attributes.target_time.FromNanoseconds(at(target))
    return made


def test_time_skips_tell_when_the_attempts_of_a_lone_activity_were_due() -> None:
    skips = [skip(10, 3, 13), skip(11, 17, 37)]
    history = run(scheduled(), *skips, *closing(3, 39, 41, BUSY), clock="virtual")
    table = of(history)
    assert (table.attempt_scheduled_time - table.attempt_scheduled_time[1]).dt.seconds.tolist() == [
        *(0, 13, 37),
    ]
    assert table.source.tolist() == ["time_skip", "history", "history"]
    assert table.dispatch_lag_s[3] == 2
    # When the ones before ended, a skip does not tell.
    assert table[["closed_time", "backoff_observed_s"]].loc[:2].isna().all(axis=None)
    assert of(history, TWO_FAIL).doubt.isna().all()


def test_an_open_run_has_as_many_attempts_as_skips_told_of() -> None:
    table = of(run(scheduled(), skip(10, 3, 13), skip(11, 17, 37), clock="virtual"))
    assert table.index.tolist() == [1, 2]
    assert table.source.tolist() == ["time_skip", "time_skip"]
    # An attempt in between may have become due without a skip: which is which is not known.
    assert pd.isna(table.attempt_scheduled_time[2])


def timer(event_id: int, seconds: float) -> Any:
    """Make the start of a timer."""
    return event(event_id, seconds, "TIMER_STARTED", timerId="1", startToFireTimeout=text(13))


def test_skips_with_something_else_open_tell_nothing_of_an_activity() -> None:
    skips = [skip(10, 3, 13), skip(11, 17, 37)]
    history = run(timer(4, 0), scheduled(), *skips, *closing(3, 39, 41), clock="virtual")
    assert of(history).attempt_scheduled_time[[2, 3]].isna().all()
    fewer = run(scheduled(), *skips[:1], *closing(3, 39, 41), clock="virtual")
    assert of(fewer).attempt_scheduled_time[[2, 3]].isna().all()


def test_a_file_of_a_history_alone_is_as_it_was() -> None:
    table = tables.attempts(golden("mixed"), attempt_records(), seen=[])
    pd.testing.assert_frame_equal(table, tables.attempts(golden("mixed"), attempt_records()))
