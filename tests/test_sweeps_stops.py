"""A sweep that is stopped, cut off or left alone goes on where it was."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab import FaultPlan, Lab, LabConfig, Latency, WorkflowInput, sweeps
from projectai_lab.devserver import DevServer
from projectai_lab.errors import SweepError
from projectai_lab.sweeps._carry import Progress
from projectai_lab.sweeps._outage import Outage
from projectai_lab.workflows import ExampleWorkflow
from tests.test_sweeps import eventually, starts

BASE = WorkflowInput("text", "u-1", faults=FaultPlan(latency=Latency(a=0.05)))
DESIGN = sweeps.grid({"data": ["a", "b"]}, replicates=20, seed=7)

# What a user's process does: interrupted, it says what to type and goes on with its Lab.
_INTERRUPTED = """
import sys
from projectai_lab import Lab, LabConfig, sweeps
from projectai_lab.workflows import ExampleWorkflow
from tests.test_sweeps_stops import BASE, DESIGN
address, queue, name = sys.argv[1:]
with Lab.connect(LabConfig(address=address, task_queue=queue), attempts=False) as lab:
    try:
        sweeps.run(
            lab, ExampleWorkflow.run, DESIGN, name=name, base=BASE, concurrency=4, progress=False
        )
    except KeyboardInterrupt as interrupt:
        print(interrupt, flush=True)
    print(lab.execute_workflow(ExampleWorkflow.run, BASE, timeout=60).success, flush=True)
    sys.stdin.read()
