"""The figure of a sweep: estimates by level, their intervals, the runs behind them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from scipy.stats import binomtest

from projectai_lab import latency, plots
from projectai_lab.errors import TableError

mpl.use("Agg")


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Close what a test opened."""
    yield
    plt.close("all")


def results(levels: list[Any], n: int = 20, clock: str = "fast") -> pd.DataFrame:
    """Return runs of two groups over some levels of `wait`, drawn with a seed."""
    draw = np.random.default_rng(3)
    rows = [
        {
            "wait": level,
            "group": group,
            "success": bool(draw.random() < 0.7),
            "n_attempts": int(draw.integers(1, 5)),
            "duration_s": float(draw.lognormal(0, 0.5)),
        }
        for level in levels
        for group in ("a", "b")
        for _ in range(n)
    ]
    frame = pd.DataFrame(rows).astype({"success": "boolean", "n_attempts": "Int64"})
    frame.attrs["clock"] = clock
    return frame


def estimates(ax: Axes) -> list[list[float]]:
    """Return the heights of the lines that join the estimates."""
    lines = [line for line in ax.lines if line.get_linestyle() != "None"]
    return [np.asarray(line.get_ydata(), float).tolist() for line in lines]


def intervals(ax: Axes) -> list[tuple[float, float]]:
    """Return the ends of all intervals."""
    bars = [one for one in ax.collections if isinstance(one, LineCollection)]
    return [(part[0, 1], part[1, 1]) for bar in bars for part in bar.get_segments()]


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    assert found is not None
    return [one.get_text() for one in found.get_texts()]


def test_a_flag_is_drawn_as_its_share_with_the_exact_interval() -> None:
    runs = results([0.1, 0.5])
    ax = plots.sweep(runs, "wait", "success")
    hits = runs.groupby("wait")["success"].sum().astype(int).tolist()
    assert estimates(ax) == [[hit / 40 for hit in hits]]
    exact = [binomtest(hit, 40).proportion_ci(0.95, method="exact") for hit in hits]
    assert [end for one in intervals(ax) for end in one] == pytest.approx(
        [end for one in exact for end in (one.low, one.high)]
    )
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0.1", "0.5"]


def test_a_duration_is_drawn_as_its_median_and_the_runs_are_dots() -> None:
    runs = results([1, 2])
    ax = plots.sweep(runs, "wait")
    rows = latency.percentiles(runs, "duration_s", by="wait", q=[0.5])
    assert estimates(ax) == [rows["value_s"].tolist()]
    assert intervals(ax) == list(rows[["low_s", "high_s"]].itertuples(index=False, name=None))
    dots = [line for line in ax.lines if line.get_linestyle() == "None"]
    assert sum(len(np.asarray(line.get_ydata())) for line in dots) == len(runs)
    assert "fast clock" in ax.get_ylabel()


def test_a_median_that_n_cannot_support_is_left_out_and_its_runs_are_not() -> None:
    ax = plots.sweep(results([1, 2], n=2), "wait")
    assert np.isnan(estimates(ax)[0]).all()
    assert intervals(ax) == []
    assert len([line for line in ax.lines if line.get_linestyle() == "None"]) == 2


def test_a_count_is_drawn_as_its_mean() -> None:
    runs = results([1, 2])
    ax = plots.sweep(runs, "wait", "n_attempts")
    assert estimates(ax) == [pytest.approx(runs.groupby("wait")["n_attempts"].mean().tolist())]


def test_groups_are_lines_of_their_own_and_stand_beside_each_other() -> None:
    ax = plots.sweep(results([1, 2]), "wait", "success", by="group")
    assert legend(ax) == ["group = a: n = 40", "group = b: n = 40"]
    places = [np.asarray(line.get_xdata(), float) for line in ax.lines]
    assert (places[0] < places[1]).all()
    assert len({line.get_color() for line in ax.lines}) == 2


def test_the_clock_stands_on_the_axis_of_times_and_on_no_other() -> None:
    runs = results([1, 2], clock="virtual")
    assert "virtual clock" in plots.sweep(runs, "wait").get_ylabel()
    assert "clock" not in plots.sweep(runs, "wait", "success").get_ylabel()


def test_times_of_two_clocks_are_refused() -> None:
    with pytest.raises(TableError, match="several clocks"):
        plots.sweep(results([1], clock="fast, virtual"), "wait")


def test_many_numbers_make_an_axis_of_numbers_and_words_stay_words() -> None:
    levels = [round(0.1 * step**2, 2) for step in range(1, 13)]
    ax = plots.sweep(results(levels, n=1), "wait", "n_attempts")
    assert np.asarray(ax.lines[-1].get_xdata(), float).tolist() == levels
    words = [f"policy {letter}" for letter in "abcdefghijkl"]
    ax = plots.sweep(results(words, n=1), "wait", "n_attempts")
    assert [tick.get_text() for tick in ax.get_xticklabels()] == words


@pytest.mark.parametrize("odd", ["auto", None])
def test_many_levels_of_which_one_is_no_number_stand_side_by_side(odd: Any) -> None:
    ax = plots.sweep(results([*range(8), odd]), "wait", "success")
    assert [one.get_text() for one in ax.get_xticklabels()][:8] == list("01234567")
    places = [np.asarray(one.get_xdata()).tolist() for one in ax.get_lines()]
    assert list(range(9)) in places


def test_missing_levels_and_open_runs_do_not_disturb() -> None:
    runs = results([1, 2])
    runs.loc[:9, "success"] = pd.NA
    runs["wait"] = runs["wait"].astype(object).where(runs["wait"] == 1, None)
    ax = plots.sweep(runs, "wait", "success")
    assert legend(ax) == ["all runs: n = 70"]
    assert len(estimates(ax)[0]) == 2


def test_nothing_to_draw_is_said_in_words_and_a_missing_column_is_an_error() -> None:
    runs = results([1])
    runs["success"] = pd.array([pd.NA] * len(runs), dtype="boolean")
    assert "no run has a success" in plots.sweep(runs, "wait", "success").texts[0].get_text()
    with pytest.raises(TableError, match=r"no column patience.*sweep\.results\(\)"):
        plots.sweep(runs, "patience")


def test_the_callers_axes_are_used_and_the_table_is_left_as_it_was() -> None:
    runs = results([1, 2])
    copy = runs.copy()
    _, ax = plt.subplots()
    before = plt.get_fignums()
    assert plots.sweep(runs, "wait", by="group", ax=ax) is ax
    assert plt.get_fignums() == before
    pd.testing.assert_frame_equal(runs, copy)
