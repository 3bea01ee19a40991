"""What every column of every table holds: name, kind, clock and meaning, in table order."""

from __future__ import annotations

from temporalio.api.enums.v1 import ParentClosePolicy

from projectai_lab._closes import CLOSES
from projectai_lab.tables._column import (
    EVENT_TYPES,
    GROUPS,
    OUTCOMES,
    RETRY_STATES,
    TIMEOUT_TYPES,
    WORKER,
    Column,
    Table,
    count,
    enum,
    flag,
    span,
    text,
    time,
    words,
)
from projectai_lab.tables._column import FAILURE as _FAILURE
from projectai_lab.tables._column import RUN as _RUN
from projectai_lab.tables._fault_columns import FAULTS
from projectai_lab.tables._load_columns import LOAD
from projectai_lab.tables._traffic_columns import MESSAGES, PAYLOADS, WORKFLOW_TASKS

_RETRY_STATE = enum("retry_state", "why the server did not retry (further)", *RETRY_STATES)

_EXECUTIONS = (
    *_RUN,
    text("workflow_type", "Workflow Type"),
    text("task_queue", "Task Queue of the Workflow Tasks"),
    enum(
        *("status", "state at the last event of the history", "RUNNING", "PAUSED"),
        *CLOSES.values(),
    ),
    time("start_time", "the Started event; of a reset run the reset, ~1 ms after the server's own"),
    time(
        "execution_time",
        "when the first Workflow Task was due: start_time + first backoff; of a reset run at once",
    ),
    time("close_time", "the closing event; NaT while open"),
    span("duration_s", "close_time − execution_time, as Temporal's ExecutionDuration"),
    count("workflow_attempt", "attempt of the Workflow Execution under its own retry policy"),
    text("parent_workflow_id", "Workflow Id of the parent"),
    text("parent_run_id", "Run Id of the parent"),
    text("root_workflow_id", "Workflow Id at the top of the tree of children"),
    text("root_run_id", "Run Id at the top of the tree of children"),
    text("first_run_id", "Run Id that began the chain of retries, Continue-As-New or cron"),
    count("history_length", "number of events"),
    count("history_size_bytes", "encoded size of the events here; the server's count is near"),
    count("n_activities", "Activity Executions, local ones included"),
    count("n_attempts", "sum of the attempts that history knows of"),
    count("n_retries", "attempts after the first of each activity that history knows of"),
    count("n_timers", "timers started"),
    count("n_children", "Child Workflows initiated"),
    count("n_signals", "Signals received"),
    count("n_updates", "Updates accepted"),
    count("n_workflow_tasks", "Workflow Tasks scheduled"),
    count("n_workflow_task_failures", "Workflow Tasks that failed or timed out, where recorded"),
    *_FAILURE,
    text("sdk_name", "SDK of the worker that reported last"),
    text("sdk_version", "its version"),
    span("skipped_s", "idle time that the server skipped (virtual clock); 0 when none"),
    text("clock", "clock of the server: fast, default or virtual; NA when not known"),
)

_EVENTS = (
    *_RUN,
    count("event_id", "Event Id; the order of the history (event_time is not monotone)"),
    time("event_time", "when the server recorded it"),
    enum("event_type", "type of the Event; OTHER: the SDK here does not know it", *EVENT_TYPES),
    count("event_type_number", "number of the type in Temporal's API"),
    enum("group_kind", "what the Event is about", *GROUPS),
    count("group_id", "Event Id that opened the group, e.g. ActivityTaskScheduled"),
    count("scheduled_event_id", "Event that scheduled it, as the Event itself names it"),
    count("started_event_id", "Event that started it, as the Event itself names it"),
    count("workflow_task_completed_event_id", "Workflow Task that asked for it"),
    text("activity_id", "Activity Id, on every Event of its group and a Local Activity's Marker"),
    text("activity_type", "Activity Type, on every Event of its group and that Marker"),
    text("timer_id", "Timer Id"),
    text("child_workflow_id", "Workflow Id of the child"),
    text("signal_name", "Signal name"),
    text("update_id", "Update Id"),
    text("update_name", "Update name, on every Event of its group"),
    text("marker_name", "Marker name"),
    text("change_id", "patch or change id, on the Marker of a version"),
    count("attempt", "attempt, where the Event carries one"),
    text("identity", "who caused it: client or worker"),
    *_FAILURE,
    enum("timeout_type", "which timeout fired", *TIMEOUT_TYPES),
    _RETRY_STATE,
    count("payload_bytes", "data bytes of input, result and details; NA when the Event has none"),
    span("since_start_s", "event_time − time of the Started event"),
)

