"""The retry ladder: what the policy planned beside what was observed, retry by retry."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from projectai_lab._frames import ATTEMPTS, clock_words
from projectai_lab._words import duration, many, shorten
from projectai_lab.plots._style import (
    BLUE,
    GREY,
    MOST_ROWS,
    SKY,
    VERMILLION,
    head,
    longest,
    open_axes,
    rows_on,
    say,
    seconds_axis,
    write,
)
from projectai_lab.retries import against_plan

_ACTIVITY = ["run_id", "scheduled_event_id"]
_PLANNED: dict[str, Any] = {
    "label": "planned backoff",
    "fill": False,
    "edgecolor": GREY,
    "linewidth": 1.3,
}
_OBSERVED: dict[str, Any] = {"label": "observed backoff", "color": BLUE, "linewidth": 0}
_LAG: dict[str, Any] = {"label": "dispatch lag", "color": SKY, "linewidth": 0}
_INFERRED: dict[str, Any] = {
    "label": "inferred: at most this",
    "linestyle": "",
    "marker": "o",
    "markerfacecolor": "white",
    "markeredgecolor": VERMILLION,
    "markeredgewidth": 1.4,
    "markersize": 5.5,
}


def retries(attempts: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw each retry as a row: the planned backoff as an outline, the observed one inside it.

    Retries under the same plan share a row, each activity as its own thin bar, so that several
    policies and runs make several ladders. The dispatch lag follows the observed backoff; an open
    circle marks a backoff whose beginning was inferred, so that it is an upper bound. On the right
    stand the error and the lag in figures, medians where a row holds several retries.

    >>> from projectai_lab import plots, tables
    >>> attempts = tables.attempts([])  # tables.attempts(history, recorder=lab.attempts)
    >>> ax = plots.retries(attempts)
    """
    rows = against_plan(attempts)
    if rows.empty:
        what = (
            "each activity ended with its first attempt" if len(attempts) else "the table is empty"
        )
        return say(ax, f"No retries to draw: {what}.\nThe table comes from {ATTEMPTS}")
    if rows[["backoff_planned_s", "backoff_observed_s"]].isna().all(axis=None):
        what = f"{many(len(rows), 'retry')} without a planned or an observed backoff"
        return say(ax, f"{what}.\nLocal Activities have none; else use {ATTEMPTS}")
    rows = _places(rows)
    ax = open_axes(ax, 1.6 + 0.36 * (rows["y"].max() + 1))
    _draw(ax, rows)
    _annotate(ax, rows)
    width = longest(rows, ["backoff_planned_s", "end_s"])
    ax.set_xlim(min(0.0, rows["backoff_observed_s"].min()), 1.03 * width)
    seconds_axis(ax, f"since the previous attempt ended ({clock_words(attempts)})", width)
    return ax


