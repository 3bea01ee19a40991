"""A running execution followed: each Event once, over outages, interrupts and runs."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import RetryPolicy
from temporalio.service import RPCError

from projectai_lab import Lab, LabConfig, histories
from projectai_lab.client import LabClient
from projectai_lab.devserver import DevServer
from projectai_lab.errors import ServerUnreachableError
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.histories import _follow
from tests import zoo
from tests.test_faults_of_the_world import in_thread, kill, restart
from tests.test_histories import connect, fresh

SIGNALED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED


@pytest.fixture
def counter(lab: Lab) -> Iterator[LabWorkflowHandle[int]]:
    """Return the handle of a run that waits for Signals."""
    lab.start_worker(workflows=[zoo.Counter])
    handle = lab.start_workflow(zoo.Counter.run, id=fresh("followed"))
    yield handle
    if handle.describe().status == WorkflowExecutionStatus.RUNNING:
        handle.terminate()


def until_signal(events: Iterator[HistoryEvent]) -> list[int]:
    """Return the Event Ids up to the next Signal."""
    found = []
    for event in events:
        found.append(event.event_id)
        if event.event_type == SIGNALED:
            break
    return found


def test_events_come_as_they_happen_and_end_when_the_run_closes(
    counter: LabWorkflowHandle[int],
) -> None:
    events = counter.follow()
    counter.signal("add", 1)
    seen = until_signal(events)
    counter.signal("add", 2)
    seen += until_signal(events)
    counter.signal("stop")
    seen += [event.event_id for event in events]
    whole = counter.fetch_history().events
    assert seen == [event.event_id for event in whole]
    assert list(counter.follow()) == list(whole)
    assert list(counter.follow(after=4)) == list(whole[4:])
    assert list(counter.follow(after=len(seen))) == []


def test_the_async_one_takes_both_handles(lab: Lab, counter: LabWorkflowHandle[int]) -> None:
    counter.signal("stop")
    counter.result(timeout=20)

    async def scenario() -> list[list[HistoryEvent]]:
        client = await connect(lab.address)
        handles: list[Any] = [counter, client.get_workflow_handle(counter.id)]
        return [[event async for event in histories.follow(one)] for one in handles]

    whole = list(counter.fetch_history().events)
    assert asyncio.run(scenario()) == [whole, whole]


def test_the_runs_after_it_are_followed_when_asked_for(lab: Lab) -> None:
    lab.start_worker(workflows=[zoo.Doomed])
    twice = RetryPolicy(maximum_attempts=2, initial_interval=timedelta(milliseconds=10))
    handle = lab.start_workflow(zoo.Doomed.run, "no luck", id=fresh("doomed"), retry_policy=twice)
    first = lab.get_workflow_handle(handle.id, run_id=handle.run_id)
    alone = [event.event_id for event in first.follow()]
    chain = [event.event_id for event in first.follow(follow_runs=True, after=2)]
    assert alone == list(range(1, len(alone) + 1))
    assert chain == alone[2:] + alone
    latest = lab.get_workflow_handle(handle.id)
    assert len(list(latest.follow())) == len(alone)
    assert latest.fetch_history().run_id != handle.run_id


def test_an_interrupt_leaves_the_lab_usable_and_following_goes_on_where_it_stopped(
    counter: LabWorkflowHandle[int],
) -> None:
    counter.query("total")
    seen: list[int] = []
    coming = threading.Event()

    def interrupt() -> None:
        coming.wait(20)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def follow_on() -> None:
        for event in counter.follow(after=seen[-1] if seen else 0):
            seen.append(event.event_id)
            if len(seen) == 4:
                coming.set()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        follow_on()
    thread.join()
    counter.signal("stop")
    follow_on()
    assert seen == [event.event_id for event in counter.fetch_history().events]


def test_a_follower_that_stops_leaves_nothing_on_the_loop(counter: LabWorkflowHandle[int]) -> None:
    for event in counter.follow():
        assert event.event_id == 1
        break
    loop = counter._connection._loop

    async def running() -> list[str]:
        return [str(task) for task in asyncio.all_tasks() if "follow" in str(task)]

    assert zoo.until(lambda: loop.run(running) == [])


def test_a_follower_of_a_closed_lab_ends_in_silence(config: LabConfig) -> None:
    with LabClient.connect(config) as client:
        events = client.start_workflow("Any", id=fresh("left")).follow()
        next(events)
    del events


def test_an_outage_of_the_server_is_ridden_out(tmp_path: Path) -> None:
    with DevServer.start(db_filename=tmp_path / "lab.db") as server:
        config = LabConfig(address=server.address)
        with Lab.connect(config, workflows=[zoo.Counter]) as lab:
            handle = lab.start_workflow(zoo.Counter.run, id="counter")
            handle.query("total")
            seen: list[int] = []

            def follow() -> None:
                for event in handle.follow():
                    seen.append(event.event_id)

            thread = in_thread(follow, [])
            zoo.until(lambda: len(seen) >= 4)
            kill(server)
            with restart(server):
                handle.signal("stop")
                handle.result(timeout=30)
                thread.join(30)
                assert seen == [event.event_id for event in handle.fetch_history().events]


def test_a_long_outage_is_a_named_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_follow, "_OUTAGE_S", 0.0)
    with DevServer.start() as server, LabClient.connect(LabConfig(address=server.address)) as lab:
        events = lab.start_workflow("Any", id="silent").follow()
        assert [next(events).event_id, next(events).event_id] == [1, 2]
        assert server.pid
        zoo.freeze(server.pid)
        try:
            with pytest.raises(ServerUnreachableError, match=lab.address):
                next(events)
        finally:
            os.kill(server.pid, signal.SIGCONT)


def test_an_execution_that_is_not_there_says_so(lab: Lab) -> None:
    with pytest.raises(RPCError) as caught:
        next(lab.get_workflow_handle("never-there").follow())
    assert "There is no Workflow Execution 'never-there'" in caught.value.__notes__[0]
