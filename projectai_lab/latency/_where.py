"""Where the time of closed activities went."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from projectai_lab._frames import ACTIVITIES, names, need, one_clock

PARTS = ("exec_s", "backoff_s", "queue_s", "unattributed_s")


def where_time_went(
    activities: pd.DataFrame, *, by: str | Iterable[str] = "activity_type"
) -> pd.DataFrame:
    """Return how the total time of closed activities divides into its four parts, per type.

    Columns: the `by` columns; activities (closed ones); total_s; exec_s, backoff_s, queue_s,
    unattributed_s, which sum to total_s; and the same four as shares, which sum to 1. What a table
    cannot tell apart is unattributed, not guessed.

    >>> from projectai_lab import latency, tables
    >>> activities = tables.activities([])  # tables.activities(runs)
    >>> latency.where_time_went(activities).columns.tolist()[:3]
    ['activity_type', 'activities', 'total_s']
    """
    keys = names(by)
    need(activities, [*keys, "total_s", *PARTS], ACTIVITIES)
    one_clock(activities, keys)
    closed = activities[activities["total_s"].notna()]
    groups = closed.groupby(keys, observed=True, dropna=False)
    sums = groups[["total_s", *PARTS]].sum()
    known = sums[["exec_s", "backoff_s", "queue_s"]].sum(axis=1)
    # To the nanosecond, as the parts are: a rounding error of 1e-16 would show as −0 s.
    sums["unattributed_s"] = (sums["total_s"] - known).round(9) + 0.0
    sums.insert(0, "activities", groups.size().astype("Int64"))
    for part in PARTS:
        sums[part.replace("_s", "_share")] = sums[part] / sums["total_s"]
    return sums.reset_index()
