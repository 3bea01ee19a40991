"""A simulated experiment beside the one that was run for real, and what lies between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from projectai_lab._frames import clock_words, need, same_clock
from projectai_lab.plots._latency import time_axis
from projectai_lab.plots._style import (
    BLUE,
    GREY,
    VERMILLION,
    WIDTH,
    head,
    open_axes,
    say,
    unit_ticks,
)

_NEEDED = ["attempts", "completion_s", "gave_up"]
_MAKER = "retries.requests(activities) and retries.simulate(policy, law, n)"
_MOST_POINTS = 4000
_REAL: dict[str, Any] = {"color": BLUE, "linewidth": 1.8}
_SIMULATED: dict[str, Any] = {"color": VERMILLION, "linewidth": 1.5, "linestyle": "--"}
_THEORY: dict[str, Any] = {"color": "none", "marker": "_", "markersize": 16, "linestyle": ""}

Three = tuple[Axes, Axes, Axes]


def simulated(
    real: pd.DataFrame,
    simulated: pd.DataFrame,
    theory: pd.DataFrame | None = None,
    *,
    axes: Sequence[Axes] | None = None,
) -> Three:
    """Draw real requests over simulated ones: completion times, residual, numbers of attempts.

    `real` is `retries.requests(activities)`, `theory` is `retries.theory(…)`. The first Axes holds
    both ECDFs of completion_s; the second what the real one has more or less than the simulated,
    within the band that a Kolmogorov–Smirnov test at 5 % allows (conservative where times are
    discrete); the third the shares of requests by attempts, with a bar a real share, a diamond a
    simulated and a dash a theoretical one. `axes` are three of your own.

    >>> from projectai_lab import plots, retries
    >>> from projectai_lab.models import RetrySettings
    >>> law, policy = retries.FaultLaw(fail=0.5), RetrySettings(maximum_attempts=3)
    >>> drawn = [retries.simulate(policy, law, 200, seed=seed) for seed in (1, 2)]
    >>> times, residual, attempts = plots.simulated(*drawn, retries.theory(policy, law))
    """
    for side in (real, simulated):
        need(side, _NEEDED, _MAKER)
    same_clock(real, simulated)
    times, residual, attempts = _open(axes)
    both = [side["completion_s"].dropna().to_numpy(dtype="float64") for side in (real, simulated)]
    if not all(map(len, both)):
        which = "real" if not len(both[0]) else "simulated"
        words = f"Nothing to compare: no {which} request has a completion time."
        return say(times, words), say(residual, ""), say(attempts, f"They come from\n{_MAKER}")
    _times(times, real, both)
    _residual(residual, both)
    _attempts(attempts, real, simulated, theory)
    # Shared by hand, so that Axes of the caller do as well.
    residual.set_xscale(times.get_xscale())
    residual.set_xlim(times.get_xlim())
    for way in ("get_major_formatter", "get_minor_formatter"):
        getattr(residual.xaxis, way.replace("get", "set"))(getattr(times.xaxis, way)())
    if times.get_xscale() == "log":
        unit_ticks(residual)
    residual.set_xlabel(times.get_xlabel())
    times.set_xlabel("")
    return times, residual, attempts


def _open(axes: Sequence[Axes] | None) -> Three:
    if axes is None:
        figure = plt.figure(figsize=(WIDTH, 5.2))
        figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.08)
        places = figure.subplot_mosaic([["t", "a"], ["r", "a"]], height_ratios=[2.2, 1])
        axes = [places["t"], places["r"], places["a"]]
    times, residual, attempts = (open_axes(ax, 0) for ax in axes)
    return times, residual, attempts


def _times(ax: Axes, real: pd.DataFrame, both: list[Any]) -> None:
    """Draw both ECDFs."""
    lowest = time_axis(ax, pd.Series(np.concatenate(both)), "completion_s", clock_words(real))
    curves = []
    for values, name, style in zip(both, ("real", "simulated"), (_REAL, _SIMULATED), strict=True):
        x = _points(values)
        y = _share(values, x)
        label = f"{name}, n = {len(values):,}"
        curves += ax.plot([lowest, *x], [0, *y], drawstyle="steps-post", label=label, **style)
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(FuncFormatter(_percent))
    ax.set_ylabel("share done by then")
    ax.grid(color=GREY, alpha=0.25, linewidth=0.6)
    head(ax, "Time to the end", {str(curve.get_label()): curve for curve in curves})


def _residual(ax: Axes, both: list[Any]) -> None:
    """Draw the real share minus the simulated one, and how far chance would take it."""
    x = np.unique(np.concatenate([_points(values) for values in both]))
    apart = _share(both[0], x) - _share(both[1], x)
    n, m = map(len, both)
    chance = float(scipy.special.kolmogi(0.05)) * math.sqrt((n + m) / (n * m))
    ax.axhspan(-chance, chance, color=GREY, alpha=0.2, linewidth=0)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.plot(x, apart, drawstyle="steps-post", **_REAL)
    most = 1.15 * max(chance, float(np.abs(apart).max()))
    ax.set_ylim(-most, most)
    ax.yaxis.set_major_locator(MaxNLocator(5, symmetric=True))
    ax.yaxis.set_major_formatter(FuncFormatter(_points_of_share))
    ax.set_ylabel("real − simulated, points")
    inside = float(np.abs(apart).max()) <= chance
    words = "within" if inside else "beyond"
    ax.set_title(f"{words} what chance allows (grey, 95 %)", loc="left", fontsize="small")


def _attempts(
    ax: Axes, real: pd.DataFrame, simulated: pd.DataFrame, theory: pd.DataFrame | None
) -> None:
    """Draw the shares of requests by their number of attempts."""
    shares = {"real": _by_attempts(real), "simulated": _by_attempts(simulated)}
    if theory is not None:
        shares["theory"] = theory.groupby("attempts")["probability"].sum()
    bars, dots = shares["real"], shares["simulated"]
    ax.bar(bars.index, bars, width=0.7, color=BLUE, alpha=0.85)
    ax.plot(dots.index, dots, marker="D", color=VERMILLION, linestyle="", markeredgecolor="white")
    legend: dict[str, Any] = {
        "real": Patch(color=BLUE, alpha=0.85),
        "simulated": Line2D([], [], marker="D", color=VERMILLION, linestyle=""),
    }
    if theory is not None:
        ink = ax.xaxis.label.get_color()
        style = {**_THEORY, "markeredgecolor": ink, "markeredgewidth": 1.6}
        exact = shares["theory"][shares["theory"] >= 1e-4]
        legend["theory"] = ax.plot(exact.index, exact, **style)[0]
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_formatter(FuncFormatter(_percent))
    ax.set_xlabel("attempts")
    ax.set_ylabel("share of requests")
    given_up = [_percent(side["gave_up"].mean()) for side in (real, simulated)]
    head(ax, "Gave up: {} real, {} simulated".format(*given_up), legend)


def _by_attempts(requests: pd.DataFrame) -> pd.Series:
    counts = requests["attempts"].dropna().astype("int64").value_counts().sort_index()
    return counts / max(int(counts.sum()), 1)


def _points(values: Any) -> Any:
    """Return where the ECDF climbs; of many places enough to look the same."""
    places = np.unique(values)
    if len(places) <= _MOST_POINTS:
        return places
    return np.unique(np.quantile(places, np.linspace(0, 1, _MOST_POINTS), method="inverted_cdf"))


def _share(values: Any, x: Any) -> Any:
    return np.searchsorted(np.sort(values), x, side="right") / len(values)


def _percent(share: float, _: int = 0) -> str:
    return f"{100 * share:.3g} %"


def _points_of_share(share: float, _: int = 0) -> str:
    return f"{100 * share:+.3g}".replace("-", "−") if share else "0"
