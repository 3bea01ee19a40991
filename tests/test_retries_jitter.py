"""Jitter in Temporal: the waits that an activity draws, and that the server keeps to them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from temporalio.common import RetryPolicy

from projectai_lab import Lab, retries, tables
from projectai_lab.models import RetrySettings
from tests import policy_workflows as kinds

POLICY = RetrySettings(1.0, maximum_interval=10.0)


def waits(strategy: Any, attempt: int, count: int = 4000, policy: Any = POLICY) -> Any:
    """Return many draws of the wait after an attempt, in seconds."""
    return np.array(
        [
            retries.jittered(policy, attempt, strategy, seed=seed).total_seconds()
            for seed in range(count)
        ]
    )


def test_without_jitter_the_wait_is_the_planned_one() -> None:
    plan = retries.planned(POLICY, attempts=7).backoff_s[1:]
    drawn = [retries.jittered(POLICY, k, "none", seed=1).total_seconds() for k in range(1, 7)]
    assert drawn == plan.tolist()


@pytest.mark.parametrize("attempt", [1, 3, 6])
def test_full_and_equal_jitter_are_uniform_below_the_planned_wait(attempt: int) -> None:
    planned = min(2.0 ** (attempt - 1), 10)
    for strategy, lowest in (("full", 0.0), ("equal", planned / 2)):
        drawn = waits(strategy, attempt)
        assert lowest <= drawn.min() < lowest + 0.01 * planned
        assert 0.99 * planned < drawn.max() <= planned
        assert drawn.mean() == pytest.approx((lowest + planned) / 2, rel=0.04)


def test_decorrelated_jitter_goes_from_three_times_the_wait_before() -> None:
    first, second = waits("decorrelated", 1), waits("decorrelated", 2)
    assert 1 <= first.min() < first.max() <= 3
    assert ((second >= 1) & (second <= 3 * first + 1e-6)).all()
    assert second.mean() == pytest.approx((1 + 3 * 2) / 2, rel=0.04)
    assert waits("decorrelated", 12).max() == 10


def test_the_draws_of_activity_and_simulation_have_one_distribution() -> None:
    law = retries.FaultLaw(fail=[1, 1, 0], latency=retries.FaultLaw().latency)
    for strategy in retries.STRATEGIES[1:]:
        apart = waits(strategy, 1) + waits(strategy, 2)
        table = retries.simulate(POLICY, law, 4000, jitter=strategy)
        together = table.completion_s - 3 * law.latency.a
        for q in (0.1, 0.5, 0.9):
            assert np.quantile(apart, q) == pytest.approx(np.quantile(together, q), rel=0.06)


def test_a_wait_is_never_zero_which_the_server_would_read_as_not_given() -> None:
    tiny = RetrySettings(0.001, 1.0)
    for strategy in retries.STRATEGIES:
        assert waits(strategy, 1, 200, tiny).min() >= 0.001


def test_the_same_seed_draws_the_same_in_every_process() -> None:
    code = (
        "from projectai_lab import retries, RetrySettings as Policy;"
        "print(retries.jittered(Policy(), 4, 'decorrelated', seed='run-1').total_seconds())"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = retries.jittered(RetrySettings(), 4, "decorrelated", seed="run-1").total_seconds()
    assert float(said.stdout) == here
    assert here != retries.jittered(RetrySettings(), 4, "decorrelated", seed="run-2")


def test_what_an_activity_needs_loads_no_numpy() -> None:
    code = (
        "import sys; from projectai_lab.retries import jittered;"
        "from temporalio.common import RetryPolicy; jittered(RetryPolicy(), 1, seed=1);"
        "print(sorted({'numpy', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_a_policy_comes_in_any_form_and_after_any_attempt() -> None:
    row = {
        "initial_interval_s": 1.0,
        "backoff_coefficient": 2.0,
        "maximum_interval_s": pd.NA,
        "maximum_attempts": pd.NA,
    }
    for policy in (RetryPolicy(), RetrySettings(), row, pd.Series(row)):
        assert retries.jittered(policy, 5, "none", seed=0) == timedelta(seconds=16)
        assert retries.jittered(policy, 10_000, "none", seed=0) == timedelta(seconds=100)


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="jitter is one of none, full, equal, decorrelated; got"):
        retries.jittered(POLICY, 1, "wild", seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="attempt counts from 1, got 0"):
        retries.jittered(POLICY, 0, seed=0)
    with pytest.raises(TypeError, match="no retry policy: int has no initial_interval"):
        retries.jittered(3, 1, seed=0)


# On a real server


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Return a Lab on virtual time whose workflow file imports `jittered` inside the sandbox."""
    with Lab.start_local(
        clock="virtual", workflows=kinds.WORKFLOWS, activities=kinds.ACTIVITIES
    ) as opened:
        yield opened


def test_the_server_waits_as_drawn_and_not_as_the_policy_says(lab: Lab) -> None:
    # Hours, so that no lag of a busy machine is ever near the difference.
    hour = 3600.0
    asked = [
        kinds.Backoff(strategy, f"seed-{number}", hour, 3)
        for strategy in ("full", "equal", "decorrelated")
        for number in range(2)
    ]
    handles = [lab.start_workflow(kinds.Jittered.run, one) for one in asked]
    for handle in handles:
        handle.result(timeout=60)
    table = tables.attempts([one.fetch_history() for one in handles], recorder=lab.attempts)
    apart = 0
    for one, handle in zip(asked, handles, strict=True):
        rows = table[table.run_id == handle.run_id].sort_values("attempt")
        drawn = [
            retries.jittered(RetrySettings(hour), k, one.strategy, seed=one.seed).total_seconds()
            for k in (1, 2)
        ]
        assert rows.backoff_planned_s.tolist()[1:] == pytest.approx(drawn, abs=1e-6)
        seen = rows.backoff_observed_s.to_numpy(dtype="float64")[1:]
        assert seen == pytest.approx(drawn, abs=60)
        apart += int((np.abs(seen - np.array([hour, 2 * hour])) > 600).sum())
    assert apart >= 5
    assert (tables.activities([one.fetch_history() for one in handles]).attempts == 3).all()
