"""A run told line by line: Events as they happen, retries, one bounded line each."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.common import RetryPolicy

from projectai_lab import Lab, _troubles, _watching
from projectai_lab._pollers import alive_workers
from projectai_lab._watching import Line
from projectai_lab.cli import main
from projectai_lab.client import LabClient
from projectai_lab.config import LabConfig
from projectai_lab.devserver import DevServer
from projectai_lab.errors import LabClosedError, ServerUnreachableError
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.histories import _follow
from projectai_lab.models import FaultPlan, RetrySettings, WorkflowInput
from projectai_lab.worker_process import WorkerProcess
from projectai_lab.workflows import ExampleWorkflow
from tests import attempt_workflows as kinds
from tests import zoo
from tests.test_faults_of_the_world import in_thread, kill, restart


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be of no terminal's width: what ran before may have set one."""
    monkeypatch.delenv("COLUMNS", raising=False)


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
    going_on = r"^no longer watched; the run goes on: handle\.watch\(after=\d+\)$"
    with pytest.raises(KeyboardInterrupt, match=going_on):
        handle.watch()
    thread.join()
    words = "".join(told) + capsys.readouterr().out
    assert "activity fail_always is retrying (attempt " in words
    assert "last failure: Unlucky: a·b·[2J" in words
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


def written(line: Line, columns: int, monkeypatch: pytest.MonkeyPatch, out: io.StringIO) -> str:
    """Return what is written of a line in a terminal of so many columns."""
    monkeypatch.setenv("COLUMNS", str(columns))
    _watching.tell([line], out, most=9)
    return out.getvalue()


def test_why_something_fails_is_folded_and_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    why = "activity greet is retrying; last failure: Unlucky: " + "bad luck " * 8
    words = written(_watching._beside(why, bad=True), 80, monkeypatch, io.StringIO())
    rows = words.splitlines()
    assert len(rows) == 3
    assert max(map(len, rows)) <= 80
    assert {row[:19] for row in rows} == {" " * 19}
    assert " ".join(words.split()) == why.strip()


def test_what_does_not_fit_three_rows_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = Line("x" * 1000, 7, bad=True)
    rows = written(endless, 80, monkeypatch, io.StringIO()).splitlines()
    assert [len(row) for row in rows] == [80, 80, 80]
    assert rows[2].endswith("x…")


def test_a_narrow_terminal_gets_the_words_and_no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    event = Line("   +2.72 s     16  WORKFLOW_EXECUTION_CONTINUED_AS_NEW  Chain · x", 16)
    rows = written(event, 40, monkeypatch, io.StringIO()).splitlines()
    assert rows == ["+2.72 s 16", "  WORKFLOW_EXECUTION_CONTINUED_AS_NEW", "  Chain · x"]


def test_without_a_terminal_a_line_stays_one_for_grep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "__stdout__", io.StringIO())
    out = io.StringIO()
    _watching.tell([Line("word " * 90, bad=True)], out, most=9)
    assert len(out.getvalue().splitlines()) == 1
    assert "…" not in out.getvalue()


