"""Two cohorts of runs: per activity type, what shifted and by how much n can support."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from projectai_lab import tables
from projectai_lab._frames import ACTIVITIES, names, need
from projectai_lab._words import many
from projectai_lab.compare._comparison import Comparison, clock_trouble, listed, named
from projectai_lab.compare._variants import variants
from projectai_lab.errors import TableError
from projectai_lab.latency.arms import Pair, Resampling, of_means, of_quantiles, of_rates
from projectai_lab.tables import Histories, Record

_QUANTILES = {"median": 0.5, "p95": 0.95}
_MEASURES = (*_QUANTILES, "attempts", "failure_rate")
_FAILED = ("FAILED", "TIMED_OUT")
_SIDES = pd.CategoricalDtype(pd.Index(("both", "a", "b"), dtype="str"))


def cohorts(
    a: Histories,
    b: Histories,
    *,
    by: str | Iterable[str] = "activity_type",
    column: str = "total_s",
    recorder: Iterable[Record] | None = None,
    confidence: float = 0.95,
    resamples: int = 1999,
    seed: int = 0,
) -> Comparison:
    """Compare two lists of histories: one row per activity type, b against a.

    Table: the `by` columns; only_in (both, a, b); n_a, n_b (activities with a value in `column`);
    then for median and p95 of `column`, for the mean attempts and for the failure_rate of closed
    activities four columns each: …_a, …_b, …_shift (b − a), …_low and …_high, its interval.

    Median and p95 are observed values by the rule of `latency.percentiles`: one that n cannot
    support is NA (at 0.95 a median needs n ≥ 6, a p95 n ≥ 72), and so is its shift. The mean
    attempts have an interval from n ≥ 6 on, too. Times of several clocks are not compared. The
    intervals of these are percentile bootstraps of `resamples` drawn with `seed`; that of the
    failure rate is Newcombe's. All hold for activities that are independent of each other, and
    each on its own: the sentence says how many would exclude 0 by chance.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; Newcombe,
    Statistics in Medicine 17 (1998), 873–890, method 10.

    >>> compare.cohorts(before, after)                                         # doctest: +SKIP
    >>> compare.cohorts(before, after, column="exec_s").table                  # doctest: +SKIP
    """
    keys = names(by)
    records = None if recorder is None else list(recorder)
    sides = listed(a, "a"), listed(b, "b")
    one, other = (tables.activities(side, records) for side in sides)
    _check(one, keys, column, resamples)
    trouble = clock_trouble(one, other)
    shift = Resampling(confidence, resamples, seed)
    groups = [dict(list(_grouped(side, keys))) for side in (one, other)]
    rows = [
        (
            *key,
            *_figures([group.get(key, one.iloc[:0]) for group in groups], column, shift, trouble),
        )
        for key in sorted({*groups[0], *groups[1]}, key=str)
    ]
    table = _table(keys, rows)
    words = _sentence(table, keys, shift, trouble, variants(*sides))
    sizes = [many(len(side), "run") for side in sides]
    return Comparison(f"b ({sizes[1]}) against a ({sizes[0]}): {words}", table)


def _check(activities: pd.DataFrame, keys: list[str], column: str, resamples: int) -> None:
    need(activities, [*keys, column], ACTIVITIES)
    if not keys or resamples < 1:
        raise ValueError('by must name a column, as "activity_type", and resamples be at least 1')
    if activities[column].dtype.kind != "f":
        durations = [name for name in activities if activities[name].dtype.kind == "f"]
        raise TableError(f"{column} is no duration; there are {', '.join(durations)}")


def _grouped(activities: pd.DataFrame, keys: list[str]) -> Any:
    return activities.groupby(keys, observed=True, dropna=False)


def _figures(
    sides: list[pd.DataFrame], column: str, shift: Resampling, trouble: str
) -> tuple[Any, ...]:
    """Return all of a row that comes after its key."""
    a, b = sides
    values, tries = _values(a, b, column), _values(a, b, "attempts")
    rates = _failed(a), _failed(b)
    figures = [
        *(of_quantiles(values, q, shift, bool(trouble)) for q in _QUANTILES.values()),
        *(of_means(tries, shift), of_rates(rates, shift)),
    ]
    only_in = "both" if len(a) and len(b) else "a" if len(a) else "b"
    return only_in, *map(len, values), *(figure for some in figures for figure in some)


def _values(a: pd.DataFrame, b: pd.DataFrame, column: str) -> Pair:
    one, other = (side[column].dropna().to_numpy(dtype="float64") for side in (a, b))
    return one, other


def _failed(activities: pd.DataFrame) -> tuple[int, int]:
    """Return how many failed or timed out, of how many that have closed."""
    closed = activities.loc[activities["status"] != "PENDING", "status"]
    return int(closed.isin(_FAILED).sum()), len(closed)


def _table(keys: list[str], rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    parts = ("a", "b", "shift", "low", "high")
    seconds = {name: "_s" if name in _QUANTILES else "" for name in _MEASURES}
    figures = [f"{name}_{part}{seconds[name]}" for name in _MEASURES for part in parts]
    table = pd.DataFrame(rows, columns=[*keys, "only_in", "n_a", "n_b", *figures])
    kinds = {"only_in": _SIDES, "n_a": "Int64", "n_b": "Int64"}
    return table.astype({**kinds, **dict.fromkeys(figures, "float64")})


def _sentence(
    table: pd.DataFrame, keys: list[str], shift: Resampling, trouble: str, both: pd.DataFrame
) -> str:
    told, looked_at = [], 0
    for row in table.to_dict("records"):
        name = " · ".join(str(row[key]) for key in keys)
        for measure in _MEASURES:
            unit = "_s" if measure in _QUANTILES else ""
            middle, low, high = (
                row[f"{measure}_{part}{unit}"] for part in ("shift", "low", "high")
            )
            looked_at += int(pd.notna(low))
            if low > 0 or high < 0:
                told.append(_shifted(name, measure, middle, low, high))
    parts = [*told, *_structure(table, keys, both)]
    by_chance = f"{looked_at * (1 - shift.confidence):.2g} would exclude 0 by chance"
    chance = f"{many(looked_at, 'interval')} looked at, of which {by_chance}"
    few = _too_few(table)
    main = "; ".join(parts) if parts else "no difference that n can support"
    return f"{main} ({'; '.join(filter(None, [chance, few, trouble]))})."


def _shifted(name: str, measure: str, middle: float, low: float, high: float) -> str:
    if measure == "failure_rate":
        points = f"{100 * middle:+.0f} points [{100 * low:+.0f}, {100 * high:+.0f}]"
        return f"{name} failure rate {points}"
    unit = " s" if measure in _QUANTILES else ""
    return f"{name} {measure} {middle:+.3g}{unit} [{low:+.3g}, {high:+.3g}]"


def _structure(table: pd.DataFrame, keys: list[str], both: pd.DataFrame) -> list[str]:
    """Return what only one of the cohorts has: activity types and variants."""
    told = []
    for side in ("a", "b"):
        alone = table[table["only_in"] == side]
        if len(alone):
            some = (" · ".join(map(str, key)) for key in alone[keys].to_numpy())
            told.append(f"only {side} has {named(some)}")
    for change, column in (("gained", "count_b"), ("lost", "count_a")):
        some = both[both["change"] == change]
        if len(some):
            runs = many(int(some[column].sum()), "run")
            told.append(f"{many(len(some), 'variant')} {change} (in {runs})")
    return told


def _too_few(table: pd.DataFrame) -> str:
    shared = table[table["only_in"] == "both"]
    missing = {name: int(shared[f"{name}_shift_s"].isna().sum()) for name in _QUANTILES}
    words = [f"{name} of {number}" for name, number in missing.items() if number]
    return f"n too small for the {' and the '.join(words)} of {len(shared)} types" if words else ""
