"""The figure of the directly-follows graph: every box and count is there, none covers another."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_rgba
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.transforms import Bbox

from projectai_lab import plots, process
from projectai_lab.errors import TableError
from projectai_lab.plots import _style as style
from projectai_lab.plots._layers import layers
from projectai_lab.plots._process import _two_lines
from tests.data import goldens

mpl.use("Agg")

MANY = [f"activity_number_{number:02}" for number in range(30)]
LONG = "RetrieveAugmentedContextFromTheVectorStoreOfTheArchive"
Rows = list[tuple[str | None, str | None, int]]


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Close what a test opened."""
    yield
    plt.close("all")


def table(rows: Rows) -> pd.DataFrame:
    """Make an edges table."""
    frame = pd.DataFrame(rows, columns=["source", "target", "count"])
    return frame.astype({"source": "str", "target": "str", "count": "Int64"})


def dense() -> Rows:
    """Make ninety edges among thirty types, always the same."""
    draw = random.Random(1)
    pairs = [(one, other) for one in MANY for other in draw.sample(MANY, 3)]
    return [(one, other, draw.randint(1, 2000)) for one, other in pairs]


CASES: dict[str, Rows] = {
    "one": [(None, "a", 12), ("a", None, 12)],
    "idle": [(None, None, 3)],
    "only itself": [("poll", "poll", 5)],
    "loop": [(None, "a", 9), ("a", "b", 9), ("b", "a", 4), ("b", "b", 2), ("b", None, 5)],
    "wide": [(None, one, 10) for one in MANY[:12]] + [(one, "join", 10) for one in MANY[:12]],
    "long names": [(None, LONG, 1), (LONG, LONG + "s", 1), (LONG + "s", None, 1)],
    "thirty": [(one, other, 500) for one, other in pairwise([None, *MANY, None])],
    "dense": dense(),
}


def draw(name: str) -> Axes:
    """Draw a case, with its layout done."""
    ax = plots.directly_follows(table(CASES[name]))
    ax.figure.canvas.draw()
    return ax


def size(ax: Axes) -> tuple[float, float]:
    """Return width and height of the figure, in inches."""
    return ax.figure.bbox.width / ax.figure.dpi, ax.figure.bbox.height / ax.figure.dpi


def words(ax: Axes) -> list[str]:
    """Return all texts of the figure but the title."""
    return [text.get_text() for text in ax.texts]


def arrows(ax: Axes) -> list[Any]:
    """Return the arrows."""
    return [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]