class Terminal(io.StringIO):
    """What says that it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_a_terminal_gets_failures_in_red_and_no_color_is_heeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    bad, good = Line("failed", bad=True), Line("went well")
    assert written(bad, 80, monkeypatch, Terminal()) == "\x1b[31mfailed\x1b[0m\n"
    assert written(good, 80, monkeypatch, Terminal()) == "went well\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert written(bad, 80, monkeypatch, Terminal()) == "failed\n"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "handle.watch()"),
        ([Line("one", 7)], "handle.watch(after=7)"),
        ([Line("one", 7, "CONTINUED_AS_NEW", next_run="r-2"), Line("two", 3)], "handle.watch()"),
    ],
)
def test_an_interrupt_says_how_to_go_on(lines: list[Line], words: str) -> None:
    def coming() -> Iterator[Line]:
        yield from lines
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        _watching.tell(coming(), io.StringIO(), most=9)
    assert str(caught.value) == f"no longer watched; the run goes on: {words}"


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
    told = capsys.readouterr().err
    assert "There is no Workflow Execution 'never-there' in this Namespace" in told
    assert "See what there is: projectai-lab status" in told


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


def test_each_outage_is_told_once_and_so_is_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    ends: list[str] = []
    with (
        DevServer.start(db_filename=tmp_path / "lab.db") as server,
        LabClient.connect(LabConfig(address=server.address)) as lab,
    ):
        away = f"the server at {lab.address} does not answer"
        handle = lab.start_workflow("Any", id="watched")
        thread = in_thread(handle.watch, ends)
        zoo.until(lambda: "WORKFLOW_TASK_SCHEDULED" in out.getvalue())
        kill(server)
        zoo.until(lambda: out.getvalue().count(away) == 1)
        with restart(server) as second:
            zoo.until(lambda: out.getvalue().count("the server answers again after ") == 1)
            kill(second)
            zoo.until(lambda: out.getvalue().count(away) == 2)
        with restart(server):
            zoo.until(lambda: out.getvalue().count("the server answers again after ") == 2)
            handle.terminate()
            thread.join(60)
    assert ends == ["TERMINATED"]
    told = [line.strip() for line in out.getvalue().splitlines() if "server" in line]
    assert told[::2] == [away, away]
    assert all(re.fullmatch(r"the server answers again after \d+ s", line) for line in told[1::2])


def test_a_worker_that_comes_and_goes_is_told_each_time(
    lab: Lab, new_id: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    queue = f"{lab.task_queue}-comes-and-goes"
    handle = lab.start_workflow("Counter", id=new_id("watched"), task_queue=queue)
    ends: list[str] = []
    thread = in_thread(handle.watch, ends)
    nobody, somebody = (
        f"no worker polls Task Queue {queue!r}",
        f"a worker polls Task Queue {queue!r}",
    )
    zoo.until(lambda: out.getvalue().count(nobody) == 1)
    worker = lab.start_worker(workflows=[zoo.Counter], task_queue=queue, process=True)
    assert isinstance(worker, WorkerProcess)
    zoo.until(lambda: out.getvalue().count(somebody) == 1)
    worker.kill()
    handle.signal("add", 1)
    zoo.until(lambda: out.getvalue().count(nobody) == 2)
    handle.terminate()
    thread.join(60)
    assert ends == ["TERMINATED"]
    told = [line.strip() for line in out.getvalue().splitlines() if "polls Task Queue" in line]
    # A run that was ended says nothing of workers.
    assert [nobody in line for line in told] == [True, False, True]
    assert re.fullmatch(rf"{re.escape(somebody)} now, after \d+ s", told[1])


def test_code_that_was_mended_is_told(
    lab: Lab, new_id: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    with LabClient.connect(lab.config) as bare:
        handle = bare.start_workflow("Sleeper", 600.0, id=new_id("watched"))
        thread = in_thread(handle.watch, [])
        zoo.until(lambda: "Workflow class Sleeper is not registered" in out.getvalue())
        lab.start_worker(workflows=[zoo.Sleeper])
        zoo.until(lambda: "its Workflow Task no longer fails, after " in out.getvalue())
        handle.terminate()
        thread.join(30)
    assert "TIMER_STARTED" in out.getvalue()


def test_a_worker_that_is_not_yet_back_after_its_server_is_not_called_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_troubles, "_BACK_WITHIN_S", 60.0)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    go, ends = tmp_path / "go", list[str]()
    server = DevServer.start(db_filename=tmp_path / "lab.db")
    with server, Lab.connect(LabConfig(address=server.address), worker=False) as lab:
        worker = lab.start_worker(workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES, process=True)
        assert isinstance(worker, WorkerProcess)
        handle = lab.start_workflow(zoo.Greeting.run, args=["wait_for_file", str(go)])
        thread = in_thread(handle.watch, ends)
        # Long enough for the watch to have seen it, and to ask for workers at once.
        zoo.until(lambda: held_s(handle) > 2.5)
        kill(server)
        zoo.until(lambda: "does not answer" in out.getvalue())
        # As slow as any worker may be to come back.
        zoo.freeze(worker.pid)
        with restart(server):
            zoo.until(lambda: "the server answers again" in out.getvalue())
            os.kill(worker.pid, signal.SIGCONT)
            zoo.until(lambda: lab.within(lambda: alive_workers(lab.client, lab.task_queue)))
            go.touch()
            thread.join(60)
    assert ends == ["COMPLETED"]
    assert "no worker polls" not in out.getvalue()


def held_s(handle: LabWorkflowHandle[Any]) -> float:
    """Return for how long a worker has had the run's activity, in seconds."""
    pending = handle.describe().raw_description.pending_activities
    started = [one.last_started_time.ToNanoseconds() / 1e9 for one in pending]
    return time.time() - max(started) if any(started) else 0.0


