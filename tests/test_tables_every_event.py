"""Every event type that the SDK knows, and those it does not, through every table and back."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from google.protobuf.json_format import ParseDict
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab import tables
from projectai_lab.histories import History
from projectai_lab.tables._headers import headers
from tests.data import golden, goldens
from tests.test_tables_events import KINDS, event_of

# What each event type is about. One that a newer SDK adds fails the test until it stands here.
GROUPS = {
    "activity": """
        ACTIVITY_TASK_SCHEDULED ACTIVITY_TASK_STARTED ACTIVITY_TASK_COMPLETED ACTIVITY_TASK_FAILED
        ACTIVITY_TASK_TIMED_OUT ACTIVITY_TASK_CANCEL_REQUESTED ACTIVITY_TASK_CANCELED
        ACTIVITY_PROPERTIES_MODIFIED_EXTERNALLY""",
    "timer": "TIMER_STARTED TIMER_FIRED TIMER_CANCELED",
    "workflow_task": """
        WORKFLOW_TASK_SCHEDULED WORKFLOW_TASK_STARTED WORKFLOW_TASK_COMPLETED WORKFLOW_TASK_FAILED
        WORKFLOW_TASK_TIMED_OUT""",
    "child_workflow": """
        START_CHILD_WORKFLOW_EXECUTION_INITIATED START_CHILD_WORKFLOW_EXECUTION_FAILED
        CHILD_WORKFLOW_EXECUTION_STARTED CHILD_WORKFLOW_EXECUTION_COMPLETED
        CHILD_WORKFLOW_EXECUTION_FAILED CHILD_WORKFLOW_EXECUTION_CANCELED
        CHILD_WORKFLOW_EXECUTION_TIMED_OUT CHILD_WORKFLOW_EXECUTION_TERMINATED""",
    "external_signal": """
        SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED
        EXTERNAL_WORKFLOW_EXECUTION_SIGNALED""",
    "external_cancel": """
        REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED
        REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED
        EXTERNAL_WORKFLOW_EXECUTION_CANCEL_REQUESTED""",
    "nexus_operation": """
        NEXUS_OPERATION_SCHEDULED NEXUS_OPERATION_STARTED NEXUS_OPERATION_COMPLETED
        NEXUS_OPERATION_FAILED NEXUS_OPERATION_CANCELED NEXUS_OPERATION_TIMED_OUT
        NEXUS_OPERATION_CANCEL_REQUESTED NEXUS_OPERATION_CANCEL_REQUEST_COMPLETED
        NEXUS_OPERATION_CANCEL_REQUEST_FAILED""",
    "update": """
        WORKFLOW_EXECUTION_UPDATE_ADMITTED WORKFLOW_EXECUTION_UPDATE_ACCEPTED
        WORKFLOW_EXECUTION_UPDATE_REJECTED WORKFLOW_EXECUTION_UPDATE_COMPLETED""",
    "signal": "WORKFLOW_EXECUTION_SIGNALED",
    "marker": "MARKER_RECORDED",
    "workflow_execution": """
        WORKFLOW_EXECUTION_STARTED WORKFLOW_EXECUTION_COMPLETED WORKFLOW_EXECUTION_FAILED
        WORKFLOW_EXECUTION_TIMED_OUT WORKFLOW_EXECUTION_TERMINATED WORKFLOW_EXECUTION_CANCELED
        WORKFLOW_EXECUTION_CANCEL_REQUESTED WORKFLOW_EXECUTION_CONTINUED_AS_NEW
        WORKFLOW_EXECUTION_OPTIONS_UPDATED WORKFLOW_EXECUTION_PAUSED WORKFLOW_EXECUTION_UNPAUSED
        WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED UPSERT_WORKFLOW_SEARCH_ATTRIBUTES
        WORKFLOW_PROPERTIES_MODIFIED WORKFLOW_PROPERTIES_MODIFIED_EXTERNALLY""",
}
KIND_OF = {event_type: group for group, types in GROUPS.items() for event_type in types.split()}
MAKERS: dict[str, Callable[[Any], pd.DataFrame]] = {
    name: getattr(tables, name) for name in (*tables.build([]), "payloads")
}


def beginning() -> HistoryEvent:
    """Return the first event of a history that names itself."""
    event: HistoryEvent = golden("clean").events[0]
    return event


def history(*events: HistoryEvent) -> History:
    """Make a history of a beginning and these events, numbered anew."""
    made = History("made", [HistoryEvent.FromString(beginning().SerializeToString()), *events])
    for number, event in enumerate(made.events, start=1):
        event.event_id = number
        if number > 1 and not event.HasField("event_time"):
            event.event_time.FromNanoseconds(1_800_000_000_000_000_000 + number)
    return made


def unknown(number: int) -> HistoryEvent:
    """Return an event of a type that this SDK does not know."""
    return ParseDict({"eventType": number}, HistoryEvent())


def everything(*, full: bool) -> History:
    """Return a history that holds each event type."""
    kinds = [kind for kind in KINDS if kind != "EVENT_TYPE_WORKFLOW_EXECUTION_STARTED"]
    return history(*(event_of(kind, full=full) for kind in kinds), unknown(9999))


def test_every_event_type_is_known_to_be_about_something() -> None:
    fields = HistoryEvent.DESCRIPTOR.oneofs_by_name["attributes"].fields
    names = {field.name.removesuffix("_event_attributes").upper() for field in fields}
    numbers = {name.removeprefix("EVENT_TYPE_") for name, number in EventType.items() if number}
    assert names == numbers == set(KIND_OF)
    table = tables.events(everything(full=False))
    known = table[table.event_type != "OTHER"]
    found = dict(zip(known.event_type, known.group_kind, strict=True))
    assert found == KIND_OF


@pytest.mark.parametrize("full", [False, True], ids=["bare", "full"])
@pytest.mark.parametrize("name", MAKERS)
def test_a_history_of_each_event_type_goes_through_every_table_and_parquet(
    name: str, full: bool, tmp_path: Path
) -> None:
    table = tables.validate(MAKERS[name](everything(full=full)))
    # Made-up Started events name no Scheduled one: so there are no attempts.
    assert (len(table) > 0) == (name != "attempts" and (full or name != "payloads"))
    table.to_parquet(tmp_path / "table.parquet")
    back = tables.validate(pd.read_parquet(tmp_path / "table.parquet"))
    pd.testing.assert_frame_equal(back, table)
    assert back.attrs == table.attrs
    texts = table.select_dtypes("str")
    assert not (texts == "").any(axis=None)


@pytest.mark.parametrize("number", [0, 61, 9999, -3, 2**31 - 1])
def test_an_unknown_event_type_is_other_with_its_number(number: int) -> None:
    made = history(unknown(number))
    for name, make in MAKERS.items():
        tables.validate(make(made))
        assert name
    row = tables.events(made).iloc[1]
    assert (row.event_type, row.event_type_number) == ("OTHER", number)
    assert row[["group_kind", "group_id", "payload_bytes"]].isna().all()
    assert tables.executions(made).history_length.tolist() == [2]


def test_known_event_types_carry_their_number_too() -> None:
    table = tables.events(golden("everything"))
    numbers = [EventType.Value(f"EVENT_TYPE_{kind}") for kind in table.event_type]
    assert table.event_type_number.tolist() == numbers


@pytest.mark.parametrize("seconds", [-62_135_596_800, 253_402_300_799, 9_223_372_037])
@pytest.mark.parametrize("name", MAKERS)
def test_a_time_outside_of_64_bits_is_nat_and_no_error(name: str, seconds: int) -> None:
    events = [HistoryEvent.FromString(e.SerializeToString()) for e in golden("everything").events]
    for event in events[1:]:
        event.event_time.seconds = seconds
    made = History("made", events)
    table = tables.validate(MAKERS[name](made))
    assert len(table) == len(MAKERS[name](golden("everything")))
    if name == "events":
        assert table.event_time.isna().tolist() == [False] + [True] * (len(events) - 1)
        assert table.since_start_s.isna().tolist() == table.event_time.isna().tolist()
    if name == "executions":
        assert table[["close_time", "duration_s"]].isna().all(axis=None)
    if name == "activities":
        assert table[["scheduled_time", "total_s", "queue_s"]].isna().all(axis=None)


def test_a_delay_that_leads_out_of_64_bits_is_nat() -> None:
    first = HistoryEvent.FromString(beginning().SerializeToString())
    begun = first.workflow_execution_started_event_attributes
    begun.first_workflow_task_backoff.seconds = 9_000_000_000
    row = tables.executions(History("made", [first])).iloc[0]
    assert pd.isna(row.execution_time)
    assert row.start_time.year == 2026


def test_headers_read_from_the_front_are_those_of_the_fields() -> None:
    draw = random.Random(5)
    numbers = (0, 1, -1, 127, 128, 2**31 - 1, 2**34, 2**35 - 1, 2**35, 2**62, -(2**62))
    made = [event for run in goldens() for event in run.events]
    for _ in range(3000):
        event = HistoryEvent(event_id=draw.choice(numbers), version=draw.choice(numbers))
        event.event_type = draw.choice((0, 1, 60, 200, -3))  # type: ignore[assignment]
        if draw.random() < 0.9:
            event.event_time.seconds = draw.choice((*numbers, 1_800_000_000))
            event.event_time.nanos = draw.choice((0, 1, 999_999_999, -5))
        made.append(event)
    read = headers(made)
    assert read.ids.tolist() == [event.event_id for event in made]
    assert read.seconds.tolist() == [event.event_time.seconds for event in made]
    assert read.nanos.tolist() == [event.event_time.nanos for event in made]
    assert read.types.tolist() == [event.event_type for event in made]
    assert read.sizes.tolist() == [event.ByteSize() for event in made]


def test_headers_of_nothing_are_empty() -> None:
    assert [column.tolist() for column in headers([])] == [[]] * 5
    assert all(column.dtype == np.int64 for column in headers([]))


def test_an_update_is_followed_from_its_admission_to_its_rejection() -> None:
    request = {"meta": {"updateId": "u-1", "identity": "me"}, "input": {"name": "ask"}}
    admitted = {"request": request, "origin": "UPDATE_ADMITTED_EVENT_ORIGIN_REAPPLY"}
    rejected = {"protocolInstanceId": "u-1", "failure": {"message": "no"}}
    made = history(
        ParseDict(
            {
                "eventType": "EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ADMITTED",
                "workflowExecutionUpdateAdmittedEventAttributes": admitted,
            },
            HistoryEvent(),
        ),
        ParseDict(
            {
                "eventType": "EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_REJECTED",
                "workflowExecutionUpdateRejectedEventAttributes": rejected,
            },
            HistoryEvent(),
        ),
    )
    (row,) = tables.messages(made).itertuples()
    assert (row.kind, row.name, row.message_id) == ("UPDATE", "ask", "u-1")
    assert (row.status, row.failure_message, row.identity) == ("REJECTED", "no", "me")
    assert row.event_id == 2
    assert row.lag_s == pytest.approx(1e-9)
    assert tables.executions(made).n_updates.tolist() == [0]


def test_a_workflow_task_that_timed_out_or_failed_says_how() -> None:
    def task(kind: str, **said: Any) -> HistoryEvent:
        name = f"workflowTask{kind}EventAttributes"
        number = {"Scheduled": "SCHEDULED", "TimedOut": "TIMED_OUT", "Failed": "FAILED"}[kind]
        return ParseDict({"eventType": f"EVENT_TYPE_WORKFLOW_TASK_{number}", name: said},
                         HistoryEvent())  # fmt: skip

    sticky = {"name": "w-1", "kind": "TASK_QUEUE_KIND_STICKY", "normalName": "q"}
    made = history(
        task("Scheduled", taskQueue=sticky, attempt=1),
        task("TimedOut", scheduledEventId=2, timeoutType="TIMEOUT_TYPE_SCHEDULE_TO_START"),
        task("Scheduled", taskQueue={"name": "q"}, attempt=2),
        task(
            "Failed",
            scheduledEventId=4,
            cause="WORKFLOW_TASK_FAILED_CAUSE_NON_DETERMINISTIC_ERROR",
            failure={"message": "other code", "applicationFailureInfo": {"type": "Replay"}},
        ),
    )
    first, second = tables.workflow_tasks(made).itertuples()
    assert (first.status, first.timeout_type) == ("TIMED_OUT", "SCHEDULE_TO_START")
    assert first.is_sticky
    assert (second.status, second.attempt) == ("FAILED", 2)
    assert (second.failure_cause, second.failure_type) == ("NON_DETERMINISTIC_ERROR", "Replay")
    assert second.failure_message == "other code"
    assert not second.is_sticky
    assert pd.isna(second.started_event_id)
    assert pd.isna(second.lag_s)


@pytest.mark.parametrize("name", ["clean", "mixed", "everything"])
def test_events_out_of_order_cut_out_or_of_other_types_raise_nothing(name: str) -> None:
    draw = random.Random(name)
    for _ in range(5):
        first, *rest = (HistoryEvent.FromString(e.SerializeToString()) for e in golden(name).events)
        rest = [event for event in rest if draw.random() < 0.8]
        draw.shuffle(rest)
        for event in rest[::4]:
            event.event_type = draw.choice(list(KINDS.values()))
        made = History("torn", [first, *rest])
        for table in (*tables.build(made).values(), tables.payloads(made)):
            tables.validate(table)
