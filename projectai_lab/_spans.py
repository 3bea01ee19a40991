"""Where each attempt stands on the time axis, for every picture that draws attempts as bars."""

from __future__ import annotations

import pandas as pd

_TIMES = (
    ("due", "attempt_scheduled_time"),
    ("start", "started_time"),
    ("end", "closed_time"),
)


def spans(attempts: pd.DataFrame, zero: pd.Timestamp | None = None) -> pd.DataFrame:
    """Add due, start and end in seconds, and one outcome; ordered by run, activity, attempt.

    Seconds count from `zero`, else from each run's first schedule.
    """
    frame = attempts.assign(run=pd.factorize(attempts["run_id"])[0])
    frame = frame.sort_values(["run", "scheduled_event_id", "attempt"], ignore_index=True)
    first = frame.groupby("run_id", sort=False)["attempt_scheduled_time"].transform("min")
    for name, column in _TIMES:
        frame[name] = (frame[column] - (first if zero is None else zero)).dt.total_seconds()
    frame["outcome"] = outcome(frame)
    # A function may outlive its timeout: then its run time does not tell when the attempt ended.
    ran = frame["worker_exec_s"].mask(frame["outcome"] == "TIMED_OUT")
    frame["end"] = frame["end"].fillna(frame["start"] + ran)
    activities = frame.groupby(["run_id", "scheduled_event_id"], sort=False)
    frame["ended_before"], frame["due_after"] = (
        activities["end"].shift(),
        activities["due"].shift(-1),
    )
    return frame


def outcome(frame: pd.DataFrame) -> pd.Series:
    """Return the server's verdict where it is known, else what is known of the attempt's end."""
    late = frame["late_report"].fillna(False).astype(bool)
    timed_out = late | frame["timeout_type"].notna() | (frame["time_quality"] == "inferred")
    worker = frame["worker_outcome"].astype(object).mask(timed_out, "TIMED_OUT")
    verdict = frame["server_outcome"].astype(object)
    return verdict.where(verdict.notna(), worker).fillna("UNKNOWN")
