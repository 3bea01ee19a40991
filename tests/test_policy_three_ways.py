"""One policy under one fault law: by Monte Carlo, in virtual time, and in real time.

What is compared is the time net of all that server and worker were measured to add: the dispatch
lag of each attempt, and what it lasted beyond the law's latency, both on the server's clock. When a
failed attempt ended the server tells in real time while it waits for the next one, and in virtual
time by the skip that follows at once. `SLACK_S` is for a skip that comes late and for an end that
only the worker saw; the negative check is against policies that wait seconds longer or shorter.
"""

from __future__ import annotations

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
    histories,
    retries,
    tables,
)
from projectai_lab.attempt_poll import AttemptPoll
from projectai_lab.errors import TableError
from projectai_lab.handle import LabWorkflowHandle
from tests import policy_workflows as kinds

CALL = "simulate_ai_call"
LATENCY = 0.05
POLICY = RetrySettings(1.5, maximum_attempts=3)
PLAN = FaultPlan(fail_probability={CALL: 0.6}, latency=Latency(a=LATENCY))
SLACK_S = 0.5
N = 60
AT_ONCE = 12
TIMES = ["mean_completion_s", "p80_s"]


class Ran(NamedTuple):
    """What a Lab made of the experiment, in the order of the seeds."""

    requests: pd.DataFrame
    net: pd.DataFrame
    attempts: pd.DataFrame


def run(lab: Lab) -> Ran:
    """Run N requests, seeds 0, 1, …, some at once."""
    handles: list[LabWorkflowHandle[Any]] = []
    looks: list[AttemptPoll] = []
    for seed in range(N):
        if seed >= AT_ONCE:
            handles[seed - AT_ONCE].result(timeout=300)
        request = WorkflowInput(
            *("hello", "u-1", PLAN, seed), {CALL: POLICY}, {CALL: TimeoutSettings()}
        )
        handles.append(lab.start_workflow(kinds.Request.run, request))
        if lab.clock != "virtual":
            looks.append(handles[-1].poll_attempts(every=0.3))
    for handle in handles:
        handle.result(timeout=300)
    runs = [handle.fetch_history() for handle in handles]
    made = tables.activities(runs, recorder=lab.attempts)
    seen = [one for look in looks for one in look]
    attempts = tables.attempts(runs, recorder=lab.attempts, seen=seen)
    ids = [handle.run_id for handle in handles]
    order = made.set_index("run_id").loc[ids].reset_index()
    order.attrs = made.attrs
    requests = retries.requests(order)
    ends = pd.concat([ends_by_skips(history) for history in runs])
    added = added_s(attempts, ends).groupby(attempts["run_id"]).sum().loc[ids].to_numpy()
    net = requests.assign(completion_s=requests["completion_s"] - added)
    return Ran(requests, net, attempts)


def ends_by_skips(history: histories.History) -> pd.DataFrame:
    """Return, of a run that waits for one activity, the time of each skip: attempt n had ended."""
    events = tables.events(history)
    skips = events[events["event_type"] == "WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED"]
    numbers = range(1, len(skips) + 1)
    return pd.DataFrame({"run_id": skips["run_id"], "attempt": numbers, "end": skips["event_time"]})


def added_s(attempts: pd.DataFrame, ends: pd.DataFrame) -> pd.Series:
    """Return what server and worker added to each attempt: measured, never planned."""
    by_skip = attempts[["run_id", "attempt"]].merge(ends, how="left")["end"]
    lasted = attempts["exec_s"]
    lasted = lasted.fillna((by_skip - attempts["started_time"]).dt.total_seconds())
    return attempts["dispatch_lag_s"] + lasted.fillna(attempts["worker_exec_s"]) - LATENCY


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


@pytest.fixture(params=["virtual", "real"])
def ran(request: pytest.FixtureRequest) -> Ran:
    """Return the experiment on one server after the other."""
    found: Ran = request.getfixturevalue(request.param)
    return found


def expected() -> list[int]:
    """Return how many attempts the fates of the seeds come to."""
    fails = [
        [faults.fate(PLAN, seed, CALL, attempt).failure is not None for attempt in (1, 2)]
        for seed in range(N)
    ]
    return [1 if not one else 2 if not other else 3 for one, other in fails]


def compared(ran: Ran, policy: RetrySettings = POLICY) -> pd.DataFrame:
    """Return the run beside simulation and theory, by measure; `agree` allows for the slack."""
    simulated = retries.simulate(policy, PLAN, 100_000)
    theory = retries.theory(policy, PLAN)
    found = retries.compare_simulated(ran.net, simulated, theory, q=(0.8,)).set_index("measure")
    slack = pd.Series(SLACK_S, index=TIMES).reindex(found.index, fill_value=0.0)
    inside = (found["residual_low"] <= slack) & (found["residual_high"] >= -slack)
    return found.assign(agree=inside)


def test_virtual_and_real_time_make_the_same_attempts_and_the_same_ends(
    virtual: Ran, real: Ran
) -> None:
    assert virtual.requests.attempts.tolist() == real.requests.attempts.tolist() == expected()
    assert virtual.requests.outcome.tolist() == real.requests.outcome.tolist()
    assert virtual.requests.attrs["clock"] == "virtual"
    assert real.requests.attrs["clock"] != "virtual"


def test_monte_carlo_agrees_within_the_stated_intervals(ran: Ran) -> None:
    found = compared(ran)
    assert found.index.tolist() == ["give_up", "mean_attempts", *TIMES]
    assert found.agree.tolist() == [True] * 4, found.to_string()
    for measure in ("give_up", "mean_attempts"):
        row = found.loc[measure]
        assert row.simulated_low <= row.theory <= row.simulated_high
        assert row.real_low <= row.theory <= row.real_high


@pytest.mark.parametrize("first_s", [0.4, 4, 60])
def test_the_times_would_not_agree_with_another_policy(ran: Ran, first_s: float) -> None:
    other = compared(ran, RetrySettings(first_s, maximum_attempts=3))
    assert other.agree["give_up"]
    assert not other.agree["p80_s"], other.to_string()


def test_request_by_request_the_servers_wait_as_planned(ran: Ran) -> None:
    plan = retries.planned(POLICY).set_index("attempt").cumulative_backoff_s
    retried = ran.net[ran.net.attempts > 1]
    over = retried.completion_s - retried.attempts.map(plan) - LATENCY * retried.attempts
    # Most are exact to what a time stamp resolves; a busy machine may hide when some ended.
    assert over.astype(float).abs().median() < SLACK_S / 10


def test_real_and_virtual_times_are_not_compared_with_each_other(virtual: Ran, real: Ran) -> None:
    there = real.net.copy()
    there.attrs["clock"] = "fast"
    with pytest.raises(TableError, match=r"several clocks \(fast, virtual\).*run both on one"):
        retries.compare_simulated(virtual.net, there)
    lags = retries.simulate(POLICY, PLAN, 100, dispatch_lag=virtual.attempts)
    assert lags.attrs["clock"] == "virtual"
    with pytest.raises(TableError, match="several clocks"):
        retries.compare_simulated(there, lags)
    assert len(retries.compare_simulated(virtual.net, lags))


def test_without_the_measured_lag_the_simulation_is_too_early(real: Ran) -> None:
    gross = retries.compare_simulated(real.requests, retries.simulate(POLICY, PLAN, 10_000))
    net = retries.compare_simulated(real.net, retries.simulate(POLICY, PLAN, 10_000))
    residuals = [one.set_index("measure").residual["mean_completion_s"] for one in (gross, net)]
    assert residuals[0] > residuals[1]
