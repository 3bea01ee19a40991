"""A load: latency over the intended start, and which share took longer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from projectai_lab._frames import clock_words, need, same_clock
from projectai_lab._words import duration, shorten
from projectai_lab.latency import ecdf
from projectai_lab.plots._style import GREY, PALETTE, WIDTH, head, open_axes, say

_MAKER = "load.open_loop(lab, …)"
_NEEDED = ["intended_s", "latency_s", "status"]
_MARKS = ("o", "s", "D", "v")
Two = tuple[Axes, Axes]


def load(loads: Any, *, axes: Sequence[Axes] | None = None) -> Two:
    """Draw loads, or their tables: latency over intended start, and the share that took longer.

    Both latencies count from the intended start and are logarithmic. A run without an answer is a
    triangle at the upper edge of the first Axes, and belongs to the share that took longer however
    long; the second curve ends at one in n. A load that is not valid is named in the title. `axes`
    are two of your own.

    >>> plots.load([users, clients])                                           # doctest: +SKIP
    """
    tables = _tables(loads)
    points, tails = _open(axes)
    answered = pd.concat([_answered(table) for table in tables]) if tables else pd.Series()
    if answered.empty:
        return say(points, f"No answered run to draw.\nLoads come from {_MAKER}"), say(tails, "")
    low, high = float(answered.min()) / 1.5, float(answered.max()) * 2.2
    handles: dict[str, Any] = {}
    for place, table in enumerate(tables):
        style: dict[str, Any] = {
            "color": PALETTE[place % len(PALETTE)],
            "marker": _MARKS[place % len(_MARKS)],
        }
        _points(points, table, high / 1.2, style)
        _tail(tails, table, style["color"])
        handles[_label(table)] = Line2D([], [], linewidth=1.8, markersize=5, **style)
    if any(len(table) > len(_answered(table)) for table in tables):
        handles["no answer"] = Line2D([], [], color=GREY, marker="^", linestyle="", markersize=6)
    _time_axes(points, tails, (low, high), clock_words(tables[0]))
    _share_axis(tails, max(map(len, tables)))
    head(points, _title(tables), handles)
    tails.set_title("Which share took longer", loc="left", fontsize="medium")
    return points, tails


def _tables(loads: Any) -> list[pd.DataFrame]:
    some = isinstance(loads, Iterable) and not isinstance(loads, pd.DataFrame)
    found = [getattr(one, "table", one) for one in (loads if some else [loads])]
    for table in found:
        need(table, _NEEDED, _MAKER)
    same_clock(*found)
    return found


def _open(axes: Sequence[Axes] | None) -> Two:
    if axes is None:
        figure, both = plt.subplots(2, 1, figsize=(WIDTH, 6.6), height_ratios=[1.25, 1])
        figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
        axes = list(both)
    points, tails = (open_axes(ax, 0) for ax in axes)
    return points, tails


def _answered(table: pd.DataFrame) -> Any:
    """Return the latencies of the answered runs."""
    return table["latency_s"].where(table["status"] == "COMPLETED").dropna()


def _points(ax: Axes, table: pd.DataFrame, edge: float, style: dict[str, Any]) -> None:
    done = _answered(table)
    plain: dict[str, Any] = {"linestyle": "", "markersize": 4, "alpha": 0.65}
    plain["markeredgewidth"] = 0
    ax.plot(table["intended_s"].loc[done.index], done, **plain, **style)
    without = table["intended_s"].drop(index=done.index)
    marks = {**style, "marker": "^"}
    ax.plot(without, np.full(len(without), edge), linestyle="", markersize=6, **marks)


def _tail(ax: Axes, table: pd.DataFrame, color: str) -> None:
    """Draw which share of all runs took longer; without an answer is longer than any time."""
    steps = ecdf(_answered(table), tail=True)
    n, known = len(table), len(_answered(table))
    above = (steps["above"] * known + n - known) / n
    heights = [1, *above.where(above > 0)]
    x = [steps["value_s"].iloc[0] if len(steps) else math.nan, *steps["value_s"]]
    ax.plot(x, heights, drawstyle="steps-post", linewidth=1.8, color=color)


def _label(table: pd.DataFrame) -> str:
    attrs = table.attrs
    made = {
        "open": f"{attrs.get('rate') or 0:g}/s intended",
        "closed": f"{attrs.get('clients')} clients",
    }
    kind = str(attrs.get("kind", ""))
    words = f"{kind} loop, {made.get(kind, '')}: " if kind in made else ""
    return f"{words}n = {len(table):,} ({shorten(str(attrs.get('name', 'a load')), 24)})"


def _title(tables: list[pd.DataFrame]) -> str:
    invalid = [shorten(str(t.attrs.get("name"))) for t in tables if t.attrs.get("invalid")]
    if not invalid:
        return "Latency from the intended start"
    return f"Latency from the intended start – NOT VALID: {', '.join(invalid)}"


def _time_axes(points: Axes, tails: Axes, ends: tuple[float, float], clock: str) -> None:
    for axis in (points.yaxis, tails.xaxis):
        axis.axes.set(**{f"{axis.axis_name}scale": "log", f"{axis.axis_name}lim": ends})
        axis.set_major_formatter(FuncFormatter(lambda value, _: duration(value)))
        axis.set_minor_formatter(NullFormatter())
    points.set_ylabel("latency from the intended start")
    points.set_xlabel("intended start, seconds since the load began (client's monotonic clock)")
    tails.set_xlabel(f"latency, client's monotonic clock (server: {clock}), logarithmic")
    for ax in (points, tails):
        ax.grid(color=GREY, alpha=0.25, linewidth=0.6)


def _share_axis(ax: Axes, n: int) -> None:
    ax.set_yscale("log")
    ax.set_ylim(0.7 / max(n, 2), 1.2)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g} %"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.set_ylabel("share of runs, logarithmic")
