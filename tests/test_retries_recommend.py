"""Which policies of a grid meet a goal, and what is said when none does."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import product
from typing import Any

import pandas as pd
import pytest

from projectai_lab import retries
from projectai_lab.errors import PolicyError
from projectai_lab.models import Latency, RetrySettings
from projectai_lab.retries import FaultLaw, Goal

LAW = FaultLaw(fail=0.3, latency=Latency("lognormal", 0.4, 0.5))
GRID = pd.DataFrame(
    list(product((0.1, 2.0), (1.0, 2.0), (2, 4, 6))),
    columns=["initial_interval_s", "backoff_coefficient", "maximum_attempts"],
)
N = 4000


def recommend(goal: Goal, grid: Any = GRID, law: FaultLaw = LAW, **options: Any) -> pd.DataFrame:
    """Recommend from few requests."""
    return retries.recommend(goal, grid, law, **{"n": N, **options})


def test_each_policy_of_the_grid_has_one_row_and_the_best_stand_first() -> None:
    found = recommend(Goal(p99_below=5, give_up_below=0.02))
    assert len(found) == len(GRID)
    rank = {True: 0, False: 2}
    ranks = [rank.get(value, 1) for value in found.meets]
    assert ranks == sorted(ranks)
    assert ranks[0] == 0
    assert ranks[-1] == 2
    best = found[found.meets.fillna(False)]
    assert (best.p99_s_high < 5).all()
    assert (best.give_up_high < 0.02).all()
    assert best.worst.is_monotonic_increasing
    assert best.worst.max() < 1
    assert best.verdict.unique().tolist() == ["meets the goal"]


def test_a_row_is_what_simulate_and_measures_say_of_its_policy() -> None:
    policy = RetrySettings(0.5, maximum_attempts=3)
    row = recommend(Goal(give_up_below=0.5), [policy], seed=4, jitter="full").iloc[0]
    table = retries.simulate(policy, LAW, N, seed=4, jitter="full")
    found = retries.measures(table).set_index("measure")
    for measure in ("p50_s", "p95_s", "p99_s", "give_up", "mean_attempts"):
        ends = [row[measure], row[f"{measure}_low"], row[f"{measure}_high"]]
        assert ends == found.loc[measure, ["value", "low", "high"]].tolist()
    assert row.jitter == "full"
    assert row[["initial_interval_s", "maximum_interval_s"]].tolist() == [0.5, 50]


def test_a_part_of_the_goal_is_met_only_where_the_interval_says_so() -> None:
    policy = [RetrySettings(0.1, maximum_attempts=2)]
    seen = recommend(Goal(give_up_below=1), policy).iloc[0]
    for limit, meets in (
        (seen.give_up_high + 1e-6, True),
        (seen.give_up_low - 1e-6, False),
    ):
        assert recommend(Goal(give_up_below=limit), policy).meets[0] == meets
    row = recommend(Goal(give_up_below=seen.give_up), policy).iloc[0]
    assert pd.isna(row.meets)
    assert row.verdict.startswith("undecided: give_up 0.0")


def test_a_percentile_that_n_cannot_support_decides_nothing() -> None:
    row = recommend(Goal(p99_below=100), [RetrySettings(maximum_attempts=2)], n=200).iloc[0]
    assert pd.isna(row.meets)
    assert pd.isna(row.pareto)
    assert math.isnan(row.worst)


def test_where_no_policy_meets_the_goal_the_nearest_stands_first_and_says_why() -> None:
    found = recommend(Goal(p99_below=0.9, give_up_below=0.5))
    assert not found.meets.any()
    assert found.meets.notna().all()
    first = found.iloc[0]
    assert first.worst == found.worst.min() > 1
    assert first.worst == pytest.approx(first.p99_s / 0.9)
    assert first.verdict == (
        f"fails: p99_s {first.p99_s:.3g} [{first.p99_s_low:.3g}, {first.p99_s_high:.3g}] "
        "against 0.9"
    )


def test_of_several_parts_that_fail_the_worst_is_named_first() -> None:
    goal = Goal(p50_below=0.001, attempts_below=1.1)
    verdict = recommend(goal, [RetrySettings(maximum_attempts=4)]).verdict[0]
    assert verdict.index("p50_s") < verdict.index("mean_attempts")


def test_a_law_without_chance_is_decided() -> None:
    law = FaultLaw(fail=[1, 1, 0], latency=Latency(a=0.1))
    grid = [RetrySettings(0.1, maximum_attempts=most) for most in (2, 3)]
    found = recommend(Goal(attempts_below=3.5, give_up_below=0.01), grid, law)
    assert found.maximum_attempts.tolist() == [3, 2]
    assert found.meets.tolist() == [True, False]


def test_the_front_holds_what_no_other_policy_is_better_than() -> None:
    found = recommend(Goal(give_up_below=0.1))
    points = found[["p99_s", "give_up", "mean_attempts"]].to_numpy()
    for place, point in enumerate(points):
        better = [other for other in points if (other <= point).all() and (other < point).any()]
        assert found.pareto[place] == (not better)
    assert 0 < found.pareto.sum() < len(found)


def test_all_policies_meet_the_same_faults() -> None:
    grid = [RetrySettings(first, maximum_attempts=4) for first in (0.1, 0.5, 2)]
    found = recommend(Goal(p99_below=60), grid)
    assert found.give_up.nunique() == found.mean_attempts.nunique() == 1
    assert found.p95_s.is_monotonic_increasing


def test_timeouts_and_jitter_may_be_part_of_the_grid() -> None:
    law = FaultLaw(fail=1, latency=Latency(a=0.1))
    grid = pd.DataFrame(
        {
            "initial_interval_s": [1.0, 1.0, None],
            "maximum_attempts": [None, 3, 2],
            "schedule_to_close_s": [2.0, None, None],
            "jitter": [None, "full", "none"],
        }
    )
    found = recommend(Goal(p50_below=10), grid, law, start_to_close=timedelta(seconds=5))
    found = found.sort_values("maximum_attempts").reset_index(drop=True)
    assert found.maximum_attempts.tolist() == [0, 2, 3]
    assert found.schedule_to_close_s.fillna(0).tolist() == [2, 0, 0]
    assert found.start_to_close_s.tolist() == [5, 5, 5]
    assert found.jitter.tolist() == ["none", "none", "full"]
    assert found.initial_interval_s.tolist() == [1, 1, 1]
    assert found.mean_attempts.tolist() == [2, 2, 3]
    assert found.p50_s[1] == pytest.approx(0.1 + 1 + 0.1)


def test_an_empty_grid_is_refused_with_an_example() -> None:
    nothing: list[Any] = [[], GRID.iloc[:0]]
    for grid in nothing:
        with pytest.raises(ValueError, match=r"the grid holds no policy; give some: \[RetrySet"):
            recommend(Goal(p99_below=5), grid)


def test_a_grid_with_a_column_that_no_policy_has_is_refused() -> None:
    grid = GRID.rename(columns={"initial_interval_s": "initial"})
    with pytest.raises(ValueError, match="no column initial; its columns are initial_interval_s"):
        recommend(Goal(p99_below=5), grid)


@pytest.mark.parametrize("first", [0, -1])
def test_a_policy_that_waits_no_time_is_refused(first: float) -> None:
    with pytest.raises(ValueError, match=r"initial_interval must be more than 0 s"):
        recommend(Goal(p99_below=5), GRID.assign(initial_interval_s=first))


def test_a_policy_without_end_is_refused() -> None:
    with pytest.raises(PolicyError, match="retried for ever; give RetrySettings") as caught:
        recommend(Goal(p99_below=5), [RetrySettings(3.0)], FaultLaw(fail=1))
    assert "initial_interval=3.0" in caught.value.__notes__[0]


def test_half_an_attempt_is_refused() -> None:
    with pytest.raises(ValueError, match=r"maximum_attempts must be 0, 1, 2 …, got 2\.5"):
        recommend(Goal(p99_below=5), GRID.assign(maximum_attempts=2.5))


def test_a_goal_needs_a_part_that_can_be_met() -> None:
    with pytest.raises(ValueError, match=r"a goal needs a part: Goal\(p99_below="):
        Goal()
    for parts in ({"p99_below": 0}, {"p50_below": -1}, {"attempts_below": math.inf}):
        with pytest.raises(ValueError, match=rf"Goal\.{next(iter(parts))} must be more than 0"):
            Goal(**parts)
    with pytest.raises(ValueError, match=r"Goal\.give_up_below .*no share above 1: 5"):
        Goal(give_up_below=5)
    assert Goal(p99_below=timedelta(minutes=1)).limits == {"p99_s": 60.0}
