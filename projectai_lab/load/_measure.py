"""What both loops share: checks, one run before the load, the bar, and an interrupt."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

from temporalio.client import WorkflowFailureError, WorkflowHandle

from projectai_lab._bar import Bar
from projectai_lab._calls import check_start_options, sent, start
from projectai_lab._connect import translated
from projectai_lab._loop import LoopThread
from projectai_lab._waits import with_worker
from projectai_lab._words import many
from projectai_lab.client import LabClient, workflow_type_of
from projectai_lab.errors import ConfigError, LabError
from projectai_lab.fault_injection import plans_of
from projectai_lab.load._load import Load, measured
from projectai_lab.load._schedule import not_negative_s
from projectai_lab.load._sender import Sender
from projectai_lab.models import Duration

logger = logging.getLogger("projectai_lab")
_LOOK_EVERY_S = 0.25
_MOST_NAMED = 3
_OWN_OPTIONS = (
    *("rate", "arrivals", "seed", "max_in_flight", "clients", "think", "duration", "name"),
    *("drain", "warm_up", "progress"),
)
_LAST: list[Load] = []
Facts = dict[str, Any]
Loop = Callable[[Sender], Coroutine[Any, Any, None]]


def last() -> Load:
    """Return the last load of this process, also one that was interrupted."""
    if not _LAST:
        raise LabError("there was no load yet in this process: load.open_loop(lab, …)")
    return _LAST[0]


def measure(
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
    """Run a load on a loop thread of its own; `facts` and the options say how it was made."""
    _check_options(options)
    kind, queue = workflow_type_of(workflow), task_queue or lab.task_queue
    _check_lab(lab, kind, queue, inputs)
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


def _check_lab(lab: LabClient, kind: str, queue: str, inputs: list[Any]) -> None:
    """Refuse a Lab on which the load would come to nothing, or would skip what it measures."""
    for plan in plans_of(inputs):
        lab.check_start(kind, queue, plan)
    if lab.clock == "virtual":
        raise ConfigError(
            "a load measures real time, and this Lab's virtual clock skips it: "
            'open a Lab with clock="fast" or "default"'
        )


def _check_options(options: Facts) -> None:
    if "id" in options:
        raise TypeError('Workflow Ids follow from the name: name="users" makes users-00000 …')
    check_start_options(options, _OWN_OPTIONS, "a load")


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
