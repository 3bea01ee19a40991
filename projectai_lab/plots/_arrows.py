"""From layers and places to inches: boxes, and the curves of the arrows between them."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from projectai_lab.plots._layers import Edge, Node, Places
from projectai_lab.plots._style import WIDTH

BEGIN, END = ("begin",), ("end",)
"""The nodes at which runs begin and end; all others are texts or helpers of long edges."""
BOX, END_BOX = (1.3, 0.52), (0.8, 0.36)
_MOST_ACROSS = 5
_T = np.linspace(0, 1, 41)[:, None]
Points = NDArray[np.float64]


class Page(NamedTuple):
    """How layers and places become inches: side by side, or one under the other when many."""

    down: bool
    layers: int
    first: float
    last: float

    @classmethod
    def of(cls, places: Places) -> Page:
        """Return the page that holds all nodes."""
        across = [place for _, place in places.values()]
        deep = 1 + max(layer for layer, _ in places.values())
        return cls(deep > _MOST_ACROSS, deep, min(across), max(across))

    @property
    def pitch(self) -> tuple[float, float]:
        """Inches from layer to layer, and from place to place."""
        return (0.98, 1.78) if self.down else (WIDTH / self.layers, 0.86)

    def half(self, node: Node) -> Points:
        """Return half the size of a node's box, along the layers and across."""
        return np.array(box(node)[::-1] if self.down else box(node)) / 2

    @property
    def limits(self) -> tuple[float, float, float, float]:
        """Left, right, bottom and top of all boxes with their margins, a notebook wide."""
        (along, across) = self.pitch
        corners = [
            (-along / 2, (self.first - 0.62) * across),
            ((self.layers - 0.5) * along, (self.last + 0.5) * across),
        ]
        (left, top), (right, bottom) = self.xy(np.array(corners)).tolist()
        spare = max(WIDTH - (right - left), 0) / 2
        return left - spare, right + spare, bottom, top

    def at(self, place: tuple[int, float]) -> Points:
        """Return the middle of a node, along and across."""
        return np.array(place) * self.pitch

    def xy(self, points: Points) -> Points:
        """Turn points along and across into points of the Axes; place 1 is under place 0."""
        points = np.atleast_2d(points)
        return points[:, ::-1] * [1, -1] if self.down else points * [1, -1]


def curves(page: Page, places: Places, ways: dict[Edge, list[Node]]) -> dict[Edge, Points]:
    """Return each arrow's points, in Axes units; arrows share a side of a box side by side."""
    ports = _ports(page, places, ways)
    found = {}
    for edge, way in ways.items():
        stops = [page.at(places[node]) for node in way]
        step = np.sign(stops[1][0] - stops[0][0])
        stops[0] = stops[0] + [step * page.half(way[0])[0], ports[edge, way[0]]]
        stops[-1] = stops[-1] - [step * page.half(way[-1])[0], -ports[edge, way[-1]]]
        pieces = [_bend(one, other) for one, other in pairwise(stops)]
        found[edge] = page.xy(np.concatenate(pieces))
    return found


def _bend(start: Points, end: Points) -> Points:
    """Return a curve that leaves and arrives along the layers."""
    middle = (start[0] + end[0]) / 2
    return _bezier(start, np.array([middle, start[1]]), np.array([middle, end[1]]), end)


def _bezier(*corners: Points) -> Points:
    one, two, three, four = corners
    rest = 1 - _T
    curve: Points = rest**3 * one + 3 * rest**2 * _T * two
    return curve + 3 * rest * _T**2 * three + _T**3 * four


def _ports(
    page: Page, places: Places, ways: dict[Edge, list[Node]]
) -> dict[tuple[Edge, Node], float]:
    """Return how far from the middle of a box's side each arrow touches it."""
    sides: dict[tuple[Node, bool], list[tuple[float, int, Edge]]] = defaultdict(list)
    for index, (edge, way) in enumerate(ways.items()):
        for node, beside in ((way[0], way[1]), (way[-1], way[-2])):
            after = places[beside][0] > places[node][0]
            sides[node, after].append((places[beside][1], index, edge))
    return {
        (edge, node): 1.3 * page.half(node)[1] * ((rank + 0.5) / len(found) - 0.5)
        for (node, _), found in sides.items()
        for rank, (_, _, edge) in enumerate(sorted(found, key=lambda one: one[:2]))
    }


def loop(page: Page, node: Node, places: Places) -> Points:
    """Return an arrow from a box to itself: over it, or on its right where layers go down."""
    along, across = page.at(places[node])
    half, out = page.half(node), 1 if page.down else -1
    near, far = across + out * half[1], across + out * (half[1] + 0.36)
    begin, end = along - half[0] / 2, along + half[0] / 2
    return page.xy(_bezier(*np.array([[begin, near], [begin, far], [end, far], [end, near]])))


def box(node: Node) -> tuple[float, float]:
    """Return width and height, in inches of a figure that is opened here."""
    return END_BOX if node in (BEGIN, END) else BOX
