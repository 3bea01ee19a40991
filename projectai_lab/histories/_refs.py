"""What names a run: ids, pairs of ids, handles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

Ids = tuple[str, str | None]
"""A Workflow Id and a Run Id, None for the latest run."""


class Named(Protocol):
    """Anything that names a run: a workflow handle, or an execution out of a listing."""

    @property
    def id(self) -> str:
        """Workflow Id."""

    @property
    def run_id(self) -> str | None:
        """Run Id, None for the latest run."""


WorkflowRef = str | tuple[str, str | None] | Named
"""A Workflow Id, a Workflow Id and a Run Id, or a handle."""


def refs_of(query_or_ids: str | Iterable[WorkflowRef]) -> str | list[Ids]:
    """Return a List Filter as it is, and of anything else the ids."""
    if isinstance(query_or_ids, str):
        return query_or_ids
    if not isinstance(query_or_ids, Iterable):
        raise _no_ref(query_or_ids)
    return [_ids(ref) for ref in query_or_ids]


def _ids(ref: Any) -> Ids:
    if isinstance(ref, str):
        return ref, None
    if isinstance(ref, tuple) and len(ref) == 2:
        workflow_id, run_id = ref
    else:
        # A Lab's handle tells the run that it started; its own history is that of the latest run.
        ref = getattr(ref, "handle", ref)
        workflow_id, run_id = getattr(ref, "id", None), getattr(ref, "run_id", None)
    if not isinstance(workflow_id, str) or not isinstance(run_id, str | None):
        raise _no_ref(ref)
    return workflow_id, run_id


def _no_ref(got: Any) -> TypeError:
    return TypeError(
        "give a List Filter as text, or a list of Workflow Ids, (Workflow Id, Run Id) pairs or "
        f"handles; got {type(got).__name__}: {got!r:.100}"
    )
