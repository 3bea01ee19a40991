"""Rules about what was asked for: the timeouts and retry policies of activities.

The server shortens what it schedules: start-to-close and schedule-to-start to schedule-to-close,
the heartbeat timeout to start-to-close. So history shows as equal what was written as longer.
"""

from __future__ import annotations

import pandas as pd

from projectai_lab.lint._rule import OURS, TIMEOUTS, Facts, Rule, rows, seconds
from projectai_lab.retries import planned

LATE_S = 600.0
FLOORS_S = {"fast": 0.1, "default": 1.0, "virtual": 0.1}
"""Shortest wait that a clock keeps; a server whose clock is not known counts as "default"."""
_POLICY = ["initial_interval_s", "backoff_coefficient", "maximum_interval_s", "maximum_attempts"]
_MOST_PLANNED = 100_000
_RETRIES = "Temporal documentation, Retry Policies"


def _remote(facts: Facts) -> pd.DataFrame:
    return rows(facts.activities, ~facts.activities["is_local"])


def _retried(activities: pd.DataFrame) -> pd.Series:
    return activities["maximum_attempts"].isna() | (activities["maximum_attempts"] > 1)


def _late(facts: Facts) -> pd.DataFrame:
    found = _remote(facts)
    silent = found["heartbeat_timeout_s"].isna()
    return rows(found, silent & (found["start_to_close_timeout_s"] >= LATE_S))


def _no_room(facts: Facts) -> pd.DataFrame:
    found = _remote(facts)
    full = found["start_to_close_timeout_s"] >= found["schedule_to_close_timeout_s"]
    return rows(found, full & _retried(found))


def _heartbeat(facts: Facts) -> pd.DataFrame:
    found = _remote(facts)
    return rows(found, found["heartbeat_timeout_s"] >= found["start_to_close_timeout_s"])


def _planned(facts: Facts) -> pd.DataFrame:
    """Return activities with both limits; plan_s is the sum of all backoffs, plan_and_runs_s that
    and every attempt at its timeout."""
    found = _remote(facts)
    found = rows(
        found, (found["maximum_attempts"] > 1) & found["schedule_to_close_timeout_s"].notna()
    )
    kinds = found[_POLICY].drop_duplicates()
    sums = [
        float(planned(policy, attempts=_MOST_PLANNED)["cumulative_backoff_s"].iloc[-1])
        for policy in kinds.to_dict("records")
    ]
    found = found.merge(kinds.assign(plan_s=sums), on=_POLICY, how="left")
    runs = found["maximum_attempts"].astype("float64") * found["start_to_close_timeout_s"]
    return found.assign(plan_and_runs_s=found["plan_s"] + runs)


def _never_fit(facts: Facts) -> pd.DataFrame:
    found = _planned(facts)
    return rows(found, found["plan_s"] >= found["schedule_to_close_timeout_s"])


def _may_not_fit(facts: Facts) -> pd.DataFrame:
    found = _planned(facts)
    limit = found["schedule_to_close_timeout_s"]
    room = (found["plan_s"] < limit) & (found["start_to_close_timeout_s"] < limit)
    return rows(found, room & (found["plan_and_runs_s"] > limit))


def _below_floor(facts: Facts) -> pd.DataFrame:
    found = _remote(facts)
    floor = found["clock"].map(FLOORS_S).astype("float64").fillna(FLOORS_S["default"])
    found = found.assign(floor_s=floor, below_s=floor - found["initial_interval_s"])
    return rows(found, (found["below_s"] > 0) & _retried(found))


def _not_idempotent(facts: Facts) -> pd.DataFrame:
    found = facts.activities
    return rows(found, found["activity_type"].isin(facts.non_idempotent) & _retried(found))


def _unlimited(facts: Facts) -> pd.DataFrame:
    found = _remote(facts)
    endless = found["maximum_attempts"].isna() & found["schedule_to_close_timeout_s"].isna()
    return rows(found, endless & ~found["activity_type"].isin(facts.non_idempotent))


