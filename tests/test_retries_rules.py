"""The rules of a fault plan as a fault law: exact where they are one, refused by name elsewhere."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from projectai_lab import Fault, FaultPlan, Latency, RetrySettings, faults, retries
from projectai_lab.errors import PolicyError
from projectai_lab.retries import FaultLaw
from projectai_lab.retries._latency_law import below, draw

CALL = "simulate_ai_call"
N = 4000
PLANS = {
    "one rule": FaultPlan(rules=(Fault("fail", CALL, probability=0.4),)),
    "by attempt": FaultPlan(rules=(Fault("fail", CALL, attempts=(1, 3), probability=0.7),)),
    "two causes": FaultPlan(
        rules=(
            Fault("fail", CALL, probability=0.3),
            Fault("fail", "*", attempts=(2,), probability=0.5),
        )
    ),
    "beside the plan's own": FaultPlan(
        fail_probability={CALL: 0.2}, rules=(Fault("fail", probability=0.5, point="end"),)
    ),
    "hangs": FaultPlan(
        rules=(Fault("hang", CALL, attempts=(1, 2), probability=0.25), Fault("hang", "other"))
    ),
    "rate limits": FaultPlan(
        rules=(Fault("rate_limit", CALL, probability=0.6, next_retry_delay=3),)
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_fates_have_the_frequency_of_the_law(name: str) -> None:
    plan = PLANS[name]
    law = FaultLaw.of(plan)
    for attempt in (1, 2, 3, 4):
        fates = [faults.fate(plan, seed, CALL, attempt) for seed in range(N)]
        failed = sum(one.failure is not None for one in fates)
        hung = sum(one.hangs for one in fates)
        for chance, seen in (
            (law.chance("fail", attempt), failed),
            (law.chance("hang", attempt), hung),
        ):
            if chance in (0, 1):
                assert seen == chance * N
            else:
                assert binomtest(seen, N, chance).pvalue > 0.0005


def test_the_law_of_rules_is_this() -> None:
    law = FaultLaw.of(PLANS["two causes"])
    assert law.chances("fail") == pytest.approx((0.3, 1 - 0.7 * 0.5, 0.3))
    assert FaultLaw.of(PLANS["one rule"]).chances("fail") == (0.4,)
    assert FaultLaw.of(PLANS["by attempt"]).chances("fail") == pytest.approx((0.7, 0, 0.7, 0))
    limited = FaultLaw.of(PLANS["rate limits"])
    assert (limited.error_type, limited.next_retry_delay) == ("RateLimited", 3.0)
    assert FaultLaw.of(PLANS["one rule"], "other").chances("fail") == (0.0,)


def test_a_failure_at_the_start_takes_no_time_and_one_at_the_end_the_calls() -> None:
    latency = Latency(a=0.3)
    start = FaultPlan(latency=latency, rules=(Fault("fail", probability=0.5),))
    end = FaultPlan(latency=latency, rules=(Fault("fail", probability=0.5, point="end"),))
    assert FaultLaw.of(start).failing_latency == Latency(a=0.0)
    assert FaultLaw.of(end).failing_latency is None
    policy = RetrySettings(1, maximum_attempts=2)
    took = [
        retries.theory(policy, plan).query("outcome == 'COMPLETED' and attempts == 2").completion_s
        for plan in (start, end)
    ]
    assert took[0].tolist() == pytest.approx([1.3])
    assert took[1].tolist() == pytest.approx([1.6])


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
REFUSED: dict[str, tuple[FaultPlan, str]] = {
    "window": (
        FaultPlan(rules=(Fault("fail", window=(1, 2)),)),
        r"the rule 'fail \* window 1…2' is bound to a time, so it cannot be simulated; say what it",
    ),
    "times": (
        FaultPlan(rules=(Fault("hang", window=(NOON, NOON + timedelta(1))),)),
        "is bound to a time",
    ),
    "kill": (
        FaultPlan(rules=(Fault("kill_worker", name="crash"),)),
        r"the rule 'crash' ends an attempt by a timeout, and others with it, .*FaultLaw\(fail=",
    ),
    "heartbeats": (
        FaultPlan(rules=(Fault("drop_heartbeats", CALL),)),
        "ends an attempt by its heartbeat timeout",
    ),
    "delay": (
        FaultPlan(rules=(Fault("delay", CALL, delay=Latency(a=1)),)),
        "the rule 'delay simulate_ai_call' adds to a latency",
    ),
    "two error types": (
        FaultPlan({CALL: 1}, rules=(Fault("fail", error_type="Other", point="end"),)),
        r"failures by 'fail_first' and by 'fail \* at end' differ in their effect",
    ),
    "two waits": (
        FaultPlan(rules=(Fault("fail", attempts=(1,)), Fault("fail", next_retry_delay=2))),
        "differ in their effect",
    ),
    "two points": (
        FaultPlan({CALL: 1}, rules=(Fault("fail"),)),
        r"failures by 'fail_first' and by 'fail \*' differ in their point",
    ),
    "failure before hang": (
        FaultPlan(rules=(Fault("fail", probability=0.5), Fault("hang", CALL, point="end"))),
        r"'fail \*' fails attempts before 'hang simulate_ai_call at end' can let them hang",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_rule_that_is_no_law_of_attempts_is_refused_by_name(name: str) -> None:
    plan, message = REFUSED[name]
    with pytest.raises(PolicyError, match=message):
        retries.simulate(RetrySettings(maximum_attempts=2), plan, 10)


def test_a_rule_for_another_activity_is_nothing_to_this_one() -> None:
    plan = FaultPlan(rules=(Fault("kill_worker", "other"), Fault("fail", CALL, probability=0.5)))
    assert FaultLaw.of(plan).chances("fail") == (0.5,)
    with pytest.raises(PolicyError, match="kill_worker other"):
        FaultLaw.of(plan, "other")


def test_the_wait_of_a_rate_limited_answer_takes_the_place_of_the_backoff() -> None:
    policy = RetrySettings(1, maximum_attempts=4)
    plan = FaultPlan(
        latency=Latency(a=0),
        rules=(Fault("rate_limit", CALL, attempts=(1, 2), next_retry_delay=7),),
    )
    found = retries.simulate(policy, plan, 50)
    assert set(found.completion_s) == {14.0}
    assert retries.theory(policy, plan).completion_s.tolist() == [14.0]
    plain = FaultPlan(latency=Latency(a=0), rules=(Fault("fail", CALL, attempts=(1, 2)),))
    assert set(retries.simulate(policy, plain, 50).completion_s) == {3.0}


def test_a_timeout_brings_no_wait_of_its_own() -> None:
    law = FaultLaw(hang=[1, 0], latency=Latency(a=0), next_retry_delay=7)
    policy = RetrySettings(1, maximum_attempts=4)
    found = retries.simulate(policy, law, 20, start_to_close=2)
    assert set(found.completion_s) == {3.0}
    assert retries.theory(policy, law, start_to_close=2).completion_s.tolist() == [3.0]


def test_simulation_and_theory_agree_on_random_rate_limits() -> None:
    policy = RetrySettings(0.5, maximum_attempts=5)
    law = FaultLaw(fail=0.5, latency=Latency(a=0.1), next_retry_delay=2)
    drawn = retries.simulate(policy, law, 20_000).completion_s
    exact = retries.theory(policy, law)
    mean = float((exact.completion_s * exact.probability).sum())
    assert drawn.mean() == pytest.approx(mean, abs=4 * drawn.std() / math.sqrt(20_000))


@pytest.mark.parametrize("strategy", ["full", "equal", "decorrelated"])
def test_one_attempt_cannot_ask_for_two_waits(strategy: Any) -> None:
    law = FaultLaw(fail=0.5, next_retry_delay=2)
    with pytest.raises(PolicyError, match="an activity can ask for one wait only"):
        retries.simulate(RetrySettings(maximum_attempts=2), law, 10, jitter=strategy)


@pytest.mark.parametrize("wait", [0, -1, math.nan])
def test_a_wait_that_is_none_is_refused(wait: float) -> None:
    with pytest.raises(ValueError, match=r"next_retry_delay must be more than 0 s, got"):
        FaultLaw(fail=0.5, next_retry_delay=wait)


def test_a_wait_without_end_is_refused() -> None:
    law = FaultLaw(fail=1, latency=Latency(a=0), next_retry_delay=0.001)
    with pytest.raises(PolicyError, match="attempts a request"):
        retries.simulate(RetrySettings(3600), law, 10, schedule_to_close=86_400)


PARETOS = [Latency("pareto", 0.2, b) for b in (0.8, 1.0, 1.5, 3.0)]


@pytest.mark.parametrize("latency", PARETOS, ids=lambda one: f"b={one.b}")
def test_pareto_draws_have_the_moments_below_a_limit(latency: Latency) -> None:
    values = draw(latency, 200_000, np.random.default_rng(7))
    share, mean = below(latency, 2.0)
    inside = values[values < 2.0]
    assert binomtest(len(inside), len(values), share).pvalue > 0.0005
    assert inside.mean() == pytest.approx(mean, abs=5 * inside.std() / math.sqrt(len(inside)))
    assert values.min() >= 0.2


def test_pareto_without_a_limit_has_the_mean_that_the_law_has() -> None:
    assert below(Latency("pareto", 0.2, 3), math.inf) == pytest.approx((1.0, 0.3))
    assert below(Latency("pareto", 0.2, 1), math.inf) == (1.0, math.inf)
    share, mean = below(Latency("pareto", 0.2, 3), 0.1)
    assert share == 0
    assert math.isnan(mean)


def test_a_heavy_tail_times_out_as_often_in_simulation_as_in_theory() -> None:
    law = FaultLaw(latency=Latency.pareto(p50=0.4, p99=4))
    policy = RetrySettings(0.2, maximum_attempts=2)
    exact = retries.theory(policy, law, start_to_close=1)
    given_up = float(exact.probability[exact.gave_up].sum())
    found = retries.simulate(policy, law, 20_000, start_to_close=1)
    assert binomtest(int(found.gave_up.sum()), 20_000, given_up).pvalue > 0.0005
