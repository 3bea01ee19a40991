"""Requests summed up, the simulated ones and the real: how they end, how often, how late."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from projectai_lab._frames import ACTIVITIES, need, one_clock
from projectai_lab._intervals import mean_interval, share_interval
from projectai_lab._words import percentile
from projectai_lab.latency import percentiles
from projectai_lab.retries._simulate import KINDS
from projectai_lab.retries._terms import COMPLETED

REQUESTS = ["attempts", "completion_s", "gave_up", "outcome"]
MAKER = "retries.simulate(policy, law, n) or retries.requests(activities)"
_QUANTILES = (0.5, 0.95, 0.99)
_ENDED = ("COMPLETED", "FAILED", "TIMED_OUT")

Figure = tuple[str, float, float, float, int | None]
"""Measure, value, the interval's ends, n."""


def requests(activities: pd.DataFrame, activity_type: str | None = None) -> pd.DataFrame:
    """Return real activities in the form of `simulate`: a row for each that has ended.

    Columns: attempts, completion_s (total_s of the activity, by the server's clock), gave_up,
    outcome. Open and canceled activities are left out, since neither completed nor gave up. Give
    `activity_type` where the table holds several: a policy is that of one.

    >>> from projectai_lab import retries, tables
    >>> activities = tables.activities([])  # tables.activities(runs, recorder=lab.attempts)
    >>> retries.requests(activities).columns.tolist()
    ['attempts', 'completion_s', 'gave_up', 'outcome']
    """
    wanted = ["activity_type", "status", "attempts", "total_s", "retry_state"]
    need(activities, wanted, ACTIVITIES)
    one_clock(activities)
    rows = activities[activities["status"].isin(_ENDED)]
    if activity_type is not None:
        rows = rows[rows["activity_type"] == activity_type]
    kinds = sorted(rows["activity_type"].dropna().unique())
    if len(kinds) > 1:
        raise ValueError(
            f"the table holds activities of {len(kinds)} types; name one: "
            f'retries.requests(activities, "{kinds[0]}")'
        )
    done = rows["status"] == COMPLETED
    states = rows["retry_state"].astype(object).where(~done, COMPLETED)
    frame = pd.DataFrame(
        {
            "attempts": rows["attempts"],
            "completion_s": rows["total_s"],
            "gave_up": ~done.astype(bool),
            # A retry state that no policy leads to, such as CANCEL_REQUESTED, becomes NA.
            "outcome": states.where(states.isin(KINDS.categories), None).astype(KINDS),
        }
    ).reset_index(drop=True)
    frame.attrs["clock"] = activities.attrs.get("clock")
    return frame


def measures(
    requests: pd.DataFrame, *, q: Iterable[float] = _QUANTILES, confidence: float = 0.95
) -> pd.DataFrame:
    """Return what becomes of requests in figures, each with its interval and n: a row a measure.

    `requests` come from `simulate`, `requests` or `theory`, whose figures are exact and have
    neither interval nor n. Measures: give_up, the share (Clopper–Pearson); mean_attempts and
    mean_completion_s (Student; the latter NA where no value differs); p50_s, p95_s, p99_s of
    completion_s by the rule of `latency.percentiles`. Where all requests need the same attempts, n
    still cannot exclude that some need others: that share (Clopper–Pearson) counts as one attempt
    off. completion_s is that of all requests, however they ended.

    Source: Clopper & Pearson, Biometrika 26 (1934), 404–413.

    >>> from projectai_lab.models import RetrySettings
    >>> from projectai_lab.retries import FaultLaw, measures, simulate
    >>> found = measures(simulate(RetrySettings(maximum_attempts=2), FaultLaw(fail=0.5), 1000))
    >>> found.measure.tolist()[:3]
    ['give_up', 'mean_attempts', 'mean_completion_s']
    """
    need(requests, REQUESTS, MAKER)
    levels = [float(level) for level in q]
    if "probability" in requests:
        rows = _exact(requests, levels)
    else:
        one_clock(requests)
        rows = _estimated(requests, levels, confidence)
    frame = pd.DataFrame(rows, columns=["measure", "value", "low", "high", "n"])
    return frame.astype({**dict.fromkeys(["value", "low", "high"], "float64"), "n": "Int64"})


def _estimated(requests: pd.DataFrame, levels: list[float], confidence: float) -> list[Figure]:
    n = len(requests)
    gave_up = int(requests["gave_up"].sum())
    attempts, times = (
        requests[name].dropna().to_numpy(dtype="float64") for name in ("attempts", "completion_s")
    )
    found = percentiles(times, q=levels, confidence=confidence)
    return [
        ("give_up", gave_up / n if n else math.nan, *share_interval(gave_up, n, confidence), n),
        ("mean_attempts", *mean_interval(attempts, confidence, spare=1.0), len(attempts)),
        ("mean_completion_s", *mean_interval(times, confidence), len(times)),
        *(
            (_name(row.q), row.value_s, row.low_s, row.high_s, row.n)
            for row in found.itertuples(index=False)
        ),
    ]


def _exact(endings: pd.DataFrame, levels: list[float]) -> list[Figure]:
    weight = endings["probability"].to_numpy(dtype="float64")

    def total(column: str) -> float:
        return float((weight * endings[column].to_numpy(dtype="float64")).sum())

    found = {
        "give_up": total("gave_up"),
        "mean_attempts": total("attempts"),
        "mean_completion_s": total("mean_completion_s"),
        **{_name(level): _quantile(endings, level) for level in levels},
    }
    return [(name, value, math.nan, math.nan, None) for name, value in found.items()]


def _quantile(endings: pd.DataFrame, level: float) -> float:
    """Return the smallest time by which a share of `level` has ended."""
    if endings["completion_s"].isna().any():
        return math.nan
    ordered = endings.sort_values("completion_s")
    reached = ordered["probability"].cumsum().to_numpy()
    place = min(int(np.searchsorted(reached, level - 1e-12)), len(ordered) - 1)
    return float(ordered["completion_s"].iloc[place])


def _name(level: float) -> str:
    return f"{percentile(level)}_s"