_ACTIVITIES = (
    *_RUN,
    count("scheduled_event_id", "Event that scheduled it; the Marker of a Local Activity"),
    text("activity_id", "Activity Id"),
    text("activity_type", "Activity Type"),
    text("task_queue", "Task Queue"),
    text("worker_identity", "worker of the last attempt that history knows of"),
    flag("is_local", "whether it is a Local Activity; those have no server times"),
    enum("status", "state at the end of the history", "PENDING", *OUTCOMES),
    time("scheduled_time", "the Scheduled event"),
    time("last_started_time", "the Started event, which is that of the last attempt"),
    time("closed_time", "the closing event; NaT while PENDING"),
    count("attempts", "attempts begun; NA when neither history nor recorder knows"),
    span("initial_interval_s", "retry policy as the server resolved it: first backoff", ""),
    Column("backoff_coefficient", "number", "retry policy: factor from backoff to backoff"),
    span("maximum_interval_s", "retry policy: longest backoff", ""),
    count("maximum_attempts", "retry policy: most attempts; NA = no limit"),
    text("non_retryable_types", "retry policy: failure types that end it, joined by ', '"),
    span("schedule_to_close_timeout_s", "timeout over all attempts; NA = none", ""),
    span("schedule_to_start_timeout_s", "timeout in the Task Queue; NA = none", ""),
    span("start_to_close_timeout_s", "timeout of one attempt; NA = none", ""),
    span("heartbeat_timeout_s", "longest silence between heartbeats; NA = none", ""),
    span("total_s", "closed_time − scheduled_time = exec_s + backoff_s + queue_s + unattributed"),
    span("exec_s", "part in attempts: the sum of what is known of each attempt's run time"),
    span("backoff_s", "part between attempts: the sum of attempts.backoff_observed_s"),
    span("queue_s", "part from due to handed out: the sum of attempts.dispatch_lag_s"),
    span("unattributed_s", "rest of total_s: with history alone, all before the last attempt"),
    span("planned_backoff_s", "sum of attempts.backoff_planned_s", ""),
    count("failures", "attempts that failed or timed out; NA while PENDING"),
    _RETRY_STATE,
    count("input_bytes", "data bytes of the arguments"),
    count("result_bytes", "data bytes of the result"),
)

