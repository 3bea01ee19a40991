"""The figure of a simulated and a real experiment, and the tail of latencies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from projectai_lab import plots, retries
from projectai_lab.errors import TableError
from projectai_lab.models import Latency, RetrySettings
from projectai_lab.retries import FaultLaw
from projectai_lab.tables import schema

mpl.use("Agg")

POLICY = RetrySettings(0.5, maximum_attempts=4)
LAW = FaultLaw(fail=0.4, latency=Latency("lognormal", 0.4, 0.5))


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Close what a test opened."""
    yield
    plt.close("all")


def drawn(n: int, seed: int, law: FaultLaw = LAW) -> pd.DataFrame:
    """Return simulated requests, also in the place of real ones."""
    table = retries.simulate(POLICY, law, n, seed=seed)
    table.attrs["clock"] = "fast"
    return table


def line(ax: Axes, label: str) -> tuple[Any, Any]:
    """Return the places of one line, by its label's beginning."""
    (found,) = [one for one in ax.lines if str(one.get_label()).startswith(label)]
    return np.asarray(found.get_xdata(), float), np.asarray(found.get_ydata(), float)


def test_both_distributions_the_residual_and_the_attempts_are_drawn() -> None:
    real, many = drawn(150, 1), drawn(20_000, 2)
    times, residual, attempts = plots.simulated(real, many, retries.theory(POLICY, LAW))
    x, y = line(times, "real")
    assert x[1:].tolist() == sorted(real.completion_s)
    assert y.tolist() == pytest.approx([i / 150 for i in range(151)])
    x, y = line(times, "simulated")
    place = len(x) // 2
    assert y[place] == pytest.approx((many.completion_s <= x[place]).mean())
    shares = real.attempts.value_counts(normalize=True).sort_index()
    (bars,) = attempts.containers
    assert [bar.get_height() for bar in bars] == shares.tolist()
    exact = retries.theory(POLICY, LAW).groupby("attempts").probability.sum()
    assert any(
        np.asarray(one.get_ydata(), float).tolist() == exact.tolist() for one in attempts.lines
    )
    assert "fast clock" in residual.get_xlabel()
    assert residual.get_xlim() == times.get_xlim()


def test_the_residual_is_the_difference_of_the_two_curves() -> None:
    real, many = drawn(150, 1), drawn(2000, 2)
    _, residual, _ = plots.simulated(real, many)
    (curve,) = [one for one in residual.lines if len(np.asarray(one.get_xdata())) > 2]
    x, y = (np.asarray(some, float) for some in (curve.get_xdata(), curve.get_ydata()))
    for place in range(0, len(x), 97):
        both = [(side.completion_s <= x[place]).mean() for side in (real, many)]
        assert y[place] == pytest.approx(both[0] - both[1])


def test_it_says_whether_the_difference_is_more_than_chance() -> None:
    many = drawn(20_000, 2)
    _, within, _ = plots.simulated(drawn(150, 1), many)
    assert within.get_title(loc="left").startswith("within what chance allows")
    slower = FaultLaw(fail=0.4, latency=Latency("lognormal", 0.8, 0.5))
    _, beyond, _ = plots.simulated(drawn(150, 1, slower), many)
    assert beyond.get_title(loc="left").startswith("beyond what chance allows")


def test_the_callers_axes_are_used_and_nothing_else_opens() -> None:
    _, axes = plt.subplots(1, 3)
    before = plt.get_fignums()
    assert plots.simulated(drawn(50, 1), drawn(500, 2), axes=list(axes)) == tuple(axes)
    assert plt.get_fignums() == before


def test_without_axes_one_figure_opens_at_notebook_width_and_holds_all() -> None:
    axes = plots.simulated(drawn(50, 1), drawn(500, 2))
    assert len(plt.get_fignums()) == 1
    assert plt.gcf().get_figwidth() == 9.0
    plt.gcf().canvas.draw()
    for ax in axes:
        box, page = ax.get_tightbbox(), plt.gcf().bbox
        assert box is not None
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1


def test_the_tables_are_left_as_they_were() -> None:
    real, many = drawn(50, 1), drawn(500, 2)
    copies = real.copy(), many.copy()
    plots.simulated(real, many)
    pd.testing.assert_frame_equal(real, copies[0])
    pd.testing.assert_frame_equal(many, copies[1])


def test_no_requests_give_axes_that_say_so_and_the_wrong_table_an_error() -> None:
    nothing = retries.requests(schema.frame("activities", []))
    times, _, attempts = plots.simulated(nothing, drawn(50, 1))
    assert "no real request has a completion time" in times.texts[0].get_text()
    assert "retries.requests(activities)" in attempts.texts[0].get_text()
    with pytest.raises(TableError, match=r"no column .*completion_s.*retries\.requests"):
        plots.simulated(schema.frame("events", []), drawn(50, 1))


def test_requests_that_all_end_at_once_are_drawn() -> None:
    law = FaultLaw(latency=Latency(a=0))
    times, _, _ = plots.simulated(drawn(10, 1, law), drawn(10, 2, law))
    times.figure.canvas.draw()


def test_a_tail_is_drawn_on_a_logarithmic_axis_down_to_one_in_n() -> None:
    table = drawn(400, 1).assign(arm="a")
    ax = plots.latency(table, by="arm", column="completion_s", tail=True)
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "share that took longer, logarithmic"
    _, y = line(ax, "a")
    assert y[0] == 1
    assert np.nanmin(y) == pytest.approx(1 / 400)
    marked = [float(np.asarray(one.get_ydata())[0]) for one in ax.lines if one.get_marker() == "D"]
    assert marked == pytest.approx([0.05])
    ax.figure.canvas.draw()
