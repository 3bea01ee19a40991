"""Kill −9 of a worker process at a named point, and its return: real processes, real attempts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pandas as pd
import psutil
import pytest

from projectai_lab import Fault, FaultPlan, Lab, LabConfig, TimeoutSettings, WorkflowInput, tables
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.worker_process import WorkerProcess
from projectai_lab.workflows import ExampleWorkflow
from tests import fault_workflows as kinds
from tests import zoo

PATIENCE_S = 90
LIMITS = {"start_to_close": 6.0}


@pytest.fixture
def lab(address: str) -> Iterator[Lab]:
    """Return a Lab without a worker, on a Task Queue of its own."""
    config = LabConfig(address=address, task_queue=f"tests-kill-{uuid.uuid4().hex[:12]}")
    with Lab.connect(config, worker=False) as opened:
        yield opened


def start(lab: Lab, restarts: int) -> WorkerProcess:
    """Start a worker process that comes back so often."""
    worker = lab.start_worker(
        workflows=kinds.WORKFLOWS, activities=kinds.ACTIVITIES, process=True, restarts=restarts
    )
    assert isinstance(worker, WorkerProcess)
    return worker


def ask(lab: Lab, rule: Fault) -> LabWorkflowHandle[Any]:
    """Start a run that asks once, under one rule."""
    return lab.start_workflow(
        *(kinds.Asking.run, "ask_model", "hi", LIMITS), faults=FaultPlan(rules=(rule,))
    )


@pytest.mark.parametrize("point", ["start", "end"])
def test_a_killed_worker_comes_back_and_the_next_attempt_succeeds(lab: Lab, point: Any) -> None:
    worker = start(lab, restarts=2)
    first_pid = worker.pid
    handle = ask(lab, Fault("kill_worker", "ask_model", attempts=(1,), point=point))
    assert handle.result(timeout=PATIENCE_S) == "hi 2"
    assert lab.attempts is not None
    killed, after = lab.attempts.records()
    # A start without an end: it died with its worker.
    assert (killed["attempt"], killed["pid"], killed.get("outcome")) == (1, first_pid, None)
    assert "worker_finished_ns" not in killed
    assert (after["attempt"], after["pid"], after["outcome"]) == (2, worker.pid, "COMPLETED")
    assert worker.pid != first_pid
    # The row was written before the kill.
    (row,) = tables.faults(lab.attempts).itertuples()
    assert (row.kind, row.attempt, row.point) == ("kill_worker", 1, point)
    assert row.worker_identity == killed["identity"]
    assert row.injected_time >= pd.Timestamp(killed["worker_started_ns"], tz="UTC")
    rows = tables.attempts(handle.fetch_history(), recorder=lab.attempts)
    assert rows.timeout_type.iloc[0] == "START_TO_CLOSE"
    assert rows.worker_outcome.isna().tolist() == [True, False]
    assert (worker.restarts, worker.last_exit, worker.status) == (1, -9, "running")
    card = worker._repr_html_()
    assert "1 of at most 2" in card
    assert "exit code -9" in card
    worker.close()
    assert worker.status == "stopped (exit code 0)"
    assert worker.restarts == 1, "what was closed does not come back"


def test_the_kits_own_activity_can_be_killed_at_work(lab: Lab) -> None:
    worker = start(lab, restarts=1)
    rule = Fault("kill_worker", "simulate_ai_call", attempts=(1,))
    limits = {"simulate_ai_call": TimeoutSettings(start_to_close=30, heartbeat=2)}
    request = WorkflowInput("text", "u-1", faults=FaultPlan(rules=(rule,)), timeouts=limits)
    handle = lab.start_workflow(ExampleWorkflow.run, request)
    assert handle.result(timeout=PATIENCE_S).success
    rows = tables.attempts(handle.fetch_history(), recorder=lab.attempts)
    calls = rows[rows.activity_type == "simulate_ai_call"]
    assert calls.timeout_type.iloc[0] == "HEARTBEAT"
    assert worker.restarts == 1


def test_a_worker_that_keeps_dying_is_brought_back_no_more_often_than_asked(lab: Lab) -> None:
    worker = start(lab, restarts=1)
    handle = ask(lab, Fault("kill_worker", "ask_model"))
    zoo.until(lambda: worker.restarts == 1 and worker.status != "running", within_s=60)
    supervisor = worker._supervisor
    assert supervisor is not None
    supervisor.join(10)
    assert not supervisor.is_alive()
    assert (worker.restarts, worker.last_exit) == (1, -9)
    assert worker.status == "stopped (exit code -9)"
    assert tables.faults(lab.attempts).attempt.tolist() == [1, 2]
    handle.terminate()


def test_without_restarts_a_killed_worker_stays_dead(lab: Lab) -> None:
    worker = start(lab, restarts=0)
    handle = ask(lab, Fault("kill_worker", "ask_model", attempts=(1,)))
    zoo.until(lambda: worker.status == "stopped (exit code -9)", within_s=30)
    assert (worker.restarts, worker._supervisor) == (0, None)
    assert "restarts" not in worker._repr_html_()
    handle.terminate()


def test_a_worker_killed_from_outside_comes_back_and_one_that_drained_does_not(lab: Lab) -> None:
    worker = start(lab, restarts=3)
    old = worker.pid
    os.kill(old, signal.SIGKILL)
    zoo.until(lambda: worker.pid != old and worker.logs().count("polling Task Queue") == 2, 30)
    assert not psutil.pid_exists(old) or psutil.Process(old).status() == psutil.STATUS_ZOMBIE
    os.kill(worker.pid, signal.SIGTERM)
    zoo.until(lambda: worker.status == "stopped (exit code 0)", within_s=30)
    assert worker._supervisor is not None
    worker._supervisor.join(10)
    assert worker.restarts == 1


def test_a_worker_that_is_no_labs_own_is_not_killed_by_a_plan(lab: Lab) -> None:
    command = [sys.executable, "-m", "projectai_lab", "worker", "--address", lab.address]
    command += ["--task-queue", lab.task_queue, "--workflow", "tests.fault_workflows:Asking"]
    command += ["--activity", "tests.fault_workflows:ask_model"]
    path = os.pathsep.join(filter(None, sys.path))
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL
    ) as shared:
        try:
            reason = ask(lab, Fault("kill_worker", "ask_model")).result(timeout=PATIENCE_S)
            assert reason.startswith("KillRefused: ")
            assert shared.poll() is None
        finally:
            shared.terminate()
            assert shared.wait(30) == 0


def test_closing_the_lab_ends_a_worker_whenever_it_is_in_its_return(lab: Lab) -> None:
    worker = start(lab, restarts=5)
    worker.kill()
    lab.close()
    assert worker.status != "running"
    assert not psutil.pid_exists(worker.pid)
    assert not [t for t in threading.enumerate() if t.name.startswith("projectai-lab-restart")]
    lab.close()
    worker.close()


@pytest.mark.parametrize("restarts", [-1, 1.5, True, "2"])
def test_a_number_of_restarts_that_is_none_is_refused(lab: Lab, restarts: Any) -> None:
    with pytest.raises(ValueError, match=r"restarts must be a whole number, 0 or more; got"):
        lab.start_worker(process=True, restarts=restarts)
