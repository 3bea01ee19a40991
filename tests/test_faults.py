"""Each law of the fault plan: what it does, and that a seed fixes it."""

from __future__ import annotations

import json
import math
import random
import statistics
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from scipy.stats import binomtest

from projectai_lab.faults import Fate, fate, labelled, sample
from projectai_lab.models import Fault, FaultPlan, Latency

AI = "simulate_ai_call"
LAWS = [Latency("constant", 0.3), Latency("uniform", 0.1, 0.4), Latency("lognormal", 0.2, 0.6)]


def meets(plan: FaultPlan, attempt: int = 1, *, seed: int = 7) -> Fate:
    """Return the fate of an attempt of the AI call."""
    return fate(plan, seed, AI, attempt)


def struck(plan: FaultPlan, attempt: int = 1, *, seed: int = 7) -> list[str]:
    """Return the rules that strike an attempt, in order."""
    return [one.rule for one in meets(plan, attempt, seed=seed).strikes]


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


def test_the_plans_own_laws_are_strikes_too() -> None:
    plan = FaultPlan({AI: 1}, {AI: 1.0}, {AI: 1}, error_type="Busy", retryable=False)
    hang, fail = meets(plan).strikes
    assert (hang.rule, hang.fault.kind, hang.of_plan) == ("hang_first", "hang", True)
    assert (fail.rule, fail.message) == ("fail_first", "planned failure of attempt 1")
    assert (fail.fault.error_type, fail.fault.retryable) == ("Busy", False)
    assert struck(plan, 2) == ["fail_probability"]


def test_a_rule_strikes_the_attempts_and_activities_that_it_names() -> None:
    plan = FaultPlan(rules=(Fault("fail", AI, attempts=(2, 4)), Fault("fail", "mine")))
    assert [n for n in range(1, 8) if meets(plan, n).failure] == [2, 4]
    assert fate(plan, 7, "mine", 9).failure == "injected fail (rule 'fail mine')"
    assert fate(plan, 7, "another", 2).strikes == ()
    everything = FaultPlan(rules=(Fault("hang"),))
    assert fate(everything, 7, "whatever", 3).hangs


def test_a_rule_strikes_with_about_its_probability() -> None:
    plan = FaultPlan(rules=(Fault("fail", AI, probability=0.3),))
    failed = sum(bool(meets(plan, seed=n).failure) for n in range(4000))
    assert failed / 4000 == pytest.approx(0.3, abs=4 * math.sqrt(0.3 * 0.7 / 4000))


@pytest.mark.parametrize("first", [False, True])
def test_a_rule_that_is_added_changes_no_draw_of_the_others(first: bool) -> None:
    one = Fault("fail", AI, probability=0.5, name="a")
    own = FaultPlan({}, {AI: 0.5}, latency=LAWS[2], rules=(one,))
    others = (Fault("hang", AI, probability=0.5), Fault("fail", "*", probability=0.5))
    rules = (*others, one) if first else (one, *others)
    more = replace(own, rules=rules)
    for attempt in range(1, 100):
        before, after = meets(own, attempt), meets(more, attempt)
        assert before.latency_s == after.latency_s
        kept = {"a", "fail_probability"}
        assert [s.rule for s in after.strikes if s.rule in kept] == [s.rule for s in before.strikes]


def test_rules_are_drawn_independently_of_each_other() -> None:
    plan = FaultPlan(rules=tuple(Fault("fail", AI, probability=0.5, name=n) for n in "abcd"))
    counts = [len(struck(plan, seed=seed)) for seed in range(2000)]
    assert statistics.mean(counts) == pytest.approx(2, abs=4 / math.sqrt(2000))
    assert statistics.variance(counts) == pytest.approx(1, abs=0.15)


def test_rules_that_are_alike_draw_each_their_own() -> None:
    twins = FaultPlan(rules=(Fault("hang", AI, probability=0.5),) * 2)
    assert [name for name, _ in labelled(twins)] == [f"hang {AI}", f"hang {AI} #2"]
    counts = {len(struck(twins, seed=seed)) for seed in range(60)}
    assert counts == {0, 1, 2}


def test_a_higher_probability_strikes_all_that_a_lower_one_does() -> None:
    low, high = (FaultPlan(rules=(Fault("fail", AI, probability=p),)) for p in (0.2, 0.6))
    hit_low, hit_high = (
        {seed for seed in range(500) if struck(plan, seed=seed)} for plan in (low, high)
    )
    assert hit_low < hit_high


