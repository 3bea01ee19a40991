"""The recorder keeps every attempt, also of a worker that died, and never harms the activity."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ActivityError, ApplicationError, FailureError

from projectai_lab import (
    FaultPlan,
    Lab,
    LabConfig,
    RetrySettings,
    TimeoutSettings,
    WorkflowInput,
    tables,
)
from projectai_lab._verdict import verdict
from projectai_lab.attempts import AttemptLog, AttemptRecorder, read
from projectai_lab.errors import HistoryFileError
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.workflows import ExampleWorkflow
from tests import attempt_workflows as kinds
from tests import zoo

START = {
    "key",
    "namespace",
    "workflow_id",
    "run_id",
    "workflow_type",
    "activity_id",
    "activity_type",
    "attempt",
    "is_local",
    "task_queue",
    "identity",
    "pid",
    "host",
    "scheduled_ns",
    "attempt_scheduled_ns",
    "started_ns",
    "worker_started_ns",
}
END = {"worker_finished_ns", "worker_exec_s", "outcome"}
FAILURE = {"failure_type", "failure_message", "non_retryable", "next_retry_delay_s"}


@pytest.fixture
def lab(address: str) -> Iterator[Lab]:
    """Return a Lab with the zoo and an empty attempt log."""
    config = LabConfig(address=address, task_queue=f"tests-attempts-{uuid.uuid4().hex[:12]}")
    workflows, activities = (*zoo.WORKFLOWS, *kinds.WORKFLOWS), (*zoo.ACTIVITIES, *kinds.ACTIVITIES)
    with Lab.connect(config, workflows=workflows, activities=activities) as opened:
        yield opened


def records(lab: Lab) -> list[dict[str, Any]]:
    """Return what was recorded so far."""
    assert lab.attempts is not None
    return lab.attempts.records()


def test_every_attempt_of_a_run_is_recorded_with_both_clocks(lab: Lab) -> None:
    before = time.time_ns()
    handle = lab.start_workflow(
        ExampleWorkflow.run,
        WorkflowInput(
            "hello",
            "u-1",
            faults=FaultPlan(fail_first={"simulate_ai_call": 3}),
            retry={"simulate_ai_call": RetrySettings(initial_interval=0.05)},
        ),
    )
    assert handle.result(timeout=20).success
    found = records(lab)
    assert [(one["activity_type"], one["attempt"], one["outcome"]) for one in found] == [
        ("validate_input", 1, "COMPLETED"),
        ("simulate_ai_call", 1, "FAILED"),
        ("simulate_ai_call", 2, "FAILED"),
        ("simulate_ai_call", 3, "FAILED"),
        ("simulate_ai_call", 4, "COMPLETED"),
        ("process_ai_task", 1, "COMPLETED"),
    ]
    for one in found:
        failed = one["outcome"] == "FAILED"
        assert set(one) == START | END | (FAILURE if failed else set())
        assert (one["workflow_id"], one["run_id"]) == (handle.id, handle.run_id)
        assert (one["namespace"], one["workflow_type"]) == ("default", "ExampleWorkflow")
        assert (one["pid"], one["is_local"]) == (os.getpid(), False)
        assert one["task_queue"] == lab.task_queue
        assert one["scheduled_ns"] <= one["attempt_scheduled_ns"] <= one["started_ns"]
        assert before < one["worker_started_ns"] <= one["worker_finished_ns"] <= time.time_ns()
        assert 0 <= one["worker_exec_s"] < 20
    assert lab.worker is not None
    assert {one["identity"] for one in found} == {getattr(lab.worker, "identity", None)}
    assert len({one["key"] for one in found}) == 6
    scheduled = {one["scheduled_ns"] for one in found if one["activity_type"] == "simulate_ai_call"}
    assert len(scheduled) == 1


def test_scheduled_is_the_time_of_the_scheduled_event(lab: Lab) -> None:
    handle = lab.start_workflow(zoo.Greeting.run, "greet", "you")
    handle.result(timeout=20)
    (record,) = records(lab)
    (event,) = (
        event
        for event in handle.fetch_history().events
        if event.HasField("activity_task_scheduled_event_attributes")
    )
    assert abs(record["scheduled_ns"] - event.event_time.ToNanoseconds()) < 1_000
    attributes = event.activity_task_scheduled_event_attributes
    assert record["activity_id"] == attributes.activity_id


def test_failures_are_kept_with_type_message_and_retryability(lab: Lab) -> None:
    with pytest.raises(WorkflowFailureError):
        lab.execute_workflow(zoo.Greeting.run, "log_and_fail", "so be it", timeout=20)
    with pytest.raises(WorkflowFailureError):
        lab.execute_workflow(zoo.Greeting.run, "raise_plainly", "oops", timeout=20)
    with pytest.raises(WorkflowFailureError):
        lab.execute_workflow(zoo.Greeting.run, "fail_with_delay", 2.5, timeout=20)
    assert [{name: one[name] for name in FAILURE} for one in records(lab)] == [
        {
            "failure_type": "Unlucky",
            "failure_message": "so be it",
            "non_retryable": True,
            "next_retry_delay_s": None,
        },
        {
            "failure_type": "KeyError",
            "failure_message": "'oops'",
            "non_retryable": False,
            "next_retry_delay_s": None,
        },
        {
            "failure_type": "Busy",
            "failure_message": "later",
            "non_retryable": False,
            "next_retry_delay_s": 2.5,
        },
    ]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("no type", "ApplicationFailure"),
        ("own class", "ApplicationFailure"),
        ("own type", "Typed"),
        ("plain", "KeyError"),
        ("no message", "TimeoutError"),
        ("cancelled by itself", "CancelledError"),
    ],
)
def test_record_and_history_name_a_failure_alike(lab: Lab, kind: str, expected: str) -> None:
    handle = lab.start_workflow(kinds.Configured.run, kinds.Asked("raise_in_kind", kind, most=1))
    with pytest.raises(WorkflowFailureError):
        handle.result(timeout=20)
    (record,) = records(lab)
    row = tables.attempts(handle.fetch_history()).iloc[0]
    told = None if pd.isna(row.failure_message) else row.failure_message
    assert (row.failure_type, told) == (record["failure_type"], record["failure_message"])
    assert record["failure_type"] == expected


def test_a_wrapped_failure_is_named_by_what_it_wraps() -> None:
    inner = ApplicationError("inner", type="Inner")
    facts: dict[str, Any] = {"scheduled_event_id": 1, "started_event_id": 2, "identity": "me"}
    facts |= {"activity_type": "t", "activity_id": "1", "retry_state": None}
    wrapped = ActivityError("wrapped", **facts)
    assert verdict(wrapped)["failure_type"] == "ActivityFailure"
    wrapped.__cause__ = inner
    told = verdict(wrapped)
    assert (told["failure_type"], told["failure_message"]) == ("Inner", "inner")
    assert verdict(FailureError("bare"))["failure_type"] == "Failure"


def test_an_error_that_cannot_be_told_still_ends_its_attempt(lab: Lab) -> None:
    asked = kinds.Asked("raise_in_kind", "unspeakable", most=1)
    handle = lab.start_workflow(kinds.Configured.run, asked)
    with pytest.raises(WorkflowFailureError):
        handle.result(timeout=20)
    (record,) = records(lab)
    assert (record["outcome"], record["failure_type"]) == ("FAILED", "UnspeakableError")
    assert record["failure_message"] == "(its message cannot be read: RuntimeError)"


def test_whatever_an_error_holds_makes_a_row_that_can_be_written() -> None:
    odd: Any = {"message": 5, "type": 7, "next_retry_delay": 1.5}
    told = verdict(ApplicationError(**odd))
    assert json.loads(json.dumps(told)) == told
    assert (told["failure_type"], told["failure_message"]) == ("7", "5")
    assert told["next_retry_delay_s"] is None
    assert len(verdict(ValueError("x" * 10_000))["failure_message"]) == 500


def test_an_activity_that_is_completed_elsewhere_has_no_outcome_by_its_function(lab: Lab) -> None:
    handle = lab.start_workflow(kinds.Configured.run, kinds.Asked("complete_elsewhere"))
    zoo.until(lambda: records(lab) and "completes_elsewhere" in records(lab)[0])
    row = tables.attempts(handle.fetch_history(), recorder=lab.attempts).iloc[0]
    assert (row.state, row.time_quality) == ("RUNNING", "unknown")
    assert pd.isna(row.worker_outcome)
    token = lab.client.get_async_activity_handle(
        workflow_id=handle.id, run_id=handle.run_id, activity_id="1"
    )
    lab.within(lambda: token.complete("done"))
    assert handle.result(timeout=20) == ["done"]
    row = tables.attempts(handle.fetch_history(), recorder=lab.attempts).iloc[0]
    assert (row.state, row.time_quality) == ("ENDED", "measured_server")
    assert row.exec_s > row.worker_exec_s


def test_a_cancelled_attempt_is_recorded_as_cancelled(lab: Lab) -> None:
    handle = lab.start_workflow(zoo.Persistent.run, "hold", 20)
    zoo.until(lambda: records(lab))
    handle.cancel()
    with pytest.raises(WorkflowFailureError):
        handle.result(timeout=20)
    zoo.until(lambda: "outcome" in records(lab)[0])
    assert [one["outcome"] for one in records(lab)] == ["CANCELED"]


def test_an_attempt_that_outlives_its_timeout_is_recorded_as_the_worker_saw_it(lab: Lab) -> None:
    request = WorkflowInput(
        "a",
        "u",
        faults=FaultPlan(hang_first={"validate_input": 1}),
        retry={"validate_input": RetrySettings(initial_interval=0.05)},
        timeouts={"validate_input": TimeoutSettings(start_to_close=0.3)},
    )
    handle = lab.start_workflow(ExampleWorkflow.run, request)
    assert handle.result(timeout=20).success
    zoo.until(lambda: all("outcome" in one for one in records(lab)))
    first, second = (one for one in records(lab) if one["activity_type"] == "validate_input")
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert first["worker_finished_ns"] > second["worker_started_ns"]


def test_an_attempt_that_runs_has_a_start_and_no_end(lab: Lab, tmp_path: Path) -> None:
    handle: LabWorkflowHandle[int] = lab.start_workflow(
        zoo.Persistent.run, "wait_for_file", str(tmp_path / "go")
    )
    (record,) = zoo.until(lambda: records(lab))
    assert set(record) == START
    (tmp_path / "go").touch()
    assert handle.result(timeout=20) == 1
    assert zoo.until(lambda: set(records(lab)[0]) == START | END)


def test_saved_attempts_read_equal(lab: Lab, tmp_path: Path) -> None:
    lab.execute_workflow(ExampleWorkflow.run, WorkflowInput("ä \u2028 🙂", "u"), timeout=20)
    assert lab.attempts is not None
    path = lab.attempts.save(tmp_path / "attempts.jsonl")
    assert read(path) == list(lab.attempts)
    assert len(read(path)) == 3


def write(folder: Path, *lines: str) -> Path:
    """Write a log file with these lines, the last without its end."""
    file = folder / "1-a.jsonl"
    file.write_text("\n".join(lines))
    return file


def row(kind: str, key: str, at: int, **facts: Any) -> str:
    """Return one row as the recorder writes it."""
    start = {"attempt": 1, "worker_started_ns": at} if kind == "start" else {"outcome": "COMPLETED"}
    return json.dumps({"kind": kind, "key": key, **start, **facts})


def test_half_a_line_is_skipped_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, row("start", "a", 1), row("end", "a", 1), row("start", "b", 2)[:20])
    assert read(tmp_path) == [
        {"key": "a", "attempt": 1, "worker_started_ns": 1, "outcome": "COMPLETED"}
    ]
    assert caplog.messages == ["1-a.jsonl: line 3 not an attempt row; skipped"]


def test_what_is_no_row_is_told_once_a_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = write(tmp_path, "[]", '"text"', "5", "{}", "", row("start", "a", 1))
    file.write_bytes(b"\xff\xfe\n" + file.read_bytes())
    assert [record["key"] for record in read(file)] == ["a"]
    assert caplog.messages == ["1-a.jsonl: line 1 and 5 more not an attempt row; skipped"]


def test_an_end_without_its_start_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, row("end", "a", 1), row("start", "b", 1))
    assert [record["key"] for record in read(tmp_path)] == ["b"]


def test_files_of_several_processes_are_read_as_one_log_in_order_of_start(tmp_path: Path) -> None:
    (tmp_path / "1-a.jsonl").write_text(row("start", "a", 30) + "\n" + row("start", "b", 10))
    (tmp_path / "2-b.jsonl").write_text(row("start", "c", 20) + "\n" + row("end", "b", 40))
    assert [record["key"] for record in read(tmp_path)] == ["b", "c", "a"]
    assert read(tmp_path)[0]["outcome"] == "COMPLETED"


def test_an_empty_log_has_no_records(tmp_path: Path) -> None:
    assert read(tmp_path) == []
    assert AttemptLog(tmp_path).records() == []


def test_a_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistoryFileError, match=r"there is no attempt log at .*nowhere"):
        read(tmp_path / "nowhere")


def test_a_temporary_log_lives_on_in_memory_and_closing_twice_is_harmless() -> None:
    log = AttemptLog()
    write(log.folder, row("start", "a", 1))
    assert repr(log) == f"<AttemptLog {log.folder}>"
    log.close()
    log.close()
    assert not log.folder.exists()
    assert [record["key"] for record in log] == ["a"]
    assert repr(log) == "<AttemptLog in memory>"


def test_a_given_folder_is_made_and_stays(tmp_path: Path) -> None:
    log = AttemptLog(tmp_path / "deep" / "log")
    write(log.folder, row("start", "a", 1))
    log.close()
    assert [record["key"] for record in AttemptLog(log.folder)] == ["a"]


def test_a_full_disk_is_told_once_and_fails_no_activity(
    lab: Lab, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    recorder = AttemptRecorder(AttemptLog(tmp_path), "me")
    recorder.close()
    recorder._file = os.open("/dev/full", os.O_WRONLY)
    lab.start_worker(workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES, interceptors=[recorder])
    for _ in range(2):
        assert lab.execute_workflow(zoo.Greeting.run, "greet", "you", timeout=20) == "hello you"
    recorder.close()
    assert [message for message in caplog.messages if "attempt log" in message] == [
        "the attempt log is incomplete from now on: [Errno 28] No space left on device"
    ]


def test_a_closed_recorder_writes_nothing_more(tmp_path: Path) -> None:
    recorder = AttemptRecorder(AttemptLog(tmp_path), "me")
    recorder.close()
    recorder.close()
    recorder.ended("key", 0.1, None)
    assert read(tmp_path) == []
