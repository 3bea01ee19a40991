"""A worker in a process of its own: the same work, and it can be killed, drained and orphaned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from temporalio import activity

from projectai_lab import FaultPlan, Lab, LabConfig, WorkflowInput
from projectai_lab.attempts import AttemptLog
from projectai_lab.errors import NoWorkerError, WorkerStartError, WorkflowDefinitionError
from projectai_lab.worker_process import WorkerProcess, _environment, import_path
from projectai_lab.workflows import ExampleWorkflow
from tests import zoo


@pytest.fixture
def lab(address: str) -> Iterator[Lab]:
    """Return a Lab without a worker, on a Task Queue of its own."""
    config = LabConfig(address=address, task_queue=f"tests-process-{uuid.uuid4().hex[:12]}")
    with Lab.connect(config, worker=False) as opened:
        yield opened


def start(lab: Lab, grace: float = 10.0) -> WorkerProcess:
    """Start a worker process with the zoo."""
    worker = lab.start_worker(
        workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES, process=True, grace=grace
    )
    assert isinstance(worker, WorkerProcess)
    return worker


def test_a_process_runs_the_same_work_and_records_in_the_same_log(lab: Lab) -> None:
    worker = start(lab)
    assert lab.worker is worker
    assert worker.pid != os.getpid()
    request = WorkflowInput("hello", "u-1")
    assert lab.execute_workflow(ExampleWorkflow.run, request, timeout=20).success
    in_thread = lab.execute_workflow(zoo.Greeting.run, "greet_in_thread", "you", timeout=20)
    assert in_thread == "hello you from projectai-lab-activity"
    assert lab.attempts is not None
    records = lab.attempts.records()
    assert [record["outcome"] for record in records] == ["COMPLETED"] * 4
    assert {record["pid"] for record in records} == {worker.pid}
    assert f"polling Task Queue {lab.task_queue!r} at {lab.address}" in worker.logs()
    assert worker.status == "running"
    assert repr(worker) == f"<WorkerProcess {worker.pid} on {lab.task_queue!r}, running>"
    assert str(worker.pid) in worker._repr_html_()
    worker.close()
    worker.close()
    assert worker.status == "stopped (exit code 0)"
    assert "draining" in worker.logs()


def test_a_killed_worker_leaves_the_start_of_its_attempt_and_the_next_one_takes_over(
    lab: Lab,
) -> None:
    worker = start(lab)
    assert lab.attempts is not None
    handle = lab.start_workflow(zoo.Persistent.run, "hold", 0.5)
    counter = lab.start_workflow(zoo.Counter.run)
    assert counter.execute_update(zoo.Counter.add_and_tell, 3) == 3
    zoo.until(lambda: lab.attempts and lab.attempts.records())
    worker.kill()
    assert worker.status == "stopped (exit code -9)"
    # Its death is seen within seconds, though the server lists its pollers for over a minute.
    began = time.monotonic()
    with pytest.raises(NoWorkerError, match="nobody can answer: no worker polls Task Queue"):
        zoo.until(lambda: counter.query(zoo.Counter.total) is None)
    assert time.monotonic() - began < zoo.SOON_S
    lab.start_worker(workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES)
    assert handle.result(timeout=20) == "held"
    assert counter.query(zoo.Counter.total) == 3
    counter.terminate()
    first, second = lab.attempts.records()
    assert (first["attempt"], first["pid"], first.get("outcome")) == (1, worker.pid, None)
    assert (second["attempt"], second["pid"], second["outcome"]) == (2, os.getpid(), "COMPLETED")


def test_a_failed_attempt_is_one_line_of_its_output(lab: Lab) -> None:
    worker = lab.start_worker(process=True)
    faults = FaultPlan(fail_first={"simulate_ai_call": 1})
    request = WorkflowInput("text", "u-1", faults=faults)
    handle = lab.start_workflow(ExampleWorkflow.run, request)
    assert handle.result(timeout=30).success
    told = [line for line in worker.logs().splitlines() if "WARNING" in line]
    (line,) = [line for line in told if handle.id in line]
    assert f"simulate_ai_call attempt 1 of {handle.id}: " in line
    assert line.endswith("InjectedFault: planned failure of attempt 1")
    assert "Traceback" not in worker.logs()


def test_sigterm_lets_a_running_activity_finish(lab: Lab, tmp_path: Path) -> None:
    worker = start(lab)
    assert lab.attempts is not None
    handle = lab.start_workflow(zoo.Persistent.run, "wait_for_file", str(tmp_path / "go"))
    zoo.until(lambda: lab.attempts and lab.attempts.records())
    os.kill(worker.pid, signal.SIGTERM)
    zoo.until(lambda: "draining" in worker.logs())
    assert worker.status == "running"
    (tmp_path / "go").touch()
    zoo.until(lambda: worker.status == "stopped (exit code 0)")
    lab.start_worker(workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES)
    assert handle.result(timeout=20) == 1
    assert [record["outcome"] for record in lab.attempts] == ["COMPLETED"]


PARENT = """
import sys, time
from projectai_lab.config import LabConfig
from projectai_lab.worker_process import WorkerProcess

