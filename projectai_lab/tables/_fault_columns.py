"""The columns of injected faults: what a fault plan did, as the worker that did it wrote down."""

from __future__ import annotations

from projectai_lab.tables._column import (
    RUN,
    WORKER,
    Column,
    Table,
    count,
    enum,
    flag,
    span,
    text,
    time,
)

_FAULTS = (
    *RUN,
    text("activity_id", "Activity Id"),
    text("activity_type", "Activity Type"),
    count("attempt", "attempt that was struck, from 1"),
    text(
        "rule",
        "name of the rule, or what it strikes; of a plan without rules the field: fail_first, "
        "fail_probability, hang_first",
    ),
    enum(
        *("kind", "what was done to the attempt", "fail", "rate_limit", "hang", "delay"),
        *("drop_heartbeats", "kill_worker"),
    ),
    enum(
        "point",
        "before the activity's function ran, or after it and before its result was reported",
        "start",
        "end",
    ),
    Column("probability", "number", "with which the rule strikes an attempt that it is for"),
    text("error_type", "type of the failure; NA for a fault that is none"),
    flag("retryable", "whether that failure may be retried"),
    span("next_retry_delay_s", "the wait that it asked for in place of the policy's", ""),
    span("delay_s", "drawn length of a delay", ""),
    time("injected_time", "when the worker was about to do it", WORKER),
    text("worker_identity", "identity of the worker"),
)

FAULTS = Table(("run_id", "activity_id", "attempt", "rule", "injected_time"), _FAULTS)
