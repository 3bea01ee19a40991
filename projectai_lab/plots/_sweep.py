"""A sweep by one of its parameters: a share, a mean or a median per level, with its interval."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter

from projectai_lab._frames import clock_words, names, need, one_clock
from projectai_lab._intervals import mean_interval, share_interval
from projectai_lab._words import duration, shorten, told
from projectai_lab.latency import percentiles
from projectai_lab.plots._style import GREY, LINES, PALETTE, head, open_axes, say

_MAKER = "sweep.results()"
_MOST_STEPS = 8
_MARKS = "osD^vP"
_WORDS = {
    "success": "share of runs that succeeded",
    "n_attempts": "attempts a run, mean",
    "n_retries": "retries a run, mean",
    "duration_s": "duration, median",
}
_WIDE = 0.56
Looks = dict[str, Any]


def sweep(
    results: pd.DataFrame,
    x: str,
    y: str = "duration_s",
    *,
    by: str | Iterable[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw what became of the runs of a sweep by the levels of one parameter, a line per group.

    `y` is a flag, whose share is drawn with its Clopper–Pearson interval; a duration (…_s), whose
    median has the order-statistic interval of `latency.percentiles` and is left out where n does
    not support it; or a count, whose mean has Student's. All intervals are of 95 %, each on its
    own. Small dots are single runs. Runs whose `y` is NA, such as open ones, are left out. Without
    `by` all other parameters are pooled; more than 8 numbers of `x` make an axis of numbers.

    >>> import pandas as pd
    >>> from projectai_lab import plots
    >>> results = pd.DataFrame({"wait": [1, 1, 2, 2], "success": [True, False, True, True]})
    >>> ax = plots.sweep(results, "wait", "success")
    """
    keys = names(by)
    need(results, [x, y, *keys], _MAKER)
    one_clock(results)
    known = results[results[y].notna()]
    if known.empty:
        return say(ax, f"Nothing to draw: no run has a {y}.\nThe table comes from {_MAKER}")
    levels = _levels(known[x])
    places = _places(levels)
    groups = list(known.groupby(keys, observed=True, dropna=False)) if keys else []
    groups = groups or [((), known)]
    ax = open_axes(ax, 3.6 + 0.1 * len(groups))
    legend: Looks = {}
    for number, (key, part) in enumerate(groups):
        spread = _WIDE * _gap(places) * ((number + 0.5) / len(groups) - 0.5)
        look = {"color": PALETTE[number % len(PALETTE)], "marker": _MARKS[number % len(_MARKS)]}
        look["linestyle"] = LINES[number // len(PALETTE) % len(LINES)]
        label = ", ".join(f"{n} = {shorten(told(v))}" for n, v in zip(keys, key, strict=True))
        line = _draw(ax, part, (x, y), levels, places + spread, look)
        legend[f"{label or 'all runs'}: n = {len(part):,}"] = line
    _axes(ax, known, (x, y), levels, places)
    head(ax, f"{_WORDS.get(y, y).capitalize()}, by {shorten(x, 60)}", legend)
    return ax


def _levels(column: pd.Series) -> list[Any]:
    """Return the levels: numbers ascending, everything else as it comes."""
    found = column.drop_duplicates().tolist()
    return sorted(found) if _numbers(column) else found


def _numbers(column: pd.Series) -> bool:
    number = pd.api.types.is_numeric_dtype(column) and not _is_flag(column)
    return bool(number and column.notna().all())


def _places(levels: list[Any]) -> Any:
    """Return where the levels stand: side by side, or many numbers by their size."""
    if _by_size(levels):
        return np.array(levels, dtype="float64")
    return np.arange(len(levels), dtype="float64")


def _by_size(levels: list[Any]) -> bool:
    """Whether levels are many, and numbers each of them: no word, no flag, nothing missing."""
    numbers = pd.Series(levels, dtype=object).infer_objects()
    return len(levels) > _MOST_STEPS and _numbers(numbers)


def _gap(places: Any) -> float:
    """Return the room of a level; that of many numbers is left to the numbers."""
    return 1.0 if len(places) <= _MOST_STEPS else 0.0


def _draw(
    ax: Axes, part: pd.DataFrame, xy: tuple[str, str], levels: list[Any], at: Any, look: Looks
) -> Any:
    """Draw one group: its runs as dots, its estimates joined by a line, their intervals as bars."""
    x, y = xy
    by_level = {_level(one): some for one, some in part.groupby(x, observed=True, dropna=False)}
    found = [
        (place, by_level[_level(one)])
        for place, one in zip(at, levels, strict=True)
        if _level(one) in by_level
    ]
    rows = np.array([(place, *_estimate(some[y], y)) for place, some in found], dtype="float64")
    if not _is_flag(part[y]):
        # Beside the interval, which would cover them.
        aside = 0.06 * _gap(at)
        for place, some in found:
            dots: Looks = {"marker": ".", "linestyle": "", "alpha": 0.28, "markeredgewidth": 0}
            values = some[y].astype("float64")
            ax.plot(np.full(len(values), place - aside), values, color=look["color"], **dots)
    ends = ~np.isnan(rows[:, 2:]).any(axis=1)
    ax.vlines(rows[ends, 0], rows[ends, 2], rows[ends, 3], color=look["color"], linewidth=2.2)
    style: Looks = {"markersize": 7, "markeredgecolor": "white", "linewidth": 1.2}
    return ax.plot(rows[:, 0], rows[:, 1], **look, **style)[0]


def _level(value: Any) -> Any:
    """Return a level as a key: what is missing is NaN here and None there."""
    return None if pd.isna(value) else value


def _estimate(values: pd.Series, y: str) -> tuple[float, float, float]:
    if _is_flag(values):
        hits, n = int(values.sum()), len(values)
        return hits / n, *share_interval(hits, n, 0.95)
    if y.endswith("_s"):
        row = percentiles(values, q=[0.5])[["value_s", "low_s", "high_s"]]
        middle, low, high = row.to_numpy(dtype="float64")[0].tolist()
        return middle, low, high
    return mean_interval(values.to_numpy(dtype="float64"), 0.95, spare=1.0)


def _is_flag(values: pd.Series) -> bool:
    return bool(pd.api.types.is_bool_dtype(values))


def _axes(
    ax: Axes, known: pd.DataFrame, xy: tuple[str, str], levels: list[Any], places: Any
) -> None:
    x, y = xy
    if not _by_size(levels):
        ax.set_xticks(places, [shorten(told(one), 24) for one in levels])
        ax.set_xlim(-0.5, len(levels) - 0.5)
    ax.set_xlabel(shorten(x, 80))
    ax.grid(axis="y", color=GREY, alpha=0.25, linewidth=0.6)
    clock = f" ({clock_words(known)})" if y.endswith("_s") else ""
    ax.set_ylabel(f"{_WORDS.get(y, y)}{clock}")
    if _is_flag(known[y]):
        ax.set_ylim(-0.03, 1.03)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    elif y.endswith("_s"):
        _time_axis(ax, known[y].astype("float64"))


def _time_axis(ax: Axes, values: pd.Series) -> None:
    """Name durations with their units; logarithmic when they span more than a factor of 50."""
    positive = values[values > 0]
    if len(positive) and values.max() / positive.min() > 50:
        ax.set_yscale("log")
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_ylim(bottom=min(0.0, float(values.min())))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
