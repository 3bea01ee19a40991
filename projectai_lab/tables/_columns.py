"""What every column of every table holds: name, kind, clock and meaning, in table order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from temporalio.api.enums.v1 import EventType, ParentClosePolicy, RetryState, TimeoutType

SERVER, WORKER = "server", "worker"


class Column(NamedTuple):
    """One column: `kind` decides its dtype; `values` are the words of an enumeration, in order."""

    name: str
    kind: str
    meaning: str
    clock: str = ""
    values: tuple[str, ...] = ()


class Table(NamedTuple):
    """One table: its columns in order, and those that together name a row."""

    key: tuple[str, ...]
    columns: tuple[Column, ...]


def words(items: Iterable[tuple[str, int]], prefix: str) -> tuple[str, ...]:
    """Return the words of a protobuf enumeration by number, without prefix and UNSPECIFIED."""
    ordered = sorted(items, key=lambda item: item[1])
    return tuple(name.removeprefix(prefix) for name, number in ordered if number)


def _text(name: str, meaning: str) -> Column:
    return Column(name, "text", meaning)


def _count(name: str, meaning: str) -> Column:
    return Column(name, "count", meaning)


def _time(name: str, meaning: str, clock: str = SERVER) -> Column:
    return Column(name, "time", meaning, clock)


def _span(name: str, meaning: str, clock: str = SERVER) -> Column:
    return Column(name, "span", meaning, clock)


def _flag(name: str, meaning: str) -> Column:
    return Column(name, "flag", meaning)


def _enum(name: str, meaning: str, *values: str) -> Column:
    return Column(name, "enum", meaning, values=values)


EVENT_TYPES = words(EventType.items(), "EVENT_TYPE_")
RETRY_STATES = words(RetryState.items(), "RETRY_STATE_")
TIMEOUT_TYPES = words(TimeoutType.items(), "TIMEOUT_TYPE_")
OUTCOMES = ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED")
GROUPS = (
    *("workflow_execution", "workflow_task", "activity", "timer", "child_workflow", "signal"),
    *("update", "marker", "external_signal", "external_cancel", "nexus_operation"),
)

_RUN = (
    _text("namespace", "Namespace; NA when the history was loaded from a file that lacks it"),
    _text("workflow_id", "Workflow Id"),
    _text("run_id", "Run Id"),
)
_FAILURE = (
    _text("failure_type", "type of the failure below Temporal's wrappers, e.g. ValueError"),
    _text("failure_message", "message of that failure"),
)
_RETRY_STATE = _enum("retry_state", "why the server did not retry (further)", *RETRY_STATES)

_EXECUTIONS = (
    *_RUN,
    _text("workflow_type", "Workflow Type"),
    _text("task_queue", "Task Queue of the Workflow Tasks"),
    _enum(
        *("status", "state at the last event of the history", "RUNNING", "PAUSED", *OUTCOMES),
        *("TERMINATED", "CONTINUED_AS_NEW"),
    ),
    _time("start_time", "the Started event"),
    _time("execution_time", "start_time + first backoff: when the first Workflow Task was due"),
    _time("close_time", "the closing event; NaT while open"),
    _span("duration_s", "close_time − execution_time, as Temporal's ExecutionDuration"),
    _count("workflow_attempt", "attempt of the Workflow Execution under its own retry policy"),
    _text("parent_workflow_id", "Workflow Id of the parent"),
    _text("parent_run_id", "Run Id of the parent"),
    _text("root_workflow_id", "Workflow Id at the top of the tree of children"),
    _text("root_run_id", "Run Id at the top of the tree of children"),
    _text("first_run_id", "Run Id that began the chain of retries, Continue-As-New or cron"),
    _count("history_length", "number of events"),
    _count("history_size_bytes", "encoded size of the events here; the server's count is near"),
    _count("n_activities", "Activity Executions, local ones included"),
    _count("n_attempts", "sum of the attempts that history knows of"),
    _count("n_retries", "attempts after the first of each activity that history knows of"),
    _count("n_timers", "timers started"),
    _count("n_children", "Child Workflows initiated"),
    _count("n_signals", "Signals received"),
    _count("n_updates", "Updates accepted"),
    _count("n_workflow_tasks", "Workflow Tasks scheduled"),
    _count("n_workflow_task_failures", "Workflow Tasks that failed or timed out, where recorded"),
    *_FAILURE,
    _text("sdk_name", "SDK of the worker that reported last"),
    _text("sdk_version", "its version"),
    _span("skipped_s", "idle time that the server skipped (virtual clock); 0 when none"),
    _text("clock", "clock of the server: fast, default or virtual; NA when not known"),
)

_EVENTS = (
    *_RUN,
    _count("event_id", "Event Id; the order of the history (event_time is not monotone)"),
    _time("event_time", "when the server recorded it"),
    _enum("event_type", "type of the Event", *EVENT_TYPES),
    _enum("group_kind", "what the Event is about", *GROUPS),
    _count("group_id", "Event Id that opened the group, e.g. ActivityTaskScheduled"),
    _count("scheduled_event_id", "Event that scheduled it, as the Event itself names it"),
    _count("started_event_id", "Event that started it, as the Event itself names it"),
    _count("workflow_task_completed_event_id", "Workflow Task that asked for it"),
    _text("activity_id", "Activity Id, on every Event of its group"),
    _text("activity_type", "Activity Type, on every Event of its group"),
    _text("timer_id", "Timer Id"),
    _text("child_workflow_id", "Workflow Id of the child"),
    _text("signal_name", "Signal name"),
    _text("update_id", "Update Id"),
    _text("update_name", "Update name, on every Event of its group"),
    _text("marker_name", "Marker name"),
    _count("attempt", "attempt, where the Event carries one"),
    _text("identity", "who caused it: client or worker"),
    *_FAILURE,
    _enum("timeout_type", "which timeout fired", *TIMEOUT_TYPES),
    _RETRY_STATE,
    _count("payload_bytes", "data bytes of input, result and details; NA when the Event has none"),
    _span("since_start_s", "event_time − time of the Started event"),
)

_ACTIVITIES = (
    *_RUN,
    _count("scheduled_event_id", "Event that scheduled it; the Marker of a Local Activity"),
    _text("activity_id", "Activity Id"),
    _text("activity_type", "Activity Type"),
    _text("task_queue", "Task Queue"),
    _text("worker_identity", "worker of the last attempt that history knows of"),
    _flag("is_local", "whether it is a Local Activity; those have no server times"),
    _enum("status", "state at the end of the history", "PENDING", *OUTCOMES),
    _time("scheduled_time", "the Scheduled event"),
    _time("last_started_time", "the Started event, which is that of the last attempt"),
    _time("closed_time", "the closing event; NaT while PENDING"),
    _count("attempts", "attempts begun; NA when neither history nor recorder knows"),
    _span("initial_interval_s", "retry policy as the server resolved it: first backoff", ""),
    Column("backoff_coefficient", "number", "retry policy: factor from backoff to backoff"),
    _span("maximum_interval_s", "retry policy: longest backoff", ""),
    _count("maximum_attempts", "retry policy: most attempts; NA = no limit"),
    _text("non_retryable_types", "retry policy: failure types that end it, joined by ', '"),
    _span("schedule_to_close_timeout_s", "timeout over all attempts; NA = none", ""),
    _span("schedule_to_start_timeout_s", "timeout in the Task Queue; NA = none", ""),
    _span("start_to_close_timeout_s", "timeout of one attempt; NA = none", ""),
    _span("heartbeat_timeout_s", "longest silence between heartbeats; NA = none", ""),
    _span("total_s", "closed_time − scheduled_time = exec_s + backoff_s + queue_s + unattributed"),
    _span("exec_s", "part in attempts: the sum of what is known of each attempt's run time"),
    _span("backoff_s", "part between attempts: the sum of attempts.backoff_observed_s"),
    _span("queue_s", "part from due to handed out: the sum of attempts.dispatch_lag_s"),
    _span("unattributed_s", "rest of total_s: with history alone, all before the last attempt"),
    _span("planned_backoff_s", "sum of attempts.backoff_planned_s", ""),
    _count("failures", "attempts that failed or timed out; NA while PENDING"),
    _RETRY_STATE,
    _count("input_bytes", "data bytes of the arguments"),
    _count("result_bytes", "data bytes of the result"),
)

_ATTEMPTS = (
    *_RUN,
    _count("scheduled_event_id", "Event that scheduled the activity; the Marker of a local one"),
    _text("activity_id", "Activity Id"),
    _text("activity_type", "Activity Type"),
    _count("attempt", "attempt, from 1"),
    _flag("is_last", "whether the activity closed with it; NA when that is not known"),
    _time("attempt_scheduled_time", "when the attempt became due, backoff over"),
    _time("started_time", "when the server handed it to a worker"),
    _time(
        "closed_time",
        "the closing event; for an attempt in the middle known to have hit start-to-close: "
        "started_time + that timeout, a lower bound, since the server's timer fires late",
    ),
    _time("worker_started_time", "when the worker began the function", WORKER),
    _time("worker_finished_time", "when the function ended in the worker", WORKER),
    _span("dispatch_lag_s", "started_time − attempt_scheduled_time: timer lag + queueing"),
    _span("exec_s", "closed_time − started_time, both measured by the server"),
    _span("worker_exec_s", "run time of the function by the worker's monotonic clock", WORKER),
    _span(
        "gap_s",
        "from the end of the attempt before to started_time: the two started_times apart, less "
        "the run time of the attempt before; a few ms too long by its way to and from the worker, "
        "an upper bound where that attempt's closed_time is inferred",
    ),
    _span("backoff_planned_s", "what retry policy or next_retry_delay ask before this attempt", ""),
    _span("backoff_observed_s", "gap_s − dispatch_lag_s"),
    _span("backoff_error_s", "backoff_observed_s − backoff_planned_s"),
    _enum("server_outcome", "verdict of the server, where history has it", *OUTCOMES),
    _enum("worker_outcome", "how the function ended in the worker", *OUTCOMES),
    _flag("late_report", "whether the worker reported COMPLETED or FAILED after the timeout"),
    *_FAILURE,
    _enum("timeout_type", "which timeout fired", *TIMEOUT_TYPES),
    _text("worker_identity", "identity of the worker"),
    _enum(
        *("time_quality", "where the end of the attempt comes from"),
        *("measured_server", "measured_worker", "inferred", "unknown"),
    ),
    _enum("source", "who knew of it", "history", "recorder", "history+recorder"),
)

_TIMERS = (
    *_RUN,
    _count("started_event_id", "Event that started the timer"),
    _text("timer_id", "Timer Id"),
    _enum("status", "state at the end of the history", "PENDING", "FIRED", "CANCELED"),
    _time("started_time", "the TimerStarted event"),
    _time("closed_time", "when it fired or was canceled; NaT while PENDING"),
    _span("timeout_s", "what was asked for", ""),
    _span("elapsed_s", "closed_time − started_time"),
    _span("lag_s", "elapsed_s − timeout_s of a timer that fired"),
)

_CHILD_WORKFLOWS = (
    *_RUN,
    _count("initiated_event_id", "Event that initiated the child"),
    _text("child_namespace", "Namespace of the child"),
    _text("child_workflow_id", "Workflow Id of the child"),
    _text("child_run_id", "Run Id of the child; NA when it never started"),
    _text("child_workflow_type", "Workflow Type of the child"),
    _text("task_queue", "Task Queue of the child"),
    _enum(
        *("parent_close_policy", "what the parent's end does to the child"),
        *words(ParentClosePolicy.items(), "PARENT_CLOSE_POLICY_"),
    ),
    _enum(
        *("status", "state at the end of the parent's history", "INITIATED", "START_FAILED"),
        *("RUNNING", *OUTCOMES, "TERMINATED"),
    ),
    _time("initiated_time", "the Initiated event"),
    _time("started_time", "the Started event, in the parent's history"),
    _time("closed_time", "the closing event, in the parent's history"),
    _span("start_lag_s", "started_time − initiated_time"),
    _span("duration_s", "closed_time − started_time"),
    *_FAILURE,
    _RETRY_STATE,
)

TABLES = {
    "executions": Table(("run_id",), _EXECUTIONS),
    "events": Table(("run_id", "event_id"), _EVENTS),
    "activities": Table(("run_id", "scheduled_event_id"), _ACTIVITIES),
    "attempts": Table(("run_id", "scheduled_event_id", "attempt"), _ATTEMPTS),
    "timers": Table(("run_id", "started_event_id"), _TIMERS),
    "child_workflows": Table(("run_id", "initiated_event_id"), _CHILD_WORKFLOWS),
}
