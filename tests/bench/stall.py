"""A worker stall of 2 s, as an open loop and as a closed loop see it: their 99th percentiles."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

from projectai_lab import load
from projectai_lab.lab import Lab
from projectai_lab.worker_process import WorkerProcess
from tests.bench.rounds import Row, say
from tests.load_workflows import Ask, answer

METHOD = (
    "One activity a run, a worker in a process of its own, which SIGSTOP and SIGCONT stall for 2 s "
    "in the middle of each loop. Open: 20 starts/s (Poisson) for 30 s; closed: three clients that "
    "think for 0.05 s, for 30 s. p99 of the latency from the intended start. On a machine too busy "
    "to send in time, or too slow for 368 runs of the closed loop, p99 is not valid: nan, and NO."
)


def measure(rate: float = 20, duration: float = 30, stall_s: float = 2) -> list[Row]:
    """Return the row of both percentiles; nan where one is not valid."""
    with Lab.start_local(worker=False, attempts=False) as lab:
        worker = lab.start_worker(workflows=[Ask], activities=[answer], process=True)
        assert isinstance(worker, WorkerProcess)
        half = duration / 2
        say("stall: open loop")
        users = stalled(
            worker,
            half,
            stall_s,
            lambda: load.open_loop(
                lab, Ask.run, "hi", name="users", rate=rate, duration=duration, progress=False
            ),
        )
        say("stall: closed loop")
        clients = stalled(
            worker,
            half,
            stall_s,
            lambda: load.closed_loop(
                *(lab, Ask.run, "hi"),
                name="clients",
                clients=3,
                think=0.05,
                duration=duration,
                progress=False,
            ),
        )
    found = load.report(users, clients)
    say(f"stall: {found.sentence}")
    slow, quick = map(float, found.table["p99_s"].where(found.table["valid"]))
    what = "stall: p99 of an open loop to a closed one"
    return [Row(what, slow, quick, "s", slow / quick, at_least=5)]


def stalled(
    worker: WorkerProcess, after_s: float, seconds: float, run: Callable[[], load.Load]
) -> load.Load:
    """Run a load, and stop the worker process for some seconds in the middle of it."""

    def stall() -> None:
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(worker.pid, signal.SIGCONT)

    timer = threading.Timer(after_s, stall)
    timer.start()
    try:
        return run()
    finally:
        timer.cancel()
        timer.join()
