"""`open_loop` and `closed_loop`: put a load on a Lab and measure from the intended start."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from projectai_lab._checks import whole_number
from projectai_lab.client import LabClient
from projectai_lab.load._load import Load
from projectai_lab.load._measure import measure
from projectai_lab.load._schedule import (
    Arrivals,
    not_negative_s,
    positive_s,
    schedule,
)
from projectai_lab.load._sender import in_closed_loop, in_open_loop
from projectai_lab.models import Duration, WorkflowInput


def open_loop(
    lab: LabClient,
    workflow: Any,
    input: Any,
    *,
    rate: float,
    duration: Duration,
    arrivals: Arrivals = "poisson",
    seed: int = 0,
    max_in_flight: int = 2000,
    **options: Any,
) -> Load:
    """Start `rate` runs a second for `duration`, whatever becomes of the earlier ones, and measure.

    Users who do not know of each other come like that. All intended start times are drawn before
    anything starts (`schedule`), and latency counts from them. No run waits for another, until
    `max_in_flight` have not ended, which makes the load invalid. `input` is one input, or a
    function from a run's number (0, 1, …) to its input; of one `WorkflowInput` each run gets a seed
    of its own: its seed + number.

    Further options of both loops: `name`, with which Workflow Ids begin (`<name>-00000` …; by
    default a fresh one); `drain`, how long to wait for the last runs after the end (30 s);
    `warm_up`, whether one run that does not count goes before, which also finds out whether a
    worker can do it (True); `progress`; and those of the SDK's `start_workflow`, such as
    `task_queue`. Durations are a timedelta or seconds.

    Runs are sent from a thread of its own, on the Lab's connection. A worker that runs in this very
    process takes its interpreter's time from it: for a rate of more than a few runs a second start
    it with `lab.start_worker(process=True)`, or the schedule slips and the load is invalid.

    An interrupt (Ctrl-C) sends no more; runs that were started go on, and `load.last()` has what
    was measured. A run that fails, or a server that goes away, is a status and an error in its row.

    Raises ValueError for what is no rate, duration or number; PayloadError for an input that cannot
    be sent; NoWorkerError or WorkflowStuckError where the run before the load stands still.

    >>> load.open_loop(lab, ExampleWorkflow.run, WorkflowInput("…", "u-1"),
    ...                rate=5, duration=20)                                    # doctest: +SKIP
    """
    times = schedule(rate=rate, duration=duration, arrivals=arrivals, seed=seed)
    most = whole_number("max_in_flight", max_in_flight, 1)
    facts = {"kind": "open", "rate": float(rate), "arrivals": arrivals, "seed": int(seed)}
    inputs = list(map(_maker(input), range(len(times))))
    return measure(
        lab,
        workflow,
        inputs.__getitem__,
        lambda sender: in_open_loop(sender, times),
        {**facts, "clients": None, "think_s": None, "duration_s": positive_s("duration", duration)},
        inputs,
        most,
        **options,
    )


def closed_loop(
    lab: LabClient,
    workflow: Any,
    input: Any,
    *,
    clients: int,
    think: Duration = 0.0,
    duration: Duration,
    **options: Any,
) -> Load:
    """Let `clients` send a run, wait for its end, think, and send the next, for `duration`.

    For contrast: the system's own slowness holds the load back, so that a stall meets few runs.
    A run is intended where its client has thought to the end; `input` and the other options are
    those of `open_loop`.

    >>> load.closed_loop(lab, ExampleWorkflow.run, WorkflowInput("…", "u-1"),
    ...                  clients=2, think=0.1, duration=20)                    # doctest: +SKIP
    """
    count = whole_number("clients", clients, 1)
    think_s, duration_s = not_negative_s("think", think), positive_s("duration", duration)
    facts = {"kind": "closed", "rate": None, "arrivals": None, "seed": None}
    make = _maker(input)
    return measure(
        lab,
        workflow,
        make,
        lambda sender: in_closed_loop(sender, count, think_s, duration_s),
        {**facts, "clients": count, "think_s": think_s, "duration_s": duration_s},
        [make(0)],
        count,
        **options,
    )


def _maker(input: Any) -> Callable[[int], Any]:
    """Return the function from a run's number to its input."""
    if isinstance(input, WorkflowInput):
        return lambda number: dataclasses.replace(input, seed=input.seed + number)
    if callable(input):
        made: Callable[[int], Any] = input
        return made
    return lambda number: input
