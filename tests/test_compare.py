"""Two runs step by step, two cohorts in distribution; and a sentence that claims no more."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pandas as pd
import pytest

from projectai_lab import compare, latency, tables
from projectai_lab.compare._runs import _rising
from projectai_lab.errors import TableError
from projectai_lab.histories import History
from projectai_lab.latency.arms import Resampling, of_means, of_quantiles, of_rates
from tests.data import attempt_records, golden, goldens
from tests.made import Signal, Step, Timer, history

HOW = Resampling(0.95, 999, 0)


def cohort(
    runs: int, took: float = 1.0, *, failing: float = 0.0, seed: int = 1, **more: Any
) -> list[History]:
    """Make runs of one activity with exponential times; a share of them fails."""
    draw = random.Random(seed)
    return [
        history(
            f"{seed}-{number}",
            Step(
                "fetch",
                took=draw.expovariate(1 / took),
                status="FAILED" if draw.random() < failing else "COMPLETED",
            ),
            **more,
        )
        for number in range(runs)
    ]


def changes(a: History, b: History) -> dict[str, str]:
    """Return what happened to each step, by its name and how-many-th."""
    table = compare.runs(a, b).table
    names = table["name"] + table["nth"].map(lambda nth: f"#{nth}" if nth > 1 else "")
    return dict(zip(names, table["change"].astype(str), strict=True))


@pytest.mark.parametrize("run", goldens(), ids=lambda run: str(run.workflow_id))
def test_a_run_is_the_same_as_itself(run: History) -> None:
    found = compare.runs(run, run)
    assert set(found.table["change"]) == {"same"}
    assert set(found.table["shift_s"].dropna()) <= {0.0}
    assert "in the same order, ending alike" in found.sentence


def test_steps_of_every_kind_are_there_in_the_order_of_their_events() -> None:
    table = compare.runs(golden("everything"), golden("everything")).table
    assert table["kind"].value_counts().to_dict() == {
        **{"timer": 5, "activity": 4, "child": 2, "signal": 1, "workflow": 1}
    }
    assert table["event_id_a"].tolist() == sorted(table["event_id_a"])


def test_what_b_has_more_and_less_is_told() -> None:
    a, b = history("a", "v", "old", "w"), history("b", "v", "new", "w", Signal("go"), Timer(1))
    assert changes(a, b) == {
        **{"Made": "same", "v": "same", "new": "added", "old": "removed", "w": "same"},
        **{"go": "added", "": "added"},
    }
    sentence = compare.runs(a, b).sentence
    assert "3 added: new, go, timer; 1 removed: old" in sentence


def test_an_added_step_stands_behind_what_it_follows_in_b() -> None:
    a, b = history("a", "v", "w"), history("b", "first", "v", "new", "w", "last")
    assert list(changes(a, b)) == ["Made", "first", "v", "new", "w", "last"]


def test_the_second_of_a_type_is_compared_with_the_second() -> None:
    a = history("a", Step("f", took=1), Step("f", took=2))
    b = history("b", Step("f", took=4), Step("f", took=8), "f")
    table = compare.runs(a, b).table.query("name == 'f'")
    assert table["shift_s"].dropna().tolist() == pytest.approx([3, 6])
    assert changes(a, b)["f#3"] == "added"


def test_swapped_steps_are_moved_and_the_others_are_not() -> None:
    a, b = history("a", *"vwxyz"), history("b", *"vyxwz")
    found = changes(a, b)
    assert found["Made"] == "same"
    # Of w, x, y turned round one can stay; v and z have not moved.
    assert sorted(found.values()) == ["moved"] * 2 + ["same"] * 4
    assert found["v"] == found["z"] == "same"
    assert "2 moved" in compare.runs(a, b).sentence


@pytest.mark.parametrize("seed", range(5))
def test_the_longest_common_order_stays(seed: int) -> None:
    places = random.Random(seed).sample(range(9), 9)
    kept = [places[index] for index in _rising(places)]
    assert kept == sorted(kept)
    longest = max(
        len(some)
        for mask in range(2**9)
        if (some := [place for bit, place in enumerate(places) if mask >> bit & 1]) == sorted(some)
    )
    assert len(kept) == longest


def test_another_outcome_and_other_attempts_are_told() -> None:
    a = history("a", Step("f", status="FAILED", attempts=3), status="FAILED")
    b = history("b", Step("f"))
    found = compare.runs(a, b)
    assert changes(a, b) == {"Made": "outcome", "f": "outcome"}
    assert "2 ended otherwise: Made (FAILED → COMPLETED), f (FAILED → COMPLETED)" in found.sentence
    assert "1 took other attempts: f (3 → 1)" in found.sentence
    row = found.table.iloc[1]
    assert (row["attempts_a"], row["attempts_b"]) == (3, 1)


def test_one_run_each_is_called_no_trend() -> None:
    a, b = history("a", Step("f", took=1)), history("b", Step("f", took=3))
    found = compare.runs(a, b)
    assert "b took 3.02 s and a 1.02 s, which is one run each and no trend" in found.sentence


def test_a_run_that_is_open_has_no_duration_to_compare() -> None:
    found = compare.runs(history("a", "f"), history("b", "f", status=None))
    assert "since one is open" in found.sentence
    assert pd.isna(found.table["shift_s"].iloc[0])


def test_runs_of_two_clocks_are_compared_in_structure_only() -> None:
    found = compare.runs(history("a", "f"), history("b", "f", "g", clock="default"))
    assert "1 added: g" in found.sentence
    assert "times are not compared, since they are of several clocks (default, fast)" in (
        found.sentence
    )
    assert found.table["shift_s"].isna().all()


def test_runs_without_activities_and_of_several_types_are_compared_too() -> None:
    found = compare.runs(history("a"), history("b", workflow_type="Other"))
    assert found.table["change"].tolist() == ["added", "removed"]


@pytest.mark.parametrize(
    ("a", "words"),
    [
        ([], "a holds no run"),
        ([golden("clean"), golden("mixed")], r"a holds 2 runs.*compare\.cohorts\(a, b\)"),
        (["clean"], "expected histories, found str"),
    ],
)
def test_what_is_not_one_history_is_refused(a: Any, words: str) -> None:
    with pytest.raises(TableError, match=words):
        compare.runs(a, golden("clean"))


def test_a_notebook_shows_the_sentence_over_the_table_escaped() -> None:
    found = compare.runs(history("a", "<b>x</b>"), history("b"))
    html = found._repr_html_()
    assert html.startswith("<p>b against a: 1 removed: &lt;b&gt;x&lt;/b&gt;")
    assert "<b>x</b>" not in html
    assert "<table" in html
    assert repr(found).startswith(found.sentence)


def test_the_figures_of_a_cohort_are_those_of_the_tables() -> None:
    a, b = cohort(80, 1.0), cohort(90, 2.0, seed=2)
    (row,) = compare.cohorts(a, b).table.to_dict("records")
    for side, runs in (("a", a), ("b", b)):
        values = tables.activities(runs)["total_s"]
        levels = latency.percentiles(values, q=[0.5, 0.95])["value_s"].tolist()
        assert [row[f"median_{side}_s"], row[f"p95_{side}_s"]] == levels
        assert row[f"n_{side}"] == len(runs)
    assert row["median_shift_s"] == row["median_b_s"] - row["median_a_s"]
    assert row["median_low_s"] < row["median_shift_s"] < row["median_high_s"]


def test_a_real_shift_is_found_and_a_cohort_does_not_differ_from_itself() -> None:
    a, b = cohort(80, 1.0), cohort(80, 4.0, seed=2)
    assert "fetch median +" in compare.cohorts(a, b).sentence
    assert "fetch median -" in compare.cohorts(b, a).sentence
    assert "no difference that n can support" in compare.cohorts(a, a).sentence


def test_the_same_call_gives_the_same_intervals_and_another_seed_others() -> None:
    a, b = cohort(80), cohort(80, 2.0, seed=2)
    one, two, other = (compare.cohorts(a, b, seed=seed).table for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(one, two)
    assert not one.equals(other)


@pytest.mark.parametrize(
    ("n", "median", "p95"),
    [(5, False, False), (6, True, False), (71, True, False), (72, True, True)],
)
def test_a_percentile_that_n_cannot_support_is_na_and_the_sentence_says_so(
    n: int, median: bool, p95: bool
) -> None:
    found = compare.cohorts(cohort(n), cohort(n, 9.0, seed=2))
    row = found.table.iloc[0]
    assert (
        pd.notna(row["median_shift_s"]) is np.bool_(median)
        or pd.notna(row["median_shift_s"]) == median
    )
    assert pd.notna(row["p95_low_s"]) == p95
    assert pd.notna(row["attempts_low"]) == median
    assert ("n too small" in found.sentence) == (not p95)


def test_failure_rates_shift_with_an_interval() -> None:
    found = compare.cohorts(cohort(60), cohort(60, failing=0.5, seed=2))
    row = found.table.iloc[0]
    assert row["failure_rate_a"] == 0
    assert 0.3 < row["failure_rate_b"] < 0.7
    assert 0 < row["failure_rate_low"] < row["failure_rate_shift"] < row["failure_rate_high"]
    assert "fetch failure rate +" in found.sentence


def test_one_failure_in_six_is_no_difference() -> None:
    failed = [history("x", Step("fetch", status="FAILED"))]
    found = compare.cohorts(cohort(6), [*cohort(5, seed=2), *failed])
    assert "failure rate" not in found.sentence


def test_more_attempts_are_told() -> None:
    once = [history(f"a{n}", Step("f")) for n in range(10)]
    often = [history(f"b{n}", Step("f", attempts=2 + n % 3)) for n in range(10)]
    found = compare.cohorts(once, often)
    assert found.table["attempts_shift"].tolist() == pytest.approx([1.9])
    assert "f attempts +1.9" in found.sentence


def test_what_only_one_cohort_has_is_told_and_has_no_shift() -> None:
    found = compare.cohorts([history("a", "v", "old")], [history("b", "v", "new")])
    table = found.table.set_index("activity_type")
    assert table["only_in"].astype(str).to_dict() == {"new": "b", "old": "a", "v": "both"}
    assert table.loc["new", ["median_shift_s", "failure_rate_shift"]].isna().all()
    assert "only a has old; only b has new" in found.sentence
    assert "1 variant gained (in 1 run); 1 variant lost (in 1 run)" in found.sentence


def test_the_sentence_counts_what_would_differ_by_chance() -> None:
    sentence = compare.cohorts(cohort(80), cohort(80, seed=2)).sentence
    assert "4 intervals looked at, of which 0.2 would exclude 0 by chance" in sentence


def test_cohorts_of_two_clocks_are_compared_in_structure_only() -> None:
    found = compare.cohorts(cohort(80), cohort(80, 9.0, seed=2, failing=0.5, clock="default"))
    assert found.table[["median_shift_s", "p95_low_s"]].isna().all(axis=None)
    assert found.table["failure_rate_low"].gt(0).all()
    assert "of several clocks (default, fast)" in found.sentence


def test_another_column_and_another_grouping_may_be_chosen() -> None:
    runs = [golden("clean"), golden("mixed")]
    found = compare.cohorts(
        runs,
        runs,
        by=["task_queue", "activity_type"],
        column="backoff_s",
        recorder=attempt_records(),
    )
    assert found.table.columns[:2].tolist() == ["task_queue", "activity_type"]
    assert found.table["n_a"].tolist() == [6, 2, 1]


def test_local_activities_have_no_times_and_are_compared_all_the_same() -> None:
    table = compare.cohorts(golden("everything"), golden("everything")).table
    row = table.set_index("activity_type").loc["fail_until"]
    assert row["n_a"] == 1
    assert row["failure_rate_a"] == 0


def test_a_cohort_that_is_empty_twice_or_of_a_wrong_column_is_refused() -> None:
    with pytest.raises(TableError, match="b holds no run"):
        compare.cohorts([golden("clean")], [])
    with pytest.raises(TableError, match="give each run once"):
        compare.cohorts([golden("clean"), golden("clean")], [golden("clean")])
    with pytest.raises(TableError, match="no column speed"):
        compare.cohorts([golden("clean")], [golden("clean")], column="speed")
    with pytest.raises(TableError, match=r"status is no duration; there are .*total_s, exec_s"):
        compare.cohorts([golden("clean")], [golden("clean")], column="status")
    options: list[dict[str, Any]] = [{"by": []}, {"resamples": 0}]
    for wrong in options:
        with pytest.raises(ValueError, match=r"by must name a column.*resamples be at least 1"):
            compare.cohorts([golden("clean")], [golden("clean")], **wrong)
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        compare.cohorts([golden("clean")], [golden("clean")], confidence=2.0)


def test_variants_are_kept_gained_and_lost() -> None:
    a = [history("1", "v"), history("2", "v", "w"), history("3", "v")]
    b = [history("4", "v"), history("5", "x")]
    table = compare.variants(a, b).set_index("variant")
    assert table["change"].astype(str).to_dict() == {"v": "kept", "x": "gained", "v → w": "lost"}
    assert table["count_a"].to_dict() == {"v": 2, "x": 0, "v → w": 1}
    assert table["share_b"].to_dict() == {"v": 0.5, "x": 0.5, "v → w": 0.0}
    assert table["workflow_id"].to_dict() == {"v": "4", "x": "5", "v → w": "2"}
    assert str(table["count_a"].dtype) == "Int64"


def test_intervals_of_a_median_shift_cover_it_about_as_often_as_they_say() -> None:
    draw = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        a, b = draw.exponential(1.0, 40), draw.exponential(1.0, 40) + 0.5
        *_, low, high = of_quantiles((a, b), 0.5, HOW)
        hits += low <= 0.5 <= high
    assert 180 <= hits <= 200


def test_newcombes_interval_is_that_of_his_paper() -> None:
    # Newcombe (1998), table II, method 10: 56/70 − 48/80.
    *_, low, high = of_rates(((48, 80), (56, 70)), HOW)
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_equal_values_give_an_interval_of_no_width() -> None:
    ones = np.ones(10)
    assert of_means((ones, ones), HOW) == (1, 1, 0, 0, 0)
    assert of_quantiles((ones, ones + 1), 0.5, HOW) == (1, 2, 1, 1, 1)
