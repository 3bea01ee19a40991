"""`tables.events`, `executions`, `timers`, `child_workflows` against a naive walk over the JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from projectai_lab import tables
from projectai_lab.errors import TableError
from tests.data import NAMES, golden, goldens

KINDS = {name: number for name, number in EventType.items() if number}


def walk(history: WorkflowHistory) -> list[dict[str, Any]]:
    """Read a history the slow way: one dict an event, with its attributes under "attributes"."""
    events = []
    for event in history.events:
        read = MessageToDict(event, preserving_proto_field_name=True)
        name = next(key for key in read if key.endswith("_event_attributes"))
        events.append({**read, "attributes": read[name]})
    return events


def same(column: pd.Series, expected: list[Any]) -> None:
    """Compare a column with plain values, None being NA."""
    assert [None if pd.isna(v) else v for v in column.astype(object)] == expected


@pytest.mark.parametrize("name", NAMES)
def test_events_says_what_a_naive_walk_says(name: str) -> None:
    history = golden(name)
    table, naive = tables.events(history), walk(history)
    assert len(table) == len(naive)
    same(table.event_id, [int(event["event_id"]) for event in naive])
    same(table.event_type, [event["event_type"].removeprefix("EVENT_TYPE_") for event in naive])
    times = pd.to_datetime([event["event_time"] for event in naive], format="ISO8601")
    assert (table.event_time == times.as_unit("ns")).all()
    for column in ("scheduled_event_id", "started_event_id", "workflow_task_completed_event_id"):
        given = [event["attributes"].get(column) for event in naive]
        same(table[column], [None if v is None else int(v) for v in given])
    for column in ("timer_id", "signal_name", "marker_name", "identity", "attempt"):
        if column != "identity" or name != "everything":
            same(table[column], [event["attributes"].get(column) for event in naive])


@pytest.mark.parametrize("name", NAMES)
def test_every_event_of_an_activity_names_id_and_type(name: str) -> None:
    table = tables.events(golden(name))
    about = table[table.group_kind == "activity"]
    openers = table.set_index("event_id").loc[about.group_id]
    assert (openers.event_type == "ACTIVITY_TASK_SCHEDULED").all()
    assert about.activity_id.tolist() == openers.activity_id.tolist()
    assert about.activity_type.tolist() == openers.activity_type.tolist()
    assert about.activity_type.notna().all()


@pytest.mark.parametrize("name", NAMES)
def test_groups_are_opened_by_the_event_they_name(name: str) -> None:
    table = tables.events(golden(name)).set_index("event_id")
    first = table.groupby(["group_kind", "group_id"], observed=True).event_type.first()
    openers = {
        "activity": "ACTIVITY_TASK_SCHEDULED",
        "timer": "TIMER_STARTED",
        "workflow_task": "WORKFLOW_TASK_SCHEDULED",
        "child_workflow": "START_CHILD_WORKFLOW_EXECUTION_INITIATED",
        "signal": "WORKFLOW_EXECUTION_SIGNALED",
        "update": "WORKFLOW_EXECUTION_UPDATE_ACCEPTED",
        "marker": "MARKER_RECORDED",
        "workflow_execution": "WORKFLOW_EXECUTION_STARTED",
    }
    assert {kind: openers[kind] for kind, _ in first.index} == dict(
        zip(first.index.get_level_values(0), first, strict=True)
    )


def test_an_update_names_itself_on_both_its_events() -> None:
    table = tables.events(golden("everything"))
    update = table[table.group_kind == "update"]
    assert update.update_name.tolist() == ["ask", "ask"]
    assert update.update_id.nunique() == 1
    assert update.payload_bytes.tolist() == [len('"an update"'), 1]
    assert update.identity.tolist()[0] == "client@lab"


def test_payload_bytes_are_those_of_the_data_and_na_without_any() -> None:
    table = tables.events(golden("clean")).set_index("event_type")
    assert table.payload_bytes["ACTIVITY_TASK_SCHEDULED"].tolist() == [3, 4, 5]
    assert table.payload_bytes["WORKFLOW_EXECUTION_COMPLETED"] == len('["a","bb","ccc"]')
    assert table.payload_bytes["WORKFLOW_TASK_STARTED"].isna().all()
    assert pd.isna(table.payload_bytes["WORKFLOW_EXECUTION_STARTED"])


def test_failures_are_told_below_temporals_wrappers() -> None:
    table = tables.events(golden("everything")).set_index("event_type")
    assert table.failure_type["WORKFLOW_EXECUTION_FAILED"] == "Hopeless"
    assert table.failure_message["WORKFLOW_EXECUTION_FAILED"] == "never"
    assert table.failure_type["CHILD_WORKFLOW_EXECUTION_FAILED"] == "Refused"
    assert table.retry_state["ACTIVITY_TASK_FAILED"] == "NON_RETRYABLE_FAILURE"
    timeouts = tables.events(golden("timeouts"))
    assert set(timeouts.timeout_type.dropna()) == {"START_TO_CLOSE", "HEARTBEAT"}
    assert "TimeoutFailure" in set(timeouts.failure_type.dropna())


def test_since_start_counts_from_the_started_event_of_its_own_run() -> None:
    table = tables.events(goldens())
    starts = table.groupby("run_id").event_time.transform("first")
    assert ((table.event_time - starts).dt.total_seconds() - table.since_start_s).abs().max() < 1e-6
    assert (table.since_start_s[table.event_id == 1] == 0).all()


def test_several_histories_stand_one_after_the_other() -> None:
    apart = [tables.events(history) for history in goldens()]
    together = tables.events(iter(goldens()))
    pd.testing.assert_frame_equal(together, pd.concat(apart, ignore_index=True))


def test_a_plain_history_of_the_sdk_has_no_namespace() -> None:
    history = golden("clean")
    table = tables.events(WorkflowHistory(history.workflow_id, history.events))
    assert table.namespace.isna().all()
    assert table.attrs["clock"] == "unknown"
    assert set(table.run_id) == {history.run_id}


def test_a_history_without_its_beginning_is_refused() -> None:
    history = golden("clean")
    with pytest.raises(TableError, match="'clean' does not begin with WorkflowExecutionStarted"):
        tables.events(WorkflowHistory("clean", history.events[3:]))


def test_a_history_without_events_gives_no_rows() -> None:
    assert len(tables.events(WorkflowHistory("nothing", []))) == 0


def fill(message: Message, descriptor: Descriptor, depth: int) -> None:
    """Set every field of a message, one level of each oneof, down to a depth."""
    for field in descriptor.fields:
        repeated = field.is_repeated
        if field.message_type is None and not repeated:
            setattr(message, field.name, plain(field))
        elif field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        elif depth:
            value = getattr(message, field.name)
            fill(value.add() if repeated else value, field.message_type, depth - 1)
            if not repeated:
                value.SetInParent()


def plain(field: FieldDescriptor) -> Any:
    """Return a value that is not the field's default."""
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    return {str: "text", bytes: b"data", bool: True, float: 1.5}.get(type(field.default_value), 1)