def _places(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the plan, the row `y` of each retry, and the place of its thin bar in that row."""
    rows = rows.assign(who=rows.groupby(_ACTIVITY, sort=False).ngroup())
    rows["plan"] = rows["who"].map(_plans(rows))
    steps = rows[["plan", "attempt"]].drop_duplicates().sort_values(["plan", "attempt"])
    steps = steps.assign(y=range(len(steps)), steps=len(steps)).head(MOST_ROWS)
    rows = rows.merge(steps.assign(y=steps["y"] + 0.9 * (steps["plan"] + 1)))
    plans = rows.groupby("plan")["who"]
    rows["height"] = 0.56 / plans.transform("nunique")
    rows["place"] = rows["y"] - 0.28 + rows["height"] * (plans.rank("dense") - 0.5)
    rows["end_s"] = rows["backoff_observed_s"] + rows["dispatch_lag_s"].fillna(0)
    return rows


def _plans(rows: pd.DataFrame) -> dict[int, int]:
    """Number the plans: activities of a type share one when one schedule begins the other."""
    waits = {
        who: (_kind(part), *part["backoff_planned_s"].round(6).fillna(-1))
        for who, part in rows.groupby("who")
    }
    whole: dict[Any, Any] = {}
    for plan in sorted(waits.values(), key=len, reverse=True):
        longer = (other for other in whole if other[: len(plan)] == plan)
        whole[plan] = next(longer, plan)
    numbers = {
        plan: number for number, plan in enumerate(dict.fromkeys(map(whole.get, waits.values())))
    }
    return {who: numbers[whole[plan]] for who, plan in waits.items()}


def _kind(part: pd.DataFrame) -> tuple[str, ...]:
    return tuple(str(part[name].iloc[0]) for name in ("clock", "activity_type") if name in part)


def _draw(ax: Axes, rows: pd.DataFrame) -> None:
    plan = rows.drop_duplicates("y").dropna(subset=["backoff_planned_s"])
    seen = rows.dropna(subset=["backoff_observed_s"])
    # White between a few bars tells them apart; between many it would only flicker.
    thin = seen["height"] * (0.88 if rows["height"].min() > 0.06 else 1.0)
    start, end = seen["backoff_observed_s"], seen["end_s"]
    ax.barh(seen["place"], start, height=thin, **_OBSERVED)
    ax.barh(seen["place"], end - start, left=start, height=thin, **_LAG)
    ax.barh(plan["y"], plan["backoff_planned_s"], height=0.76, **_PLANNED)
    handles: list[Any] = [Patch(**_PLANNED), Patch(**_OBSERVED), Patch(**_LAG)]
    guessed = seen[seen["backoff_quality"] == "inferred"]
    if len(guessed):
        ax.plot(guessed["backoff_observed_s"], guessed["place"], **_INFERRED)
        handles.append(Line2D([], [], **_INFERRED))
    head(ax, _title(rows), {handle.get_label(): handle for handle in handles})


def _title(rows: pd.DataFrame) -> str:
    cut = f" (the first {MOST_ROWS} rows)" if rows["steps"].iloc[0] > MOST_ROWS else ""
    who = many(rows["who"].nunique(), "activity")
    return f"{many(len(rows), 'retry')} of {who}{cut}"


def _annotate(ax: Axes, rows: pd.DataFrame) -> None:
    """Name rows and ladders on the left, write the figures on the right."""
    steps = rows.drop_duplicates("y").sort_values("y")
    rows_on(ax, [f"attempt {attempt}" for attempt in steps["attempt"]], steps["y"])
    ax.set_ylim(top=steps["y"].min() - 1.15)
    write(ax, 1.015, steps["y"].min() - 0.75, "observed − planned, lag", alpha=0.7)
    for y, part in rows.groupby("y"):
        write(ax, 1.015, y, _figures(part))
    for _, part in rows.groupby("plan"):
        write(ax, 0.006, part["y"].min() - 0.75, _heading(part), fontweight="bold")


def _figures(part: pd.DataFrame) -> str:
    """Return a row's error and lag, "+3 ms, 90 ms"; medians where it holds several retries."""
    seen = part.dropna(subset=["backoff_error_s"])
    if seen.empty:
        return "not observed"
    error, lag = seen["backoff_error_s"].median(), seen["dispatch_lag_s"].median()
    bound = "≤ " if (seen["backoff_quality"] == "inferred").all() else ""
    some = f" ({len(seen)} of {len(part)})" if len(seen) < len(part) else ""
    return f"{bound}{'+' if error > 0 else ''}{duration(error)}, {duration(lag)}{some}"


def _heading(part: pd.DataFrame) -> str:
    """Return a ladder's name, as in "simulate_ai_call · 200 ms → 400 ms · 3 activities"."""
    plan = part.drop_duplicates("y").sort_values("y")["backoff_planned_s"].dropna()
    waits = [duration(value) for value in plan]
    waits = [*waits[:3], "…", waits[-1]] if len(waits) > 5 else waits
    activities = part["who"].nunique()
    words = [*map(shorten, _kind(part)), " → ".join(waits)]
    return " · ".join(
        filter(None, [*words, many(activities, "activity") if activities > 1 else ""])
    )
