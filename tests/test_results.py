"""`lab.results`: waits on many executions under one bar, with the end of each in its place."""

from __future__ import annotations

import logging
import signal
import threading
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError

from projectai_lab import _many
from projectai_lab.client import LabClient
from projectai_lab.config import LabConfig
from projectai_lab.errors import LabClosedError, WorkflowTimeoutError
from projectai_lab.lab import Lab
from tests import zoo


@pytest.fixture
def lab(config: LabConfig) -> Any:
    """Return a Lab whose worker runs the zoo."""
    with Lab.connect(config, workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES) as opened:
        yield opened


def test_each_end_stands_where_its_handle_stood(lab: Lab, new_id: Callable[[str], str]) -> None:
    cancelled = lab.start_workflow(zoo.Sleeper.run, 600.0)
    cancelled.cancel()
    handles: list[Any] = [
        lab.start_workflow(zoo.Sleeper.run, 1.0),
        lab.start_workflow(zoo.Doomed.run, "why"),
        lab.start_workflow(zoo.Greeting.run, "greet", "you"),
        cancelled,
        lab.get_workflow_handle(new_id("nothing")),
    ]
    slept, failed, greeted, ended, missing = lab.results(handles, timeout=60)
    assert (slept, greeted) == ("awake", lab.execute_workflow("Greeting", "greet", "you"))
    assert isinstance(failed, WorkflowFailureError)
    assert failed.__notes__[0].endswith("ended: ApplicationError: Doom: why")
    assert isinstance(ended, WorkflowFailureError)
    assert isinstance(missing, RPCError)
    assert "There is no Workflow Execution" in missing.__notes__[0]


def test_a_result_of_another_type_takes_nothing_from_the_others(lab: Lab) -> None:
    odd = lab.start_workflow("Greeting", "greet", "you", result_type=int)
    good = lab.start_workflow("Greeting", "greet", "you")
    error, answer = lab.results([odd, good], timeout=60)
    assert isinstance(error, TypeError)
    assert answer == good.result()


def test_more_than_are_waited_for_at_once_come_all(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_many, "AT_ONCE", 3)
    handles = [lab.start_workflow(zoo.Greeting.run, "greet", str(n)) for n in range(10)]
    found = lab.results(iter(handles), timeout=timedelta(minutes=1))
    assert found == [handle.result() for handle in handles]
    assert len(set(found)) == 10


def test_the_bar_counts_the_ends(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    handles: list[Any] = [lab.start_workflow(zoo.Doomed.run, "why") for _ in range(2)]
    handles.append(lab.start_workflow(zoo.Greeting.run, "greet", "you"))
    lab.results(handles, timeout=60)
    told = capsys.readouterr().err
    assert "results: 100%" in told
    assert "3/3" in told
    assert "1 COMPLETED, 2 FAILED" in told


def test_without_progress_there_is_no_bar(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    lab.results([lab.start_workflow(zoo.Greeting.run, "greet", "you")], progress=False)
    assert lab.results([]) == []
    assert capsys.readouterr().err == ""


def test_after_the_timeout_those_that_ended_have_their_results_and_the_rest_goes_on(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One place: the second run is waited for only once the timeout has passed.
    monkeypatch.setattr(_many, "AT_ONCE", 1)
    sleeps = lab.start_workflow(zoo.Sleeper.run, 600.0)
    ended = lab.start_workflow(zoo.Greeting.run, "greet", "you")
    greeting = ended.result(timeout=30)
    also = lab.start_workflow(zoo.Sleeper.run, 600.0)
    late, answer, later = lab.results([sleeps, ended, also], timeout=2)
    assert answer == greeting
    for error in (late, later):
        assert isinstance(error, WorkflowTimeoutError)
        assert "was still running after 2 s: " in str(error)
    assert late.workflow_id == sleeps.id
    for handle in (sleeps, also):
        description = handle.describe()
        assert description.status == WorkflowExecutionStatus.RUNNING
        handle.terminate()


def test_that_no_worker_polls_is_told_once_for_all(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = LabConfig(address=address, task_queue=f"tests-{uuid.uuid4().hex}")
    with LabClient.connect(config) as client, caplog.at_level(logging.WARNING, "projectai_lab"):
        handles = [client.start_workflow("Sleeper", 1.0) for _ in range(3)]
        errors = client.results(handles, timeout=5)
        lines = [line for line in zoo.told(caplog) if "no worker polls Task Queue" in line]
        assert len(lines) == 1
        for error, handle in zip(errors, handles, strict=True):
            assert "no worker polls Task Queue" in str(error)
            handle.terminate()


def test_an_interrupt_leaves_the_executions_running(lab: Lab) -> None:
    handles = [lab.start_workflow(zoo.Sleeper.run, 600.0) for _ in range(2)]
    main = threading.main_thread().ident
    assert main
    timer = threading.Timer(1.0, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    going_on = r"^0 of 2 waits have ended; .* go on at the server: wait again with lab\.results"
    with pytest.raises(KeyboardInterrupt, match=going_on):
        lab.results(handles)
    timer.join()
    for handle in handles:
        assert handle.describe().status == WorkflowExecutionStatus.RUNNING
        handle.terminate()


@pytest.mark.parametrize("wrong", ["an-id", None, 3])
def test_what_is_no_list_is_refused_with_the_line_to_type(lab: Lab, wrong: Any) -> None:
    takes = r"results takes a list of handles, such as lab\.results\(\[handle\]\)"
    with pytest.raises(TypeError, match=f"^{takes}; .*; got {wrong!r}$"):
        lab.results(wrong)
    one: Any = lab.get_workflow_handle("one")
    with pytest.raises(TypeError, match=rf"^{takes}; one has handle\.result\(\); got <.*'one'"):
        lab.results(one)


@pytest.mark.parametrize("wrong", ["an-id", None, 3])
def test_what_is_no_handle_is_refused(lab: Lab, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"results takes handles, of lab\.start_workflow"):
        lab.results([wrong])


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_is_none_is_refused(lab: Lab, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be a timedelta or seconds"):
        lab.results([], timeout=timeout)


def test_a_closed_lab_says_so(config: LabConfig) -> None:
    with Lab.connect(config) as lab:
        handle = lab.start_workflow("ExampleWorkflow", {"data": "x", "user_id": "u"})
    with pytest.raises(LabClosedError):
        lab.results([handle])
