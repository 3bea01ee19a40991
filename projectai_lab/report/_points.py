"""The results, design point by design point."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from projectai_lab import latency
from projectai_lab._intervals import share_interval
from projectai_lab.report._study import Study

LEVELS = {0.5: "p50", 0.95: "p95", 0.99: "p99"}


def points(study: Study) -> pd.DataFrame:
    """Return one row a design point, by row.

    Columns: row; the parameters by their short names; planned and ended, runs; success with
    success_low and success_high, the share and its Clopper–Pearson interval at 95 %; attempts and
    retries, means a run; of duration_s min_s, p50_s with p50_low_s and p50_high_s, p95_s, p99_s
    and max_s, as `latency.percentiles` and `latency.summary` have them: NA where n is too small.
    """
    ended = dict(list(study.ended.groupby("row")))
    rows = [
        {
            "row": row,
            **{name: part[name].iloc[0] for name in study.parameters},
            "planned": len(part),
            **_figures(ended.get(row, part.iloc[:0])),
        }
        for row, part in study.results.groupby("row")
    ]
    return pd.DataFrame(rows)


def _figures(runs: pd.DataFrame) -> dict[str, Any]:
    known = runs["success"].dropna()
    hits, n = int(known.sum()), len(known)
    low, high = share_interval(hits, n, 0.95)
    attempts = runs["n_attempts"].dropna().astype("float64")
    times = latency.summary(runs["duration_s"], q=LEVELS).iloc[0]
    median = latency.percentiles(runs["duration_s"], q=[0.5]).iloc[0]
    return {
        "ended": len(runs),
        "success": hits / n if n else math.nan,
        "success_low": low,
        "success_high": high,
        "attempts": float(attempts.mean()) if len(attempts) else math.nan,
        **{name: times[name] for name in ("min_s", "p50_s")},
        "p50_low_s": median["low_s"],
        "p50_high_s": median["high_s"],
        **{name: times[name] for name in ("p95_s", "p99_s", "max_s")},
    }
