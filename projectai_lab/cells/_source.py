"""The text that a Workflow Execution ran."""

from __future__ import annotations

from typing import Any

from IPython.display import Code
from temporalio.client import WorkflowHistory

from projectai_lab.cells import _store
from projectai_lab.errors import CellError
from projectai_lab.handle import LabWorkflowHandle


class _Text(Code):
    """Code whose letters stand below each other also where the page's style forgets it."""

    def _repr_html_(self) -> str:
        style = "<style>.lab-source pre{font-family:monospace}</style>"
        code = super()._repr_html_()  # type: ignore[no-untyped-call]
        return f'<div class="lab-source">{style}{code}</div>'


def source(run: LabWorkflowHandle[Any] | WorkflowHistory, *, event_id: int | None = None) -> Code:
    """Return the cell that a run's workflow code stood in, of its last Workflow Task.

    `event_id` asks for the code that was in charge at that event. The history names the build of
    the worker that completed each Workflow Task; the build's cells are kept on this machine, for
    this user, and outlive the kernel. Raises `CellError` for code of another origin. `.data` is
    the text.

    >>> cells.source(lab.get_workflow_handle("greet-1"))                       # doctest: +SKIP
    """
    history = run if isinstance(run, WorkflowHistory) else run.fetch_history()
    kind = history.events[0].workflow_execution_started_event_attributes.workflow_type.name
    builds = {
        event.event_id: event.workflow_task_completed_event_attributes.worker_version.build_id
        for event in history.events
        if event.HasField("workflow_task_completed_event_attributes")
    }
    until = [build for at, build in builds.items() if event_id is None or at <= event_id]
    if not until:
        raise CellError(f"no Workflow Task of {history.workflow_id!r} is completed: nothing ran")
    module = (_store.modules_of(until[-1]) or {}).get(kind, "")
    text = _store.text_of(module) if module.startswith(_store.PREFIX) else None
    if text is None:
        raise CellError(
            f"the code that ran {history.workflow_id!r} is of no cell that was run on this "
            f"machine: worker build {until[-1] or 'unknown'}, {module or 'module unknown'}"
        )
    return _Text(data=text, language="python")  # type: ignore[no-untyped-call]
