"""Each law of the fault plan: what it does, and that a seed fixes it."""

from __future__ import annotations

import json
import math
import random
import statistics
import subprocess
import sys
from dataclasses import replace

import pytest

from projectai_lab.faults import Fate, fate, sample
from projectai_lab.models import FaultPlan, Latency

AI = "simulate_ai_call"
LAWS = [Latency("constant", 0.3), Latency("uniform", 0.1, 0.4), Latency("lognormal", 0.2, 0.6)]


def meets(plan: FaultPlan, attempt: int = 1, *, seed: int = 7) -> Fate:
    """Return the fate of an attempt of the AI call."""
    return fate(plan, seed, AI, attempt)


def drawn(latency: Latency, n: int = 4000) -> list[float]:
    """Draw many latencies from one seed."""
    draw = random.Random(7)
    return [sample(latency, draw) for _ in range(n)]


def test_an_empty_plan_harms_nobody() -> None:
    assert meets(FaultPlan()) == Fate(latency_s=0.02)


def test_the_first_k_attempts_fail_and_the_next_does_not() -> None:
    plan = FaultPlan(fail_first={AI: 3})
    failures = [meets(plan, attempt).failure for attempt in range(1, 6)]
    assert failures == [*(f"planned failure of attempt {n}" for n in (1, 2, 3)), None, None]


def test_the_first_attempts_hang_and_may_fail_afterwards() -> None:
    plan = FaultPlan(hang_first={AI: 2}, fail_first={AI: 1})
    first, second, third = (meets(plan, attempt) for attempt in (1, 2, 3))
    assert (first.hangs, first.failure) == (True, "planned failure of attempt 1")
    assert (second.hangs, second.failure) == (True, None)
    assert (third.hangs, third.failure) == (False, None)


def test_a_plan_strikes_only_the_activities_that_it_names() -> None:
    plan = FaultPlan({AI: 9}, {AI: 1.0}, {AI: 9})
    assert fate(plan, 7, "process_ai_task", 1) == Fate(latency_s=0.02)


def test_probability_one_always_fails_and_zero_never_does() -> None:
    always, never = FaultPlan({}, {AI: 1.0}), FaultPlan({}, {AI: 0.0})
    assert meets(always).failure == "drawn failure (p=1) of attempt 1"
    assert all(meets(always, n).failure for n in range(1, 200))
    assert not any(meets(never, n).failure for n in range(1, 200))


def test_attempts_fail_with_about_the_given_probability() -> None:
    plan = FaultPlan({}, {AI: 0.3})
    failed = sum(bool(meets(plan, seed=n).failure) for n in range(4000))
    # Four standard errors of a binomial share with n = 4000.
    assert failed / 4000 == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 4000))


def test_attempts_that_the_plan_fails_leave_the_drawn_ones_as_they_were() -> None:
    drawn_only, both = FaultPlan({}, {AI: 0.5}), FaultPlan({AI: 3}, {AI: 0.5})
    later = range(4, 60)
    assert [meets(both, n).failure for n in later] == [meets(drawn_only, n).failure for n in later]


@pytest.mark.parametrize("latency", LAWS)
def test_the_latency_law_does_not_change_which_attempts_fail(latency: Latency) -> None:
    plan = FaultPlan({}, {AI: 0.5})
    other = replace(plan, latency=latency)
    attempts = range(1, 200)
    assert [meets(plan, n).failure for n in attempts] == [meets(other, n).failure for n in attempts]


def test_a_constant_latency_is_constant() -> None:
    assert set(drawn(Latency("constant", 0.3), 50)) == {0.3}


def test_a_uniform_latency_fills_its_range() -> None:
    values = drawn(Latency("uniform", 0.1, 0.4))
    assert 0.1 <= min(values) < 0.101
    assert 0.399 < max(values) <= 0.4
    assert statistics.mean(values) == pytest.approx(0.25, abs=0.006)


def test_a_lognormal_latency_has_the_given_median_and_spread() -> None:
    logs = [math.log(value) for value in drawn(Latency("lognormal", 0.2, 0.6))]
    assert statistics.median(logs) == pytest.approx(math.log(0.2), abs=0.05)
    assert statistics.stdev(logs) == pytest.approx(0.6, abs=0.03)


def test_a_lognormal_latency_without_spread_or_median_is_constant() -> None:
    assert drawn(Latency("lognormal", 0.2, 0), 20) == pytest.approx([0.2] * 20)
    assert drawn(Latency("lognormal", 0, 0.6), 20) == [0.0] * 20


@pytest.mark.parametrize("latency", LAWS[1:])
def test_seed_activity_and_attempt_each_change_the_draw(latency: Latency) -> None:
    plan = FaultPlan(latency=latency)
    fates = [
        fate(plan, 7, AI, 1),
        fate(plan, 8, AI, 1),
        fate(plan, 7, "process_ai_task", 1),
        fate(plan, 7, AI, 2),
    ]
    assert len({one.latency_s for one in fates}) == 4
    assert fate(plan, 7, AI, 1) == fates[0]


_CHILD = """
import json
from projectai_lab.faults import fate
from projectai_lab.models import FaultPlan, Latency
plans = [FaultPlan({}, {"simulate_ai_call": 0.5}, latency=Latency(law, 0.1, 0.4))
         for law in ("constant", "uniform", "lognormal")]
fates = [fate(plan, 7, "simulate_ai_call", n) for plan in plans for n in range(1, 20)]
print(json.dumps([[one.latency_s, one.failure] for one in fates]))
"""


def test_another_process_draws_the_same_fates() -> None:
    answers = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", _CHILD],
                env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
                capture_output=True,
                check=True,
            ).stdout
        )
        for seed in ("1", "2")
    ]
    here = [
        fate(FaultPlan({}, {AI: 0.5}, latency=Latency(law, 0.1, 0.4)), 7, AI, n)
        for law in ("constant", "uniform", "lognormal")
        for n in range(1, 20)
    ]
    assert answers[0] == answers[1] == [[one.latency_s, one.failure] for one in here]
    assert {failure is None for _, failure in answers[0]} == {True, False}
