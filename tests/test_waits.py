"""No wait hangs in silence: it says within 5 s what stands in the way, and so does its timeout."""

from __future__ import annotations

import gc
import logging
import logging.handlers
import queue
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.enums.v1 import PendingWorkflowTaskState
from temporalio.client import WorkflowUpdateStage
from temporalio.service import RPCError

from projectai_lab._troubles import Trouble
from projectai_lab.client import LabClient
from projectai_lab.config import LabConfig
from projectai_lab.errors import (
    LabClosedError,
    LabError,
    NoWorkerError,
    WorkflowStuckError,
    WorkflowTimeoutError,
)
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.lab import Lab
from projectai_lab.models import WorkflowInput
from projectai_lab.worker_process import WorkerProcess
from projectai_lab.workflows import ExampleWorkflow
from tests import zoo

NOBODY = "no worker polls Task Queue {0!r}: start one with lab.start_worker() or `projectai-lab "


def fresh(address: str) -> LabConfig:
    """Return a configuration with a Task Queue of its own."""
    return LabConfig(address=address, task_queue=f"tests-waits-{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="module")
def lab(address: str) -> Iterator[Lab]:
    """Return a Lab whose worker blocks a run on an exception, as Temporal does by itself."""
    options: dict[str, Any] = {"fail_workflow_on_exception": False, "attempts": False}
    options |= {"workflows": zoo.WORKFLOWS, "activities": zoo.ACTIVITIES}
    with Lab.connect(fresh(address), **options) as opened:
        yield opened


@pytest.fixture
def deserted(address: str) -> Iterator[LabClient]:
    """Return a client of a Task Queue that nobody polls."""
    with LabClient.connect(fresh(address)) as client:
        yield client


@dataclass(frozen=True)
class Wait:
    """How a wait of 4.5 s went: what it said, and the result or the error that it ended in."""

    handle: LabWorkflowHandle[Any]
    outcome: Any
    said: list[str]

    @property
    def line(self) -> str:
        """The one thing that it said."""
        (line,) = self.said
        return line.removeprefix(f"{self.handle.id}: ")


def wait_for(handle: LabWorkflowHandle[Any]) -> Any:
    """Wait and return the result, or the error."""
    try:
        return handle.result(timeout=4.5)
    except WorkflowTimeoutError as error:
        return error


@pytest.fixture(scope="module")
def waits(lab: Lab) -> Iterator[dict[str, Wait]]:
    """Wait for executions in all kinds of trouble at the same time."""
    with LabClient.connect(lab.config) as bare:
        handles = {
            "no worker": lab.start_workflow("Sleeper", 1.0, task_queue=f"{lab.task_queue}-none"),
            "no activity worker": lab.start_workflow(zoo.Elsewhere.run, f"{lab.task_queue}-gpu"),
            "sleeping": lab.start_workflow(zoo.Sleeper.run, 4.0),
            "stuck": lab.start_workflow(zoo.Buggy.run),
            "unknown type": bare.start_workflow("NeverWritten"),
            "retrying": lab.start_workflow(zoo.Persistent.run, "fail_always", "bad luck"),
            "unknown activity": lab.start_workflow(zoo.Persistent.run, "never_written", "x"),
        }
        lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
        handler = logging.handlers.QueueHandler(lines)
        logging.getLogger("projectai_lab").addHandler(handler)
        with ThreadPoolExecutor(len(handles)) as threads:
            outcomes = list(threads.map(wait_for, handles.values()))
        logging.getLogger("projectai_lab").removeHandler(handler)
        said = [lines.get().getMessage() for _ in range(lines.qsize())]
        yield {
            name: Wait(handle, outcome, [line for line in said if line.startswith(handle.id)])
            for (name, handle), outcome in zip(handles.items(), outcomes, strict=True)
        }
        for name in handles.keys() - {"sleeping"}:
            handles[name].terminate()


def times_out(handle: LabWorkflowHandle[Any], timeout: float) -> WorkflowTimeoutError:
    """Wait too short and return the error."""
    with pytest.raises(WorkflowTimeoutError) as caught:
        handle.result(timeout=timeout)
    return caught.value


def test_a_wait_without_a_worker_says_so_once_and_its_timeout_carries_it(
    lab: Lab, waits: dict[str, Wait]
) -> None:
    wait, queue = waits["no worker"], f"{lab.task_queue}-none"
    line = "its Workflow Task waits and " + NOBODY.format(queue) + f"worker --task-queue {queue}`"
    assert wait.line == line
    assert str(wait.outcome) == (
        f"Workflow Execution {wait.handle.id!r} was still running after 4.5 s: {line}. It goes on; "
        "wait again with handle.result(), look with handle.describe()"
    )
    assert vars(wait.outcome) == {
        "workflow_id": wait.handle.id,
        "trouble": Trouble("no worker", line),
    }
    assert isinstance(wait.outcome, TimeoutError)
    assert isinstance(wait.outcome, LabError)


def test_an_activity_on_a_queue_that_nobody_polls_is_named_with_its_queue(
    lab: Lab, waits: dict[str, Wait]
) -> None:
    wait = waits["no activity worker"]
    assert wait.line.startswith(
        "activity greet waits and " + NOBODY.format(f"{lab.task_queue}-gpu")
    )
    assert wait.line in str(wait.outcome)


def test_a_workflow_that_only_sleeps_is_not_called_in_trouble(waits: dict[str, Wait]) -> None:
    assert waits["sleeping"].outcome == "awake"
    assert waits["sleeping"].said == []


def test_a_workflow_task_that_keeps_failing_is_told_with_its_cause(waits: dict[str, Wait]) -> None:
    why = r"its Workflow Task keeps failing \(attempt \d+\): ZeroDivisionError: a slip in workflow"
    assert re.fullmatch(f"{why} code", waits["stuck"].line)
    assert re.search(why, str(waits["stuck"].outcome))
    assert waits["stuck"].outcome.trouble.kind == "stuck"


def test_an_unknown_workflow_type_that_reached_the_server_is_told(waits: dict[str, Wait]) -> None:
    wait = waits["unknown type"]
    assert "its Workflow Task keeps failing" in wait.line
    assert "Workflow class NeverWritten is not registered on this worker" in wait.line
    assert "NeverWritten is not registered" in str(wait.outcome)


def test_an_activity_that_retries_is_told_with_attempt_and_failure(waits: dict[str, Wait]) -> None:
    why = r"activity fail_always is retrying \(attempt \d+, no limit\); last failure: Unlucky: bad"
    assert re.fullmatch(f"{why} luck", waits["retrying"].line)
    assert re.search(why, str(waits["retrying"].outcome))


def test_an_unknown_activity_is_told_as_the_retry_that_it_is(waits: dict[str, Wait]) -> None:
    wait = waits["unknown activity"]
    assert wait.line.startswith("activity never_written is retrying")
    assert "Activity function never_written" in str(wait.outcome)


def test_every_note_is_one_line(waits: dict[str, Wait]) -> None:
    assert all("\n" not in line for wait in waits.values() for line in wait.said)


def test_even_a_short_wait_names_what_stands_in_the_way(deserted: LabClient) -> None:
    handle = deserted.start_workflow("Sleeper", 1.0)
    assert NOBODY.format(deserted.task_queue) in str(times_out(handle, timeout=0.2))


def test_a_wait_of_no_time_at_all_is_a_look(lab: Lab) -> None:
    handle = lab.start_workflow(zoo.Sleeper.run, 60.0)
    zoo.until(lambda: len(handle.fetch_history().events) >= 5)
    assert "after 0 s: it is running and nothing stands in its way" in str(times_out(handle, 0))
    handle.terminate()
    done = lab.start_workflow(zoo.Sleeper.run, 0.0)
    assert done.result() == "awake"
    assert done.result(timeout=0) == "awake"


def test_a_worker_that_comes_late_ends_the_wait(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    late = f"{lab.task_queue}-late"
    handle = lab.start_workflow(zoo.Elsewhere.run, late)
    times_out(handle, timeout=0.3)
    lab.start_worker(task_queue=late, activities=[zoo.greet])
    assert handle.result(timeout=20) == "hello you"


@pytest.mark.parametrize("ask", ["query", "execute_update", "start_update"])
def test_nobody_waits_for_the_answer_of_a_stuck_workflow(lab: Lab, ask: str) -> None:
    handle = lab.start_workflow(zoo.Buggy.run)
    began = time.monotonic()
    name = "state" if ask == "query" else "poke"
    options = {"wait_for_stage": WorkflowUpdateStage.ACCEPTED} if ask == "start_update" else {}
    with pytest.raises(WorkflowStuckError, match="ZeroDivisionError: a slip in workf") as caught:
        getattr(handle, ask)(name, **options)
    assert time.monotonic() - began < zoo.SOON_S
    assert f"nobody can answer for {handle.id!r}: its Workflow Task keeps" in str(caught.value)
    assert vars(caught.value) == {"workflow_id": handle.id}
    handle.terminate()


def test_a_question_without_a_worker_is_answered_by_an_error_within_five_seconds(
    deserted: LabClient, caplog: pytest.LogCaptureFixture
) -> None:
    handle = deserted.start_workflow("Counter")
    began = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(ask, "any") for ask in (handle.query, handle.execute_update)]
    assert time.monotonic() - began < zoo.SOON_S
    for question in asked:
        error = question.exception()
        assert isinstance(error, NoWorkerError)
        assert "nobody can answer: " + NOBODY.format(deserted.task_queue) in str(error)
        assert vars(error)["task_queue"] == deserted.task_queue
    # The SDK turns the cancellation of an Update into an error, which nobody waits for.
    deserted.close()
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_question_about_an_unknown_id_is_not_found(lab: Lab) -> None:
    with pytest.raises(RPCError, match="workflow not found for ID: nobody"):
        lab.get_workflow_handle("nobody").query("total")


def test_a_slow_update_is_waited_for(lab: Lab) -> None:
    handle = lab.start_workflow(zoo.Counter.run)
    assert handle.execute_update(zoo.Counter.add_slowly, 3, 2.5) == 3
    handle.terminate()


def test_closing_while_another_thread_waits_ends_the_wait(address: str) -> None:
    client = LabClient.connect(fresh(address))
    handle = client.start_workflow("Sleeper", 60.0)
    caught: list[BaseException] = []

    def wait() -> None:
        try:
            handle.result()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    client.close()
    thread.join(30)
    assert not thread.is_alive()
    assert isinstance(caught[0], LabClosedError)


def test_pollers_of_workers_that_are_gone_do_not_hide_that_nobody_polls(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    # The Lab's first worker was replaced and its second killed; the server lists both for a minute.
    worker = lab.start_worker(process=True)
    assert isinstance(worker, WorkerProcess)
    worker.kill()
    handle = lab.start_workflow(ExampleWorkflow.run, WorkflowInput("text", "u-1"))
    with pytest.raises(WorkflowTimeoutError, match="no worker polls"):
        handle.result(timeout=8)
    assert "no worker polls" in caplog.text
    lab.start_worker()
    assert handle.result(timeout=30).success


def test_a_workflow_task_that_died_with_its_worker_is_not_called_failing(lab: Lab) -> None:
    queue = f"{lab.task_queue}-blocking"
    worker = lab.start_worker(workflows=[zoo.Blocking], task_queue=queue, process=True)
    assert isinstance(worker, WorkerProcess)
    handle = lab.start_workflow(
        zoo.Blocking.run, 1.5, task_queue=queue, task_timeout=timedelta(seconds=1)
    )

    def task() -> Any:
        return handle.describe().raw_description.pending_workflow_task

    started = PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_STARTED
    zoo.until(lambda: task().state == started)
    worker.kill()
    zoo.until(lambda: task().attempt > 1)
    error = times_out(handle, timeout=8)
    assert NOBODY.format(queue) in str(error)
    assert "keeps failing" not in str(error)


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_wait_of_an_impossible_length_is_refused(lab: Lab, timeout: float) -> None:
    handle = lab.get_workflow_handle("never-asked-for")
    with pytest.raises(ValueError, match=f"0 or more; got {timeout}"):
        handle.result(timeout=timeout)


def test_a_wait_may_be_endless(lab: Lab) -> None:
    request = WorkflowInput("text", "u-1")
    assert lab.execute_workflow(ExampleWorkflow.run, request, timeout=float("inf")).success


def test_a_forked_child_that_exits_leaves_its_parent_s_lab_alone(lab: Lab) -> None:
    code = """
import os, sys
from projectai_lab import Lab, WorkflowInput
from projectai_lab.config import LabConfig
from projectai_lab.workflows import ExampleWorkflow

if __name__ == "__main__":
    lab = Lab.connect(LabConfig(address=sys.argv[1], task_queue=sys.argv[2]))
    child = os.fork()
    if not child:
        sys.exit(0)
    os.waitpid(child, 0)
    assert lab.attempts.folder.is_dir()
    print(lab.execute_workflow(ExampleWorkflow.run, WorkflowInput("text", "u-1")).success)
    lab.close()
"""
    command = [sys.executable, "-c", code, lab.address, f"{lab.task_queue}-fork"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "True", done.stderr
