"""`History`: the SDK's history, and where it was made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import WorkflowHistory


@dataclass(frozen=True)
class History(WorkflowHistory):
    """The SDK's history, and where it was made.

    `clock` is that of the server: "fast", "default" or "virtual"; None when not known.
    """

    namespace: str | None = None
    clock: str | None = None

    @cached_property
    def run_id(self) -> str:
        """Run Id; after a reset that of the new run, where the SDK names the run before."""
        for event in reversed(self.events):
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                failed = event.workflow_task_failed_event_attributes
                reset = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
                if failed.cause == reset and failed.new_run_id:
                    return failed.new_run_id
        return WorkflowHistory(self.workflow_id, self.events).run_id
