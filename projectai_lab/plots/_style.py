"""The look that the figures share: palette, axes, words for clocks and durations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from projectai_lab._words import shorten, unit_of

WIDTH = 9.0
MOST_ROWS = 40
GREY = "#8A8A8A"
"""Readable on white and on black."""

# Okabe & Ito, "Color Universal Design" (2008); its yellow is too pale on white, its black
# vanishes on black.
BLUE, SKY, GREEN = "#0072B2", "#56B4E9", "#009E73"
ORANGE, VERMILLION, PURPLE = "#E69F00", "#D55E00", "#CC79A7"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, VERMILLION, SKY)
LINES: tuple[Any, ...] = ("-", "--", ":", "-.")


class Look(NamedTuple):
    """How an outcome is drawn: by colour, and again by hatch and marker."""

    words: str
    color: str
    hatch: str
    marker: str


OUTCOMES = {
    "COMPLETED": Look("completed", GREEN, "", ""),
    "FAILED": Look("failed", VERMILLION, "////", "X"),
    "TIMED_OUT": Look("timed out", ORANGE, "....", "D"),
    "CANCELED": Look("canceled", PURPLE, "----", "s"),
    "UNKNOWN": Look("end not known", GREY, "", ">"),
}


def open_axes(ax: Axes | None, height: float) -> Axes:
    """Return the caller's Axes, or those of a new figure at notebook width; no frame on top."""
    if ax is None:
        figure, ax = plt.subplots(figsize=(WIDTH, height))
        figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_axisbelow(True)
    return ax


def say(ax: Axes | None, words: str) -> Axes:
    """Return Axes that say in words why there is nothing to draw."""
    ax = open_axes(ax, 1.6)
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", wrap=True)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def rows_on(ax: Axes, labels: Sequence[str], places: Sequence[float]) -> None:
    """Name the rows of a horizontal chart, first row on top."""
    ax.set_yticks(list(places), [shorten(label) for label in labels])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_ylim(max(places) + 0.6, min(places) - 0.7)
    ax.grid(axis="x", color=GREY, alpha=0.25, linewidth=0.6)


def head(ax: Axes, title: str, legend: Mapping[str, Any]) -> None:
    """Put the title and, under it, the legend above the data, where neither covers anything."""
    columns = _columns(list(legend))
    lines = math.ceil(len(legend) / columns)
    style: dict[str, Any] = {"bbox_to_anchor": (0, 1), "frameon": False, "fontsize": "small"}
    style |= {"borderaxespad": 0.1, "borderpad": 0.3, "handlelength": 1.8, "columnspacing": 1.4}
    handles = list(legend.values())
    ax.legend(handles, list(legend), loc="lower left", ncols=columns, **style)
    ax.set_title(title, loc="left", fontsize="medium", fontweight="bold", pad=8 + 15 * lines)


def write(ax: Axes, x: float, y: float, words: str, **style: Any) -> None:
    """Write small text on the row at `y`; `x` is a share of the width, above 1 on the right."""
    ax.text(x, y, words, transform=ax.get_yaxis_transform(), va="center", fontsize="small", **style)


def longest(frame: pd.DataFrame, columns: Sequence[str]) -> float:
    """Return the greatest value of some columns, a millisecond where there is none."""
    greatest = float(frame[list(columns)].astype("float64").max().max())
    return greatest if greatest > 0 else 1e-3


def _columns(labels: Sequence[str]) -> int:
    """Return how many legend columns fit beside each other."""
    widest = max((len(label) for label in labels), default=1) + 7
    if sum(len(label) + 7 for label in labels) < 115:
        return max(len(labels), 1)
    return max(1, min(len(labels), 115 // widest))


def swatch(look: Look, color: str) -> tuple[Any, ...]:
    """Return the legend entry of an outcome: its bar, and its marker on top."""
    patch = Patch(**bar_style(look, color))
    if not look.marker:
        return (patch,)
    marker = Line2D([], [], color=color, marker=look.marker, linestyle="", **MARKER)
    return (patch, marker)


MARKER: dict[str, Any] = {"markersize": 6, "markeredgecolor": "white", "markeredgewidth": 0.7}


def bar_style(look: Look, color: str) -> dict[str, Any]:
    """Return how a bar of this outcome is filled; the edge keeps the shortest bar visible."""
    solid = look == OUTCOMES["COMPLETED"]
    return {
        "facecolor": to_rgba(color, 0.9 if solid else 0.3),
        "edgecolor": color,
        "hatch": look.hatch,
        "linewidth": 1.4,
        "linestyle": (0, (2, 1.5)) if look == OUTCOMES["UNKNOWN"] else "-",
    }


_NAMES = {60: "minutes", 3600: "hours", 86400: "days"}
# More than a decade apart, so that they stand free of each other on narrow axes too.
_TICKS_S = (1e-3, 0.03, 1, 60, 3600, 86400, 30 * 86400)


class _Whole(MaxNLocator):
    """Ticks at round numbers of a unit."""

    def __init__(self, unit: float) -> None:
        super().__init__(nbins=9, steps=[1, 2, 3, 6, 10] if unit == 3600 else [1, 2, 5, 10])
        self._unit = unit

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Return the places in seconds."""
        places = super().tick_values(vmin / self._unit, vmax / self._unit)
        return [self._unit * place for place in places]


def seconds_axis(ax: Axes, words: str, longest: float) -> None:
    """Label a linear time axis in the unit that suits its length, from milliseconds to days."""
    unit, name = (1e-3, "milliseconds") if longest < 1 else (1.0, "seconds")
    if (greater := unit_of(longest)[0]) in _NAMES:
        unit, name = greater, _NAMES[int(greater)]
        ax.xaxis.set_major_locator(_Whole(unit))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit:,.10g}"))
    ax.set_xlabel(f"{name} {words}")


def unit_ticks(ax: Axes) -> None:
    """Put the ticks of a logarithmic time axis that goes beyond minutes where units begin."""
    low, high = ax.get_xlim()
    if high < 600:
        return
    ax.xaxis.set_major_locator(FixedLocator([one for one in _TICKS_S if low <= one <= high]))
    ax.xaxis.set_minor_locator(NullLocator())
