"""Markers of every SDK: Local Activities are rows, versions have their id, side effects none."""

from __future__ import annotations

import base64
import json
from typing import Any

import pandas as pd
import pytest
from google.protobuf.json_format import ParseDict
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab import tables
from projectai_lab.histories import History
from tests.test_tables_every_event import history

FAILED = {"message": "no", "applicationFailureInfo": {"type": "Oops"}}
TIMED_OUT = {"message": "late", "timeoutFailureInfo": {"timeoutType": "TIMEOUT_TYPE_HEARTBEAT"}}
CANCELED: dict[str, Any] = {"message": "stop", "canceledFailureInfo": {}}


def payloads(data: bytes) -> dict[str, Any]:
    """Return bytes as the Payloads of protobuf's JSON."""
    return {"payloads": [{"data": base64.b64encode(data).decode()}]}


def marker(name: str, failure: Any = None, **details: Any) -> HistoryEvent:
    """Make a Marker whose details are JSON, or bytes as they are."""
    encoded = {
        key: payloads(value if isinstance(value, bytes) else json.dumps(value).encode())
        for key, value in details.items()
    }
    said = {"markerName": name, "details": encoded} | ({"failure": failure} if failure else {})
    kind = "EVENT_TYPE_MARKER_RECORDED"
    return ParseDict({"eventType": kind, "markerRecordedEventAttributes": said}, HistoryEvent())


def core(failure: dict[str, Any] | None = None, **more: Any) -> HistoryEvent:
    """Make a Local Activity's Marker as sdk-core writes it (core's external_data.proto)."""
    told = {"seq": 1, "attempt": 2, "activity_id": "a", "activity_type": "work", "backoff": None}
    result = {} if failure else {"result": "fine"}
    return marker("core_local_activity", failure, data=told | more, **result)


def go(failure: dict[str, Any] | None = None, **more: Any) -> HistoryEvent:
    """Make one as sdk-go writes it (internal_event_handlers.go, localActivityMarkerData)."""
    time = "2026-01-02T03:04:05.6Z"
    told = {"ActivityID": "a", "ActivityType": "work", "ReplayTime": time, "Attempt": 2}
    told |= {"Backoff": -1 if failure else 0}
    result = {} if failure else {"result": "fine"}
    return marker("LocalActivity", failure, data=told | more, **result)


def java(failure: dict[str, Any] | None = None, **more: Any) -> HistoryEvent:
    """Make one as sdk-java writes it (LocalActivityStateMachine.java, createMarker)."""
    told = {"firstSkd": 1_700_000_000_000, "atpt": 2, "backoff": None}
    details = {"activityId": "a", "type": "work", "time": 1_700_000_000_001, "input": [1]}
    if failure and "canceledFailureInfo" not in failure:
        wrapper = {"activityType": {"name": "work"}, "activityId": "a"}
        failure = {"message": "wrapped", "activityFailureInfo": wrapper, "cause": failure}
    result = {} if failure else {"result": "fine"}
    return marker("LocalActivity", failure, meta=told | more, **details, **result)


SDKS = pytest.mark.parametrize("sdk", [core, go, java])


@SDKS
def test_a_local_activity_of_each_sdk_is_a_row(sdk: Any) -> None:
    (row,) = tables.validate(tables.activities(history(sdk()))).itertuples()
    assert (row.activity_id, row.activity_type, row.attempts) == ("a", "work", 2)
    assert (row.status, row.failures, row.result_bytes) == ("COMPLETED", 1, len('"fine"'))
    assert row.is_local
    assert row.scheduled_event_id == 2
    assert pd.isna(row.scheduled_time)
    assert pd.isna(row.total_s)
    run = tables.executions(history(sdk())).iloc[0]
    assert (run.n_activities, run.n_attempts, run.n_retries) == (1, 2, 1)


@SDKS
@pytest.mark.parametrize(
    ("failure", "status"), [(FAILED, "FAILED"), (TIMED_OUT, "TIMED_OUT"), (CANCELED, "CANCELED")]
)
def test_a_local_activity_that_did_not_succeed(sdk: Any, failure: Any, status: str) -> None:
    (row,) = tables.activities(history(sdk(failure))).itertuples()
    assert row.status == status
    assert row.failures == (1 if status == "CANCELED" else 2)
    assert pd.isna(row.result_bytes)
    if status != "CANCELED":
        event = tables.events(history(sdk(failure))).iloc[1]
        assert event.failure_message == failure["message"]


