"""The columns of what comes and goes: messages, Workflow Tasks, payloads."""

from __future__ import annotations

from temporalio.api.enums.v1 import WorkflowTaskFailedCause

from projectai_lab.tables._column import (
    EVENT_TYPES,
    FAILURE,
    OUTCOMES,
    RUN,
    TIMEOUT_TYPES,
    Table,
    count,
    enum,
    flag,
    span,
    text,
    time,
    words,
)

MESSAGE_KINDS = ("SIGNAL", "UPDATE", "EXTERNAL_SIGNAL", "EXTERNAL_CANCEL")
MESSAGE_STATUSES = (
    *("RECEIVED", "ADMITTED", "ACCEPTED", "REJECTED", "COMPLETED", "FAILED"),
    *("INITIATED", "DELIVERED"),
)
TASK_STATUSES = ("SCHEDULED", "STARTED", *OUTCOMES[:3])
CAUSES = words(WorkflowTaskFailedCause.items(), "WORKFLOW_TASK_FAILED_CAUSE_")
ROLES = (
    *("input", "result", "details", "failure", "memo", "header", "search_attribute"),
    *("user_metadata", "other"),
)

MESSAGES = Table(
    ("run_id", "event_id"),
    (
        *RUN,
        count("event_id", "first Event about it"),
        enum("kind", "received Signal, Update, or Signal or cancel request sent", *MESSAGE_KINDS),
        text("name", "name of Signal or Update"),
        text("message_id", "Update Id; Request Id of a received Signal"),
        enum(
            *("status", "state at the end of the history; FAILED: what it asked for ended so"),
            *MESSAGE_STATUSES,
        ),
        time("opened_time", "first Event: received, admitted, accepted, rejected or initiated"),
        time("accepted_time", "UpdateAccepted; NaT for all others"),
        time("closed_time", "when the Update ended, or the other run was reached or not"),
        span("lag_s", "closed_time − opened_time"),
        text("identity", "who sent what was received"),
        text("other_workflow_id", "Workflow Id of the target, or of the workflow that signaled"),
        text("other_run_id", "Run Id of that one; NA when none was named"),
        *FAILURE,
        count("input_bytes", "data bytes of the arguments; NA when the Event has none"),
        count("result_bytes", "data bytes of the Update's result"),
    ),
)

WORKFLOW_TASKS = Table(
    ("run_id", "scheduled_event_id"),
    (
        *RUN,
        count("scheduled_event_id", "Event that scheduled it"),
        count("started_event_id", "Event that started it; NA when it never was"),
        count("closed_event_id", "Event that closed it; NA while open"),
        text("task_queue", "Task Queue; the worker's own when is_sticky"),
        flag("is_sticky", "whether it went to the worker that has the run in its cache"),
        count("attempt", "attempt; those between the first and the last leave no Event"),
        enum("status", "state at the end of the history", *TASK_STATUSES),
        time("scheduled_time", "the Scheduled event"),
        time("started_time", "the Started event"),
        time("closed_time", "the closing event; NaT while open"),
        span("lag_s", "started_time − scheduled_time"),
        span("exec_s", "closed_time − started_time; NA where a reset closed it"),
        enum("failure_cause", "why it failed, in Temporal's word", *CAUSES),
        *FAILURE,
        enum("timeout_type", "which timeout fired", *TIMEOUT_TYPES),
        text("worker_identity", "worker that took it"),
        text("sdk_name", "SDK, where this task's report names it: at first and after a change"),
        text("sdk_version", "its version"),
        text("build_id", "Build Id of the worker, where it reports one"),
        count("history_size_bytes", "size of the history when it started, by the server"),
    ),
)

PAYLOADS = Table(
    ("run_id", "event_id", "number"),
    (
        *RUN,
        count("event_id", "Event that carries it"),
        enum("event_type", "type of the Event", *EVENT_TYPES),
        count("number", "number of the payload within its Event, from 1"),
        text("activity_type", "Activity Type, where the Event is about one"),
        enum("role", "what it is", *ROLES),
        text("field", "where in the Event, e.g. last_failure.application_failure_info.details"),
        text("name", "key within memo, header, search attributes or a Marker's details"),
        count("position", "position in a list of payloads, from 0"),
        text("encoding", "how it is encoded, e.g. json/plain"),
        text("message_type", "protobuf message that it holds, where named"),
        count("bytes", "data bytes"),
        text("sha256", "SHA-256 of the data bytes, in hex"),
        text("data", "its content as JSON text, redacted as asked; NA where not decoded"),
    ),
)
