"""A policy under a fault law: by Monte Carlo, by formula, and by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, lognorm

from projectai_lab import faults, retries
from projectai_lab.errors import PolicyError, TableError
from projectai_lab.models import FaultPlan, Latency, RetrySettings
from projectai_lab.retries import FaultLaw
from projectai_lab.tables import schema

POLICY = RetrySettings(0.5, maximum_attempts=4)
ENDLESS = RetrySettings(0.5)
SKEWED = Latency("lognormal", 0.4, 0.5)
N = 40_000


def one(policy: RetrySettings, law: FaultLaw, **options: Any) -> tuple[int, float, str]:
    """Return attempts, completion and outcome of the one request of a law without chance."""
    table = retries.simulate(policy, law, 3, **options)
    assert table.nunique().tolist() == [1, 1, 1, 1]
    row = table.iloc[0]
    assert row.gave_up == (row.outcome != "COMPLETED")
    return int(row.attempts), round(float(row.completion_s), 9), str(row.outcome)


def value(table: pd.DataFrame, measure: str) -> Any:
    """Return one row of a table of measures."""
    return table.set_index("measure").loc[measure]


# What a law without chance must come to, by hand


def test_a_request_that_succeeds_at_once_takes_its_latency() -> None:
    assert one(POLICY, FaultLaw(latency=Latency(a=0.3))) == (1, 0.3, "COMPLETED")


def test_backoffs_double_and_stop_at_the_maximum_interval() -> None:
    law = FaultLaw(fail=[1, 1, 1, 1, 0], latency=Latency(a=0.1))
    policy = RetrySettings(0.5, maximum_interval=1.5)
    assert one(policy, law) == (5, 0.5 + 0.5 + 1 + 1.5 + 1.5, "COMPLETED")


def test_the_last_attempt_gives_up_without_a_further_backoff() -> None:
    law = FaultLaw(fail=1, latency=Latency(a=0.1))
    assert one(POLICY, law) == (4, 0.4 + 0.5 + 1 + 2, "MAXIMUM_ATTEMPTS_REACHED")


def test_failing_attempts_may_take_another_latency() -> None:
    law = FaultLaw(fail=[1, 0], latency=Latency(a=1), failing_latency=Latency(a=0.1))
    assert one(POLICY, law) == (2, 0.1 + 0.5 + 1, "COMPLETED")


def test_a_hang_lasts_until_start_to_close_and_is_retried() -> None:
    law = FaultLaw(hang=[1, 0], latency=Latency(a=0.1))
    assert one(POLICY, law, start_to_close=2) == (2, 2 + 0.5 + 0.1, "COMPLETED")


def test_an_attempt_slower_than_start_to_close_is_one_that_fails() -> None:
    law = FaultLaw(latency=Latency(a=3))
    ended = one(POLICY, law, start_to_close=timedelta(seconds=2))
    assert ended == (4, 8 + 3.5, "MAXIMUM_ATTEMPTS_REACHED")


def test_a_non_retryable_failure_ends_it_at_once() -> None:
    law = FaultLaw(fail=1, latency=Latency(a=0.1), non_retryable=1)
    assert one(POLICY, law) == (1, 0.1, "NON_RETRYABLE_FAILURE")
    by_type = RetrySettings(non_retryable_error_types=("Busy",))
    law = FaultLaw(fail=1, latency=Latency(a=0.1), error_type="Busy")
    assert one(by_type, law) == (1, 0.1, "NON_RETRYABLE_FAILURE")


def test_a_timeout_is_final_only_where_the_policy_names_it() -> None:
    law = FaultLaw(hang=1, non_retryable=1)
    assert one(POLICY, law, start_to_close=1)[::2] == (4, "MAXIMUM_ATTEMPTS_REACHED")
    named = RetrySettings(non_retryable_error_types=("TemporalTimeout:StartToClose",))
    assert one(named, law, start_to_close=1) == (1, 1.0, "NON_RETRYABLE_FAILURE")


def test_it_gives_up_at_once_where_the_next_attempt_would_be_due_after_schedule_to_close() -> None:
    law = FaultLaw(fail=1, latency=Latency(a=0.1))
    assert one(ENDLESS, law, schedule_to_close=1.7) == (2, 0.7, "TIMEOUT")
    assert one(ENDLESS, law, schedule_to_close=1.71) == (3, 1.71, "TIMEOUT")
    assert one(ENDLESS, law, schedule_to_close=1.81) == (3, 1.8, "TIMEOUT")


def test_an_attempt_that_runs_into_schedule_to_close_ends_there() -> None:
    assert one(ENDLESS, FaultLaw(latency=Latency(a=5)), schedule_to_close=3) == (1, 3, "TIMEOUT")
    assert one(POLICY, FaultLaw(hang=1), schedule_to_close=3) == (1, 3, "TIMEOUT")


def test_the_last_attempt_counts_before_the_deadline_does() -> None:
    once = RetrySettings(10, maximum_attempts=1)
    law = FaultLaw(fail=1, latency=Latency(a=0.1))
    assert one(once, law, schedule_to_close=1) == (1, 0.1, "MAXIMUM_ATTEMPTS_REACHED")


def test_a_dispatch_lag_delays_each_attempt_and_may_miss_the_deadline() -> None:
    law = FaultLaw(fail=[1, 0], latency=Latency(a=0.1))
    assert one(POLICY, law, dispatch_lag=0.05) == (2, 0.05 + 0.1 + 0.5 + 0.05 + 0.1, "COMPLETED")
    late = one(POLICY, law, dispatch_lag=0.05, schedule_to_close=0.68)
    assert late == (1, 0.68, "TIMEOUT")


def test_measured_lags_are_drawn_again_by_the_attempts_number() -> None:
    attempts = schema.frame("attempts", []).reindex(range(5))
    attempts = attempts.assign(attempt=[1, 1, 2, 4, 1], dispatch_lag_s=[0.25, 0.25, 2, 4, None])
    law = FaultLaw(fail=[1, 0], latency=Latency(a=0))
    assert one(POLICY, law, dispatch_lag=attempts) == (2, 0.25 + 0.5 + 2, "COMPLETED")
    longer = FaultLaw(fail=[1, 1, 1, 1, 0], latency=Latency(a=0))
    lags = 0.25 + 2 + 2 + 4 + 4
    assert one(ENDLESS, longer, dispatch_lag=attempts) == (5, 7.5 + lags, "COMPLETED")
    later = attempts.iloc[2:]
    assert one(POLICY, law, dispatch_lag=later) == (2, 2 + 0.5 + 2, "COMPLETED")
    alone = attempts.iloc[:2]
    assert one(POLICY, law, dispatch_lag=alone) == (2, 0.25 + 0.5 + 0.25, "COMPLETED")
    with pytest.raises(ValueError, match=r"no measured lag; take one from tables\.attempts"):
        retries.simulate(POLICY, law, 1, dispatch_lag=attempts.iloc[4:])
    with pytest.raises(TableError, match="no column dispatch_lag_s"):
        retries.simulate(POLICY, law, 1, dispatch_lag=schema.frame("events", []))


# Plans


def test_a_fault_plan_is_the_law_that_its_attempts_meet() -> None:
    plan = FaultPlan(
        fail_first={"simulate_ai_call": 1},
        fail_probability={"simulate_ai_call": 0.4},
        latency=Latency("uniform", 0.1, 0.3),
    )
    drawn = [faults.fate(plan, seed, "simulate_ai_call", 2) for seed in range(4000)]
    law = FaultLaw.of(plan)
    assert [law.chance("fail", attempt) for attempt in (1, 2, 9)] == [1, 0.4, 0.4]
    share = sum(one.failure is not None for one in drawn)
    assert binomtest(share, len(drawn), law.chance("fail", 2)).pvalue > 0.001
    table = retries.simulate(RetrySettings(maximum_attempts=2), plan, 4000)
    assert binomtest(int(table.gave_up.sum()), 4000, 0.4).pvalue > 0.001


def test_a_plan_is_read_per_activity_and_only_the_call_waits() -> None:
    plan = FaultPlan(hang_first={"validate_input": 2}, retryable=False, latency=SKEWED)
    law = FaultLaw.of(plan, "validate_input")
    assert [law.chance("hang", attempt) for attempt in (1, 2, 3)] == [1, 1, 0]
    assert (law.latency, law.non_retryable) == (Latency(a=0.0), 1.0)
    assert FaultLaw.of(plan).latency == SKEWED
    assert FaultLaw.of(plan).chance("hang", 1) == 0


@dataclass(frozen=True)
class Wider(FaultPlan):
    """A plan that can say more."""

    outage_s: float = 0.0


def test_a_plan_that_says_more_than_a_law_can_is_refused_and_not_cut_down() -> None:
    assert FaultLaw.of(Wider()) == FaultLaw.of(FaultPlan())
    with pytest.raises(PolicyError, match=r"FaultPlan\.outage_s .*retries\.FaultLaw\(fail="):
        retries.simulate(POLICY, Wider(outage_s=3), 10)


# Simulation against theory


LAWS: dict[str, tuple[FaultLaw, dict[str, Any]]] = {
    "constant": (FaultLaw(fail=0.4, latency=Latency(a=0.2)), {}),
    "each attempt its own": (FaultLaw(fail=[0.9, 0.5, 0.1], latency=Latency(a=0.2)), {}),
    "two latencies": (
        FaultLaw(fail=0.5, latency=Latency(a=1), failing_latency=Latency(a=0.05)),
        {},
    ),
    "hangs": (FaultLaw(fail=0.3, hang=0.2, latency=Latency(a=0.2)), {"start_to_close": 1}),
    "deadline": (FaultLaw(fail=0.6, latency=Latency(a=0.2)), {"schedule_to_close": 2.0}),
    "final": (FaultLaw(fail=0.4, latency=Latency(a=0.2), non_retryable=0.3), {}),
    "uniform": (FaultLaw(fail=0.4, latency=Latency("uniform", 0.1, 0.9)), {"start_to_close": 0.7}),
    "lognormal": (FaultLaw(fail=0.4, latency=SKEWED), {"start_to_close": 0.9}),
    "skewed failures": (FaultLaw(fail=0.4, failing_latency=SKEWED), {"start_to_close": 0.9}),
    "full jitter": (FaultLaw(fail=0.4, latency=SKEWED), {"jitter": "full"}),
    "equal jitter": (FaultLaw(fail=0.4, latency=SKEWED), {"jitter": "equal"}),
    "jitter but for hangs": (
        FaultLaw(fail=0.2, hang=0.3, latency=SKEWED),
        {"jitter": "full", "start_to_close": 1},
    ),
    "lag": (FaultLaw(fail=0.4, latency=Latency(a=0.1)), {"dispatch_lag": 0.09}),
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("policy", [POLICY, ENDLESS], ids=["four attempts", "no limit"])
def test_simulation_and_theory_agree_within_the_stated_intervals(
    name: str, policy: RetrySettings
) -> None:
    law, options = LAWS[name]
    endings = retries.theory(policy, law, **options)
    # The intervals of 26 laws, 5 figures each: at 0.9995 one of sixteen such test runs would err.
    table = retries.simulate(policy, law, N, seed=3, **options)
    exact = retries.measures(endings).set_index("measure").value
    for row in retries.measures(table, confidence=0.9995).itertuples():
        if not math.isnan(exact[row.measure]) and not math.isnan(row.low):
            assert row.low <= exact[row.measure] <= row.high, row.measure


@pytest.mark.parametrize("name", LAWS)
def test_theory_leaves_nothing_out(name: str) -> None:
    law, options = LAWS[name]
    endings = retries.theory(ENDLESS, law, **options)
    assert endings.probability.sum() == pytest.approx(1, abs=1e-9)
    assert endings.probability.min() > 0
    exact = name in ("constant", "each attempt its own", "two latencies", "hangs", "deadline")
    assert endings.completion_s.notna().all() == (exact or name in ("final", "lag"))


def test_theory_is_the_geometric_law_cut_at_the_last_attempt() -> None:
    p, most = 0.3, 4
    law = FaultLaw(fail=p, latency=Latency(a=0.1))
    endings = retries.theory(POLICY, law)
    found = retries.measures(endings).set_index("measure").value
    assert found["give_up"] == pytest.approx(p**most)
    assert found["mean_attempts"] == pytest.approx((1 - p**most) / (1 - p))
    waits = retries.planned(POLICY).backoff_s[1:]
    backoff = sum(p**k * wait for k, wait in enumerate(waits, start=1))
    expected = backoff + 0.1 * found["mean_attempts"]
    assert found["mean_completion_s"] == pytest.approx(expected)
    assert found["p50_s"] == pytest.approx(0.1)
    assert found["p95_s"] == pytest.approx(0.3 + 0.5 + 1.0)


def test_theory_of_a_lognormal_latency_has_the_moments_that_scipy_gives() -> None:
    law = FaultLaw(latency=SKEWED)
    endings = retries.theory(RetrySettings(maximum_attempts=1), law, start_to_close=0.6)
    exact = lognorm(0.5, scale=0.4)
    ended = endings.set_index("outcome")
    assert ended.probability["COMPLETED"] == pytest.approx(exact.cdf(0.6))
    under = exact.expect(lambda x: x, lb=0, ub=0.6) / exact.cdf(0.6)
    assert ended.mean_completion_s["COMPLETED"] == pytest.approx(under)
    assert ended.mean_completion_s["MAXIMUM_ATTEMPTS_REACHED"] == 0.6


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"jitter": "decorrelated"}, "decorrelated jitter has no closed form"),
        ({"schedule_to_close": 5}, "schedule_to_close with latencies or waits that vary has no"),
    ],
)
def test_theory_says_where_there_is_none_and_what_to_type(
    options: dict[str, Any], what: str
) -> None:
    with pytest.raises(PolicyError, match=rf"{what}.*retries\.simulate\(policy, law, 100_000"):
        retries.theory(POLICY, FaultLaw(fail=0.2, latency=SKEWED), **options)


# Draws


def test_the_same_seed_gives_the_same_table_and_another_seed_another() -> None:
    law = FaultLaw(fail=0.4, latency=SKEWED)
    tables = [retries.simulate(POLICY, law, 500, seed=seed) for seed in (1, 1, 2)]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    assert not tables[0].equals(tables[2])


def test_policies_under_one_seed_meet_the_same_faults() -> None:
    law = FaultLaw(fail=0.4, latency=SKEWED)
    few, many = (
        retries.simulate(RetrySettings(0.1, maximum_attempts=most), law, 2000) for most in (2, 5)
    )
    done = ~few.gave_up
    pd.testing.assert_frame_equal(few[done], many[done])
    slower = retries.simulate(RetrySettings(3.0, maximum_attempts=5), law, 2000)
    assert slower.attempts.equals(many.attempts)
    jittered = retries.simulate(RetrySettings(0.1, maximum_attempts=5), law, 2000, jitter="full")
    assert jittered.attempts.equals(many.attempts)


@pytest.mark.parametrize("jitter", retries.STRATEGIES[1:])
def test_jittered_waits_keep_to_the_bounds_of_their_strategy(jitter: Any) -> None:
    policy = RetrySettings(1.0, maximum_interval=2.5, maximum_attempts=4)
    law = FaultLaw(fail=[1, 1, 1, 0], latency=Latency(a=0))
    found = retries.simulate(policy, law, N, jitter=jitter).completion_s
    planned = 1 + 2 + 2.5
    low, high = {
        "full": (0, planned),
        "equal": (planned / 2, planned),
        "decorrelated": (3.0, 7.5),
    }[jitter]
    assert low <= found.min() < found.max() <= high
    if jitter != "decorrelated":
        share = {"full": 0.5, "equal": 0.75}[jitter]
        assert found.mean() == pytest.approx(share * planned, rel=0.01)


def test_decorrelated_waits_grow_from_the_wait_before_under_the_cap() -> None:
    policy = RetrySettings(1.0, maximum_interval=100.0, maximum_attempts=2)
    law = FaultLaw(fail=[1, 0], latency=Latency(a=0))
    first = retries.simulate(policy, law, N, jitter="decorrelated").completion_s
    # Uniform in 1 … 3, then in 1 … 3 · the first: means 2 and (1 + 6)/2.
    assert first.mean() == pytest.approx(2, rel=0.01)
    policy = RetrySettings(1.0, maximum_interval=100.0, maximum_attempts=3)
    law = FaultLaw(fail=[1, 1, 0], latency=Latency(a=0))
    both = retries.simulate(policy, law, N, jitter="decorrelated").completion_s
    assert both.mean() == pytest.approx(2 + 3.5, rel=0.01)


@pytest.mark.parametrize("jitter", retries.STRATEGIES)
def test_a_timeout_is_followed_by_the_policys_own_wait_since_no_code_draws_one(jitter: Any) -> None:
    law = FaultLaw(hang=[1, 1, 0], latency=Latency(a=0.1))
    ended = one(POLICY, law, start_to_close=1, jitter=jitter)
    assert ended == (3, 1 + 0.5 + 1 + 1 + 0.1, "COMPLETED")


# Figures of requests


def test_measures_have_intervals_that_catch_the_truth_as_often_as_they_say() -> None:
    law = FaultLaw(fail=0.5, latency=Latency(a=0.1))
    exact = retries.measures(retries.theory(POLICY, law)).set_index("measure").value
    caught = dict.fromkeys(("give_up", "mean_attempts", "mean_completion_s", "p95_s"), 0)
    for seed in range(100):
        found = retries.measures(retries.simulate(POLICY, law, 200, seed=seed))
        for row in found[found.measure.isin(caught)].itertuples():
            caught[row.measure] += row.low - 1e-9 <= exact[row.measure] <= row.high + 1e-9
    # Of 100 at 95 %, fewer than 88 by chance once in two hundred.
    assert min(caught.values()) >= 88


def test_requests_that_are_all_alike_do_not_claim_to_know_the_mean() -> None:
    table = retries.simulate(POLICY, FaultLaw(latency=Latency(a=0.1)), 100)
    found = retries.measures(table)
    attempts = value(found, "mean_attempts")
    assert attempts.value == 1
    unseen = binomtest(0, 100).proportion_ci(method="exact").high
    assert attempts.high - 1 == 1 - attempts.low == pytest.approx(unseen)
    assert pd.isna(value(found, "mean_completion_s").low)
    assert value(found, "give_up").high == pytest.approx(unseen)


def test_a_percentile_that_n_cannot_support_is_na() -> None:
    found = retries.measures(retries.simulate(POLICY, FaultLaw(fail=0.5), 100))
    assert pd.notna(value(found, "p95_s").value)
    assert pd.isna(value(found, "p99_s").value)


def test_requests_and_measures_of_nothing() -> None:
    empty = retries.requests(schema.frame("activities", []))
    assert empty.columns.tolist() == retries.simulate(POLICY, FaultLaw(), 1).columns.tolist()
    found = retries.measures(empty)
    assert found.n.tolist() == [0] * 6
    assert found.value.isna().all()


def activities(*rows: dict[str, Any], clock: str = "fast") -> pd.DataFrame:
    """Make an activities table from what matters of each row."""
    blank = dict.fromkeys(schema.columns("activities").column)
    full = [{**blank, "activity_type": "simulate_ai_call", **row} for row in rows]
    return schema.frame("activities", [tuple(row.values()) for row in full], clock=clock)


def test_real_activities_take_the_form_of_simulated_requests() -> None:
    table = activities(
        {"status": "COMPLETED", "attempts": 2, "total_s": 0.7},
        {"status": "FAILED", "attempts": 4, "total_s": 4.0, "retry_state": "TIMEOUT"},
        {"status": "TIMED_OUT", "attempts": 1, "total_s": 1.0, "retry_state": "TIMEOUT"},
        {"status": "PENDING", "attempts": 1},
        {"status": "CANCELED", "attempts": 1, "total_s": 0.1},
        {"status": "FAILED", "total_s": 1.0, "retry_state": "CANCEL_REQUESTED"},
    )
    found = retries.requests(table)
    assert found.completion_s.tolist() == [0.7, 4, 1, 1]
    assert found.gave_up.tolist() == [False, True, True, True]
    assert found.outcome.astype(object).tolist()[:3] == ["COMPLETED", "TIMEOUT", "TIMEOUT"]
    assert pd.isna(found.outcome[3])
    assert found.attrs["clock"] == "fast"
    figures = retries.measures(found)
    assert (value(figures, "give_up").n, value(figures, "mean_attempts").n) == (4, 3)


def test_activities_of_several_types_or_clocks_are_not_mixed() -> None:
    rows = [{"status": "COMPLETED", "activity_type": kind} for kind in ("a", "b")]
    with pytest.raises(ValueError, match=r"of 2 types; name one: retries\.requests\(activities, "):
        retries.requests(activities(*rows))
    assert len(retries.requests(activities(*rows), "b")) == 1
    with pytest.raises(TableError, match="several clocks"):
        retries.requests(activities(rows[0], clock="fast, virtual"))


# Side by side


def test_an_experiment_agrees_with_itself_and_not_with_another() -> None:
    law, other = (FaultLaw(fail=p, latency=Latency(a=0.1)) for p in (0.5, 0.3))
    real = retries.simulate(POLICY, law, 400, seed=5)
    endings = retries.theory(POLICY, law)
    same = retries.compare_simulated(real, retries.simulate(POLICY, law, N), endings)
    assert same.measure.tolist()[:2] == ["give_up", "mean_attempts"]
    assert same.agree.tolist() == [True] * 6
    assert same.theory.tolist() == retries.measures(endings).value.tolist()
    apart = retries.compare_simulated(real, retries.simulate(POLICY, other, N))
    assert apart.theory.isna().all()
    assert not value(apart, "give_up").agree
    row = value(apart, "mean_attempts")
    assert row.residual == pytest.approx(row.real - row.simulated)
    assert row.residual_low > 0


def test_what_n_cannot_tell_neither_agrees_nor_disagrees() -> None:
    law = FaultLaw(fail=0.5)
    few, many = (retries.simulate(POLICY, law, n) for n in (20, N))
    assert pd.isna(value(retries.compare_simulated(few, many), "p99_s").agree)


def test_agreement_errs_as_seldom_as_it_says() -> None:
    law = FaultLaw(fail=0.4, latency=SKEWED)
    many = retries.simulate(POLICY, law, N, seed=999)
    wrong = sum(
        retries.compare_simulated(retries.simulate(POLICY, law, 100, seed=seed), many)
        .set_index("measure")
        .agree[["give_up", "mean_attempts", "mean_completion_s", "p95_s"]]
        .eq(False)
        for seed in range(100)
    )
    assert np.max(wrong) <= 12


# Bad input


def test_no_request_is_refused() -> None:
    for n in (0, -5, 2.5):
        with pytest.raises(ValueError, match=f"n must be at least 1 request, got {n}"):
            retries.simulate(POLICY, FaultLaw(), n)  # type: ignore[arg-type]
    assert len(retries.simulate(POLICY, FaultLaw(), 1e3)) == 1000  # type: ignore[arg-type]


def test_a_law_that_never_succeeds_without_a_limit_is_refused_and_not_run_for_ever() -> None:
    never = (FaultLaw(fail=1), FaultLaw(hang=[0.5, 1]), FaultLaw(latency=Latency(a=5)))
    for law in never:
        for ask in (retries.simulate, retries.theory):
            arguments = (ENDLESS, law, 10) if ask is retries.simulate else (ENDLESS, law)
            with pytest.raises(PolicyError, match=r"for ever; give RetrySettings\(maximum_att"):
                ask(*arguments, start_to_close=1)
    assert retries.simulate(ENDLESS, FaultLaw(fail=[1, 1, 0]), 10).attempts.tolist() == [3] * 10
    assert len(retries.simulate(POLICY, FaultLaw(fail=1), 10)) == 10


@pytest.mark.parametrize(
    ("policy", "law", "n", "options"),
    [
        (ENDLESS, FaultLaw(fail=1 - 1e-7), 1, {}),
        (RetrySettings(0.001, 1.0), FaultLaw(fail=1), 1, {"schedule_to_close": timedelta(days=1)}),
        (ENDLESS, FaultLaw(fail=0.999), 10_000_000, {}),
        (ENDLESS, FaultLaw(), 10**9, {}),
        (ENDLESS, FaultPlan(fail_first={"simulate_ai_call": 10**9}), 1, {}),
        (RetrySettings(maximum_attempts=10**7), FaultLaw(fail=1), 1, {}),
    ],
)
def test_what_would_take_for_hours_is_refused(
    policy: RetrySettings, law: FaultLaw | FaultPlan, n: int, options: dict[str, Any]
) -> None:
    with pytest.raises(PolicyError, match=r"more than can be simulated; give maximum_attempts"):
        retries.simulate(policy, law, n, **options)


def test_a_week_of_backoffs_that_have_grown_long_is_not_refused() -> None:
    table = retries.simulate(ENDLESS, FaultLaw(fail=1), 2, schedule_to_close=timedelta(days=7))
    assert table.attempts[0] == pytest.approx(7 * 86400 / 50, rel=0.01)


def test_a_hang_without_a_timeout_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"never ends without a timeout; give start_to_close"):
        retries.simulate(POLICY, FaultLaw(hang=0.1), 10)


@pytest.mark.parametrize("name", ["start_to_close", "schedule_to_close"])
@pytest.mark.parametrize("length", [0, -1, math.nan])
def test_a_timeout_of_no_time_is_refused(name: str, length: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be more than 0 s, got"):
        retries.simulate(POLICY, FaultLaw(), 10, **{name: length})  # type: ignore[arg-type]


def test_other_bad_input_is_named() -> None:
    for fail in (-0.1, 1.1, math.nan, [0.5, 2]):
        with pytest.raises(ValueError, match=r"FaultLaw\.fail must lie between 0 and 1, got"):
            FaultLaw(fail=fail)
    with pytest.raises(ValueError, match=r"FaultLaw\.hang is empty; .*hang=0\.2"):
        FaultLaw(hang=[])
    with pytest.raises(ValueError, match=r"FaultLaw\.latency must be a Latency"):
        FaultLaw(latency=0.3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="dispatch_lag must be 0 s or more, got -1"):
        retries.simulate(POLICY, FaultLaw(), 10, dispatch_lag=-1)
    for lag in (-1, schema.frame("attempts", [])):
        with pytest.raises(ValueError, match="dispatch_lag must be a time of 0 s or more here"):
            retries.theory(POLICY, FaultLaw(), dispatch_lag=lag)
    with pytest.raises(ValueError, match="jitter is one of none, full, equal, decorrelated; got"):
        retries.simulate(POLICY, FaultLaw(), 10, jitter="some")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"no fault law: 0\.3; give retries\.FaultLaw"):
        retries.simulate(POLICY, 0.3, 10)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no retry policy: dict has no initial_interval_s"):
        retries.simulate({}, FaultLaw(), 10)
    with pytest.raises(TableError, match=r"no column attempts, .*retries\.simulate"):
        retries.measures(schema.frame("events", []))


def test_a_latency_law_that_is_not_known_is_named() -> None:
    unknown = Latency(a=1)
    object.__setattr__(unknown, "law", "gamma")
    with pytest.raises(PolicyError, match="latency law 'gamma' cannot be simulated yet"):
        retries.simulate(POLICY, FaultLaw(latency=unknown), 10)


# The herd


def test_jitter_takes_the_thundering_herd_apart() -> None:
    law = FaultLaw(fail=[1, 0], latency=Latency(a=0.1))
    found = retries.herd(RetrySettings(1.0, maximum_attempts=2), law, 1000).set_index("jitter")
    assert found.index.tolist() == ["none", "full", "equal", "decorrelated"]
    assert found.retries.tolist() == [1000] * 4
    assert found.peak["none"] == 1000
    assert found.peak_at_s["none"] == pytest.approx(1.1)
    # Of a second, half a second and two seconds the fullest tenth of a second.
    expected = {"full": 100, "equal": 200, "decorrelated": 50}
    for jitter, mean in expected.items():
        assert mean <= found.peak[jitter] <= 1.6 * mean
        assert found.peak_share[jitter] == found.peak[jitter] / 1000


def test_the_peak_is_that_of_any_window_and_not_of_fixed_bins() -> None:
    law = FaultLaw(fail=[1, 1, 0], latency=Latency(a=0))
    policy = RetrySettings(0.06, 1.0, maximum_attempts=3)
    rows = [retries.herd(policy, law, 10, strategies=["none"], within=w) for w in (0.05, 0.07)]
    assert [row.peak[0] for row in rows] == [10, 20]
    assert [row.peak_at_s[0] for row in rows] == [0.06, 0.06]


def test_without_retries_there_is_no_herd() -> None:
    row = retries.herd(POLICY, FaultLaw(), 10, strategies=["full"]).iloc[0]
    assert (row.retries, row.peak, row.peak_share) == (0, 0, 0)
    assert math.isnan(row.peak_at_s)
    for n, within in ((0, 0.1), (10, 0), (10, -1)):
        with pytest.raises(ValueError, match="n must be at least 1 and within more than 0 s, got"):
            retries.herd(POLICY, FaultLaw(), n, within=within)


def test_waits_agree_with_the_planned_schedule() -> None:
    policy = RetrySettings(0.3, 1.7, maximum_interval=2.0, maximum_attempts=9)
    plan = retries.planned(policy).cumulative_backoff_s.tolist()
    found = [one(policy, FaultLaw(fail=[*[1] * k, 0], latency=Latency(a=0)))[1] for k in range(9)]
    assert found == pytest.approx(plan)
    assert all(later > earlier for earlier, later in pairwise(found))
