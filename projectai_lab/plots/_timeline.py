"""The timeline: every attempt of one execution, or of a few, as a bar on the server's clock."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from projectai_lab._frames import ATTEMPTS, clock_words, need
from projectai_lab._spans import spans as spans_of
from projectai_lab._words import duration, many, shorten
from projectai_lab.plots._style import (
    GREY,
    MARKER,
    MOST_ROWS,
    OUTCOMES,
    PALETTE,
    SKY,
    bar_style,
    head,
    longest,
    open_axes,
    rows_on,
    say,
    seconds_axis,
    swatch,
    write,
)

_COLUMNS = [
    *("workflow_id", "run_id", "scheduled_event_id", "activity_id", "activity_type", "attempt"),
    *("attempt_scheduled_time", "started_time", "closed_time", "worker_exec_s"),
    *("server_outcome", "worker_outcome", "late_report", "timeout_type", "time_quality"),
]
_ACTIVITY = ["run_id", "scheduled_event_id"]
_LINE: dict[str, Any] = {"color": GREY, "linewidth": 1.3}
_BACKOFF: dict[str, Any] = {**_LINE, "linestyle": (0, (3, 2)), "label": "backoff"}
_BLIND: dict[str, Any] = {**_LINE, "linestyle": (0, (1, 2)), "label": "times not known"}
_LAG: dict[str, Any] = {"color": SKY, "linewidth": 0, "label": "dispatch lag"}


def timeline(attempts: pd.DataFrame, *, ax: Axes | None = None, color_by: str = "outcome") -> Axes:
    """Draw each activity as a row and each attempt as a bar, on seconds since the first schedule.

    A dashed line is the backoff, a thin light bar the dispatch lag (due, but not yet started), the
    number above a bar its attempt. Colour, hatch and marker tell the outcome; `color_by` any other
    column gives the colour to that column. Each run starts at its own zero. An end that only the
    worker measured is drawn as start + its duration; a dotted line is where an attempt began or
    ended at a time that is not known.

    >>> from projectai_lab import plots, tables
    >>> attempts = tables.attempts([])  # tables.attempts(history, recorder=lab.attempts)
    >>> ax = plots.timeline(attempts)
    """
    need(attempts, [*_COLUMNS, *([] if color_by == "outcome" else [color_by])], ATTEMPTS)
    if attempts.empty:
        return say(ax, f"No attempts to draw: the table is empty.\nMake one with {ATTEMPTS}")
    spans = spans_of(attempts)
    if spans["start"].isna().all():
        return say(ax, f"No attempt has a start time: none was recorded.\nUse {ATTEMPTS}")
    rows = _rows(spans)
    spans = spans.merge(rows[[*_ACTIVITY, "y"]], on=_ACTIVITY)
    ax = open_axes(ax, 1.5 + 0.46 * (rows["y"].max() + 1))
    waits = _draw_waits(ax, spans)
    bars = _draw_bars(ax, spans, color_by)
    _finish(ax, attempts, spans, rows)
    head(ax, _title(attempts, rows), {**bars, **waits})
    return ax


def _rows(spans: pd.DataFrame) -> pd.DataFrame:
    """Return one row per activity in order of its schedule, with its place `y` and its label."""
    rows = (
        spans.groupby(_ACTIVITY, sort=False, as_index=False)
        .agg(
            workflow_id=("workflow_id", "first"),
            activity_id=("activity_id", "first"),
            activity_type=("activity_type", "first"),
            attempts=("attempt", "max"),
            drawn=("start", "count"),
            first=("due", "min"),
            last=("end", lambda end: end.iloc[-1]),
            run=("run", "first"),
        )
        .head(MOST_ROWS)
    )
    band = rows["run"] + 1 if spans["run"].nunique() > 1 else 0
    rows["y"] = rows.index + 0.75 * band
    twice = rows.duplicated(["run_id", "activity_type"], keep=False)
    ids = rows["activity_type"].astype(str) + " #" + rows["activity_id"].astype(str)
    rows["label"] = rows["activity_type"].astype(str).where(~twice, ids)
    return rows


def _draw_waits(ax: Axes, spans: pd.DataFrame) -> dict[str, Any]:
    """Draw what lies between the bars; return the legend of what was drawn."""
    blind = _blind(spans)
    back = spans.dropna(subset=["ended_before", "due"])
    lag = spans.dropna(subset=["due", "start"])
    legend: dict[str, Any] = {}
    if len(back):
        ax.hlines(back["y"], back["ended_before"], back["due"], **_BACKOFF)
        legend["backoff"] = Line2D([], [], **_BACKOFF)
    if len(blind):
        ax.hlines(blind["y"], blind["from"], blind["to"], **_BLIND)
        legend["times not known"] = Line2D([], [], **_BLIND)
    if len(lag):
        ax.barh(lag["y"], lag["start"] - lag["due"], left=lag["due"], height=0.2, **_LAG)
        legend["dispatch lag"] = Patch(**_LAG)
    return legend


def _blind(spans: pd.DataFrame) -> pd.DataFrame:
    """Return the stretches in which something ended or began at a time that is not known."""
    ends = {"from": ("due", "min"), "to": ("start", "min"), "seen": ("start", "count")}
    rows = spans.groupby("y").agg(**ends, attempts=("attempt", "max")).reset_index()
    dropped = rows[rows["seen"] < rows["attempts"]]
    endless = spans[spans["end"].isna()].rename(columns={"start": "from", "due_after": "to"})
    return pd.concat([part[["y", "from", "to"]].dropna() for part in (dropped, endless)])


def _draw_bars(ax: Axes, spans: pd.DataFrame, color_by: str) -> dict[str, Any]:
    """Draw bars and markers; return the legend of what was drawn."""
    values = list(dict.fromkeys(spans[color_by].astype(str)))
    colors = dict(zip(values, cycle(PALETTE), strict=False))
    legend: dict[str, Any] = {}
    for outcome, look in OUTCOMES.items():
        rows = spans[(spans["outcome"] == outcome) & spans["start"].notna()]
        for value, part in rows.groupby(rows[color_by].astype(str), sort=False):
            color = look.color if color_by == "outcome" else colors[value]
            end = part["end"].fillna(part["start"])
            style = {"height": 0.52, "label": outcome, **bar_style(look, color)}
            ax.barh(part["y"], end - part["start"], left=part["start"], **style)
            if look.marker:
                ax.plot(end, part["y"], color=color, marker=look.marker, linestyle="", **MARKER)
        if len(rows):
            legend[look.words] = swatch(look, look.color if color_by == "outcome" else GREY)
    if color_by == "outcome":
        return legend
    return {**{v: swatch(OUTCOMES["COMPLETED"], colors[v]) for v in values}, **legend}


def _finish(ax: Axes, attempts: pd.DataFrame, spans: pd.DataFrame, rows: pd.DataFrame) -> None:
    width = longest(spans, ["due", "start", "end"])
    ax.set_xlim(-0.012 * width, 1.02 * width)
    rows_on(ax, rows["label"], rows["y"])
    _number_attempts(ax, spans, 0.014 * width)
    for row in rows.itertuples():
        write(ax, 1.01, row.y, _size(row), alpha=0.85)
    single = spans["run_id"].nunique() == 1
    whose = "the first activity" if single else "each execution's first activity"
    seconds_axis(ax, f"since {whose} was scheduled (server time, {clock_words(attempts)})", width)
    if not single:
        ax.set_ylim(top=rows["y"].min() - 1.0)
        _name_runs(ax, rows)


def _size(row: Any) -> str:
    """Return "4 attempts · 1.7 s" for a row, and how many of them have no place on the axis."""
    if not row.drawn:
        return f"{many(row.attempts, 'attempt')}, no times"
    took = row.last - row.first
    words = "end not known" if pd.isna(took) else duration(took)
    blind = int(row.attempts - row.drawn)
    more = f"\n{blind} without times" if blind else ""
    return f"{many(row.attempts, 'attempt')} · {words}{more}"


def _number_attempts(ax: Axes, spans: pd.DataFrame, digit: float) -> None:
    """Write attempt numbers above the bars, leaving out those that would touch the one before."""
    for _, part in spans.dropna(subset=["start"]).groupby("y"):
        free = -float("inf")
        for row in part.itertuples():
            middle = row.start if pd.isna(row.end) else (row.start + row.end) / 2
            half = digit * len(str(row.attempt)) / 2
            if middle - half < free:
                continue
            ax.text(middle, row.y - 0.3, str(row.attempt), ha="center", va="bottom", fontsize=7.5)
            free = middle + half + digit / 2


def _name_runs(ax: Axes, rows: pd.DataFrame) -> None:
    """Head each run's rows with its Workflow Id, and its Run Id where the first is not unique."""
    runs = rows.groupby("run_id", sort=False).agg(
        y=("y", "min"), workflow_id=("workflow_id", "first")
    )
    twice = runs["workflow_id"].duplicated(keep=False)
    for run_id, run in runs.iterrows():
        words = shorten(str(run["workflow_id"]), 60)
        words += f" · run {str(run_id)[:8]}" if twice[run_id] else ""
        write(ax, 0.016, run["y"] - 0.72, words, fontweight="bold")


def _title(attempts: pd.DataFrame, rows: pd.DataFrame) -> str:
    activities = attempts[_ACTIVITY].drop_duplicates()
    runs = attempts["run_id"].nunique()
    whose = shorten(str(rows["workflow_id"].iloc[0]), 44) if runs == 1 else many(runs, "execution")
    size = f"{many(len(activities), 'activity')}, {many(len(attempts), 'attempt')}"
    cut = f" (the first {len(rows)} rows)" if len(rows) < len(activities) else ""
    return f"{whose} · {size}{cut}"
