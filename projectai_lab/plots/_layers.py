"""Places for the nodes of a graph: layers from left to right, few crossings, room for long edges.

Source: Sugiyama, Tagawa & Toda, "Methods for visual understanding of hierarchical system
structures" (1981): break the circles, layer by the longest path, give an edge that spans several
layers a place in each of them, order each layer by the mean place of its neighbours.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from itertools import pairwise
from statistics import fmean

Node = Hashable
Edge = tuple[Node, Node]
Places = dict[Node, tuple[int, float]]
"""Layer and place in it of each node; places of a layer are one apart, around 0."""
_SWEEPS = 12


def layers(edges: Iterable[Edge]) -> tuple[Places, dict[Edge, list[Node]]]:
    """Return (layer, place) of each node, and the nodes through which each edge is drawn.

    The most important edges come first: where a circle has to be broken, a later edge is drawn
    backwards. An edge over several layers passes helper nodes `(edge, layer)`, which have places
    like all others. An edge from a node to itself has a place but no way.

    >>> places, ways = layers([("a", "b"), ("b", "c"), ("a", "c")])
    >>> places["c"][0], len(ways["a", "c"])
    (2, 3)
    """
    given = list(dict.fromkeys(edges))
    wanted = [edge for edge in given if edge[0] != edge[1]]
    nodes = [node for edge in given for node in edge]
    depth = _depths(nodes, _without_circles(wanted))
    ways = {edge: _way(edge, depth) for edge in wanted}
    rows: list[list[Node]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for node in depth:
        rows[depth[node]].append(node)
    _order(rows, _neighbours(ways))
    places = {
        node: (layer, place - (len(row) - 1) / 2)
        for layer, row in enumerate(rows)
        for place, node in enumerate(row)
    }
    return places, ways


def _without_circles(edges: list[Edge]) -> list[Edge]:
    """Take each edge in turn, turned round if it would close a circle."""
    after: dict[Node, set[Node]] = {}
    taken = []
    for source, target in edges:
        one, other = (target, source) if _reaches(after, target, source) else (source, target)
        after.setdefault(one, set()).add(other)
        taken.append((one, other))
    return taken


def _reaches(after: dict[Node, set[Node]], start: Node, goal: Node) -> bool:
    seen, waiting = {start}, [start]
    while waiting:
        node = waiting.pop()
        if node == goal:
            return True
        new = after.get(node, set()) - seen
        seen |= new
        waiting.extend(new)
    return False


def _depths(nodes: Iterable[Node], edges: list[Edge]) -> dict[Node, int]:
    """Return the number of edges on the longest way to each node, of edges without a circle."""
    depth = dict.fromkeys(nodes, 0)
    moved = True
    while moved:
        moved = False
        for source, target in edges:
            if depth[target] <= depth[source]:
                depth[target], moved = depth[source] + 1, True
    return depth


def _way(edge: Edge, depth: dict[Node, int]) -> list[Node]:
    """Return the edge's nodes in its own direction, and add its helpers to `depth`."""
    source, target = edge
    step = 1 if depth[target] > depth[source] else -1
    between = range(depth[source] + step, depth[target], step)
    helpers: list[Node] = [(edge, layer) for layer in between]
    depth.update(zip(helpers, between, strict=True))
    return [source, *helpers, target]


def _neighbours(ways: dict[Edge, list[Node]]) -> dict[Node, list[Node]]:
    beside: dict[Node, list[Node]] = {}
    for way in ways.values():
        for one, other in pairwise(way):
            beside.setdefault(one, []).append(other)
            beside.setdefault(other, []).append(one)
    return beside


def _order(rows: list[list[Node]], beside: dict[Node, list[Node]]) -> None:
    """Sort each layer by the mean place of the neighbours in the layer before, to and fro."""
    for sweep in range(_SWEEPS):
        way = rows if sweep % 2 == 0 else rows[::-1]
        for before, row in pairwise(way):
            place = {node: index - (len(before) - 1) / 2 for index, node in enumerate(before)}
            own = {node: index - (len(row) - 1) / 2 for index, node in enumerate(row)}
            mean = {
                node: fmean([place[n] for n in beside[node] if n in place] or [own[node]])
                for node in row
            }
            row.sort(key=mean.__getitem__)