def test_another_effect_keeps_the_luck() -> None:
    kinds = (
        Fault("fail", AI, probability=0.5, name="x"),
        Fault("rate_limit", AI, probability=0.5, next_retry_delay=1, name="x"),
    )
    fates = [
        [seed for seed in range(200) if struck(FaultPlan(rules=(rule,)), seed=seed)]
        for rule in kinds
    ]
    assert fates[0] == fates[1]


def test_what_takes_time_comes_before_what_ends_an_attempt_and_the_start_before_the_end() -> None:
    rules = (
        Fault("fail", point="end"),
        Fault("kill_worker"),
        Fault("fail"),
        Fault("hang"),
        Fault("delay", delay=Latency(a=1)),
        Fault("drop_heartbeats"),
    )
    found = meets(FaultPlan(rules=rules)).strikes
    assert [(one.fault.kind, one.fault.point) for one in found] == [
        ("drop_heartbeats", "start"),
        ("delay", "start"),
        ("hang", "start"),
        ("kill_worker", "start"),
        ("fail", "start"),
        ("fail", "end"),
    ]


def test_a_window_holds_from_its_begin_to_before_its_end() -> None:
    plan = FaultPlan(rules=(Fault("fail", window=(10, 20)),))
    times = (0, 9.99, 10, 19.99, 20)
    found = [fate(plan, 7, AI, 1, since_start_s=one).failure is not None for one in times]
    assert found == [False, False, True, True, False]
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    absolute = FaultPlan(rules=(Fault("fail", window=(noon, noon + timedelta(hours=1))),))
    hours = [-1, 0, 0.5, 1]
    found = [
        fate(absolute, 7, AI, 1, at=noon + timedelta(hours=one)).failure is not None
        for one in hours
    ]
    assert found == [False, True, True, False]


def test_a_plan_with_a_window_asks_for_the_time() -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with pytest.raises(ValueError, match=r"bound to a time: fate\(…, since_start_s=…\)"):
        meets(FaultPlan(rules=(Fault("fail", window=(1, 2)),)))
    with pytest.raises(ValueError, match=r"bound to a time: say when, fate\(…, at=…\)"):
        meets(FaultPlan(rules=(Fault("fail", window=(noon, noon + timedelta(1))),)))


def test_a_delay_is_drawn_from_its_law_by_the_seed() -> None:
    plan = FaultPlan(rules=(Fault("delay", AI, delay=Latency("uniform", 1, 2)),))
    lengths = [meets(plan, seed=seed).strikes[0].delay_s for seed in range(300)]
    assert all(length is not None and 1 <= length <= 2 for length in lengths)
    assert len(set(lengths)) == 300
    assert lengths[5] == meets(plan, seed=5).strikes[0].delay_s


@pytest.mark.parametrize("make", [Latency.lognormal, Latency.pareto])
def test_a_law_by_percentiles_has_these_percentiles(make: Any) -> None:
    values = sorted(drawn(make(p50=0.4, p99=4), 40_000))
    # Order statistics: four standard errors of the rank around each percentile.
    for p, wanted in ((0.5, 0.4), (0.99, 4.0)):
        reach = 4 * math.sqrt(p * (1 - p) * len(values))
        low, high = (int(p * len(values) + side * reach) for side in (-1, 1))
        assert values[low] <= wanted <= values[high]


def test_a_pareto_latency_is_never_below_its_least_and_has_a_heavy_tail() -> None:
    values = drawn(Latency("pareto", 0.1, 1.5), 20_000)
    assert min(values) >= 0.1
    share = sum(value > 1 for value in values) / len(values)
    exact = (0.1 / 1) ** 1.5
    assert share == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / len(values)))


def test_calls_of_one_execution_meet_a_rule_independently_of_each_other() -> None:
    plan = FaultPlan(rules=(Fault("fail", "mine", probability=0.3),))
    struck = [
        [fate(plan, seed, "mine", 1, call=call).failure is not None for call in (1, 2)]
        for seed in range(4000)
    ]
    both, first, second = (
        sum(all(one) for one in struck),
        sum(one[0] for one in struck),
        sum(one[1] for one in struck),
    )
    assert binomtest(first, 4000, 0.3).pvalue > 1e-4
    assert binomtest(second, 4000, 0.3).pvalue > 1e-4
    assert binomtest(both, 4000, 0.09).pvalue > 1e-4
    assert fate(plan, 7, "mine", 1, call=1) == fate(plan, 7, "mine", 1)
