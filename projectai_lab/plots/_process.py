"""The directly-follows graph: boxes for activity types, arrows for what came next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from projectai_lab._frames import need
from projectai_lab._words import many, shorten
from projectai_lab.plots._arrows import BEGIN, END, Page, Points, box, curves, loop
from projectai_lab.plots._layers import Edge, Node, layers
from projectai_lab.plots._style import BLUE, GREY, SKY, VERMILLION, head, open_axes, say

_MAKER = "process.directly_follows(histories)"
_MOST_EDGES, _MOST_LETTERS = 60, 18
_FORWARD: dict[str, Any] = {"color": BLUE, "linestyle": "-"}
_BACK: dict[str, Any] = {"color": VERMILLION, "linestyle": (0, (4, 1.5))}
_LABEL_AT = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8)


def directly_follows(edges: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw which activity type follows which: layers of boxes, arrows as wide as they are frequent.

    Figures: on an arrow how often it was taken, in a box how often the activity ran. Dashed arrows
    lead back or to the same activity. Up to five layers stand from left to right, more from top to
    bottom; of more than 60 arrows the most frequent are drawn, as the title says. Parallel
    activities follow each other in the order in which they were scheduled.

    >>> from projectai_lab import plots, process
    >>> edges = process.directly_follows([])  # process.directly_follows(runs)
    >>> ax = plots.directly_follows(edges)
    """
    need(edges, ["source", "target", "count"], _MAKER)
    if edges.empty:
        return say(ax, f"No activities to draw: the table is empty.\nIt comes from {_MAKER}")
    counts = _counts(edges)
    drawn = dict(list(counts.items())[:_MOST_EDGES])
    places, ways = layers(drawn)
    page = Page.of(places)
    ax = _open(ax, page)
    ways_drawn = curves(page, places, ways)
    ways_drawn |= {edge: loop(page, edge[0], places) for edge in drawn if edge[0] == edge[1]}
    boxes = {node: page.xy(page.at(places[node]))[0] for node in _nodes(drawn)}
    backward = {edge for edge in drawn if places[edge[1]][0] <= places[edge[0]][0]}
    _draw_arrows(ax, drawn, ways_drawn, backward, boxes)
    for node, middle in boxes.items():
        _draw_box(ax, middle, node, _often(counts, node))
    head(ax, _title(counts, drawn), _legend(backward))
    return ax


def _counts(edges: pd.DataFrame) -> dict[Edge, int]:
    """Return count by edge, most frequent first, with nodes for begin and end in place of NA."""
    known = edges.sort_values("count", ascending=False, kind="stable")
    ends = known[["source", "target"]].astype(object)
    sources = ends["source"].where(ends["source"].notna(), None)
    targets = ends["target"].where(ends["target"].notna(), None)
    pairs = zip([s or BEGIN for s in sources], [t or END for t in targets], strict=True)
    return dict(zip(pairs, known["count"].astype(int).tolist(), strict=True))


def _nodes(edges: Iterable[Edge]) -> list[Node]:
    return list(dict.fromkeys(node for edge in edges for node in edge))


def _open(ax: Axes | None, page: Page) -> Axes:
    left, right, bottom, top = page.limits
    if ax is None:
        ax = open_axes(ax, top - bottom + 0.8)
        cast(Figure, ax.figure).set_figwidth(right - left)
    ax.set(xticks=[], yticks=[], xlim=(left, right), ylim=(bottom, top))
    ax.spines[:].set_visible(False)
    return ax


