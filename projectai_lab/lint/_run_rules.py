"""Rules about whole runs: their length, their Workflow Tasks, their payloads and messages."""

from __future__ import annotations

from typing import Any

import pandas as pd

from projectai_lab.lint._rule import OURS, Facts, Rule, rows

KIB, MIB = 1024, 1024**2
MOST_EVENTS, MOST_BYTES = 51_200, 50 * MIB
WARN_EVENTS, WARN_BYTES = 10_240, 10 * MIB
MOST_PAYLOAD, WARN_PAYLOAD = 2 * MIB, 512 * KIB
MOST_SIGNALS, MOST_UPDATES = 10_000, 2_000
NEAR = 0.8
_DEFAULTS = "Temporal documentation, Self-hosted Temporal Service defaults"


def _lengths(facts: Facts) -> pd.DataFrame:
    runs = facts.executions
    events, size = runs["history_length"] / MOST_EVENTS, runs["history_size_bytes"] / MOST_BYTES
    return runs.assign(share=pd.concat([events, size], axis=1).max(axis=1).astype("float64"))


def _near_end(facts: Facts) -> pd.DataFrame:
    runs = _lengths(facts)
    return rows(runs, runs["share"] >= NEAR)


def _long(facts: Facts) -> pd.DataFrame:
    runs = _lengths(facts)
    long = (runs["history_length"] >= WARN_EVENTS) | (runs["history_size_bytes"] >= WARN_BYTES)
    return rows(runs, long & (runs["share"] < NEAR))


def _messages(facts: Facts) -> pd.DataFrame:
    runs = facts.executions
    shares = [runs["n_signals"] / MOST_SIGNALS, runs["n_updates"] / MOST_UPDATES]
    runs = runs.assign(share=pd.concat(shares, axis=1).max(axis=1).astype("float64"))
    return rows(runs, runs["share"] >= NEAR)


def _task_failures(facts: Facts) -> pd.DataFrame:
    """Return Workflow Tasks that failed by their code; a reset and new Events are no failures."""
    events = facts.events
    failed = events["event_type"] == "WORKFLOW_TASK_FAILED"
    message = events["failure_message"].fillna("")
    harmless = (events["failure_type"] == "ResetWorkflowFailure") | message.str.startswith(
        "UnhandledCommand"
    )
    return rows(events, failed & ~harmless)


def _is_nondeterminism(events: pd.DataFrame) -> pd.Series:
    message = events["failure_message"].fillna("") + events["failure_type"].fillna("")
    return message.str.contains("TMPRL1100|nondeterminis|non-determinis", case=False, regex=True)


def _nondeterminism(facts: Facts) -> pd.DataFrame:
    failed = _task_failures(facts)
    return failed[_is_nondeterminism(failed)]


def _failed(facts: Facts) -> pd.DataFrame:
    failed = _task_failures(facts)
    return failed[~_is_nondeterminism(failed)]


def _task_timeouts(facts: Facts) -> pd.DataFrame:
    events = facts.events
    late = events["timeout_type"] == "START_TO_CLOSE"
    return rows(events, (events["event_type"] == "WORKFLOW_TASK_TIMED_OUT") & late)


def _payloads(facts: Facts) -> pd.DataFrame:
    return rows(facts.events, facts.events["payload_bytes"] >= WARN_PAYLOAD)


def _length(row: Any) -> str:
    events, size = row.history_length, row.history_size_bytes
    return f"{events:,} of {MOST_EVENTS:,} events, {size / MIB:.3g} of {MOST_BYTES // MIB} MiB"


def _failure(row: Any) -> str:
    known = [row.failure_type, row.failure_message]
    words = ": ".join(str(part) for part in known if pd.notna(part)) or "failure not told"
    return words if len(words) <= 160 else f"{words[:159]}…"


RULES = (
    Rule(
        "history-near-limit",
        "error",
        "the server will terminate the run when its history reaches the limit",
        "workflow.continue_as_new(…) when workflow.info().is_continue_as_new_suggested()",
        f"{NEAR:.0%} of {MOST_EVENTS:,} events or {MOST_BYTES // MIB} MiB",
        f"{_DEFAULTS} (limit.historyCount.error, limit.historySize.error); the share is {OURS}",
        _near_end,
        _length,
        "share",
    ),
    Rule(
        "nondeterminism",
        "error",
        "the workflow's code no longer fits the history: the run is stuck until it does",
        "guard the change with workflow.patched(…), or deploy the old code again; replay saved "
        "histories before each deployment",
        "any",
        "Temporal documentation, TMPRL1100",
        _nondeterminism,
        _failure,
        "event_id",
    ),
    Rule(
        "history-long",
        "warning",
        "the history is long: each replay reads all of it, and the server warns",
        "workflow.continue_as_new(…) when workflow.info().is_continue_as_new_suggested()",
        f"{WARN_EVENTS:,} events or {WARN_BYTES // MIB} MiB",
        f"{_DEFAULTS} (limit.historyCount.warn, limit.historySize.warn)",
        _long,
        _length,
        "share",
    ),
    Rule(
        "workflow-task-failed",
        "warning",
        "Workflow Tasks failed: the workflow's code raised what is no failure of the workflow",
        "mend the code, the server tries again by itself; raise ApplicationError to fail the run",
        "any, resets and UnhandledCommand left out",
        "Temporal documentation, Workflow Task failures",
        _failed,
        _failure,
        "event_id",
    ),
    Rule(
        "workflow-task-timed-out",
        "warning",
        "a worker had a Workflow Task and did not answer in time",
        "no blocking calls, sleeps or long loops in workflow code: move them to an activity",
        "any start-to-close; those of a sticky Task Queue only tell that its worker went away",
        "Temporal documentation, Workflow Task timeout",
        _task_timeouts,
        lambda row: f"Event {row.event_id}",
        "event_id",
    ),
    Rule(
        "payload-large",
        "warning",
        "a payload is large: over 2 MiB the server refuses it",
        "store the data elsewhere and pass a reference, or compress it in a PayloadCodec",
        f"{WARN_PAYLOAD // KIB} KiB in one Event; the limit is {MOST_PAYLOAD // MIB} MiB a payload",
        f"{_DEFAULTS} (limit.blobSize.warn, limit.blobSize.error)",
        _payloads,
        lambda row: f"{row.payload_bytes / MIB:.2f} MiB in {row.event_type}",
        "payload_bytes",
    ),
    Rule(
        "messages-near-limit",
        "warning",
        "a run takes only so many Signals and Updates",
        "workflow.continue_as_new(…) before the limit; several messages in one Signal",
        f"{NEAR:.0%} of {MOST_SIGNALS:,} Signals or {MOST_UPDATES:,} Updates",
        f"{_DEFAULTS} (history.maximumSignalsPerExecution, history.maxTotalUpdates); "
        f"the share is {OURS}",
        _messages,
        lambda row: f"{row.n_signals:,} Signals, {row.n_updates:,} Updates",
        "share",
    ),
)