_ATTEMPTS = (
    *_RUN,
    count("scheduled_event_id", "Event that scheduled the activity; the Marker of a local one"),
    text("activity_id", "Activity Id"),
    text("activity_type", "Activity Type"),
    count("attempt", "attempt, from 1"),
    flag("is_last", "whether the activity closed with it; NA when that is not known"),
    enum(
        "state",
        "RUNNING: begun, and nothing tells that it is over; ENDED: server or worker says how; "
        "ABANDONED: its worker was never heard of again, or the run closed while it ran; NA: it "
        "is over, and nobody tells how",
        *("RUNNING", "ENDED", "ABANDONED"),
    ),
    time("attempt_scheduled_time", "when the attempt became due, backoff over"),
    time("started_time", "when the server handed it to a worker"),
    time(
        "closed_time",
        "the closing event, or the end that describe tells; where only known to have hit "
        "start-to-close: started_time + that timeout, a lower bound, since the timer fires late",
    ),
    time("worker_started_time", "when the worker began the function", WORKER),
    time("worker_finished_time", "when the function ended in the worker", WORKER),
    span("dispatch_lag_s", "started_time − attempt_scheduled_time: timer lag + queueing"),
    span("exec_s", "closed_time − started_time, both measured by the server"),
    span("worker_exec_s", "run time of the function by the worker's monotonic clock", WORKER),
    span(
        "gap_s",
        "from the end of the attempt before to started_time: started_time − its closed_time, an "
        "upper bound where that is inferred; where there is none, the two started_times apart, "
        "less its worker_exec_s: a few ms too long by its way to and from the worker",
    ),
    span("backoff_planned_s", "what retry policy or next_retry_delay ask before this attempt", ""),
    span("backoff_observed_s", "from the end of the attempt before to due: gap_s − dispatch_lag_s"),
    span("backoff_error_s", "backoff_observed_s − backoff_planned_s"),
    enum("server_outcome", "verdict of the server, where history or describe has it", *OUTCOMES),
    enum("worker_outcome", "how the function ended in the worker", *OUTCOMES),
    flag("late_report", "whether the worker reported COMPLETED or FAILED after the timeout"),
    *_FAILURE,
    enum("timeout_type", "which timeout fired", *TIMEOUT_TYPES),
    text("worker_identity", "identity of the worker"),
    enum(
        *("time_quality", "where the end of the attempt comes from"),
        *("measured_server", "measured_worker", "inferred", "unknown"),
    ),
    enum(
        "source",
        "who told of it: the history, the worker's recorder, describe while the activity was "
        "open; time_skip: history by its time skips alone; NA: only a later attempt's number",
        *("history", "recorder", "describe", "time_skip", "history+recorder", "history+describe"),
        *("recorder+describe", "history+recorder+describe"),
    ),
    text(
        "doubt",
        "what in the row contradicts what else is known, by more than 5 ms: clock_skew (worker and "
        "server), started_early (before due), overlap (before the end of the attempt before), "
        "out_of_order, sources_disagree; NA: nothing",
    ),
)

_TIMERS = (
    *_RUN,
    count("started_event_id", "Event that started the timer"),
    text("timer_id", "Timer Id"),
    enum("status", "state at the end of the history", "PENDING", "FIRED", "CANCELED"),
    time("started_time", "the TimerStarted event"),
    time("closed_time", "when it fired or was canceled; NaT while PENDING"),
    span("timeout_s", "what was asked for", ""),
    span("elapsed_s", "closed_time − started_time"),
    span("lag_s", "elapsed_s − timeout_s of a timer that fired"),
)

_CHILD_WORKFLOWS = (
    *_RUN,
    count("initiated_event_id", "Event that initiated the child"),
    text("child_namespace", "Namespace of the child"),
    text("child_workflow_id", "Workflow Id of the child"),
    text("child_run_id", "Run Id of the child; NA when it never started"),
    text("child_workflow_type", "Workflow Type of the child"),
    text("task_queue", "Task Queue of the child"),
    enum(
        *("parent_close_policy", "what the parent's end does to the child"),
        *words(ParentClosePolicy.items(), "PARENT_CLOSE_POLICY_"),
    ),
    enum(
        *("status", "state at the end of the parent's history", "INITIATED", "START_FAILED"),
        *("RUNNING", *OUTCOMES, "TERMINATED"),
    ),
    time("initiated_time", "the Initiated event"),
    time("started_time", "the Started event, in the parent's history"),
    time("closed_time", "the closing event, in the parent's history"),
    span("start_lag_s", "started_time − initiated_time"),
    span("duration_s", "closed_time − started_time"),
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
    "messages": MESSAGES,
    "workflow_tasks": WORKFLOW_TASKS,
    "payloads": PAYLOADS,
    "load": LOAD,
    "faults": FAULTS,
}
