"""Whether a worker is alive is told by its heartbeats, of whatever interval and clock."""

from __future__ import annotations

import asyncio
import socket
import time
from datetime import timedelta

import pytest
from temporalio.api.enums.v1 import WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.client import Client
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker

from projectai_lab import _pollers
from projectai_lab._connect import new_identity
from projectai_lab.config import LabConfig
from tests import zoo

OURS, FOREIGN = new_identity(), "4711@elsewhere"


def beat(
    age_s: float, between_s: float, identity: str = OURS, host: str | None = None
) -> WorkerHeartbeat:
    """Return a worker's last heartbeat: how old by our clock, how long after the one before."""
    made = WorkerHeartbeat(worker_identity=identity, status=WorkerStatus.WORKER_STATUS_RUNNING)
    made.host_info.host_name = socket.gethostname() if host is None else host
    made.heartbeat_time.FromNanoseconds(round((time.time() - age_s) * 1e9))
    made.elapsed_since_last_heartbeat.FromNanoseconds(round(between_s * 1e9))
    return made


@pytest.mark.parametrize(
    ("age_s", "between_s", "alive"),
    [
        (0.5, 1.0, True),
        # All of a second is counted: a heartbeat that is late by less than three is no death.
        (3.9, 1.0, True),
        (4.5, 1.0, False),
        (0.5, 0.0, True),
        (4.5, 0.0, False),
        # A machine that is busy beats late before it beats later still.
        (7.0, 3.0, True),
        (9.0, 3.0, False),
        # After a laptop's night the worker beats each second again.
        (200.0, 30_000.0, False),
    ],
)
def test_a_worker_of_ours_beats_each_second(age_s: float, between_s: float, alive: bool) -> None:
    assert _pollers._is_alive(beat(age_s, between_s)) is alive


@pytest.mark.parametrize(
    ("age_s", "between_s", "alive"),
    [
        # Its first heartbeat does not say how often they come; the next may be a minute away.
        (59.0, 0.0, True),
        (130.0, 0.0, False),
        (59.0, 60.0, True),
        (130.0, 60.0, False),
        (11.0, 5.0, True),
        (13.0, 5.0, False),
    ],
)
def test_a_worker_of_others_beats_as_it_says(age_s: float, between_s: float, alive: bool) -> None:
    assert _pollers._is_alive(beat(age_s, between_s, FOREIGN)) is alive


@pytest.mark.parametrize(
    ("host", "age_s", "alive"),
    [("another", 9.0, True), ("another", -9.0, True), ("another", 15.0, False), (None, 9.0, False)],
)
def test_the_clock_of_another_host_may_be_off(host: str | None, age_s: float, alive: bool) -> None:
    assert _pollers._is_alive(beat(age_s, 1.0, host=host)) is alive


def test_a_worker_that_drains_polls_no_more() -> None:
    draining = beat(0.1, 1.0)
    draining.status = WorkerStatus.WORKER_STATUS_SHUTTING_DOWN
    assert not _pollers._is_alive(draining)


def test_a_live_worker_of_others_is_not_called_gone_between_its_heartbeats(
    config: LabConfig,
) -> None:
    async def first_beat_grows_old() -> str | None:
        runtime = Runtime(
            telemetry=TelemetryConfig(), worker_heartbeat_interval=timedelta(seconds=6)
        )
        client = await Client.connect(config.address, runtime=runtime)
        queue = config.task_queue
        async with Worker(client, task_queue=queue, workflows=[zoo.Sleeper], identity=FOREIGN):
            while True:
                beats = await _pollers._heartbeats(client, queue) or []
                ages = [time.time() - one.heartbeat_time.seconds for one in beats]
                if any(age > 5 for age in ages):
                    assert not beats[0].elapsed_since_last_heartbeat.ToNanoseconds()
                    return await _pollers.who_polls(client, queue)
                await asyncio.sleep(0.1)

    assert asyncio.run(asyncio.wait_for(first_beat_grows_old(), 60)) is None
