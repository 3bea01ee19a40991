"""The figure of loads: every run is in it, what has no answer too, and whose clock it is."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

from projectai_lab import plots
from projectai_lab.errors import TableError
from tests.made_loads import CLOSED, OPEN, made, run, stalled

mpl.use("Agg")


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Close what a test opened."""
    yield
    plt.close("all")


def places(ax: Axes, number: int) -> tuple[list[float], list[float]]:
    """Return the places of one line."""
    x, y = (np.asarray(one, float).tolist() for one in ax.lines[number].get_data())
    return x, y


def legend(ax: Axes) -> list[str]:
    """Return the words of the legend."""
    found = ax.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_each_run_is_a_point_at_its_intended_start() -> None:
    users, clients = stalled(), stalled(clients=2)
    points, _ = plots.load([users, clients])
    for number, one in ((0, users), (2, clients)):
        x, y = places(points, number)
        assert x == one.table["intended_s"].tolist()
        assert y == one.table["latency_s"].tolist()
    assert legend(points) == [
        "open loop, 20/s intended: n = 600 (users)",
        f"closed loop, 2 clients: n = {len(clients.table)} (clients)",
    ]


def test_the_tail_is_the_share_that_took_longer_down_to_one_in_n() -> None:
    one = stalled()
    _, tails = plots.load(one)
    x, y = places(tails, 0)
    latencies = one.table["latency_s"]
    assert y[0] == 1
    for place, share in zip(x[1:-1], y[1:-1], strict=True):
        assert share == pytest.approx((latencies > place).mean())
    assert np.nanmin(y) == pytest.approx(1 / 600)
    assert tails.get_yscale() == tails.get_xscale() == "log"


def test_a_run_without_an_answer_is_a_triangle_and_takes_longer_than_any_time() -> None:
    runs = [run(n, n / 20, 0.1 + n / 1000) for n in range(90)]
    lost = [run(90 + n, 5 + n / 20, None, status="UNKNOWN") for n in range(10)]
    points, tails = plots.load(made([*runs, *lost]))
    x, y = places(points, 1)
    assert x == pytest.approx([5 + n / 20 for n in range(10)])
    assert points.lines[1].get_marker() == "^"
    assert max(places(points, 0)[1]) < min(y) <= points.get_ylim()[1]
    assert legend(points)[-1] == "no answer"
    # Ten of a hundred stay above, whatever the time.
    assert places(tails, 0)[1][-1] == pytest.approx(0.1)


def test_a_failure_is_no_answer_however_quick() -> None:
    quick = run(1, 0.05, 0.001, status="FAILED")
    points, _ = plots.load(made([run(0, 0.0, 0.1), quick]))
    assert places(points, 0) == ([0.0], [0.1])
    assert places(points, 1)[0] == [0.05]


def test_a_load_that_is_not_valid_is_named_in_the_title() -> None:
    slipped = made([run(n, n / 20, 0.1, late_s=0.05) for n in range(50)])
    points, _ = plots.load([slipped, stalled(clients=2)])
    assert points.get_title(loc="left").endswith("NOT VALID: users")
    points, _ = plots.load(stalled())
    assert points.get_title(loc="left") == "Latency from the intended start"


def test_axes_say_units_and_whose_clock() -> None:
    points, tails = plots.load(stalled())
    points.figure.canvas.draw()
    assert points.get_xlabel() == (
        "intended start, seconds since the load began (client's monotonic clock)"
    )
    assert (
        tails.get_xlabel() == "latency, client's monotonic clock (server: fast clock), logarithmic"
    )
    assert "intended start" in points.get_ylabel()
    shown = [label.get_text() for label in tails.get_xticklabels()]
    assert "100 ms" in shown
    assert "1 s" in shown
    assert "1 %" in [label.get_text() for label in tails.get_yticklabels()]


def test_a_load_may_be_given_as_its_table_and_axes_by_the_caller() -> None:
    _, axes = plt.subplots(1, 2)
    points, tails = plots.load([stalled().table], axes=list(axes))
    assert (points, tails) == tuple(axes)
    assert len(points.lines) == 2


def test_a_long_name_is_shortened_and_markup_in_it_is_drawn_as_it_is() -> None:
    points, _ = plots.load(made([run(0, 0.0, 0.1)], {**OPEN, "name": "<b>" + 60 * "x"}))
    (label,) = legend(points)
    assert len(label) < 90
    points.figure.canvas.draw()


@pytest.mark.parametrize("some", [[], [made([])], [made([run(0, 0.0, None, status="RUNNING")])]])
def test_without_an_answered_run_it_says_so(some: list[object]) -> None:
    points, _ = plots.load(some)
    assert points.texts[0].get_text().startswith("No answered run to draw.")
    points.figure.canvas.draw()


def test_loads_of_two_clocks_are_not_drawn_together() -> None:
    with pytest.raises(TableError, match="several clocks"):
        plots.load([stalled(), made([run(0, 0.0, 0.1)], CLOSED, clock="default")])


def test_what_is_no_load_is_refused_with_how_to_make_one() -> None:
    with pytest.raises(TableError, match=r"make one with load\.open_loop"):
        plots.load([pd.DataFrame({"intended_s": [1.0]})])
    with pytest.raises(TableError, match=r"make one with load\.open_loop"):
        plots.load("users")
