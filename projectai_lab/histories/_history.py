"""`History`: the SDK's history, and where it was made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.api.history.v1 import History as Events
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from projectai_lab._closes import CLOSES


class Later(Sequence[HistoryEvent]):
    """The events of a serialized history, parsed when first looked at."""

    def __init__(self, serialized: bytes) -> None:
        self._content: bytes | list[HistoryEvent] = serialized

    @property
    def _events(self) -> list[HistoryEvent]:
        content = self._content
        if isinstance(content, bytes):
            self._content = content = list(Events.FromString(content).events)
        return content

    @overload
    def __getitem__(self, index: int) -> HistoryEvent: ...
    @overload
    def __getitem__(self, index: slice) -> list[HistoryEvent]: ...
    def __getitem__(self, index: int | slice) -> HistoryEvent | list[HistoryEvent]:
        return self._events[index]

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[HistoryEvent]:
        return iter(self._events)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._events == list(other)

    def __repr__(self) -> str:
        return repr(self._events)


@dataclass(frozen=True, repr=False)
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

    @property
    def is_closed(self) -> bool:
        """Whether the run is closed, so that no Event can be added any more."""
        return bool(self.events) and self.events[-1].event_type in CLOSES

    def __hash__(self) -> int:
        # Equal histories are of one execution; events cannot be hashed.
        return hash(self.workflow_id)

    def __repr__(self) -> str:
        clock = f", clock {self.clock!r}" if self.clock else ""
        return f"<History of {self.workflow_id!r}, {len(self.events)} events{clock}>"
