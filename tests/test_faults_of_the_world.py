"""Servers die, freeze and come back under a running Lab: it says so, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab import AIController, Lab, LabConfig, WorkflowInput
from projectai_lab.client import LabClient
from projectai_lab.devserver import DevServer
from projectai_lab.errors import ServerUnreachableError, WorkflowTimeoutError
from projectai_lab.workflows import ExampleWorkflow
from tests import zoo

REQUEST = WorkflowInput("hello", "u-1")


def kill(server: DevServer) -> None:
    """Kill the server as the kernel's memory guard would, and wait for its end."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    zoo.until(lambda: not server.alive)


def restart(server: DevServer) -> DevServer:
    """Start a server on the same ports and database."""
    port, ui_port = (int(url.rpartition(":")[2]) for url in (server.address, server.ui_url))
    return DevServer.start(port=port, ui_port=ui_port, db_filename=server.db_filename)


def in_thread(call: Callable[[], Any], into: list[Any]) -> threading.Thread:
    """Call in a thread and keep the result or the error."""

    def keep() -> None:
        try:
            into.append(call())
        except Exception as error:
            into.append(error)

    thread = threading.Thread(target=keep)
    thread.start()
    return thread


def test_a_server_killed_under_a_running_lab_comes_back_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = DevServer.start(db_filename=tmp_path / "lab.db")
    config = LabConfig(address=first.address)
    zoo_of_tests: dict[str, Any] = {"workflows": zoo.WORKFLOWS, "activities": zoo.ACTIVITIES}
    with first, Lab.connect(config, **zoo_of_tests) as lab:
        counter = lab.start_workflow(zoo.Counter.run)
        assert counter.execute_update(zoo.Counter.add_and_tell, 3) == 3
        sleepers = [lab.start_workflow(zoo.Sleeper.run, 1.0) for _ in range(5)]
        controller = AIController(lab)
        request = {"data": "a", "user_id": "u", "idempotency_key": "once"}
        results: list[Any] = []
        waiting = in_thread(counter.result, results)
        kill(first)

        with pytest.raises(ServerUnreachableError, match="no Temporal server answers"):
            controller.process_ai_request_blocking(**request)
        line = f"{counter.id}: the server at {lab.address} does not answer"
        zoo.until(lambda: line in zoo.told(caplog))
        assert waiting.is_alive()

        with restart(first):
            counter.signal(zoo.Counter.add, 4)
            counter.signal(zoo.Counter.stop)
            waiting.join(30)
            assert results == [7]
            assert [handle.result(timeout=30) for handle in sleepers] == ["awake"] * 5
            assert controller.process_ai_request_blocking(**request).success
            assert lab.worker is not None
            assert lab.worker.status == "running"
            assert len(zoo.until(lab.list_workflows)) == 7


def test_a_server_that_lost_its_memory_ends_the_wait(caplog: pytest.LogCaptureFixture) -> None:
    first = DevServer.start()
    with first, LabClient.connect(LabConfig(address=first.address)) as client:
        handle = client.start_workflow("Sleeper", 60.0)
        results: list[Any] = []
        waiting = in_thread(handle.result, results)
        kill(first)
        with restart(first):
            waiting.join(30)
            (error,) = results
    assert isinstance(error, RPCError)
    assert error.status == RPCStatusCode.NOT_FOUND
    assert f"There is no Workflow Execution {handle.id!r} in this Namespace" in error.__notes__


@pytest.fixture
def frozen() -> Iterator[tuple[Lab, Callable[[], None]]]:
    """Return a Lab whose server has stopped to answer, and a call that lets it go on."""
    with DevServer.start() as server:
        config = LabConfig(address=server.address)
        with Lab.connect(config, workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES) as lab:
            counter = lab.start_workflow(zoo.Counter.run, id="counter")
            assert counter.query(zoo.Counter.total) == 0
            pid = server.pid
            assert pid is not None
            zoo.freeze(pid)
            try:
                yield lab, lambda: os.kill(pid, signal.SIGCONT)
            finally:
                os.kill(pid, signal.SIGCONT)


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long a call took, and its result or error."""
    began = time.monotonic()
    results: list[Any] = []
    in_thread(call, results).join(60)
    return time.monotonic() - began, results[0]


def test_a_frozen_server_is_a_named_error_in_five_seconds_and_waits_go_on_when_it_thaws(
    frozen: tuple[Lab, Callable[[], None]], caplog: pytest.LogCaptureFixture
) -> None:
    lab, thaw = frozen
    counter = lab.get_workflow_handle("counter")
    results: list[Any] = []
    waiting = in_thread(counter.result, results)
    controller = AIController(lab)
    calls: dict[str, Callable[[], Any]] = {
        "start": lambda: lab.start_workflow(ExampleWorkflow.run, REQUEST),
        "list": lab.list_workflows,
        "count": lab.count_workflows,
        "describe": counter.describe,
        "history": counter.fetch_history,
        "signal": lambda: counter.signal("add", 0),
        "query": lambda: counter.query("total"),
        "update": lambda: counter.execute_update("add_and_tell", 0),
        "cancel": lab.get_workflow_handle("another").cancel,
        "connect": lambda: LabClient.connect(lab.config),
        "request": lambda: asyncio.run(controller.process_ai_request(data="a", user_id="u")),
        "blocking": lambda: controller.process_ai_request_blocking(data="a", user_id="u"),
    }
    with ThreadPoolExecutor(len(calls)) as threads:
        ends = dict(zip(calls, threads.map(timed, calls.values()), strict=True))
    for name, (seconds, error) in ends.items():
        assert isinstance(error, ServerUnreachableError), f"{name}: {error!r}"
        assert lab.address in str(error), name
        assert seconds < zoo.SOON_S, f"{name} took {seconds:.1f} s"

    _, error = timed(lambda: counter.result(timeout=0.5))
    assert isinstance(error, WorkflowTimeoutError)
    assert f"the server at {lab.address} does not answer" in str(error)
    assert f"counter: the server at {lab.address} does not answer" in zoo.told(caplog)

    thaw()
    counter.signal("stop")
    waiting.join(30)
    assert results == [0]


def test_a_lab_whose_server_is_gone_closes_without_waiting_for_it() -> None:
    @activity.defn
    async def hold_in_silence(seconds: float) -> None:
        await asyncio.sleep(seconds)

    grace = 120
    lab = Lab.start_local(grace=grace, activities=[hold_in_silence], workflows=zoo.WORKFLOWS)
    handle = lab.start_workflow(zoo.Persistent.run, "hold_in_silence", grace)
    zoo.until(lambda: bool(handle.describe().raw_description.pending_activities))
    assert lab.server is not None
    kill(lab.server)
    began = time.monotonic()
    lab.close()
    assert time.monotonic() - began < grace / 4


def test_a_lab_whose_server_is_frozen_closes_without_waiting_for_it() -> None:
    grace = 120
    with DevServer.start() as server:
        lab = Lab.connect(LabConfig(address=server.address), grace=grace)
        pid = server.pid
        assert pid is not None
        zoo.freeze(pid)
        try:
            began = time.monotonic()
            lab.close()
            assert time.monotonic() - began < grace / 4
        finally:
            os.kill(pid, signal.SIGCONT)
