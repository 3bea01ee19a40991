"""The retry policy as arithmetic: the planned schedule, and what was observed against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from projectai_lab._frames import ATTEMPTS, names, need, one_clock
from projectai_lab.models import Duration, seconds

_ACTIVITY = ["run_id", "scheduled_event_id"]
_RETRY = [
    *("namespace", "workflow_id", "run_id", "scheduled_event_id", "activity_id", "activity_type"),
    *("attempt", "backoff_planned_s", "backoff_observed_s", "backoff_error_s"),
    *("dispatch_lag_s", "gap_s"),
]
_OUTCOMES = ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED")
_MOST_ATTEMPTS = 100_000


def planned(
    policy: Any, attempts: int | None = None, *, schedule_to_close: Duration | None = None
) -> pd.DataFrame:
    """Return when a retry policy lets each attempt run: one row per attempt.

    `policy` is a `RetrySettings`, a `temporalio.common.RetryPolicy` or a row of
    `tables.activities`. `attempts` bounds the rows; a policy without `maximum_attempts` needs it,
    or `schedule_to_close`, which drops every attempt that could only begin at or after it.

    Columns: attempt; backoff_s, the wait before that attempt (NA for the first);
    cumulative_backoff_s, the sum so far: the attempt begins that long after the first at the
    earliest, plus the time that the earlier attempts ran.

    Source: Temporal documentation, "What is a Temporal Retry Policy?": the wait before attempt n
    is min(initial_interval · backoff_coefficient^(n−2), maximum_interval), without jitter;
    maximum_interval is 100 · initial_interval unless given. The server replaces an interval or a
    coefficient of 0 by its default.

    >>> from projectai_lab.models import RetrySettings
    >>> from projectai_lab.retries import planned
    >>> planned(RetrySettings(initial_interval=0.2, maximum_attempts=4)).backoff_s.tolist()
    [nan, 0.2, 0.4, 0.8]
    """
    first, coefficient, longest, most = _resolve(policy)
    until = None if schedule_to_close is None else seconds(schedule_to_close)
    count = _count(min(first, longest), most, attempts, until)
    with np.errstate(over="ignore"):
        waits = np.minimum(first * coefficient ** np.arange(count - 1, dtype=float), longest)
    total = np.concatenate([[0.0], np.cumsum(waits)])
    frame = pd.DataFrame(
        {
            "attempt": pd.array(np.arange(1, count + 1), dtype="Int64"),
            "backoff_s": np.concatenate([[np.nan], waits]),
            "cumulative_backoff_s": total,
        }
    )
    return frame if until is None else frame[total < max(until, 1e-9)].reset_index(drop=True)


def against_plan(attempts: pd.DataFrame) -> pd.DataFrame:
    """Return one row per retry: planned backoff, observed backoff, their difference, dispatch lag.

    The observed backoff has the dispatch lag (timer lag + queueing) already taken off.
    `backoff_quality` says how well the start of the wait is known, which is the end of the attempt
    before: measured_server, measured_worker, inferred (that end is a lower bound, so the observed
    backoff is an upper bound) or unknown.

    >>> from projectai_lab import retries, tables
    >>> attempts = tables.attempts([])  # tables.attempts(history, recorder=lab.attempts)
    >>> len(retries.against_plan(attempts))
    0
    """
    need(attempts, [*_RETRY, "time_quality"], ATTEMPTS)
    one_clock(attempts, attempts.columns)
    rows = attempts.reset_index(drop=True).sort_values([*_ACTIVITY, "attempt"])
    before = rows.groupby(_ACTIVITY, sort=False)["attempt"].shift()
    quality = rows.groupby(_ACTIVITY, sort=False)["time_quality"].shift().astype(object)
    known = rows["backoff_observed_s"].notna() & (before == rows["attempt"] - 1).fillna(False)
    rows = rows.assign(backoff_quality=quality.where(known.astype(bool), "unknown"))
    extra = [column for column in ("clock",) if column in rows]
    retries = rows.loc[rows["attempt"] > 1, [*extra, *_RETRY, "backoff_quality"]]
    return retries.sort_index().reset_index(drop=True)


def summary(attempts: pd.DataFrame, *, by: str | Iterable[str] = "activity_type") -> pd.DataFrame:
    """Return one row per activity type: how far the retries were off, and how it all ended.

    Columns: the `by` columns; activities; retries; observed (retries whose backoff could be
    measured); median_abs_error_s and max_abs_error_s of |observed − planned|;
    median_dispatch_lag_s of the retries; and the activities that ended completed, failed,
    timed_out, canceled, or are still open.

    >>> from projectai_lab import retries, tables
    >>> attempts = tables.attempts([])  # tables.attempts(runs, recorder=lab.attempts)
    >>> retries.summary(attempts).columns.tolist()[:4]
    ['activity_type', 'activities', 'retries', 'observed']
    """
    keys = names(by)
    need(attempts, [*_RETRY, "time_quality", "server_outcome", *keys], ATTEMPTS)
    one_clock(attempts, keys)
    groups = attempts.groupby(keys, observed=True, dropna=False)
    rows = [{**dict(zip(keys, key, strict=True)), **_summary(group)} for key, group in groups]
    empty = _summary(attempts.iloc[:0])
    frame = pd.DataFrame(rows, columns=[*keys, *empty])
    counts = {name: "Int64" for name, value in empty.items() if isinstance(value, int)}
    sizes = {name: "float64" for name in empty if name not in counts}
    return frame.astype({**counts, **sizes})


def _summary(attempts: pd.DataFrame) -> dict[str, int | float]:
    retries = attempts[attempts["attempt"] > 1]
    error = retries["backoff_error_s"].abs()
    last = attempts.sort_values("attempt").groupby(_ACTIVITY, sort=False).tail(1)
    outcome = last["server_outcome"]
    return {
        "activities": len(last),
        "retries": len(retries),
        "observed": int(retries["backoff_observed_s"].notna().sum()),
        "median_abs_error_s": float(error.median()),
        "max_abs_error_s": float(error.max()),
        "median_dispatch_lag_s": float(retries["dispatch_lag_s"].median()),
        **{name.lower(): int((outcome == name).sum()) for name in _OUTCOMES},
        "open": int(outcome.isna().sum()),
    }


def _resolve(policy: Any) -> tuple[float, float, float, int]:
    """Read (initial, coefficient, maximum interval, maximum attempts) as the server resolves it."""
    row = isinstance(policy, Mapping | pd.Series) or hasattr(policy, "initial_interval_s")
    suffix = "_s" if row else ""
    first = _read(policy, "initial_interval" + suffix) or 1.0
    coefficient = _read(policy, "backoff_coefficient") or 2.0
    longest = _read(policy, "maximum_interval" + suffix) or 100 * first
    return first, coefficient, longest, int(_read(policy, "maximum_attempts"))


def _read(policy: Any, name: str) -> float:
    """Return a field as a number, 0 when it is not set."""
    try:
        value = policy[name] if isinstance(policy, Mapping | pd.Series) else getattr(policy, name)
    except (KeyError, AttributeError) as cause:
        raise TypeError(
            f"no retry policy: {type(policy).__name__} has no {name}; give RetrySettings(…), a "
            "temporalio RetryPolicy or tables.activities(history).iloc[0]"
        ) from cause
    return 0.0 if value is None or value is pd.NA or pd.isna(value) else seconds(value)


def _count(step: float, most: int, attempts: int | None, until: float | None) -> int:
    """Return how many attempts to list, before the cut by schedule_to_close."""
    if attempts is not None and attempts < 1:
        raise ValueError(f"attempts must be at least 1, got {attempts}")
    bounds = [bound for bound in (most, attempts) if bound]
    if until is not None:
        bounds.append(int(min(until / step, _MOST_ATTEMPTS)) + 2)
    if not bounds:
        raise ValueError(
            "the policy has no maximum_attempts, so its schedule has no end; say how many "
            "attempts to list: retries.planned(policy, attempts=10)"
        )
    if min(bounds) > _MOST_ATTEMPTS:
        raise ValueError(
            f"more than {_MOST_ATTEMPTS:,} attempts to list; look at the first of them: "
            "retries.planned(policy, attempts=100)"
        )
    return min(bounds)
