"""Where the server stops retrying, and that the simulation stops there too."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from projectai_lab import (
    FaultPlan,
    Lab,
    LabConfig,
    Latency,
    RetrySettings,
    TimeoutSettings,
    WorkflowInput,
    retries,
    tables,
)
from tests import policy_workflows as kinds

CALL = "simulate_ai_call"
ALWAYS = {CALL: 99}


class Case(NamedTuple):
    """What is tried, and the ends that it has on the server: attempts, outcome, seconds."""

    policy: RetrySettings
    plan: FaultPlan
    limits: TimeoutSettings
    ends: tuple[int, str, float]


def plan(latency: float = 0.0, **options: Any) -> FaultPlan:
    """Return a plan without chance."""
    return FaultPlan(latency=Latency(a=latency), **options)


# A second and more lies between what must come first and what must not: the server may be busy.
CASES = {
    "the backoff would pass the deadline": Case(
        RetrySettings(3.0),
        plan(fail_first=ALWAYS),
        TimeoutSettings(10, schedule_to_close=8.5),
        (2, "TIMEOUT", 3.0),
    ),
    "the attempt runs into the deadline": Case(
        RetrySettings(0.2),
        plan(latency=5),
        TimeoutSettings(10, schedule_to_close=0.8),
        (1, "TIMEOUT", 0.8),
    ),
    "a hang is timed out and retried": Case(
        RetrySettings(0.3, maximum_attempts=3),
        plan(hang_first={CALL: 1}),
        TimeoutSettings(2.0),
        (2, "COMPLETED", 2.3),
    ),
    "hangs use all attempts up": Case(
        RetrySettings(0.2, maximum_attempts=2),
        plan(hang_first=ALWAYS),
        TimeoutSettings(0.4),
        (2, "MAXIMUM_ATTEMPTS_REACHED", 1.0),
    ),
    "a hanging last attempt meets the deadline": Case(
        RetrySettings(0.2, maximum_attempts=1),
        plan(hang_first=ALWAYS),
        TimeoutSettings(10, schedule_to_close=0.6),
        (1, "TIMEOUT", 0.6),
    ),
    "the last attempt fails before the deadline": Case(
        RetrySettings(5.0, maximum_attempts=1),
        plan(fail_first=ALWAYS),
        TimeoutSettings(10, schedule_to_close=4),
        (1, "MAXIMUM_ATTEMPTS_REACHED", 0.0),
    ),
    "a failure that is not retryable": Case(
        RetrySettings(0.2),
        plan(fail_first=ALWAYS, retryable=False),
        TimeoutSettings(10),
        (1, "NON_RETRYABLE_FAILURE", 0.0),
    ),
    "a failure of a type that the policy names": Case(
        RetrySettings(0.2, non_retryable_error_types=("Broken",)),
        plan(fail_first=ALWAYS, error_type="Broken"),
        TimeoutSettings(10),
        (1, "NON_RETRYABLE_FAILURE", 0.0),
    ),
    "a timeout that the policy names": Case(
        RetrySettings(0.2, non_retryable_error_types=("TemporalTimeout:StartToClose",)),
        plan(hang_first=ALWAYS),
        TimeoutSettings(0.4),
        (1, "NON_RETRYABLE_FAILURE", 0.4),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_simulation_ends_as_the_case_says(name: str) -> None:
    case = CASES[name]
    options: Any = {
        "start_to_close": case.limits.start_to_close,
        "schedule_to_close": case.limits.schedule_to_close,
    }
    row = retries.simulate(case.policy, case.plan, 1, **options).iloc[0]
    assert (row.attempts, row.outcome, round(row.completion_s, 6)) == case.ends
    ending = retries.theory(case.policy, case.plan, **options).iloc[0]
    assert (ending.attempts, ending.outcome, ending.completion_s) == pytest.approx(case.ends)


def test_the_server_ends_as_the_simulation_does(config: LabConfig) -> None:
    with Lab.connect(config, workflows=kinds.WORKFLOWS) as lab:
        handles = [
            lab.start_workflow(
                kinds.Request.run,
                WorkflowInput(
                    *("hello", "u-1", case.plan, 0), {CALL: case.policy}, {CALL: case.limits}
                ),
            )
            for case in CASES.values()
        ]
        for handle in handles:
            handle.result(timeout=60)
        histories = [handle.fetch_history() for handle in handles]
        for name, history in zip(CASES, histories, strict=True):
            row = retries.requests(tables.activities([history], recorder=lab.attempts)).iloc[0]
            attempts, outcome, seconds = CASES[name].ends
            assert (row.attempts, row.outcome) == (attempts, outcome), name
            # Timers fire late and never early.
            assert row.completion_s > seconds - 0.005, name
