"""Figures of hours and days: units that can be read, ticks that do not run into each other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from projectai_lab import _words, plots, retries
from projectai_lab._frames import same_clock
from projectai_lab.errors import TableError
from projectai_lab.models import Latency, RetrySettings
from projectai_lab.retries import FaultLaw
from tests.test_plots import activity, attempts_table

mpl.use("Agg")

HOUR = 3600.0
DAY = 24 * HOUR
HOURS = RetrySettings(HOUR, maximum_attempts=6)
LAW = FaultLaw(fail=0.5, latency=Latency("lognormal", a=0.03, b=0.8))


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Close what a test opened."""
    yield
    plt.close("all")


def shown(ax: Axes) -> list[str]:
    """Return the labels of the time axis within its limits."""
    figure = ax.figure
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    low, high = ax.get_xlim()
    return [
        label.get_text()
        for place, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
        if low <= place <= high
    ]


def run_into_each_other(ax: Axes) -> bool:
    figure = ax.figure
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    boxes.sort(key=lambda box: box.x0)
    return any(one.x1 > other.x0 for one, other in pairwise(boxes))


@pytest.mark.parametrize(
    ("wait_s", "unit", "some"),
    [
        (0.05, "milliseconds", "0"),
        (30.0, "seconds", "30"),
        (1500.0, "minutes", "20"),
        (16 * HOUR, "hours", "12"),
        (5 * DAY, "days", "4"),
    ],
)
def test_the_time_axis_takes_the_unit_of_its_length(wait_s: float, unit: str, some: str) -> None:
    table = attempts_table(activity("FC", waits=(wait_s,)), clock="virtual")
    for draw in (plots.timeline, plots.retries):
        ax = draw(table)
        assert ax.get_xlabel().startswith(f"{unit} since")
        assert "virtual clock" in ax.get_xlabel()
        assert some in shown(ax)
        assert not run_into_each_other(ax)


def test_ticks_of_a_day_stand_at_whole_hours() -> None:
    table = attempts_table(activity("FFFFC", waits=(HOUR, 2 * HOUR, 4 * HOUR, 24 * HOUR)))
    assert shown(plots.timeline(table)) == ["0", "6", "12", "18", "24", "30"]


def test_days_are_not_cut_into_sixths() -> None:
    ax = plots.timeline(attempts_table(activity("FC", waits=(2.6 * DAY,))))
    assert shown(ax) == ["0", "0.5", "1", "1.5", "2", "2.5"]


def test_an_hour_of_a_policy_is_an_hour() -> None:
    waits = [_words.duration(HOUR * 2**n) for n in range(6)]
    assert waits == ["1 h", "2 h", "4 h", "8 h", "16 h", "32 h"]
    assert [_words.duration(value) for value in (1800, 5400, 3601)] == [
        "30 min",
        "90 min",
        "60 min",
    ]
    assert [_words.duration(value) for value in (2 * DAY, 30 * DAY)] == ["2 d", "30 d"]


def test_a_logarithmic_axis_up_to_days_has_its_ticks_where_units_begin() -> None:
    drawn = retries.simulate(HOURS, LAW, 2000).assign(arm="a")
    ax = plots.latency(drawn, by="arm", column="completion_s")
    assert ax.get_xscale() == "log"
    assert {"1 s", "60 s", "1 h", "24 h"} <= set(shown(ax))
    assert len(shown(ax)) <= 6
    assert not run_into_each_other(ax)


def test_the_narrow_axes_beside_a_simulation_keep_their_labels_apart() -> None:
    sides = [retries.simulate(HOURS, LAW, 2000, seed=seed) for seed in (1, 2)]
    times, residual, _ = plots.simulated(*sides)
    for ax in (times, residual):
        assert {"1 s", "1 h", "24 h"} <= set(shown(ax))
        assert not run_into_each_other(ax)


def test_a_logarithmic_axis_of_seconds_is_as_it_was() -> None:
    drawn = retries.simulate(RetrySettings(1, maximum_attempts=4), LAW, 500).assign(arm="a")
    ax = plots.latency(drawn, by="arm", column="completion_s")
    assert {"100 ms", "1 s"} <= set(shown(ax))


# --- clocks are not mixed -------------------------------------------------------------------------


def of(clock: str | None) -> pd.DataFrame:
    table = retries.simulate(HOURS, LAW, 50)
    if clock:
        table.attrs["clock"] = clock
    return table


def test_real_requests_of_two_clocks_are_neither_compared_nor_drawn() -> None:
    for mix in (retries.compare_simulated, plots.simulated):
        with pytest.raises(
            TableError, match=r"several clocks \(fast, virtual\).*on one clock"
        ) as e:
            mix(of("virtual"), of("fast"))
        assert e.value.clocks == ("fast", "virtual")
        assert len(mix(of("virtual"), of("virtual")))
        assert len(mix(of("virtual"), of(None)))


def test_a_table_without_rows_has_no_clock_to_clash() -> None:
    same_clock(of("virtual"), of("fast").iloc[:0])
    same_clock()


def test_what_is_simulated_with_measured_lags_is_of_their_clock() -> None:
    lags = attempts_table(activity("FFC"), clock="virtual")
    made = retries.simulate(HOURS, LAW, 50, dispatch_lag=lags)
    assert made.attrs["clock"] == "virtual"
    assert "clock" not in retries.simulate(HOURS, LAW, 50, dispatch_lag=0.1).attrs
    with pytest.raises(TableError, match="several clocks"):
        retries.compare_simulated(of("fast"), made)


def test_lags_of_two_clocks_are_not_drawn_from() -> None:
    lags = attempts_table(activity("FFC"), clock="fast, virtual")
    with pytest.raises(TableError, match="several clocks"):
        retries.simulate(HOURS, LAW, 50, dispatch_lag=lags)
    assert np.isfinite(retries.simulate(HOURS, LAW, 50).completion_s).all()
