"""Which design points differ, in what and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from projectai_lab.latency import difference
from projectai_lab.latency.arms import (
    Resampling,
    Values,
    clean,
    cliffs_delta,
    of_means,
    of_rates,
)
from projectai_lab.report._study import Study

MOST_PAIRS = 60
FEWEST = 6
"""Runs in each of two points, below which they are not compared; a median needs as many."""
DIFFERS, HINT, NOTHING, FEW = "differs", "hint", "no difference shown", "too few runs"
MEASURES = {"success": "success", "attempts": "n_attempts", "duration": "duration_s"}
_CONFIDENCE = 0.95
_HOW = Resampling(_CONFIDENCE, 1999, 0)


class Pair(NamedTuple):
    """Two design points: what changes from a to b, and what both share of what varies."""

    a: int
    b: int
    changes: dict[str, tuple[Any, Any]]
    shared: dict[str, Any]


def pairs(study: Study) -> tuple[list[Pair], str]:
    """Return the pairs to compare, and in words which those are.

    Pairs that differ in one parameter; where those are more than 60, only against the parameter's
    first level; where there are none, all pairs, or all against the first point. Points are never
    pooled: they share their seeds, so that pooled runs would not be independent.
    """
    levels = {
        int(row): {name: part[name].iloc[0] for name in study.parameters}
        for row, part in study.results.groupby("row")
    }
    varied = study.varied
    every = [_pair(levels, varied, a, b) for a, b in combinations(levels, 2)]
    first = {name: next(iter(levels.values()))[name] for name in study.parameters}
    single = [one for one in every if len(one.changes) == 1]
    from_first = [
        one
        for one in single
        if all(same(one.changes[name][0], first[name]) for name in one.changes)
    ]
    ways = (
        (single, "every two design points that differ in one parameter alone"),
        (from_first, "each level of a parameter with its first, all others being equal"),
        (every, "every two design points"),
        ([one for one in every if one.a == min(levels)], "each design point with the first"),
    )
    return next(((some, words) for some, words in ways if 0 < len(some) <= MOST_PAIRS), ([], ""))


def _pair(levels: dict[int, dict[str, Any]], varied: list[str], a: int, b: int) -> Pair:
    one, other = levels[a], levels[b]
    apart = {name: (one[name], other[name]) for name in varied if not same(one[name], other[name])}
    return Pair(a, b, apart, {name: one[name] for name in varied if name not in apart})


def same(a: Any, b: Any) -> bool:
    """Whether two levels are one; what is missing is a level too."""
    return bool(a == b) or (bool(pd.isna(a)) and bool(pd.isna(b)))


def compared(study: Study, some: list[Pair]) -> pd.DataFrame:
    """Return one row a pair and measure.

    Columns: pair, its place; measure; n_a, n_b; value_a, value_b; shift = b − a with low and high,
    at 95 %; delta with delta_low and delta_high, Cliff's delta at 95 % (of success it is the
    difference of the shares); verdict. `differs`: the interval of delta excludes 0 also at
    1 − 0.05/m, m being all rows that could be judged (Bonferroni); `hint`: at 95 % alone.
    """
    ended = dict(list(study.ended.groupby("row")))
    nothing = study.results.iloc[:0]
    rows = []
    for place, pair in enumerate(some):
        sides = [ended.get(row, nothing) for row in (pair.a, pair.b)]
        rows += [
            {"pair": place, "measure": measure, **_row(measure, *_values(sides, column))}
            for measure, column in MEASURES.items()
        ]
    judged = sum(row["verdict"] != FEW for row in rows)
    for row in rows:
        arms = row.pop("arms")
        if row["verdict"] != FEW:
            wider = _delta(row["measure"], arms[0], arms[1], 1 - (1 - _CONFIDENCE) / judged)
            row["verdict"] = _verdict((row["delta_low"], row["delta_high"]), wider[1:])
    return pd.DataFrame(rows)


def _values(sides: list[pd.DataFrame], column: str) -> Iterator[Values]:
    for side in sides:
        yield clean(side[column].astype("Float64").to_numpy(dtype="float64", na_value=np.nan))


def _row(measure: str, a: Values, b: Values) -> dict[str, Any]:
    few = min(len(a), len(b)) < FEWEST
    nothing = (math.nan,) * 5
    value_a, value_b, shift, low, high = nothing if few else _shift(measure, a, b)
    delta, delta_low, delta_high = nothing[:3] if few else _delta(measure, a, b, _CONFIDENCE)
    return {
        **{"n_a": len(a), "n_b": len(b), "value_a": value_a, "value_b": value_b},
        **{"shift": shift, "low": low, "high": high},
        **{"delta": delta, "delta_low": delta_low, "delta_high": delta_high},
        **{"verdict": FEW if few else "", "arms": (a, b)},
    }


def _shift(measure: str, a: Values, b: Values) -> tuple[float, ...]:
    if measure == "success":
        return of_rates(_rates(a, b), _HOW)
    if measure == "attempts":
        return of_means((a, b), _HOW)
    row = difference(a, b, q=[0.5]).iloc[0]
    return tuple(float(row[name]) for name in ("a_s", "b_s", "shift_s", "low_s", "high_s"))


def _delta(measure: str, a: Values, b: Values, confidence: float) -> tuple[float, float, float]:
    if measure == "success":
        _, _, *found = of_rates(_rates(a, b), Resampling(confidence, 1, 0))
        return found[0], found[1], found[2]
    return cliffs_delta(a, b, confidence)


def _rates(a: Values, b: Values) -> tuple[tuple[int, int], tuple[int, int]]:
    return (int(a.sum()), len(a)), (int(b.sum()), len(b))


def _verdict(alone: tuple[float, float], wider: tuple[float, ...]) -> str:
    if wider[0] > 0 or wider[1] < 0:
        return DIFFERS
    return HINT if alone[0] > 0 or alone[1] < 0 else NOTHING