def boxes(ax: Axes) -> list[Bbox]:
    """Return the outlines of the nodes, in pixels."""
    found = [patch for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    lined = [patch for patch in found if to_rgba(patch.get_edgecolor())[3]]
    return [patch.get_window_extent() for patch in lined]


def test_each_edge_is_an_arrow_with_its_count_and_each_type_a_box_with_its_own() -> None:
    ax = draw("loop")
    assert len(arrows(ax)) == 5
    assert sorted(words(ax)) == ["2", "4", "5", "9", "9", "a\n13", "b\n11", "begin\n9", "end\n5"]


def test_arrows_are_as_wide_as_they_are_frequent() -> None:
    widths = [arrow.get_linewidth() for arrow in arrows(draw("loop"))]
    assert widths == sorted(widths, reverse=True)
    assert widths[0] == widths[1] > widths[2] > widths[-1] > 0.8


def test_what_leads_back_differs_in_colour_and_in_line() -> None:
    ax = draw("loop")
    back = [
        arrow for arrow in arrows(ax) if same_color(arrow.get_edgecolor()[:3], style.VERMILLION)
    ]
    assert len(back) == 2
    assert {str(arrow.get_linestyle()) for arrow in back}.isdisjoint({"-", "solid"})
    legend = ax.get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 2


def test_nothing_leads_back_where_nothing_returns() -> None:
    legend = draw("one").get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["followed by"]


@pytest.mark.parametrize("name", CASES)
def test_boxes_do_not_cover_each_other(name: str) -> None:
    for one, other in combinations(boxes(draw(name)), 2):
        assert not one.overlaps(other)


@pytest.mark.parametrize("name", CASES)
def test_everything_lies_within_the_figure(name: str) -> None:
    ax = draw(name)
    page = ax.figure.bbox
    for text in ax.texts:
        extent = text.get_window_extent()
        assert page.x0 <= extent.x0 < extent.x1 <= page.x1, text.get_text()
        assert page.y0 <= extent.y0 < extent.y1 <= page.y1, text.get_text()
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    for arrow in arrows(ax):
        extent = arrow.get_path().get_extents()
        assert left <= extent.x0 <= extent.x1 <= right
        assert bottom <= extent.y0 <= extent.y1 <= top


@pytest.mark.parametrize("name", ["one", "loop", "long names", "thirty"])
def test_the_words_of_a_box_fit_into_it(name: str) -> None:
    ax = draw(name)
    for text in ax.texts:
        if "\n" in text.get_text():
            extent = text.get_window_extent()
            assert any(
                box.x0 <= extent.x0 and extent.x1 <= box.x1 and box.y0 <= extent.y0
                for box in boxes(ax)
            ), text.get_text()


@pytest.mark.parametrize("name", ["one", "loop", "wide", "thirty"])
def test_counts_do_not_cover_each_other_or_a_box(name: str) -> None:
    ax = draw(name)
    counts = [text.get_window_extent() for text in ax.texts if "\n" not in text.get_text()]
    for one, other in [*combinations(counts, 2), *((c, box) for c in counts for box in boxes(ax))]:
        assert not one.overlaps(other)


def test_few_layers_stand_side_by_side_and_many_below_each_other() -> None:
    few, many = size(draw("one")), size(draw("thirty"))
    assert few[0] == pytest.approx(style.WIDTH)
    assert few[1] < few[0]
    assert many[1] > 3 * many[0]


def test_of_too_many_arrows_the_most_frequent_are_drawn_and_the_title_says_so() -> None:
    ax = draw("dense")
    assert len(arrows(ax)) == 60
    assert "the 60 most frequent of 90 arrows" in ax.get_title(loc="left")
    least = min(int(word.replace(",", "")) for word in words(ax) if "\n" not in word)
    assert least >= sorted(count for *_, count in CASES["dense"])[30]


def test_a_name_that_is_too_wide_breaks_where_it_has_a_joint() -> None:
    assert _two_lines("validate_input") == "validate_input"
    assert _two_lines("fetch_customer_record") == "fetch_\ncustomer_record"
    assert _two_lines("RetrieveAugmentedContext") == "Retrieve\nAugmentedContext"
    assert _two_lines("x" * 20) == "x" * 10 + "\n" + "x" * 10


def test_a_name_is_drawn_as_it_is_written() -> None:
    ax = plots.directly_follows(table([(None, "$x^2$", 1), ("$x^2$", "$y", 1), ("$y", "begin", 1)]))
    ax.figure.canvas.draw()
    assert {"$x^2$\n1", "$y\n1", "begin\n1"} <= set(words(ax))
    assert not any(text.get_parse_math() for text in ax.texts if "\n" in text.get_text())
    assert len(boxes(ax)) == 4


def test_the_figure_of_real_runs_shows_what_the_table_holds() -> None:
    edges = process.directly_follows(goldens())
    ax = plots.directly_follows(edges)
    assert len(arrows(ax)) == len(edges)
    assert ax.get_title(loc="left") == "What follows what: 6 activity types"
    assert "echo\n6" in words(ax)


def test_no_edges_are_said_in_words_and_the_wrong_table_is_told_how_to_make_the_right_one() -> None:
    ax = plots.directly_follows(process.directly_follows([]))
    assert "the table is empty" in words(ax)[0]
    with pytest.raises(
        TableError, match=r"no column source.*process\.directly_follows\(histories\)"
    ):
        plots.directly_follows(pd.DataFrame({"target": [], "count": []}))


def test_the_callers_axes_are_drawn_on_and_their_figure_keeps_its_size() -> None:
    figure, mine = plt.subplots(figsize=(5, 4))
    assert plots.directly_follows(table(CASES["thirty"]), ax=mine) is mine
    assert figure.get_size_inches().tolist() == [5, 4]


def test_the_same_table_gives_the_same_picture() -> None:
    one, other = draw("dense"), draw("dense")
    for first, second in zip(arrows(one), arrows(other), strict=True):
        assert (first.get_path().vertices == second.get_path().vertices).all()


def test_each_edge_leads_to_a_later_layer_unless_it_closes_a_circle() -> None:
    places, _ = layers([("a", "b"), ("b", "c"), ("c", "d"), ("a", "d"), ("d", "b")])
    assert [places[node][0] for node in "abcd"] == [0, 1, 2, 3]


def test_a_long_edge_has_a_place_of_its_own_in_each_layer_it_passes() -> None:
    places, ways = layers([("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    assert [places[node][0] for node in ways["a", "d"]] == [0, 1, 2, 3]
    taken = list(places.values())
    assert len(taken) == len(set(taken))


def test_two_lanes_do_not_cross() -> None:
    places, _ = layers(
        [("r", "x"), ("r", "y"), ("x", "x2"), ("y", "y2"), ("x2", "x3"), ("y2", "y3")]
    )
    sides = {
        (places[lane][1] < places[other][1])
        for lane, other in zip(("x", "x2", "x3"), ("y", "y2", "y3"), strict=True)
    }
    assert len(sides) == 1
