"""Two arms, repetitions, tails and summaries."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import mannwhitneyu

from projectai_lab import latency
from projectai_lab.errors import TableError
from projectai_lab.latency.arms import cliffs_delta
from projectai_lab.tables import schema


def drawn(seed: int, n: int, by: float = 0.0) -> Any:
    """Draw latencies, longer by so many seconds."""
    return np.random.default_rng(seed).lognormal(-1, 0.5, n) + by


def activities(totals: Any, clock: str = "fast", **columns: Any) -> pd.DataFrame:
    """Make an activities table of total times."""
    table = schema.frame("activities", [], clock=clock).reindex(range(len(totals)))
    table.attrs["clock"] = clock
    return table.assign(total_s=totals, activity_type="simulate_ai_call", **columns)


# Two arms


def test_a_shift_is_found_with_its_size_and_none_where_there_is_none() -> None:
    a, b, c = drawn(1, 300), drawn(2, 300, by=0.2), drawn(3, 300)
    shifted = latency.difference(a, b).set_index("q")
    assert shifted.n_a.tolist() == shifted.n_b.tolist() == [300, 300]
    assert (shifted.shift_s == shifted.b_s - shifted.a_s).all()
    assert shifted.low_s[0.5] < 0.2 < shifted.high_s[0.5]
    assert shifted.low_s[0.5] > 0
    assert (shifted.delta_low > 0).all()
    same = latency.difference(a, c).set_index("q")
    assert same.low_s[0.5] < 0 < same.high_s[0.5]
    assert same.delta_low[0.5] < 0 < same.delta_high[0.5]


def test_the_arms_the_other_way_round_differ_by_the_opposite() -> None:
    a, b = drawn(1, 80), drawn(2, 90, by=0.1)
    one, other = latency.difference(a, b).iloc[0], latency.difference(b, a).iloc[0]
    assert one.shift_s == -other.shift_s
    assert one.delta == pytest.approx(-other.delta)
    assert one.delta_low == pytest.approx(-other.delta_high)


def test_the_quantiles_are_those_of_percentiles_and_na_where_n_is_too_small() -> None:
    a, b = drawn(1, 100), drawn(2, 40)
    found = latency.difference(a, b, q=(0.5, 0.9, 0.95))
    for side, values in (("a_s", a), ("b_s", b)):
        expected = latency.percentiles(values, q=(0.5, 0.9, 0.95)).value_s
        pd.testing.assert_series_equal(found[side], expected, check_names=False)
    assert found.shift_s.isna().tolist() == [False, False, True]
    assert found.low_s.isna().tolist() == [False, False, True]
    assert found.delta.notna().all()


def by_pairs(a: Any, b: Any) -> float:
    """Return Cliff's delta as it is defined."""
    return float(np.mean([np.sign(y - x) for x, y in product(a, b)]))


@pytest.mark.parametrize("ties", [False, True])
def test_delta_is_that_of_all_pairs_and_of_the_mann_whitney_test(ties: bool) -> None:
    a, b = drawn(1, 37), drawn(2, 53, by=0.1)
    if ties:
        a, b = a.round(1), b.round(1)
    found = latency.difference(a, b).delta[0]
    assert found == pytest.approx(by_pairs(a, b))
    share = mannwhitneyu(b, a).statistic / (len(a) * len(b))
    assert (found + 1) / 2 == pytest.approx(share)


def test_the_variance_of_delta_is_cliffs_unbiased_one() -> None:
    a, b = np.sort(drawn(1, 7).round(1)), np.sort(drawn(2, 9, by=0.1).round(1))
    signs = np.sign(np.subtract.outer(b, a))
    m, n = signs.shape
    delta = signs.mean()
    rows = m**2 * ((signs.mean(axis=0) - delta) ** 2).sum()
    columns = n**2 * ((signs.mean(axis=1) - delta) ** 2).sum()
    variance = (rows + columns - ((signs - delta) ** 2).sum()) / (m * n * (m - 1) * (n - 1))
    z = 1.959963984540054
    middle, scale = delta - delta**3, 1 - delta**2 + z**2 * variance
    spread = z * math.sqrt(variance * ((1 - delta**2) ** 2 + z**2 * variance))
    expected = delta, (middle - spread) / scale, (middle + spread) / scale
    assert cliffs_delta(a, b, 0.95) == pytest.approx(expected)