worker = WorkerProcess.start(LabConfig(address=sys.argv[1], task_queue=sys.argv[2]))
print(worker.pid, flush=True)
time.sleep(60)
"""


def test_it_dies_with_its_parent_even_of_a_kill(lab: Lab) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, lab.address, lab.task_queue],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert parent.stdout is not None
    with parent, parent.stdout:
        pid = int(parent.stdout.readline().split()[0])
        assert psutil.pid_exists(pid)
        parent.kill()
        parent.wait()
    zoo.until(lambda: not psutil.pid_exists(pid))


def test_what_another_process_cannot_import_is_refused_before_the_start(lab: Lab) -> None:
    @activity.defn
    async def local(name: str) -> str:
        return name

    with pytest.raises(WorkflowDefinitionError, match="cannot import it: put it at the top level"):
        WorkerProcess.start(lab.config, activities=[local])

    def in_cell() -> None: ...

    in_cell.__module__, in_cell.__qualname__ = "__main__", "in_cell"
    with pytest.raises(WorkflowDefinitionError, match="defined in a cell or inside a function"):
        import_path(in_cell)
    assert import_path(zoo.Sleeper) == "tests.zoo:Sleeper"


def test_a_process_that_cannot_start_is_an_error_with_the_end_of_its_log(lab: Lab) -> None:
    config = LabConfig(address=lab.address, namespace="none", task_queue=lab.task_queue)
    with pytest.raises(WorkerStartError) as caught:
        WorkerProcess.start(config)
    assert str(caught.value).startswith("the worker process ended:\n")
    assert "has no Namespace 'none'" in str(caught.value)


def test_a_task_queue_named_like_the_ready_word_does_not_fool_the_start(lab: Lab) -> None:
    config = LabConfig(address=lab.address, namespace="polling", task_queue="polling")
    with pytest.raises(WorkerStartError, match="has no Namespace 'polling'"):
        WorkerProcess.start(config)


def test_a_log_of_ones_own_and_an_ai_callable_reach_the_process(lab: Lab, tmp_path: Path) -> None:
    worker = WorkerProcess.start(lab.config, ai=zoo.shout, log=AttemptLog(tmp_path))
    output = lab.execute_workflow(ExampleWorkflow.run, WorkflowInput("hello", "u"), timeout=20)
    worker.close()
    assert output.result is not None
    assert output.result["answer"] == "HELLO"
    assert len(AttemptLog(tmp_path).records()) == 3


def test_a_process_on_an_embedded_server_ignores_settings_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", "secret")
    embedded = LabConfig(address="127.0.0.1:7233", address_source="embedded")
    elsewhere = LabConfig(address="127.0.0.1:7233", address_source="TEMPORAL_HOST")
    assert "TEMPORAL_API_KEY" not in _environment(embedded)
    assert _environment(elsewhere)["TEMPORAL_API_KEY"] == "secret"
