"""The kernel is killed in the middle of a sweep; run again, nothing is lost and nothing doubled."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from projectai_lab import FaultPlan, Lab, LabConfig, Latency, WorkflowInput, sweeps
from projectai_lab.devserver import DevServer
from projectai_lab.sweeps import Sweep
from projectai_lab.workflows import ExampleWorkflow
from tests.test_sweeps import eventually

CALL = "simulate_ai_call"
BASE = WorkflowInput("text", "u-1", faults=FaultPlan(latency=Latency(a=0)))
DESIGN = sweeps.grid(
    {
        f"faults.fail_probability.{CALL}": [0.1, 0.4],
        f"retry.{CALL}.maximum_attempts": [2, 4],
        f"retry.{CALL}.initial_interval": [0.01],
    },
    replicates=125,
    seed=7,
)
# Times are of the clock; identities and ids are of the processes.
_OF_THE_CLOCK = ["run_id", "workflow_id", "start_time", "close_time", "duration_s", "result"]

_CELL = """
from projectai_lab import Lab, LabConfig, sweeps
from projectai_lab.workflows import ExampleWorkflow
from tests.test_sweeps_kill import BASE, DESIGN
lab = Lab.connect(LabConfig(address={address!r}), worker=False, attempts=False)
sweep = sweeps.run(lab, ExampleWorkflow.run, DESIGN, name="killed", base=BASE, progress=False)
"""


@pytest.fixture
def kernel() -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """Return a real IPython kernel, gone at the test's end."""
    manager = KernelManager()
    launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager._kernel_spec = KernelSpec(argv=launch, display_name="test", language="python")
    path = os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))
    manager.start_kernel(env={**os.environ, "PYTHONPATH": path})
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def kill(manager: KernelManager) -> None:
    """End a kernel as the out-of-memory killer would."""
    assert isinstance(manager.provisioner, LocalProvisioner)
    assert manager.provisioner.pid
    process = psutil.Process(manager.provisioner.pid)
    os.kill(process.pid, signal.SIGKILL)
    assert eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)


def first_runs(lab: Lab, name: str) -> dict[str, str]:
    """Return the Run Id under each Workflow Id; fail where there is more than one."""
    runs = lab.list_workflows(f'WorkflowId STARTS_WITH "{name}/"')
    assert len({run.id for run in runs}) == len(runs)
    return {run.id: run.run_id for run in runs}


def without_clock(sweep: Sweep) -> pd.DataFrame:
    """Return the results in which the clock plays no part, the answer of the AI included."""
    results = sweep.results()
    answers = [None if pd.isna(one) else json.loads(one) for one in results["result"]]
    for answer in answers:
        if answer:
            answer.pop("timings")
    kept = results.drop(columns=_OF_THE_CLOCK).assign(answer=list(map(repr, answers)))
    return kept.sort_values(["row", "replicate"], ignore_index=True)


def test_a_sweep_of_500_runs_survives_the_death_of_its_kernel(
    tmp_path: Path, kernel: tuple[KernelManager, BlockingKernelClient]
) -> None:
    manager, client = kernel
    with (
        DevServer.start() as server,
        Lab.connect(LabConfig(address=server.address), worker=False, attempts=tmp_path) as lab,
    ):
        lab.start_worker(process=True)
        client.execute(_CELL.format(address=server.address))
        done = 'WorkflowId STARTS_WITH "killed/" AND ExecutionStatus = "Completed"'
        assert eventually(lambda: lab.count_workflows(done).count >= 100)
        kill(manager)
        before = first_runs(lab, "killed")
        assert 100 <= len(before) < 500

        killed = sweeps.run(
            lab, ExampleWorkflow.run, DESIGN, name="killed", base=BASE, progress=False
        )

        results = killed.results()
        assert len(results) == 500
        assert set(results["status"]) == {"COMPLETED"}
        after = first_runs(lab, "killed")
        assert len(after) == 500
        assert before.items() <= after.items()
        events = killed.tables(only=["events", "executions"])
        started = events["events"].query("event_type == 'WORKFLOW_EXECUTION_STARTED'")
        assert started["workflow_id"].value_counts().eq(1).all()
        assert (events["executions"]["first_run_id"] == events["executions"]["run_id"]).all()

        calm = sweeps.run(lab, ExampleWorkflow.run, DESIGN, name="calm", base=BASE, progress=False)
        pd.testing.assert_frame_equal(without_clock(killed), without_clock(calm))
        assert 0 < (~results["success"]).sum() < 500
        assert results["n_retries"].sum() > 50