def test_the_interval_of_delta_covers_as_promised() -> None:
    # P(b > a) of two exponential laws with rates r and s is r/(r + s).
    truth = 2 * 3 / (3 + 2) - 1
    rng = np.random.default_rng(5)
    rows = [
        cliffs_delta(np.sort(rng.exponential(1 / 3, 40)), np.sort(rng.exponential(1 / 2, 30)), 0.95)
        for _ in range(400)
    ]
    caught = np.mean([low <= truth <= high for _, low, high in rows])
    assert 0.92 <= caught <= 0.98


def test_arms_that_do_not_overlap_keep_an_interval_with_a_width() -> None:
    row = latency.difference([1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]).iloc[0]
    assert (row.delta, row.delta_high) == (1, 1)
    # Five in five: a share of at least 0.025 ** (1/5), one-sided 97.5 %.
    assert row.delta_low == pytest.approx(2 * 0.025 ** (1 / 5) - 1)
    back = latency.difference([6, 7, 8, 9, 10, 11], [1, 2, 3, 4, 5]).iloc[0]
    assert (back.delta, back.delta_low) == (-1, -1)
    assert back.delta_high == pytest.approx(-row.delta_low)


def test_arms_of_equal_values_do_not_differ_and_are_not_sure_of_it() -> None:
    row = latency.difference([1.0] * 20, [1.0] * 20).iloc[0]
    assert (row.shift_s, row.delta) == (0, 0)
    assert row.delta_low < 0 < row.delta_high


@pytest.mark.parametrize(("a", "b"), [([], [1, 2]), ([1.0], [2.0]), ([], [])])
def test_too_few_values_have_no_interval(a: Any, b: Any) -> None:
    found = latency.difference(a, b)
    assert found.shift_s.isna().all()
    assert found[["delta_low", "delta_high"]].isna().all(axis=None)
    assert found.n_a.tolist() == [len(a)] * 2


def test_arms_of_two_clocks_are_not_compared() -> None:
    fast, virtual = activities([1.0, 2]), activities([1.0, 2], clock="virtual")
    with pytest.raises(TableError, match=r"several clocks \(fast, virtual\).*run both on one"):
        latency.difference(fast, virtual)
    assert len(latency.difference(fast, fast)) == 2
    with pytest.raises(TableError, match="no column colour"):
        latency.difference(fast, fast, "colour")
    with pytest.raises(ValueError, match="q must lie between 0 and 1"):
        latency.difference([1, 2], [1, 2], q=[95])


# Repetitions


def test_replicates_that_do_not_differ_have_no_correlation() -> None:
    table = activities(drawn(1, 400), replicate=np.repeat(range(10), 40))
    row = latency.noise(table).iloc[0]
    assert (row.replicates, row.n) == (10, 400)
    assert row.icc_low <= 0 <= row.icc_high
    assert abs(row.icc) < 0.1
    assert row.between_s < row.within_s
    medians = table.groupby("replicate").total_s.median()
    assert [row.median_s, row.min_s, row.max_s] == [medians.median(), medians.min(), medians.max()]


def test_replicates_that_differ_say_how_much() -> None:
    rng = np.random.default_rng(2)
    own = np.repeat(rng.normal(10, 2, 30), 20)
    table = activities(own + rng.normal(0, 1, 600), replicate=np.repeat(range(30), 20))
    row = latency.noise(table).iloc[0]
    assert row.icc_low < 4 / (4 + 1) < row.icc_high
    assert row.icc_low > 0.5
    assert row.between_s == pytest.approx(2, rel=0.4)
    assert row.within_s == pytest.approx(1, rel=0.2)


def test_the_correlation_is_that_of_the_published_example() -> None:
    # Shrout & Fleiss (1979), table 2: six targets, four judges; ICC(1,1) = .17, F = 1.79.
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    table = pd.DataFrame(
        [(target, float(value)) for target, row in enumerate(ratings) for value in row],
        columns=["target", "total_s"],
    )
    row = latency.noise(table, by="target").iloc[0]
    assert round(row.icc, 2) == 0.17
    assert (round(row.icc_low, 2), round(row.icc_high, 2)) == (-0.13, 0.72)


