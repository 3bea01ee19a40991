"""The Events that close a run: the one list of them."""

from __future__ import annotations

from temporalio.api.enums.v1 import EventType

CLOSES = {
    EventType.Value(f"EVENT_TYPE_WORKFLOW_EXECUTION_{status}"): status
    for status in (
        *("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED", "TERMINATED", "CONTINUED_AS_NEW"),
    )
}
"""The event types after which no Event comes, and the status that each leaves."""