RULES = (
    Rule(
        "retries-never-fit",
        "error",
        "the backoffs alone outlast schedule-to-close, so the last attempts can never begin",
        "lower maximum_attempts or the intervals, or raise schedule_to_close_timeout; "
        "retries.planned(policy, schedule_to_close=…) lists what fits",
        "sum of backoffs ≥ schedule-to-close",
        _RETRIES,
        _never_fit,
        lambda row: (
            f"{row.maximum_attempts} attempts wait {seconds(row.plan_s)} in all, "
            f"schedule-to-close {seconds(row.schedule_to_close_timeout_s)}"
        ),
        "plan_s",
    ),
    Rule(
        "non-idempotent-retried",
        "error",
        "the policy repeats an activity that was declared as not idempotent",
        "retry_policy=RetryPolicy(maximum_attempts=1), or make it idempotent by a key made of "
        "activity.info().workflow_run_id and activity_id",
        "maximum_attempts ≠ 1",
        "Temporal documentation, Activity idempotency: an Activity runs at least once",
        _not_idempotent,
        lambda row: (
            "attempts without limit"
            if pd.isna(row.maximum_attempts)
            else f"up to {row.maximum_attempts} attempts"
        ),
        "attempts",
    ),
    Rule(
        "start-to-close-fills-schedule-to-close",
        "warning",
        "one attempt may use up schedule-to-close, so that a hanging one is never retried",
        "set start_to_close_timeout well under schedule_to_close_timeout",
        "start-to-close ≥ schedule-to-close (the server cuts it to equal)",
        TIMEOUTS,
        _no_room,
        lambda row: (
            f"start-to-close {seconds(row.start_to_close_timeout_s)}, "
            f"schedule-to-close {seconds(row.schedule_to_close_timeout_s)}"
        ),
        "start_to_close_timeout_s",
    ),
    Rule(
        "heartbeat-over-start-to-close",
        "warning",
        "the heartbeat timeout is not shorter than start-to-close, so it never fires first",
        "set heartbeat_timeout to a few heartbeats, well under start_to_close_timeout",
        "heartbeat ≥ start-to-close (the server cuts it to equal)",
        TIMEOUTS,
        _heartbeat,
        lambda row: (
            f"heartbeat {seconds(row.heartbeat_timeout_s)}, "
            f"start-to-close {seconds(row.start_to_close_timeout_s)}"
        ),
        "heartbeat_timeout_s",
    ),
    Rule(
        "retries-may-not-fit",
        "hint",
        "if attempts run to their timeout, schedule-to-close ends before maximum_attempts",
        "nothing, if schedule-to-close is meant as the bound; else raise it",
        "maximum_attempts × start-to-close + backoffs > schedule-to-close",
        _RETRIES,
        _may_not_fit,
        lambda row: (
            f"{row.maximum_attempts} attempts of {seconds(row.start_to_close_timeout_s)} and "
            f"their backoffs make {seconds(row.plan_and_runs_s)}, "
            f"schedule-to-close {seconds(row.schedule_to_close_timeout_s)}"
        ),
        "plan_and_runs_s",
    ),
    Rule(
        "late-notice-of-a-dead-worker",
        "hint",
        "without heartbeats a worker's death is noticed only at start-to-close",
        "heartbeat_timeout=timedelta(seconds=30) and activity.heartbeat() in the activity, or a "
        "shorter start_to_close_timeout",
        f"start-to-close ≥ {LATE_S:g} s, no heartbeat timeout",
        OURS,
        _late,
        lambda row: f"start-to-close {seconds(row.start_to_close_timeout_s)}",
        "start_to_close_timeout_s",
    ),
    Rule(
        "backoff-below-timer-floor",
        "hint",
        "the first backoff is shorter than the server's timers can wait",
        "initial_interval of a second or more; in a Lab: Lab.open(clock='fast')",
        "first backoff < 1 s, on the fast clock < 0.1 s",
        "measured; the server's history.timerProcessorMaxTimeShift is 1 s by default",
        _below_floor,
        lambda row: (
            f"first backoff {seconds(row.initial_interval_s)}, floor {seconds(row.floor_s)} "
            f"(clock {'not known' if pd.isna(row.clock) else row.clock})"
        ),
        "below_s",
    ),
    Rule(
        "unlimited-retries",
        "hint",
        "neither maximum_attempts nor schedule-to-close ends the retries",
        "schedule_to_close_timeout=…, so that somebody hears of it when it never succeeds",
        "neither limit set",
        f"{_RETRIES}: the default policy has no limit",
        _unlimited,
        lambda row: "no limit",
        "attempts",
    ),
)