"""


def test_an_interrupt_starts_nothing_more_and_says_how_to_go_on(
    lab: Lab, new_id: Callable[[str], str]
) -> None:
    name = new_id("sweep")
    command = [sys.executable, "-c", _INTERRUPTED, lab.address, lab.task_queue, name]
    path = os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))
    child = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout
        assert eventually(lambda: len(lab.list_workflows(f'WorkflowId STARTS_WITH "{name}/"')) > 5)
        child.send_signal(signal.SIGINT)
        told, usable = child.stdout.readline(), child.stdout.readline()
        assert usable == "True\n"
        before = sweeps.load(lab, name)
        done = before.counts()
        assert done["NOT_STARTED"] > 0
        # Its worker lives, so what was open ends; it would start more if it still swept.
        assert eventually(lambda: set(before.counts().index) == {"COMPLETED", "NOT_STARTED"})
        assert before.counts()["NOT_STARTED"] == done["NOT_STARTED"]
    assert f"the sweep '{name}' was interrupted: " in told
    assert "of 40 runs have ended" in told
    assert f"sweeps.run(lab, ExampleWorkflow.run, design, name='{name}', base=base)" in told
    was = starts(lab, before)
    sweep = sweeps.run(lab, ExampleWorkflow.run, DESIGN, name=name, base=BASE, progress=False)
    now = starts(lab, sweep)
    assert len(now) == 40
    assert all(len(runs) == 1 for runs in now.values())
    assert was.items() <= now.items()


def test_the_progress_is_told_in_numbers() -> None:
    progress = Progress(10)
    progress.ended.update({"COMPLETED": 3, "FAILED": 1})
    progress.open.update({"a": 0.0})
    assert str(progress) == "4 of 10 runs have ended, 1 are open, 5 missing"


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def mortal(port: int, tmp_path: Path) -> Iterator[Callable[[], DevServer]]:
    """Return what starts a server on one port and one database; all end with the test."""
    servers: list[DevServer] = []

    def start() -> DevServer:
        servers.append(DevServer.start(db_filename=tmp_path / "sweep.db", port=port))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def kill(server: DevServer) -> None:
    """End a server as a crash would."""
    assert server.pid
    process = psutil.Process(server.pid)
    process.kill()
    psutil.wait_procs([process])
    server.close()


class Going:
    """A sweep that runs in a thread of its own, with what it says."""

    def __init__(self, lab: Lab, pool: Any, name: str, **options: Any) -> None:
        self.result = pool.submit(
            sweeps.run,
            lab,
            ExampleWorkflow.run,
            DESIGN,
            **{"name": name, "base": BASE, "progress": False, "concurrency": 10, **options},
        ).result

    def until_some_have_ended(self, lab: Lab, name: str) -> None:
        query = f'WorkflowId STARTS_WITH "{name}/" AND ExecutionStatus = "Completed"'
        assert eventually(lambda: len(lab.list_workflows(query)) > 5)


def test_a_server_that_comes_back_finds_the_sweep_waiting(
    mortal: Callable[[], DevServer], port: int, caplog: pytest.LogCaptureFixture
) -> None:
    server = mortal()
    config = LabConfig(address=server.address, task_queue=f"tests-{uuid.uuid4()}")
    with Lab.connect(config) as lab, ThreadPoolExecutor(1) as pool:
        going = Going(lab, pool, "cut")
        going.until_some_have_ended(lab, "cut")
        kill(server)
        assert eventually(lambda: f"the server at 127.0.0.1:{port} does not answer" in caplog.text)
        mortal()
        sweep = going.result()
        assert f"the server at 127.0.0.1:{port} is back; the sweep goes on" in caplog.text
        assert set(sweep.results()["status"]) == {"COMPLETED"}
        found = starts(lab, sweep)
        assert len(found) == 40
        assert all(len(runs) == 1 for runs in found.values())


def test_a_server_that_stays_away_ends_the_sweep_with_the_line_to_type(
    mortal: Callable[[], DevServer],
) -> None:
    server = mortal()
    config = LabConfig(address=server.address, task_queue=f"tests-{uuid.uuid4()}")
    with Lab.connect(config) as lab, ThreadPoolExecutor(1) as pool:
        going = Going(lab, pool, "cut", patience=0.5)
        going.until_some_have_ended(lab, "cut")
        kill(server)
        with pytest.raises(SweepError, match=r"was cut off: the server at .* has been away") as cut:
            going.result()
        assert (
            cut.value.resume
            == "sweeps.run(lab, ExampleWorkflow.run, design, name='cut', base=base)"
        )
        assert cut.value.resume in str(cut.value)
        mortal()
        sweep = Going(lab, pool, "cut").result()
        assert set(sweep.results()["status"]) == {"COMPLETED"}
        assert all(len(runs) == 1 for runs in starts(lab, sweep).values())


def test_a_labs_own_server_that_has_died_is_not_waited_for() -> None:
    with Lab.start_local() as lab, ThreadPoolExecutor(1) as pool:
        going = Going(lab, pool, "cut", patience=3600)
        going.until_some_have_ended(lab, "cut")
        assert lab.server
        assert lab.server.pid
        psutil.Process(lab.server.pid).kill()
        with pytest.raises(SweepError, match="was cut off"):
            going.result()


@pytest.mark.parametrize(
    ("status", "message", "calls"),
    [
        (RPCStatusCode.RESOURCE_EXHAUSTED, "namespace rate limit exceeded", 4),
        (RPCStatusCode.UNKNOWN, "transport error", 4),
        (RPCStatusCode.RESOURCE_EXHAUSTED, "grpc: received message larger than max", 1),
        (RPCStatusCode.INVALID_ARGUMENT, "no such thing", 1),
    ],
)
def test_what_a_server_that_is_there_refuses_is_raised_in_the_end(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, status: RPCStatusCode, message: str, calls: int
) -> None:
    monkeypatch.setattr("projectai_lab.sweeps._outage._TRIES", 3)
    made, said = [], list[str]()

    async def refused() -> None:
        made.append(1)
        raise RPCError(message, status, b"")

    async def go_through() -> None:
        outage = Outage(lab.client, 60, said.append, SweepError, lambda: False)  # type: ignore[arg-type]
        await outage.through(refused)

    with pytest.raises(RPCError, match=message):
        lab._loop.run(go_through)
    assert len(made) == calls
    assert said == []


def test_a_run_that_is_gone_is_named(mortal: Callable[[], DevServer], port: int) -> None:
    server = mortal()
    config = LabConfig(address=server.address)
    with (
        Lab.connect(config, worker=False, attempts=False) as lab,
        ThreadPoolExecutor(1) as pool,
    ):
        going = Going(lab, pool, "cut")
        assert eventually(lambda: len(lab.list_workflows('WorkflowId STARTS_WITH "cut/"')) > 5)
        kill(server)
        gone = pytest.raises(SweepError, match=r"'cut/r000\d/n\d\d' was started and is gone")
        with DevServer.start(port=port), gone:
            going.result()


def test_a_sweep_in_virtual_time_says_so() -> None:
    base = WorkflowInput("t", "u", FaultPlan(latency=Latency(a=0)))
    design = sweeps.grid(
        {
            "retry.simulate_ai_call.initial_interval": [3600.0],
            "retry.simulate_ai_call.maximum_interval": [7200.0],
            "faults.fail_first.simulate_ai_call": [3],
        },
        replicates=2,
    )
    with Lab.start_local(clock="virtual") as lab:
        sweep = sweeps.run(
            lab, ExampleWorkflow.run, design, name="hours", base=base, progress=False
        )
        results = sweep.results()
        assert results.attrs["clock"] == "virtual"
        assert (results["duration_s"] >= 5 * 3600).all()
        assert (results["skipped_s"] > 4 * 3600).all()
        assert sweeps.load(lab, "hours").clock == "virtual"
