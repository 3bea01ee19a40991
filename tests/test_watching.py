"""A run told line by line: Events as they happen, retries, one bounded line each."""

from __future__ import annotations

import io
import signal
import threading
from collections.abc import Callable

import pytest

from projectai_lab import Lab, _watching
from projectai_lab._watching import Line
from tests import zoo


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
