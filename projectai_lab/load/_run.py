"""`open_loop` and `closed_loop`: put a load on a Lab and measure from the intended start."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

from temporalio.client import WorkflowFailureError, WorkflowHandle

from projectai_lab._calls import sent, start
from projectai_lab._connect import translated
from projectai_lab._loop import LoopThread
from projectai_lab._waits import with_worker
from projectai_lab._words import many
from projectai_lab.client import LabClient, _workflow_type
from projectai_lab.errors import ConfigError, LabError
from projectai_lab.histories._bar import Bar
from projectai_lab.load._load import Load, measured
from projectai_lab.load._schedule import (
    Arrivals,
    at_least_one,
    not_negative_s,
    positive_s,
    schedule,
)
from projectai_lab.load._sender import Sender, in_closed_loop, in_open_loop
from projectai_lab.models import Duration, WorkflowInput

logger = logging.getLogger("projectai_lab")
_LOOK_EVERY_S = 0.25
_MOST_NAMED = 3
_LAST: list[Load] = []
Facts = dict[str, Any]
Loop = Callable[[Sender], Coroutine[Any, Any, None]]


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
    most = at_least_one("max_in_flight", max_in_flight, "max_in_flight=2000")
    facts = {"kind": "open", "rate": float(rate), "arrivals": arrivals, "seed": seed}
    inputs = list(map(_maker(input), range(len(times))))
    return _measure(
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
    count = at_least_one("clients", clients, "clients=4")
    think_s, duration_s = not_negative_s("think", think), positive_s("duration", duration)
    facts = {"kind": "closed", "rate": None, "arrivals": None, "seed": None}
    make = _maker(input)
    return _measure(
        lab,
        workflow,
        make,
        lambda sender: in_closed_loop(sender, count, think_s, duration_s),
        {**facts, "clients": count, "think_s": think_s, "duration_s": duration_s},
        [make(0)],
        count,
        **options,
    )


def last() -> Load:
    """Return the last load of this process, also one that was interrupted."""
    if not _LAST:
        raise LabError("there was no load yet in this process: load.open_loop(lab, …)")
    return _LAST[0]


def _measure(
    lab: LabClient,
    workflow: Any,
    make_input: Callable[[int], Any],
    loop: Loop,
    facts: Facts,
    inputs: list[Any],
    max_in_flight: int,
    *,
    name: str | None = None,
    drain: Duration = 30.0,
    warm_up: bool = True,
    progress: bool = True,
    task_queue: str | None = None,
    **options: Any,
) -> Load:
    lab._check_open()
    if lab.clock == "virtual":
        raise ConfigError(
            "a load measures real time, and this Lab's virtual clock skips it: "
            'open a Lab with clock="fast" or "default"'
        )
    kind, queue = _workflow_type(workflow), task_queue or lab.task_queue
    lab._before_start(kind, queue)
    name = name or f"{facts['kind']}-{kind}-{uuid4().hex[:8]}"
    facts |= {"name": name, "workflow_type": kind, "max_in_flight": max_in_flight}
    facts |= {"namespace": lab.namespace, "clock": lab.clock or "unknown"}
    options |= {"task_queue": queue}
    drain_s = not_negative_s("drain", drain)
    sender = Sender(lab.client, workflow, options, name, make_input, drain_s, max_in_flight)
    thread = LoopThread("projectai-lab-load")
    try:
        thread.run(lambda: _check(sender, inputs))
        if warm_up:
            thread.run(lambda: _warm_up(sender, inputs[0]))
        _attend(thread, sender, loop, len(inputs), facts, progress)
    finally:
        thread.close()
    return last()


def _attend(
    thread: LoopThread, sender: Sender, loop: Loop, total: int, facts: Facts, progress: bool
) -> None:
    """Run the load, keep the bar up to date, and keep what was measured, interrupted or not."""
    shown = total if facts["kind"] == "open" else None
    try:
        thread.run(lambda: sender.begin(loop))
        with Bar(total=shown, unit="run", desc=facts["name"], disable=not progress) as bar:
            while not thread.run(lambda: sender.over_within(_LOOK_EVERY_S)):
                _update(bar, sender)
            _update(bar, sender)
    except KeyboardInterrupt as stopped:
        thread.run(sender.stop)
        _LAST[:] = [measured(sender, facts, interrupted=True)]
        stopped.add_note(_interrupted(sender))
        logger.warning(_interrupted(sender))
        raise
    _LAST[:] = [measured(sender, facts, interrupted=False)]


def _update(bar: Any, sender: Sender) -> None:
    bar.set_postfix_str(f"{sender.in_flight} in flight", refresh=False)
    bar.update(sender.ended - bar.n)


def _interrupted(sender: Sender) -> str:
    going = [run.workflow_id for run in sender.runs if run.status == "RUNNING"]
    words = f"the load {sender.name!r} was interrupted; load.last() has what was measured"
    if not going:
        return words
    rest = f" and {len(going) - _MOST_NAMED} more" if len(going) > _MOST_NAMED else ""
    named = ", ".join(going[:_MOST_NAMED])
    return f"{words}; {many(len(going), 'run')} had not ended and may go on: {named}{rest}"


async def _check(sender: Sender, inputs: list[Any]) -> None:
    """Encode each input once: what cannot be sent is told before anything starts."""
    for argument in inputs:
        await sent(sender.client, [argument], sender.client.data_converter.encode([argument]))


async def _warm_up(sender: Sender, argument: Any) -> None:
    """Let one run go before the load; raise when no worker can do it, and end it then."""
    client, options = sender.client, {**sender.options, "id": f"{sender.name}-warm-up"}
    handle: WorkflowHandle[Any, Any] = await start(
        client, sender.workflow, {**options, "arg": argument}
    )
    try:
        with translated(client), contextlib.suppress(WorkflowFailureError):
            await with_worker(client, handle, handle.result())
    except LabError as error:
        with contextlib.suppress(Exception):
            await handle.terminate(reason="the run before a load stood still")
        error.add_note("Nothing of the load was started; the run before it was ended")
        raise


def _maker(input: Any) -> Callable[[int], Any]:
    """Return the function from a run's number to its input."""
    if isinstance(input, WorkflowInput):
        return lambda number: dataclasses.replace(input, seed=input.seed + number)
    if callable(input):
        made: Callable[[int], Any] = input
        return made
    return lambda number: input
