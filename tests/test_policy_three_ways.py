"""One policy under one fault law: by Monte Carlo, in virtual time, and in real time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd
import pytest

from projectai_lab import (
    FaultPlan,
    Lab,
    LabConfig,
    Latency,
    RetrySettings,
    TimeoutSettings,
    WorkflowInput,
    faults,
    retries,
    tables,
)
from projectai_lab.handle import LabWorkflowHandle
from tests import policy_workflows as kinds

CALL = "simulate_ai_call"
LATENCY = 0.05
POLICY = RetrySettings(0.2, maximum_attempts=3)
PLAN = FaultPlan(fail_probability={CALL: 0.6}, latency=Latency(a=LATENCY))
N = 60
AT_ONCE = 10


class Ran(NamedTuple):
    """What a Lab made of the experiment."""

    requests: pd.DataFrame
    attempts: pd.DataFrame


def run(lab: Lab) -> Ran:
    """Run N requests, seeds 0, 1, …, some at once."""
    handles: list[LabWorkflowHandle[Any]] = []
    waiting: deque[LabWorkflowHandle[Any]] = deque()
    for seed in range(N):
        if len(waiting) == AT_ONCE:
            waiting.popleft().result(timeout=60)
        request = WorkflowInput(
            *("hello", "u-1", PLAN, seed), {CALL: POLICY}, {CALL: TimeoutSettings()}
        )
        handles.append(lab.start_workflow(kinds.Request.run, request))
        waiting.append(handles[-1])
    for handle in waiting:
        handle.result(timeout=60)
    histories = [handle.fetch_history() for handle in handles]
    made = tables.activities(histories, recorder=lab.attempts)
    attempts = tables.attempts(histories, recorder=lab.attempts)
    order = made.set_index("run_id").loc[[handle.run_id for handle in handles]].reset_index()
    order.attrs = made.attrs
    return Ran(retries.requests(order), attempts)


@pytest.fixture(scope="module")
def virtual() -> Iterator[Ran]:
    """Return the experiment on a server that skips idle time."""
    with Lab.start_local(clock="virtual", workflows=kinds.WORKFLOWS) as lab:
        yield run(lab)


@pytest.fixture(scope="module")
def real(address: str) -> Iterator[Ran]:
    """Return the experiment in real time."""
    config = LabConfig(address=address, task_queue="three-ways")
    with Lab.connect(config, workflows=kinds.WORKFLOWS) as lab:
        yield run(lab)


def overhead(ran: Ran) -> pd.DataFrame:
    """Return the attempts with all that server and worker added: measured, never assumed.

    That is the dispatch lag, and what the server saw the attempt last beyond the law's latency,
    where it measured that: in the last attempt of each request.
    """
    known = ran.attempts[ran.attempts["exec_s"].notna()]
    return known.assign(dispatch_lag_s=known["dispatch_lag_s"] + known["exec_s"] - LATENCY)


def expected() -> list[int]:
    """Return how many attempts the fates of the seeds come to."""
    fails = [
        [faults.fate(PLAN, seed, CALL, attempt).failure is not None for attempt in (1, 2)]
        for seed in range(N)
    ]
    return [1 if not one else 2 if not other else 3 for one, other in fails]


def compared(ran: Ran) -> pd.DataFrame:
    """Return the run beside simulation and theory, by measure."""
    simulated = retries.simulate(POLICY, PLAN, 100_000, dispatch_lag=overhead(ran))
    theory = retries.theory(POLICY, PLAN)
    return retries.compare_simulated(ran.requests, simulated, theory, q=(0.8,)).set_index("measure")


def test_virtual_and_real_time_make_the_same_attempts_and_the_same_ends(
    virtual: Ran, real: Ran
) -> None:
    assert virtual.requests.attempts.tolist() == real.requests.attempts.tolist() == expected()
    assert virtual.requests.outcome.tolist() == real.requests.outcome.tolist()
    assert virtual.requests.attrs["clock"] == "virtual"
    assert real.requests.attrs["clock"] != "virtual"


@pytest.mark.parametrize("clock", ["virtual", "real"])
def test_monte_carlo_agrees_within_the_stated_intervals(
    clock: str, request: pytest.FixtureRequest
) -> None:
    found = compared(request.getfixturevalue(clock))
    assert found.index.tolist() == ["give_up", "mean_attempts", "mean_completion_s", "p80_s"]
    # Of the times the benchmark of a quiet machine may judge: a busy one makes them late.
    assert found.agree[["give_up", "mean_attempts"]].all()
    for measure in ("give_up", "mean_attempts"):
        row = found.loc[measure]
        assert row.simulated_low <= row.theory <= row.simulated_high
        assert row.real_low <= row.theory <= row.real_high


def test_virtual_time_holds_the_backoffs_that_nobody_waited_for(virtual: Ran) -> None:
    rows = virtual.requests
    planned = rows.attempts.map(retries.planned(POLICY).set_index("attempt").cumulative_backoff_s)
    least = planned + LATENCY * rows.attempts
    assert (rows.completion_s > least - 0.005).all()


def test_without_the_measured_lag_the_simulation_is_too_early(real: Ran) -> None:
    simulated = retries.simulate(POLICY, PLAN, 100_000)
    found = retries.compare_simulated(real.requests, simulated, q=(0.8,)).set_index("measure")
    assert found.agree["mean_attempts"]
    assert found.residual["p80_s"] > compared(real).residual["p80_s"]
