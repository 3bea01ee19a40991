"""What the explorer offers: the executions of a Lab, the one of a handle, or saved histories."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from temporalio.client import WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab import histories
from projectai_lab._connection import Connection
from projectai_lab.client import LabClient
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.histories import History

_WANTED = (
    "history_browser takes a Lab, a handle, a history, a list of histories or the path of saved "
    "ones; handle.fetch_history() makes a history, histories.save(history, path) a file"
)


@dataclasses.dataclass(frozen=True)
class Choice:
    """A run that can be opened; `key`, its Workflow Id and Run Id, tells it from the others."""

    key: tuple[str, str | None]
    label: str
    fetch: Callable[[], History]

    def left(self) -> Choice:
        """Return it as one that is chosen but no longer found."""
        return dataclasses.replace(self, label=f"no longer listed · {self.key[0]}")


class Found(NamedTuple):
    """The runs to choose from, and (path, reason) of each file that is no history."""

    choices: list[Choice]
    bad: list[tuple[str, str]]


class Source(NamedTuple):
    """Where runs come from: `find` takes a List Filter, which counts where `asks` is set."""

    connection: Connection | None
    find: Callable[[str], Found]
    asks: bool = False


def source_of(source: Any, limit: int) -> Source:
    """Return the source that a user names; raises TypeError or ValueError for what is none."""
    if isinstance(source, LabClient):
        return Source(source, partial(_listed, source, limit), asks=True)
    if isinstance(source, LabWorkflowHandle):
        seen = [source.run_id] if source.run_id else []
        return Source(source.connection, partial(_of_handle, source, seen))
    if isinstance(source, str) and not source.strip():
        # Path("") is the current folder, which nobody has named.
        raise ValueError(f"got {source!r}, which is no path; {_WANTED}")
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        return Source(None, lambda _: _in_files(path))
    given = _given([source] if isinstance(source, WorkflowHistory) else source)
    return Source(None, lambda _: Found(given, []))


def _listed(lab: LabClient, limit: int, query: str) -> Found:
    choices = [
        Choice(
            (run.id, run.run_id),
            f"{run.status.name if run.status else '?'} · {run.id} · {run.workflow_type}",
            lab.get_workflow_handle(run.id, run_id=run.run_id).fetch_history,
        )
        for run in lab.list_workflows(query, limit=limit)
    ]
    return Found(choices, [])


def _of_handle(handle: LabWorkflowHandle[Any], seen: list[str], _: str) -> Found:
    """Return the handle's run, or where it names none those that were the latest at a look."""
    if not handle.run_id:
        try:
            latest = handle.describe().run_id
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND or seen:
                raise
            return Found([Choice((handle.id, None), handle.id, partial(_raise, error))], [])
        if latest not in seen:
            seen.insert(0, latest)
    newer = ", the latest" if len(seen) > 1 else ""
    choices = [
        Choice(
            (handle.id, run),
            f"{handle.id} · run {run}{'' if n else newer}",
            _fetch_run(handle, run),
        )
        for n, run in enumerate(seen)
    ]
    return Found(choices, [])


def _fetch_run(handle: LabWorkflowHandle[Any], run_id: str) -> Callable[[], History]:
    """Return what fetches this run: the SDK's handle of a start fetches the latest of its id."""
    connection = handle.connection
    one = connection.client.get_workflow_handle(handle.id, run_id=run_id)
    return LabWorkflowHandle(connection, one).fetch_history


def _raise(error: Exception) -> History:
    raise error


def _in_files(path: Path) -> Found:
    good, bad = histories.scan(path)
    if not good:
        good = histories.load_all(path)
    rows = [(str(row.path), str(row.reason)) for row in bad.itertuples()]
    return Found(_given(good), rows)


def _given(source: Any) -> list[Choice]:
    if not isinstance(source, Iterable):
        raise TypeError(f"got {type(source).__name__}; {_WANTED}")
    found = list(source)
    if wrong := [one for one in found if not isinstance(one, WorkflowHistory)]:
        raise TypeError(f"got a list with {type(wrong[0]).__name__} in it; {_WANTED}")
    if not (found := [_ours(one) for one in found if one.events]):
        raise ValueError(f"there is no history with events in it; {_WANTED}")
    return [
        Choice((one.workflow_id, one.run_id), one.workflow_id, partial(_same, one)) for one in found
    ]


def _ours(one: WorkflowHistory) -> History:
    return one if isinstance(one, History) else History(one.workflow_id, one.events)


def _same(history: History) -> History:
    return history


def place_of(key: tuple[str, str | None], choices: list[Choice], before: int) -> int | None:
    """Return where a run stands now, at its old place where it can; None where it is gone."""
    places = [n for n, one in enumerate(choices) if one.key == key]
    return before if before in places else next(iter(places), None)


def why_not(error: Exception, chosen: Choice) -> str:
    """Return why a run cannot be shown, and what to do."""
    if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
        name, run_id = chosen.key
        return (
            f"Workflow Execution {name!r}{f', run {run_id},' if run_id else ''} is not at the "
            "server: it was deleted, or its Retention Period is over; choose another, or press "
            "Refresh"
        )
    return f"{in_words(error)}; press Refresh, or choose another"


def in_words(error: Exception) -> str:
    """Return an error's message with its notes."""
    return " ".join([str(error), *getattr(error, "__notes__", ())])