def test_activities_that_retry_alike_are_each_told(
    lab: Lab, new_id: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    lab.start_worker(workflows=kinds.WORKFLOWS, activities=kinds.ACTIVITIES)
    in_turn = lab.start_workflow(kinds.InTurn.run, 2.0, id=new_id("in-turn"))
    assert in_turn.watch() == "COMPLETED"
    assert out.getvalue().count("activity fail_before is retrying (attempt 2") == 2


def test_activities_that_retry_alike_at_once_share_a_line(
    lab: Lab, new_id: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    lab.start_worker(workflows=kinds.WORKFLOWS, activities=kinds.ACTIVITIES)
    asked = kinds.Asked("fail_before", 9, first_s=600, times=3)
    handle = lab.start_workflow(kinds.Configured.run, asked, id=new_id("at-once"))
    zoo.until(lambda: len(retrying(handle)) == 3)
    thread = in_thread(handle.watch, [])
    zoo.until(lambda: "retrying" in out.getvalue())
    handle.terminate()
    thread.join(30)
    (line,) = [line for line in out.getvalue().splitlines() if "retrying" in line]
    assert line.endswith("(and 2 more alike)")


def retrying(handle: LabWorkflowHandle[Any]) -> list[PendingActivityInfo]:
    """Return the activities that are past their first attempt."""
    pending = handle.describe().raw_description.pending_activities
    return [one for one in pending if one.attempt > 1]


def test_a_run_that_continues_as_new_is_told_to_the_end_of_the_last(
    lab: Lab, new_id: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    lab.start_worker(workflows=kinds.WORKFLOWS, activities=kinds.ACTIVITIES)
    handle = lab.start_workflow(kinds.Again.run, 2, id=new_id("chain"))
    first = lab.get_workflow_handle(handle.id, run_id=handle.run_id)
    assert first.watch() == "COMPLETED"
    told = capsys.readouterr().out
    assert told.count("WORKFLOW_EXECUTION_STARTED") == 3
    assert told.count("WORKFLOW_EXECUTION_CONTINUED_AS_NEW  Again · goes on in a new run") == 2
    assert told.count("WORKFLOW_EXECUTION_COMPLETED  result 0") == 1
    # The Event Id to go on after is one of the first run.
    assert first.watch(after=1) == "COMPLETED"
    assert capsys.readouterr().out.count("WORKFLOW_EXECUTION_STARTED") == 2
    assert main(["watch", handle.id, "--address", lab.address]) == 0
    assert capsys.readouterr().out.count("WORKFLOW_EXECUTION_STARTED") == 1


def test_a_failed_run_that_is_retried_is_told_to_the_end_of_the_last(
    lab: Lab, new_id: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    lab.start_worker(workflows=[zoo.Doomed])
    policy = RetryPolicy(initial_interval=timedelta(seconds=0.2), maximum_attempts=2)
    handle = lab.start_workflow(zoo.Doomed.run, "why", id=new_id("tried"), retry_policy=policy)
    assert lab.get_workflow_handle(handle.id, run_id=handle.run_id).watch() == "FAILED"
    told = [line for line in capsys.readouterr().out.splitlines() if "EXECUTION_FAILED" in line]
    assert ["goes on in a new run" in line for line in told] == [True, False]
    assert all("Doom: why" in line for line in told)


def test_the_id_of_a_child_is_told_and_can_be_watched(
    lab: Lab, new_id: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    lab.start_worker(workflows=[zoo.Parent, zoo.Sleeper])
    handle = lab.start_workflow(zoo.Parent.run, 0.0, id=new_id("parent"))
    assert handle.watch() == "COMPLETED"
    found = re.search(r"EXECUTION_INITIATED  Sleeper · id (\S+)", capsys.readouterr().out)
    assert found
    assert lab.get_workflow_handle(found[1]).watch() == "COMPLETED"
    assert "result 'awake'" in capsys.readouterr().out


def test_a_reader_that_has_seen_enough_ends_the_watch_in_peace(
    lab: Lab, new_id: Callable[[str], str]
) -> None:
    lab.start_worker(workflows=kinds.WORKFLOWS, activities=kinds.ACTIVITIES)
    handle = lab.start_workflow(kinds.Again.run, 1, id=new_id("piped"))
    command = [sys.executable, "-m", "projectai_lab", "watch", handle.id, "--address", lab.address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stdout
        assert watching.stderr
        assert b"WORKFLOW_EXECUTION_STARTED" in watching.stdout.readline()
        watching.stdout.close()
        assert watching.stderr.read() == b""
        assert watching.wait(30) == 0


def test_an_interrupt_in_a_terminal_says_what_to_type_there(
    lab: Lab, new_id: Callable[[str], str]
) -> None:
    handle = lab.start_workflow("Any", id=new_id("a b"), task_queue=f"{lab.task_queue}-idle")
    command = [sys.executable, "-m", "projectai_lab", "watch", handle.id, "--address", lab.address]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as watching:
        assert watching.stdout
        assert "WORKFLOW_EXECUTION_STARTED" in watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=30)
    assert watching.returncode == 130
    again = f"projectai-lab watch '{handle.id}'"
    assert errors == f"no longer watched; the run goes on: {again}\n"
    handle.terminate()


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
