"""The columns of a load: what a client intended, sent and saw, all on one clock of its own."""

from __future__ import annotations

from projectai_lab.tables._column import OUTCOMES, RUN, Table, count, enum, span, text

CLIENT = "client, monotonic"
LOAD_STATUSES = (*OUTCOMES, "TERMINATED", "RUNNING", "NOT_STARTED", "UNKNOWN")

LOAD = Table(
    ("workflow_id",),
    (
        *RUN,
        count("number", "place in the load, from 0"),
        count("client", "which client of a closed loop sent it, from 0; NA in an open loop"),
        span("intended_s", "when it was to be sent, since the load began", CLIENT),
        span("sent_s", "when the client began to send it; NA when it did not", CLIENT),
        span("accepted_s", "when the server's answer to the start was there", CLIENT),
        span("done_s", "when the run's end was seen, by a long poll for it", CLIENT),
        span("schedule_error_s", "sent_s − intended_s", CLIENT),
        span("latency_s", "done_s − intended_s: from the intended start", CLIENT),
        span("service_s", "done_s − sent_s: from the sending", CLIENT),
        enum(
            "status",
            "how it ended; RUNNING: the load ended first; NOT_STARTED: never sent, or refused; "
            "UNKNOWN: the server did not answer",
            *LOAD_STATUSES,
        ),
        text("error", "why it did not complete, as its client was told"),
    ),
)