def test_what_cannot_be_known_of_the_noise_is_na() -> None:
    singles = latency.noise(pd.DataFrame({"replicate": [1, 2, 3], "total_s": [1.0, 2, 3]})).iloc[0]
    assert (singles.median_s, singles.min_s, singles.max_s) == (2, 1, 3)
    assert pd.isna(singles.icc)
    assert pd.isna(singles.within_s)
    alike = latency.noise(pd.DataFrame({"replicate": [1, 1, 2, 2], "total_s": [1.0] * 4})).iloc[0]
    assert pd.isna(alike.icc)
    assert alike.within_s == 0


def test_noise_needs_two_repetitions_and_one_clock() -> None:
    for table in (activities([1.0, 2], replicate=1), activities([], replicate=[])):
        with pytest.raises(TableError, match=r"at least 2 of them; replicate tells \d apart: run"):
            latency.noise(table)
    with pytest.raises(TableError, match="expected a DataFrame, got list"):
        latency.noise([1.0, 2.0])
    with pytest.raises(TableError, match="no column replicate"):
        latency.noise(activities([1.0]))
    with pytest.raises(TableError, match="several clocks"):
        latency.noise(activities([1.0, 2], clock="fast, virtual", replicate=[1, 2]))
    unknown = activities([1.0, 2, None, None], replicate=[1, 2, 3, 3])
    assert latency.noise(unknown).replicates[0] == 2


# Summary, tail, bootstrap


def test_a_summary_has_one_row_a_group_with_what_n_supports() -> None:
    table = activities(drawn(1, 5000), arm=["big"] * 4900 + ["small"] * 100)
    found = latency.summary(table, by="arm").set_index("arm")
    levels = ["p50_s", "p75_s", "p90_s", "p95_s", "p99_s", "p99.9_s"]
    assert found.columns.tolist() == ["n", "min_s", *levels, "max_s"]
    assert found.loc["big"].notna().all()
    assert found.loc["small", levels].isna().tolist() == [False] * 4 + [True] * 2
    assert found.loc["small", "max_s"] == table.total_s[4900:].max()
    expected = latency.percentiles(table, by="arm", q=[0.95]).value_s.tolist()
    assert found.p95_s.tolist() == expected


def test_p999_needs_as_many_values_as_the_docstring_says() -> None:
    values = np.arange(3688, dtype=float)
    assert latency.summary(values)["p99.9_s"].notna().all()
    assert latency.summary(values[1:])["p99.9_s"].isna().all()


def test_a_summary_of_nothing_has_its_columns() -> None:
    row = latency.summary([]).iloc[0]
    assert row.n == 0
    assert row.drop("n").isna().all()
    assert len(latency.summary(activities([]), by="activity_type")) == 0
    with pytest.raises(ValueError, match="q must lie between 0 and 1"):
        latency.summary([1, 2], q=[50])


def test_the_tail_is_the_share_above_and_ends_at_nothing() -> None:
    steps = latency.ecdf([0.3, 0.1, 0.3, None, 0.2], tail=True)
    assert steps.above.tolist() == [0.75, 0.5, 0.0]
    many = latency.ecdf(np.arange(1_000_000.0), tail=True)
    assert many.above.iloc[-2] == 1e-6
    assert latency.ecdf([], tail=True).shape == (0, 3)


def test_the_bootstrap_interval_holds_the_value_and_follows_its_seed() -> None:
    values = drawn(1, 200)
    options: dict[str, Any] = {"q": [0.5, 0.9, 0.99], "interval": "bootstrap", "resamples": 499}
    order = latency.percentiles(values, q=[0.5, 0.9, 0.99])
    first, again, other = (latency.percentiles(values, **options, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert first.value_s.tolist()[:2] == order.value_s.tolist()[:2]
    assert (first.low_s[:2] <= first.value_s[:2]).all()
    assert (first.value_s[:2] <= first.high_s[:2]).all()
    assert not first.equals(other)
    # Where n supports no percentile neither does resampling; the end that is known stays.
    assert first.iloc[2].isna().tolist() == order.iloc[2].isna().tolist()
    width = (first.high_s - first.low_s)[0] / (order.high_s - order.low_s)[0]
    assert 0.6 < width < 1.6
    with pytest.raises(ValueError, match='interval must be "order" or "bootstrap", got \'t\''):
        latency.percentiles(values, interval="t")  # type: ignore[arg-type]
