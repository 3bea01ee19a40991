"""Rules about what happened: how activities ran, failed and timed out."""

from __future__ import annotations

from typing import Any

import pandas as pd

from projectai_lab.lint._rule import ACTIVITY, OURS, TIMEOUTS, Facts, Rule, rows, seconds

MANY_ATTEMPTS = 10
_DEFECTS = (
    *("ValueError", "TypeError", "KeyError", "IndexError", "AttributeError", "AssertionError"),
    *("NotImplementedError", "NameError", "ImportError", "ModuleNotFoundError", "SyntaxError"),
    *("ValidationError", "PayloadsTooLarge", "PermissionError", "NullPointerException"),
    *("IllegalArgumentException", "IllegalStateException", "UnsupportedOperationException"),
)


def _long(facts: Facts) -> pd.DataFrame:
    found = facts.activities
    # Of the last attempt, both ends by the server; there is no such time of a Local Activity.
    ran = (found["closed_time"] - found["last_started_time"]).dt.total_seconds()
    silent = found["heartbeat_timeout_s"].isna()
    return rows(found.assign(ran_s=ran), silent & (ran >= facts.long_s))


def _defects(facts: Facts) -> pd.DataFrame:
    found = facts.activities
    kind = found["end_type"].str.replace(r"^.*\.", "", regex=True)
    return rows(found, (found["attempts"] > 1) & kind.isin(_DEFECTS))


def _many(facts: Facts) -> pd.DataFrame:
    """Return activities of many attempts, with the failure that most of the known ones had."""
    found = rows(facts.activities, facts.activities["attempts"] >= MANY_ATTEMPTS)
    failures = facts.attempts.dropna(subset=["failure_type"])
    kinds = failures.groupby([*ACTIVITY, "failure_type"], observed=True).size()
    kinds = kinds.rename("same").reset_index().sort_values("same", ascending=False, kind="stable")
    known = failures.groupby(ACTIVITY).size().rename("known").reset_index()
    found = found.merge(kinds.drop_duplicates(ACTIVITY), on=ACTIVITY, how="left")
    return found.merge(known, on=ACTIVITY, how="left")


def _ended_by(facts: Facts, timeout: str) -> pd.DataFrame:
    return rows(facts.activities, facts.activities["end_timeout"] == timeout)


def _attempts_ended_by(facts: Facts, timeout: str) -> pd.DataFrame:
    """Return activities some attempts of which hit the timeout, as far as that is known."""
    hit = rows(facts.attempts, facts.attempts["timeout_type"] == timeout)
    counts = hit.groupby(ACTIVITY).size().rename("hits").reset_index()
    return facts.activities.merge(counts, on=ACTIVITY)


def _same(row: Any) -> str:
    if pd.isna(row.known):
        return f"{row.attempts} attempts"
    same = f"{row.same:.0f} of {row.known:.0f} known failures: {row.failure_type}"
    return f"{row.attempts} attempts; {same}"


RULES = (
    Rule(
        "schedule-to-start-timeout",
        "error",
        "no worker took the activity in time; the server does not retry that",
        "start a worker for its Task Queue (or more of them), and leave "
        "schedule_to_start_timeout out unless another queue takes over",
        "any",
        TIMEOUTS,
        lambda facts: _ended_by(facts, "SCHEDULE_TO_START"),
        lambda row: f"waited {seconds(row.total_s)} in Task Queue {row.task_queue}",
        "total_s",
    ),
    Rule(
        "no-heartbeat",
        "warning",
        "a long activity sends no heartbeats: a dead worker goes unnoticed, a cancel unheard",
        "heartbeat_timeout=timedelta(seconds=30), and activity.heartbeat() in the activity",
        "one attempt ran for long_s (60 s unless given)",
        f"{TIMEOUTS}; the limit is {OURS}",
        _long,
        lambda row: f"ran {seconds(row.ran_s)}",
        "ran_s",
    ),
    Rule(
        "retried-a-defect",
        "warning",
        "the failure looks like a defect, which no retry heals, and it was retried to the end",
        "raise ApplicationError(…, non_retryable=True), or name the type in "
        "RetryPolicy(non_retryable_error_types=[…])",
        f"closed after more than one attempt by {', '.join(_DEFECTS[:3])}, …",
        OURS,
        _defects,
        lambda row: f"{row.end_type} after {row.attempts} attempts",
        "attempts",
    ),
    Rule(
        "many-attempts",
        "warning",
        "an activity took many attempts",
        "plots.retries(attempts) shows them; bound them by maximum_attempts or "
        "schedule_to_close_timeout, or mend the cause",
        f"{MANY_ATTEMPTS} attempts",
        OURS,
        _many,
        _same,
        "attempts",
    ),
    Rule(
        "start-to-close-timeouts",
        "warning",
        "attempts ran into start-to-close: it is too short, or the work hangs, or the worker died",
        "raise start_to_close_timeout above the longest honest run, see "
        'latency.percentiles(activities, "exec_s", by="activity_type")',
        "any",
        TIMEOUTS,
        lambda facts: _attempts_ended_by(facts, "START_TO_CLOSE"),
        lambda row: f"{row.hits} cut off at {seconds(row.start_to_close_timeout_s)}",
        "hits",
    ),
    Rule(
        "heartbeat-timeouts",
        "warning",
        "attempts fell silent: heartbeats come too rarely, or the worker died",
        "call activity.heartbeat() at least twice in each heartbeat_timeout, or raise that",
        "any",
        TIMEOUTS,
        lambda facts: _attempts_ended_by(facts, "HEARTBEAT"),
        lambda row: f"{row.hits} silent for {seconds(row.heartbeat_timeout_s)}",
        "hits",
    ),
)