def event_of(kind: str, *, full: bool) -> HistoryEvent:
    """Generate an event of a type, empty or with every field set."""
    event = HistoryEvent(event_id=2, event_type=KINDS[kind])
    name = kind.removeprefix("EVENT_TYPE_").lower() + "_event_attributes"
    field = HistoryEvent.DESCRIPTOR.fields_by_name[name]
    attributes = getattr(event, name)
    attributes.SetInParent()
    if full:
        assert field.message_type is not None
        fill(attributes, field.message_type, depth=4)
    return event


@pytest.mark.parametrize("full", [False, True], ids=["bare", "full"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_event_type_that_the_sdk_knows_becomes_a_row(kind: str, full: bool) -> None:
    beginning = golden("clean").events[:1]
    history = WorkflowHistory("made", [*beginning, event_of(kind, full=full)])
    table = tables.validate(tables.events(history))
    assert table.event_type[1] == kind.removeprefix("EVENT_TYPE_")
    assert table.group_kind.notna().all()
    for name in ("executions", "activities", "attempts", "timers", "child_workflows"):
        tables.validate(getattr(tables, name)(history))


@pytest.mark.parametrize("name", NAMES)
def test_executions_counts_what_a_naive_walk_counts(name: str) -> None:
    history = golden(name)
    row = tables.validate(tables.executions(history)).iloc[0]
    kinds = Counter(event["event_type"].removeprefix("EVENT_TYPE_") for event in walk(history))
    begun = walk(history)[0]["attributes"]
    assert row.workflow_type == begun["workflow_type"]["name"]
    assert row.task_queue == begun["task_queue"]["name"]
    assert row.history_length == sum(kinds.values())
    assert row.n_timers == kinds["TIMER_STARTED"]
    assert row.n_children == kinds["START_CHILD_WORKFLOW_EXECUTION_INITIATED"]
    assert row.n_signals == kinds["WORKFLOW_EXECUTION_SIGNALED"]
    assert row.n_updates == kinds["WORKFLOW_EXECUTION_UPDATE_ACCEPTED"]
    assert row.n_workflow_tasks == kinds["WORKFLOW_TASK_SCHEDULED"]
    local = kinds["MARKER_RECORDED"]
    assert row.n_activities == kinds["ACTIVITY_TASK_SCHEDULED"] + local
    assert (row.sdk_name, row.clock) == ("temporal-python", "fast")
    assert row.skipped_s == 0


def test_executions_tells_status_failure_and_duration() -> None:
    table = tables.executions(goldens()).set_index("workflow_id")
    assert table.status.astype(object).to_dict() == {
        "clean": "COMPLETED",
        "mixed": "COMPLETED",
        "timeouts": "COMPLETED",
        "everything": "FAILED",
    }
    assert table.failure_type["everything"] == "Hopeless"
    assert table.n_attempts["mixed"] == 12
    assert table.n_retries["mixed"] == 6
    spans = (table.close_time - table.start_time).dt.total_seconds()
    assert (spans - table.duration_s).abs().max() < 1e-6


def test_a_run_that_goes_on_is_running_and_has_no_end() -> None:
    row = tables.executions(golden("clean", events=6)).iloc[0]
    assert row.status == "RUNNING"
    assert pd.isna(row.close_time)
    assert pd.isna(row.duration_s)


def test_paused_and_unpaused_runs_are_told_apart() -> None:
    beginning = list(golden("clean").events[:1])
    pause = event_of("EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED", full=False)
    unpause = event_of("EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED", full=False)
    paused = tables.executions(WorkflowHistory("p", [*beginning, pause]))
    resumed = tables.executions(WorkflowHistory("p", [*beginning, pause, unpause]))
    assert paused.status[0] == "PAUSED"
    assert resumed.status[0] == "RUNNING"


def test_a_terminated_run_tells_the_reason() -> None:
    end = event_of("EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED", full=False)
    end.workflow_execution_terminated_event_attributes.reason = "history too long"
    row = tables.executions(WorkflowHistory("t", [*golden("clean").events[:1], end])).iloc[0]
    assert (row.status, row.failure_type) == ("TERMINATED", "TerminatedFailure")
    assert row.failure_message == "history too long"


def test_timers_fired_canceled_and_pending() -> None:
    history = golden("everything")
    table = tables.validate(tables.timers(history)).set_index("timer_id")
    started = [e for e in walk(history) if e["event_type"] == "EVENT_TYPE_TIMER_STARTED"]
    assert table.started_event_id.tolist() == [int(e["event_id"]) for e in started]
    timeouts = [float(e["attributes"]["start_to_fire_timeout"].rstrip("s")) for e in started]
    assert table.timeout_s.tolist() == pytest.approx(timeouts)
    fired, canceled = table[table.status == "FIRED"], table[table.status == "CANCELED"]
    assert len(fired) + len(canceled) == len(table)
    assert canceled.timeout_s.tolist() == [60]
    assert canceled.lag_s.isna().all()
    assert ((fired.elapsed_s - fired.timeout_s - fired.lag_s).abs() < 1e-9).all()
    assert (fired.lag_s >= 0).all()
    cut = tables.timers(golden("everything", events=int(started[0]["event_id"])))
    assert cut.status.tolist() == ["PENDING"]
    assert cut.closed_time.isna().all()


def test_child_workflows_completed_failed_and_still_open() -> None:
    table = tables.validate(tables.child_workflows(golden("everything")))
    assert table.child_workflow_id.tolist() == ["everything-c", "everything-f"]
    assert table.status.tolist() == ["COMPLETED", "FAILED"]
    assert table.failure_type.tolist()[1] == "Refused"
    assert table.parent_close_policy.tolist() == ["TERMINATE"] * 2
    assert table.child_run_id.nunique() == 2
    spans = (table.closed_time - table.started_time).dt.total_seconds()
    assert (spans - table.duration_s).abs().max() < 1e-6
    opened = int(table.initiated_event_id[0])
    assert tables.child_workflows(golden("everything", events=opened)).status[0] == "INITIATED"
    assert tables.child_workflows(golden("everything", events=opened + 1)).status[0] == "RUNNING"
