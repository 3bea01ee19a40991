"""What was observed against the retry policy, retry by retry and summed up."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from projectai_lab._frames import ATTEMPTS, names, need, one_clock

_ACTIVITY = ["run_id", "scheduled_event_id"]
_RETRY = [
    *("namespace", "workflow_id", "run_id", "scheduled_event_id", "activity_id", "activity_type"),
    *("attempt", "backoff_planned_s", "backoff_observed_s", "backoff_error_s"),
    *("dispatch_lag_s", "gap_s"),
]
_OUTCOMES = ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED")


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
