"""Latency by group: the ECDF with its median and 95th percentile."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from projectai_lab._frames import ACTIVITIES, clock_words, names, need
from projectai_lab._words import duration, shorten
from projectai_lab.latency import ecdf, measure, percentiles
from projectai_lab.plots._style import (
    GREY,
    LINES,
    PALETTE,
    head,
    open_axes,
    say,
    seconds_axis,
    unit_ticks,
)

_MARKS = {0.5: "o", 0.95: "D"}
_WORDS = {
    "total_s": "from scheduled to closed",
    "exec_s": "of execution, measured by the server",
    "worker_exec_s": "of execution, measured by the worker",
    "duration_s": "from start to close",
    "dispatch_lag_s": "of dispatch lag",
    "completion_s": "from scheduled to closed",
}


def latency(
    df: pd.DataFrame,
    *,
    by: str | Iterable[str] = "activity_type",
    column: str | None = None,
    tail: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw which share took at most so long, a curve per group.

    A circle marks the median and a diamond the 95th percentile, each with its 95 % interval as a
    band; a percentile that a group is too small for is not marked (`latency.percentiles`). The
    time axis is logarithmic when the values span more than a factor of 50. `tail=True` draws
    which share took longer instead, on a logarithmic axis down to one in n.

    >>> from projectai_lab import plots, tables
    >>> activities = tables.activities([])  # tables.activities(runs)
    >>> ax = plots.latency(activities, by="activity_type")
    """
    keys = names(by)
    column = measure(df, column)
    need(df, [column, *keys], ACTIVITIES)
    known = df[df[column].notna()]
    if known.empty:
        words = f"{column} holds no values" if len(df) else "the table is empty"
        return say(ax, f"No latencies to draw: {words}.\nThe table comes from {ACTIVITIES}")
    marks = percentiles(known, column, by=keys, q=tuple(_MARKS))
    groups = list(known.groupby(keys, observed=True, dropna=False))
    ax = open_axes(ax, 3.8 + 0.12 * len(groups))
    lowest = time_axis(ax, known[column], column, clock_words(df))
    handles = []
    # In the order of the groups; a lookup by key would not find one that is NA.
    marks_of = (one for _, one in marks.groupby(keys, observed=True, dropna=False, sort=False))
    for place, ((key, part), of_key) in enumerate(zip(groups, marks_of, strict=True)):
        style = {
            "color": PALETTE[place % len(PALETTE)],
            "linestyle": LINES[place // len(PALETTE) % 4],
        }
        levels = of_key.set_index("q").to_dict("index")
        handles.append(_draw(ax, part[column], levels, lowest, _label(key, levels), style, tail))
    _share_axis(ax, len(known) if tail else None)
    found = [q for q in _MARKS if marks.loc[marks["q"] == q, "value_s"].notna().any()]
    _head(ax, f"Latency by {', '.join(keys)}", handles, found)
    return ax


def _draw(
    ax: Axes,
    values: Any,
    levels: dict[float, Any],
    lowest: float,
    label: str,
    style: dict[str, Any],
    tail: bool,
) -> Line2D:
    """Draw one group's ECDF, or its tail, and its percentiles; return the curve."""
    steps = ecdf(values, tail=tail)
    x = steps["value_s"].clip(lower=lowest)
    # A logarithmic axis has no 0: the tail ends with the last value that another exceeds.
    heights = [1, *steps["above"].where(steps["above"] > 0)] if tail else [0, *steps["share"]]
    (line,) = ax.plot(
        [x[0], *x],
        heights,
        drawstyle="steps-post",
        linewidth=1.8,
        label=label,
        **style,
    )
    for q, level in levels.items():
        height = 1 - q if tail else q
        if pd.notna(level["value_s"]):
            ends = [max(level["low_s"], lowest), max(level["high_s"], lowest)]
            band: dict[str, Any] = {"linewidth": 6, "alpha": 0.3, "solid_capstyle": "butt"}
            ax.plot(ends, [height, height], color=style["color"], **band)
            ax.plot(
                max(level["value_s"], lowest),
                height,
                color=style["color"],
                marker=_MARKS[q],
                markersize=7,
                markeredgecolor="white",
                markeredgewidth=1,
                zorder=4,
            )
    return line


def _label(key: tuple[Any, ...], levels: dict[float, Any]) -> str:
    """Return a group's legend line: its name, n, and the percentiles that n supports."""
    n = int(levels[0.5]["n"])
    words = [" · ".join(shorten(str(part)) for part in key) + f": n = {n:,}"]
    values = {f"p{100 * q:.0f}": level["value_s"] for q, level in levels.items()}
    words += [f"{name} {duration(value)}" for name, value in values.items() if pd.notna(value)]
    few = [name for name, value in values.items() if pd.isna(value)]
    return ", ".join(words) + (f" (too few for {', '.join(few)})" if few else "")


def time_axis(ax: Axes, values: Any, column: str, clock: str) -> float:
    """Set scale and label of the time axis; return its left end, where each curve begins."""
    positive = values[values > 0].astype("float64")
    longest = float(values.max()) or 1e-3
    words = f"{_WORDS.get(column, column)} ({clock})"
    if positive.empty or longest / positive.min() <= 50:
        seconds_axis(ax, words, longest)
        ax.set_xlim(min(float(values.min()), 0), 1.05 * longest)
        return ax.get_xlim()[0]
    ax.set_xscale("log")
    ax.set_xlim(positive.min() / 1.6, longest * 1.6)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    unit_ticks(ax)
    ax.set_xlabel(f"time {words}, logarithmic")
    return float(positive.min() / 1.6)


def _share_axis(ax: Axes, n: int | None) -> None:
    """Set up the axis of shares; `n` values have a tail, None stands for the ECDF."""
    if n is None:
        ax.set_ylim(0, 1.02)
        ax.set_yticks([0, 0.25, 0.5, 0.75, 0.95], ["0 %", "25 %", "50 %", "75 %", "95 %"])
        ax.set_ylabel("share that took at most this long")
    else:
        ax.set_yscale("log")
        ax.set_ylim(0.7 / max(n, 2), 1.2)
        ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_ylabel("share that took longer, logarithmic")
    ax.grid(color=GREY, alpha=0.25, linewidth=0.6)


def _head(ax: Axes, title: str, curves: list[Line2D], found: list[float]) -> None:
    plain: dict[str, Any] = {"color": GREY, "linestyle": "", "markersize": 6}
    marks = [
        Line2D([], [], marker=_MARKS[q], label=f"p{100 * q:.0f} with its 95 % interval", **plain)
        for q in found
    ]
    head(ax, title, {str(handle.get_label()): handle for handle in (*curves, *marks)})
