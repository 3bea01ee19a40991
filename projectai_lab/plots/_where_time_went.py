"""Where the time went: the parts of the total, per activity type."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from projectai_lab import latency
from projectai_lab._frames import ACTIVITIES, clock_words, names
from projectai_lab._words import duration, many, shorten
from projectai_lab.plots._style import (
    BLUE,
    GREY,
    MOST_ROWS,
    ORANGE,
    SKY,
    head,
    open_axes,
    rows_on,
    say,
    write,
)

_PARTS = {
    "exec_share": ("running", BLUE, "white"),
    "backoff_share": ("backoff", ORANGE, "black"),
    "queue_share": ("dispatch lag", SKY, "black"),
    "unattributed_share": ("unattributed", GREY, "white"),
}


def where_time_went(
    activities: pd.DataFrame,
    *,
    by: str | Iterable[str] = "activity_type",
    ax: Axes | None = None,
) -> Axes:
    """Draw how the total time of closed activities divides: one bar of 100 % per activity type,
    the longest total on top.

    The total and the number of activities stand on the right.

    >>> from projectai_lab import plots, tables
    >>> activities = tables.activities([])  # tables.activities(runs)
    >>> ax = plots.where_time_went(activities)
    """
    shares = latency.where_time_went(activities, by=by)
    shares = shares.sort_values("total_s", ascending=False, ignore_index=True).head(MOST_ROWS)
    if shares.empty:
        what = "no activity has closed" if len(activities) else "the table is empty"
        return say(ax, f"No times to draw: {what}.\nThe table comes from {ACTIVITIES}")
    ax = open_axes(ax, 1.5 + 0.46 * len(shares))
    places = range(len(shares))
    left = pd.Series(0.0, index=shares.index)
    bars: dict[str, Any] = {}
    for column, (words, color, ink) in _PARTS.items():
        share = shares[column].fillna(0)
        bars[words] = ax.barh(places, share, left=left, height=0.6, color=color, label=words)
        large = [f"{value:.0%}".replace("%", " %") if value >= 0.06 else "" for value in share]
        ax.bar_label(bars[words], large, label_type="center", color=ink, fontsize="small")
        left += share
    _finish(ax, shares, names(by), clock_words(activities))
    head(ax, "Where the time went", bars)
    return ax


def _finish(ax: Axes, shares: pd.DataFrame, keys: list[str], clock: str) -> None:
    labels = [" · ".join(shorten(str(part)) for part in key) for key in shares[keys].to_numpy()]
    rows_on(ax, labels, range(len(shares)))
    ax.set_xlim(0, 1)
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    ax.set_xlabel(f"share of the time from scheduled to closed ({clock})")
    for place, row in enumerate(shares.itertuples()):
        words = f"{duration(row.total_s)} in {many(row.activities, 'activity')}"
        write(ax, 1.015, place, words)