def _draw_arrows(
    ax: Axes,
    drawn: dict[Edge, int],
    lines: dict[Edge, Points],
    backward: set[Edge],
    boxes: dict[Node, Points],
) -> None:
    taken = [(*middle, *(np.array(box(node)) / 2)) for node, middle in boxes.items()]
    most = max(drawn.values())
    paper = {"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
    label: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "bbox": paper}
    for edge, number in drawn.items():
        width = 0.8 + 3.2 * number / most
        look = {**(_BACK if edge in backward else _FORWARD), "lw": width, "alpha": 0.75}
        look["arrowstyle"] = f"-|>,head_length={3 + width},head_width={1.6 + width / 2}"
        ax.add_patch(FancyArrowPatch(path=Path(lines[edge]), **look))
        words = f"{number:,}"
        x, y = _free_spot(lines[edge], 0.045 * len(words) + 0.03, taken)
        ax.text(x, y, words, zorder=4, **label)


def _free_spot(line: Points, half: float, taken: list[tuple[float, ...]]) -> tuple[float, float]:
    """Return where on the line a label covers least of what is there, and note it as taken."""

    def covered(spot: tuple[float, float]) -> float:
        return sum(
            max(0.0, w + half - abs(spot[0] - x)) * max(0.0, h + 0.08 - abs(spot[1] - y))
            for x, y, w, h in taken
        )

    last = len(line) - 1
    # On a level arrow between neighbours it would hide the head: it stands above.
    raised = 0.13 if np.ptp(line[:, 1]) < 0.05 else 0.0
    spots = [(line[round(share * last)] + np.array([0, raised])).tolist() for share in _LABEL_AT]
    x, y = min([(x, y) for x, y in spots], key=covered)
    taken.append((x, y, half, 0.08))
    return x, y


def _often(counts: dict[Edge, int], node: Node) -> int:
    """Return how often an activity ran: what came to it, or what left it where that is more."""
    came = sum(number for (_, target), number in counts.items() if target == node)
    left = sum(number for (source, _), number in counts.items() if source == node)
    return max(came, left)


def _draw_box(ax: Axes, middle: Points, node: Node, often: int) -> None:
    width, height = box(node)
    x, y = middle.tolist()
    shape: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.08"}
    corner = (x - width / 2, y - height / 2)
    edge = GREY if node in (BEGIN, END) else BLUE
    paper: dict[str, Any] = {"facecolor": ax.get_facecolor(), "edgecolor": edge, "lw": 1.2}
    ax.add_patch(FancyBboxPatch(corner, width, height, zorder=5, **shape, **paper))
    if isinstance(node, str):
        tint: dict[str, Any] = {"facecolor": SKY, "alpha": 0.25, "edgecolor": "none"}
        ax.add_patch(FancyBboxPatch(corner, width, height, zorder=6, **shape, **tint))
    words = _two_lines(node) if isinstance(node, str) else "begin" if node == BEGIN else "end"
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7.5, "zorder": 7}
    # A $ in a name is a $, no formula.
    ax.text(x, y, f"{words}\n{often:,}", parse_math=False, **style)


def _two_lines(name: str) -> str:
    """Break a name that is too wide at the sign or hump nearest to its middle."""
    name = shorten(name)
    if len(name) <= _MOST_LETTERS:
        return name
    humps = [i for i in range(1, len(name)) if name[i - 1] in "_-.:/ " or name[i].isupper()]
    near = [i for i in humps if len(name) - _MOST_LETTERS <= i <= _MOST_LETTERS]
    middle = min(near or [len(name) // 2], key=lambda i: abs(i - len(name) / 2))
    return f"{name[:middle]}\n{name[middle:]}"


def _title(counts: dict[Edge, int], drawn: dict[Edge, int]) -> str:
    kinds = [node for node in _nodes(drawn) if node not in (BEGIN, END)]
    cut = f" (the {len(drawn)} most frequent of {len(counts)} arrows)"
    words = f"What follows what: {many(len(kinds), 'activity type')}"
    return words + (cut if len(drawn) < len(counts) else "")


def _legend(backward: set[Edge]) -> dict[str, Any]:
    looks = {"followed by": _FORWARD}
    if backward:
        looks["again: back, or to itself"] = _BACK
    return {words: Line2D([], [], lw=2, **look) for words, look in looks.items()}
