"""A run told line by line: Events as they happen, retries, one bounded line each."""

from __future__ import annotations

import io
import re
import signal
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.workflow.v1 import PendingActivityInfo

from projectai_lab import Lab, _watching
from projectai_lab._watching import Line
from projectai_lab.cli import main
from projectai_lab.client import LabClient
from projectai_lab.config import LabConfig
from projectai_lab.devserver import DevServer
from projectai_lab.errors import LabClosedError, ServerUnreachableError
from projectai_lab.histories import _follow
from projectai_lab.models import FaultPlan, RetrySettings, WorkflowInput
from projectai_lab.workflows import ExampleWorkflow
from tests import zoo
from tests.test_faults_of_the_world import in_thread, kill, restart


def test_a_run_is_told_to_its_end_and_the_status_returned(
    lab: Lab, new_id: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    lab.start_worker(workflows=[zoo.Greeting], activities=[zoo.greet])
    handle = lab.start_workflow(zoo.Greeting.run, args=["greet", "you"], id=new_id("watched"))
    assert handle.watch() == "COMPLETED"
    told = capsys.readouterr().out.splitlines()
    assert len(told) == len(handle.fetch_history().events)
    assert "ACTIVITY_TASK_COMPLETED  greet · result 'hello you'" in "\n".join(told)
    assert handle.watch(after=len(told) - 1) == "COMPLETED"
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_retries_that_history_leaves_out_are_told_and_an_interrupt_leaves_the_run(
    lab: Lab,
    new_id: Callable[[str], str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lab.start_worker(workflows=[zoo.Persistent], activities=[zoo.fail_always])
    handle = lab.start_workflow(
        zoo.Persistent.run, args=["fail_always", "a\nb\x1b[2J"], id=new_id("watched")
    )
    told: list[str] = []

    def retry_told() -> bool:
        told.append(capsys.readouterr().out)
        return "retrying" in "".join(told)

    def until_told() -> None:
        zoo.until(retry_told)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=until_told)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        handle.watch()
    thread.join()
    words = "".join(told) + capsys.readouterr().out
    assert "activity fail_always is retrying (attempt " in words
    assert "last failure: Unlucky: a·b·[2J" in words
    assert "the run goes on: handle.watch(after=" in words
    handle.terminate()
    assert handle.watch() == "TERMINATED"


def test_an_execution_that_is_not_there_says_so(lab: Lab) -> None:
    with pytest.raises(Exception, match="not found"):
        lab.get_workflow_handle("never-there").watch()


def test_lines_are_bounded_in_width_and_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    out = io.StringIO()
    coming = [*(Line("x" * 200, n) for n in range(9)), Line("end", 10, "FAILED")]
    assert _watching.tell(coming, out, most=3) == "FAILED"
    told = out.getvalue().splitlines()
    assert [len(line) for line in told[:3]] == [60] * 3
    assert told[3:] == ["… more than 3 lines: only the end is told", "end"]


def test_a_retry_says_when_it_is_due_where_the_server_does() -> None:
    pending = PendingActivityInfo()
    assert _watching.due(pending) == ""
    pending.next_attempt_schedule_time.FromJsonString("2026-01-02T03:04:05Z")
    assert _watching.due(pending) == "next attempt at 03:04:05 UTC: "
    pending.last_attempt_complete_time.FromJsonString("2026-01-02T03:03:57Z")
    assert _watching.due(pending) == "next attempt at 03:04:05 UTC, 8 s after the last: "


def test_a_backoff_is_told_with_its_due_time(
    lab: Lab, new_id: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    handle = lab.start_workflow(
        ExampleWorkflow.run,
        WorkflowInput(
            "x",
            "u",
            faults=FaultPlan(fail_first={"simulate_ai_call": 9}),
            retry={"simulate_ai_call": RetrySettings(initial_interval=timedelta(minutes=5))},
        ),
        id=new_id("backs-off"),
    )
    thread = in_thread(handle.watch, [])
    zoo.until(lambda: "retrying" in out.getvalue())
    handle.terminate()
    thread.join(30)
    told = next(line for line in out.getvalue().splitlines() if "retrying" in line)
    assert re.search(r"next attempt at \d\d:\d\d:\d\d UTC, 300 s after the last: activity ", told)


def test_the_terminal_tells_a_run_and_its_status_is_the_exit_code(
    lab: Lab, new_id: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    lab.start_worker(workflows=[zoo.Greeting], activities=[zoo.greet])
    handle = lab.start_workflow(zoo.Greeting.run, args=["greet", "you"], id=new_id("told"))
    where = ("--address", lab.address)
    assert main(["watch", handle.id, *where]) == 0
    assert "WORKFLOW_EXECUTION_COMPLETED" in capsys.readouterr().out
    ended = lab.start_workflow("Any", id=new_id("ended"), task_queue=f"{lab.task_queue}-idle")
    ended.terminate()
    assert main(["watch", ended.id, *where]) == 1
    assert "WORKFLOW_EXECUTION_TERMINATED" in capsys.readouterr().out
    assert main(["watch", "never-there", *where]) == 3
    assert "There is no Workflow Execution 'never-there'" in capsys.readouterr().err


def test_a_long_outage_is_a_named_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_follow, "_OUTAGE_S", 0.0)
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    failures: list[BaseException] = []
    with DevServer.start() as server, LabClient.connect(LabConfig(address=server.address)) as lab:
        handle = lab.start_workflow("Any", id="watched")
        thread = in_thread(handle.watch, failures)
        zoo.until(lambda: "WORKFLOW_TASK_SCHEDULED" in out.getvalue())
        kill(server)
        thread.join(60)
        assert not thread.is_alive()
    assert [type(one) for one in failures] == [ServerUnreachableError]
    assert server.address in str(failures[0])


def test_an_outage_is_told_and_ridden_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    ends: list[str] = []
    with (
        DevServer.start(db_filename=tmp_path / "lab.db") as server,
        LabClient.connect(LabConfig(address=server.address)) as lab,
    ):
        handle = lab.start_workflow("Any", id="watched")
        thread = in_thread(handle.watch, ends)
        zoo.until(lambda: "WORKFLOW_TASK_SCHEDULED" in out.getvalue())
        kill(server)
        zoo.until(lambda: f"the server at {lab.address} does not answer" in out.getvalue())
        with restart(server):
            handle.terminate()
            thread.join(60)
    assert ends == ["TERMINATED"]


def test_a_lab_closed_meanwhile_is_a_named_error(
    config: LabConfig, new_id: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    failures: list[BaseException] = []
    with LabClient.connect(config) as lab:
        handle = lab.start_workflow("Any", id=new_id("watched"))
        thread = in_thread(handle.watch, failures)
        zoo.until(lambda: "WORKFLOW_TASK_SCHEDULED" in out.getvalue())
    thread.join(30)
    assert [type(one) for one in failures] == [LabClosedError]
    assert "the Lab was closed" in str(failures[0])
    with pytest.raises(LabClosedError):
        handle.watch()
