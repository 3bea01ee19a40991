"""`sweeps.run`: carry a design out, or take it up where it was left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from projectai_lab._calls import check_start_options
from projectai_lab._connect import translated
from projectai_lab._loop import Say
from projectai_lab.client import workflow_type_of
from projectai_lab.errors import DesignError, LabError, SweepError
from projectai_lab.fault_injection import plans_of
from projectai_lab.lab import Lab
from projectai_lab.models import Duration, seconds
from projectai_lab.sweeps._arguments import Arguments
from projectai_lab.sweeps._bar import Display
from projectai_lab.sweeps._carry import Carrier, Run
from projectai_lab.sweeps._checked import checked, planned
from projectai_lab.sweeps._identity import Identity, check_sweep_name, plain_base
from projectai_lab.sweeps._listing import listed
from projectai_lab.sweeps._outage import Outage
from projectai_lab.sweeps._sweep import Sweep
from projectai_lab.sweeps._values import whole_number

_OURS = ("id", "arg", "args", "id_reuse_policy", "id_conflict_policy", "result_type", "rpc_timeout")
_OWN = ("name", "base", "concurrency", "progress", "patience", "task_queue")
_STOP_WITHIN_S = 10.0


def run(
    lab: Lab,
    workflow: str | Callable[..., Any],
    design: pd.DataFrame,
    *,
    name: str,
    base: Any = None,
    concurrency: int = 50,
    progress: bool = True,
    patience: Duration = 300.0,
    task_queue: str | None = None,
    **options: Any,
) -> Sweep:
    """Carry out the runs of a design and return when all have ended; start only what is missing.

    Each run's Workflow Id follows from name, row and replicate, such as `policies-1/r0003/n07`, and
    the server refuses it a second time: called again, after an interrupt, a dead kernel or a
    restart of the server, the same line starts what is missing and nothing twice, and several
    kernels may share a sweep. A run that has ended is done, however it ended. Runs that the
    server's retention has removed are missing.

    `base` is the workflow's input, of which each run changes the parameters: a path may lead into
    dataclasses, dicts of them (activities that `ExampleWorkflow` has in none begin with its
    defaults) and, by number, lists and tuples: `faults.rules.0.probability`. Of a workflow with
    plain arguments the parameters are their names, and `base` is a dict of those that do not vary.
    A field or argument `seed` gets the run's seed.

    At most `concurrency` runs are open at once. The bar shows runs by status and, of those open
    longest, how many retry or are stuck. While the server is away nothing is started; after
    `patience` (a timedelta or seconds) SweepError ends the wait, and its `resume` is the line to
    type, as the message of a KeyboardInterrupt is; open runs go on at the server. `options` are
    those of the SDK's `start_workflow`.

    Errors, before anything starts: DesignError for a design, parameter or value that cannot be
    carried out; SweepError for a name in use by another design, base or Workflow Type.

    >>> failing = "faults.fail_probability.simulate_ai_call"
    >>> design = sweeps.grid({failing: [0.2, 0.5]}, replicates=20)
    >>> base = WorkflowInput("hello", "u-1")
    >>> sweep = sweeps.run(lab, ExampleWorkflow.run, design, name="policies-1", base=base)
    ... # doctest: +SKIP
    """
    check_sweep_name(name)
    concurrency = whole_number("concurrency", concurrency, 1)
    _check_options(options)
    if not (patience_s := seconds(patience)) >= 0:
        raise DesignError(f"patience must be a timedelta or seconds, 0 or more; got {patience}")
    made = _Made(lab, workflow, design, name, base)
    queue = task_queue or lab.task_queue
    for plan in plans_of((*run.arguments, None)[0] for run in made.runs):
        lab.check_start(made.identity.workflow_type, queue, plan)
    sweep = _Sweeping(lab, made, {**options, "task_queue": queue}, patience_s)
    try:
        lab.loop.call(lambda say: sweep.carry(say, concurrency, progress))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(sweep.stopped()) from None
    return Sweep(lab, made.identity, all_started=True)


class _Made:
    """What a sweep is made of, checked as far as that can be done without a server."""

    def __init__(self, lab: Lab, workflow: Any, design: Any, name: str, base: Any) -> None:
        workflow_type = workflow_type_of(workflow)
        frame = checked(design)
        arguments = Arguments(workflow, base)
        converter = lab.client.data_converter.payload_converter
        plain = plain_base(converter, arguments.base)
        self.identity = Identity(name, frame, plain, workflow_type, lab.clock)
        # Now, before anything starts: whether the server can keep it.
        _ = self.identity.memo_design
        ids = self.identity.workflow_ids()
        self.runs = [
            Run(workflow_id, one, arguments.of(one))
            for workflow_id, one in zip(ids, planned(frame), strict=True)
        ]
        given = repr(workflow) if isinstance(workflow, str) else workflow.__qualname__
        more = "" if base is None else ", base=base"
        self.resume = f"sweeps.run(lab, {given}, design, name={name!r}{more})"


class _Sweeping:
    """One call of `run` while it goes on."""

    def __init__(
        self, lab: Lab, made: _Made, options: Mapping[str, Any], patience_s: float
    ) -> None:
        self._lab, self._made, self._options = lab, made, options
        self._patience_s = patience_s
        self._carrier: Carrier | None = None
        self._ended = asyncio.Event()

    async def carry(self, say: Say, concurrency: int, visible: bool) -> None:
        client, identity, runs = self._lab.client, self._made.identity, self._made.runs
        outage = Outage(client, self._patience_s, say, self._given_up, self._never_back)
        self._carrier = carrier = Carrier(client, identity, outage, self._options, len(runs))
        try:
            found = await listed(client, identity.name)
            for workflow_id, one in found.items():
                identity.check_same(one.memo, workflow_id)
            display = asyncio.create_task(
                Display(client, carrier.progress, outage, say).run(visible=visible)
            )
            try:
                with translated(client):
                    await carrier.carry(runs, found, concurrency)
            finally:
                display.cancel()
                await asyncio.gather(display, return_exceptions=True)
        finally:
            await outage.close()
            self._ended.set()

    def stopped(self) -> str:
        """Wait until nothing is started any more; return what to tell the user."""
        with contextlib.suppress(LabError, TimeoutError):
            self._lab.loop.run(lambda: asyncio.wait_for(self._ended.wait(), _STOP_WITHIN_S))
        return self._told("was interrupted")

    def _told(self, what: str) -> str:
        far = f": {self._carrier.progress}" if self._carrier else ""
        return (
            f"the sweep {self._made.identity.name!r} {what}{far}. Open runs go on at the server; "
            f"to take it up, type the same line again: {self._made.resume}"
        )

    def _given_up(self, away_s: float) -> LabError:
        what = f"was cut off: the server at {self._lab.address} has been away for {away_s:.0f} s"
        return SweepError(self._told(what), name=self._made.identity.name, resume=self._made.resume)

    def _never_back(self) -> bool:
        """Whether the server was this Lab's own and has ended."""
        return self._lab.server is not None and not self._lab.server.alive


def _check_options(options: Mapping[str, Any]) -> None:
    for option in options:
        if option in _OURS:
            raise DesignError(f"{option}= follows from the design and cannot be given to a sweep")
        if option in ("faults", "seed"):
            raise DesignError(
                f"{option}= stands in the input of a sweep's runs, so that it can be varied: "
                "base=WorkflowInput(…, faults=FaultPlan(…)); an input of your own meets a plan in "
                "its fields `faults: FaultPlan` and `seed: int`, the run method's first argument"
            )
    check_start_options(options, _OWN, "a sweep")