@pytest.mark.parametrize(
    "waits",
    [
        core(FAILED, backoff={"seconds": 70, "nanos": 0}, attempt=1),
        go(FAILED, Backoff=70_000_000_000, Attempt=1),
        java(FAILED, backoff=70_000, atpt=1),
    ],
    ids=["core", "go", "java"],
)
def test_a_wait_for_a_timer_is_no_activity_of_its_own(waits: HistoryEvent) -> None:
    assert len(tables.activities(history(waits))) == 0
    assert tables.executions(history(waits)).n_activities.tolist() == [0]
    event = tables.events(history(waits)).iloc[1]
    assert (event.activity_id, event.activity_type) == ("a", "work")


def test_a_local_activity_without_a_result_has_none_of_its_bytes() -> None:
    made = marker("LocalActivity", data={"ActivityID": "1", "ActivityType": "work", "Attempt": 1})
    assert tables.activities(history(made)).result_bytes.tolist() == [0]


def test_old_java_markers_lack_the_attempt_and_call_the_result_data() -> None:
    made = marker("LocalActivity", activityId="1", type="work", time=1, data="fine")
    (row,) = tables.activities(history(made)).itertuples()
    assert pd.isna(row.attempts)
    assert pd.isna(row.failures)
    assert row.result_bytes == len('"fine"')
    assert len(tables.attempts(history(made))) == 0


@pytest.mark.parametrize("name", ["core_local_activity", "LocalActivity"])
@pytest.mark.parametrize(
    "details",
    [{}, {"data": b"\xff secret"}, {"data": 7}, {"data": []}, {"meta": 3}, {"activityId": 5}],
)
def test_a_marker_that_cannot_be_read_is_no_row_and_no_error(name: str, details: Any) -> None:
    made = history(marker(name, **details))
    for table in tables.build(made).values():
        tables.validate(table)
    assert len(tables.activities(made)) == 0
    assert pd.isna(tables.events(made).activity_id[1])


@pytest.mark.parametrize("attempt", [0, -1, "two", None, True, 2**40])
def test_an_attempt_that_is_none_is_na(attempt: Any) -> None:
    (row,) = tables.activities(history(core(attempt=attempt))).itertuples()
    assert pd.isna(row.attempts)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (marker("core_patch", **{"patch-data": {"id": "p", "deprecated": False}}), "p"),
        (marker("core_patch", patch_id=b"old-core", deprecated=b"\x00"), "old-core"),
        (marker("Version", **{"change-id": "go-change", "version": 1}), "go-change"),
        (marker("Version", changeId="java-change", version=2), "java-change"),
        (marker("Version", changeId=b"\xff", version=2), None),
        (marker("Version"), None),
        (marker("SideEffect", **{"side-effect-id": 1, "data": "x"}), None),
        (marker("MutableSideEffect", **{"side-effect-id": "m", "data": "x"}), None),
    ],
)
def test_versions_name_their_change_and_side_effects_none(made: Any, expected: str | None) -> None:
    event = tables.events(history(made)).iloc[1]
    assert event.marker_name == made.marker_recorded_event_attributes.marker_name
    assert (event.group_kind, event.group_id) == ("marker", 2)
    assert (None if pd.isna(event.change_id) else event.change_id) == expected
    assert len(tables.activities(history(made))) == 0


def test_local_and_other_activities_stand_in_the_order_of_their_events() -> None:
    scheduled = ParseDict(
        {
            "eventType": "EVENT_TYPE_ACTIVITY_TASK_SCHEDULED",
            "activityTaskScheduledEventAttributes": {
                "activityId": "5",
                "activityType": {"name": "far"},
                "retryPolicy": {"maximumAttempts": 3},
            },
        },
        HistoryEvent(),
    )
    made: History = history(core(), scheduled, go())
    table = tables.validate(tables.activities(made))
    assert table.activity_type.tolist() == ["work", "far", "work"]
    assert table.is_local.tolist() == [True, False, True]
    assert table.status.tolist() == ["COMPLETED", "PENDING", "COMPLETED"]
    assert table.scheduled_event_id.tolist() == [2, 3, 4]
    assert table.maximum_attempts.tolist()[1] == 3
    assert table.index.tolist() == [0, 1, 2]
    assert table.attrs["schema"] == "projectai_lab/activities/1"
