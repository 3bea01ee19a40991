"""`tables.activities`: states, policy, and the parts that sum to the total."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from google.protobuf.json_format import MessageToDict
from temporalio.client import WorkflowHistory

from projectai_lab import tables
from projectai_lab.errors import TableError
from tests.data import NAMES, attempt_records, golden, goldens

PARTS = ["exec_s", "backoff_s", "queue_s", "unattributed_s"]
CLOSED = ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED")


def naive(history: WorkflowHistory) -> dict[int, dict[str, Any]]:
    """Read the activities the slow way: the JSON of each event, keyed by the Scheduled event."""
    found: dict[int, dict[str, Any]] = {}
    for event in history.events:
        read = MessageToDict(event, preserving_proto_field_name=True)
        kind = read["event_type"].removeprefix("EVENT_TYPE_ACTIVITY_TASK_")
        attributes = read.get(f"activity_task_{kind.lower()}_event_attributes", {})
        if kind == "SCHEDULED":
            found[int(read["event_id"])] = {"scheduled": attributes, "at": read["event_time"]}
        elif kind == "STARTED":
            opened = found[int(attributes["scheduled_event_id"])]
            opened.update(started=attributes, started_at=read["event_time"])
        elif kind in CLOSED:
            opened = found[int(attributes["scheduled_event_id"])]
            opened.update(closed=attributes, status=kind, closed_at=read["event_time"])
    return found


def apart(later: str, earlier: str) -> float:
    """Return the seconds between two times of the JSON."""
    return float((pd.Timestamp(later) - pd.Timestamp(earlier)) / pd.Timedelta(seconds=1))


@pytest.mark.parametrize("name", NAMES)
def test_activities_says_what_a_naive_walk_says(name: str) -> None:
    history = golden(name)
    table = tables.activities(history)
    expected = naive(history)
    remote = table[~table.is_local].set_index("scheduled_event_id")
    assert remote.index.tolist() == list(expected)
    for event_id, want in expected.items():
        row, asked = remote.loc[event_id], want["scheduled"]
        assert row.activity_id == asked["activity_id"]
        assert row.activity_type == asked["activity_type"]["name"]
        assert row.task_queue == asked["task_queue"]["name"]
        assert row.status == want["status"]
        assert row.total_s == pytest.approx(apart(want["closed_at"], want["at"]), abs=1e-9)
        assert row.start_to_close_timeout_s == float(asked["start_to_close_timeout"].rstrip("s"))
        policy = asked["retry_policy"]
        assert row.initial_interval_s == float(policy["initial_interval"].rstrip("s"))
        assert row.backoff_coefficient == policy["backoff_coefficient"]
        assert row.maximum_interval_s == float(policy["maximum_interval"].rstrip("s"))
        if "started" in want:
            assert row.attempts == want["started"]["attempt"]
            assert row.worker_identity == want["started"]["identity"]
            last = apart(want["closed_at"], want["started_at"])
            assert row.exec_s == pytest.approx(last, abs=1e-9)


@pytest.mark.parametrize("recorded", [False, True], ids=["history alone", "with recorder"])
def test_parts_and_unattributed_sum_to_the_total(recorded: bool) -> None:
    table = tables.activities(goldens(), recorder=attempt_records() if recorded else None)
    closed = table[table.total_s.notna()]
    assert len(closed) == len(table) - 1
    assert (closed[PARTS].sum(axis=1) - closed.total_s).abs().max() < 1e-6
    assert (closed[PARTS].fillna(0) >= 0).all(axis=None)


def test_with_a_recorder_nothing_is_unattributed_but_after_a_heartbeat_timeout() -> None:
    table = tables.activities(goldens()[:3], recorder=attempt_records())
    beats = table.heartbeat_timeout_s.notna()
    assert (table.unattributed_s[~beats] == 0).all()
    assert (table.unattributed_s[beats] > 0).all()


def test_without_a_recorder_all_before_the_last_attempt_is_unattributed() -> None:
    table = tables.activities(golden("mixed"))
    retried = table[table.attempts > 1]
    before = (retried.last_started_time - retried.scheduled_time).dt.total_seconds()
    assert (retried.unattributed_s - before).abs().max() < 1e-6
    assert retried[["backoff_s", "queue_s"]].isna().all(axis=None)
    assert retried.planned_backoff_s.tolist() == pytest.approx([0.95, 0.6, 0.2])


def test_an_activity_that_succeeds_at_once_has_no_backoff_and_no_rest() -> None:
    table = tables.activities(golden("clean"))
    assert table.backoff_s.tolist() == [0, 0, 0]
    assert table.planned_backoff_s.tolist() == [0, 0, 0]
    assert table.unattributed_s.tolist() == [0, 0, 0]
    assert table.failures.tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_the_sums_over_the_attempts(name: str) -> None:
    records = attempt_records()
    table = tables.activities(golden(name), recorder=records).set_index("scheduled_event_id")
    attempts = tables.attempts(golden(name), recorder=records).groupby("scheduled_event_id")
    for part, column in (("backoff_s", "backoff_observed_s"), ("queue_s", "dispatch_lag_s")):
        sums = attempts[column].sum()
        assert (table[part].fillna(0) - sums).abs().max() < 1e-9


def test_failures_attempts_and_retry_state() -> None:
    table = tables.activities(golden("mixed"))
    assert table.attempts.tolist() == [4, 3, 2, 1, 1, 1]
    assert table.failures.tolist() == [3, 3, 1, 0, 0, 0]
    assert table.retry_state.dropna().tolist() == ["MAXIMUM_ATTEMPTS_REACHED"]
    assert table.maximum_attempts.dropna().tolist() == [3]


def test_input_and_result_bytes() -> None:
    table = tables.activities(golden("clean"))
    assert table.input_bytes.tolist() == [3, 4, 5]
    assert table.result_bytes.tolist() == [3, 4, 5]
    failed = tables.activities(golden("everything")).set_index("activity_type").loc["fail_for_good"]
    assert pd.isna(failed.input_bytes)
    assert pd.isna(failed.result_bytes)


def test_a_local_activity_is_a_row_without_server_times() -> None:
    table = tables.activities(golden("everything"), recorder=attempt_records())
    local = table[table.is_local].iloc[0]
    assert (local.activity_type, local.status, local.attempts) == ("fail_until", "COMPLETED", 3)
    assert local[["scheduled_time", "closed_time", "total_s", "backoff_s"]].isna().all()
    assert local.exec_s > 0
    assert local.failures == 2


def test_an_activity_canceled_in_its_backoff_leaves_the_count_to_the_recorder() -> None:
    alone = tables.activities(golden("everything"))
    with_records = tables.activities(golden("everything"), recorder=attempt_records())
    backed_off = (alone.status == "CANCELED") & alone.last_started_time.isna()
    assert backed_off.sum() == 1
    assert alone.attempts[backed_off].isna().all()
    assert with_records.attempts[backed_off].tolist() == [1]
    assert with_records.failures[backed_off].isna().all()


def test_an_activity_that_is_not_closed_is_pending() -> None:
    history = golden("mixed", events=8)
    table = tables.validate(tables.activities(history))
    assert len(table) > 0
    assert set(table.status) == {"PENDING"}
    unknown = ["closed_time", "total_s", "unattributed_s", "attempts", "failures", "exec_s"]
    assert table[unknown].isna().all(axis=None)


def test_recorder_must_yield_attempt_records() -> None:
    with pytest.raises(TableError, match=r"not str; pass recorder=lab\.attempts"):
        tables.activities(golden("clean"), recorder=tables.events(golden("clean")))


def test_the_short_way_of_plain_activities_says_what_the_way_over_attempts_says() -> None:
    # With a recorder, even one that recorded nothing, each activity goes over its attempts.
    pd.testing.assert_frame_equal(
        tables.activities(goldens()), tables.activities(goldens(), recorder=[])
    )
