"""What every sink needs: files that are whole or not there, runs in batches, records by run."""

from __future__ import annotations

import contextlib
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import pandas as pd
from temporalio.client import WorkflowHistory

from projectai_lab._atomic import replaced
from projectai_lab.errors import ExportError, TableError
from projectai_lab.histories._history import History
from projectai_lab.tables import Record

Histories = WorkflowHistory | Iterable[WorkflowHistory]
Records = Mapping[str, Sequence[Record]]
"""Attempt records by Run Id."""
BATCH_EVENTS = 50_000
_BATCH_BYTES = 64 * 2**20


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` at the end, on the disk, or else vanishes."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except (ConnectionError, TimeoutError):
        # These are the source's, not the disk's.
        raise
    except OSError as error:
        raise unwritable(path, error) from error


@contextlib.contextmanager
def whole_text(path: Path) -> Iterator[TextIO]:
    """Open such a file for text."""
    with whole(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        yield text
        text.flush()
        # Else the file would be closed with its wrapper, before it is whole.
        text.detach()


def unwritable(path: Path, error: OSError) -> ExportError:
    """Return the error of a path that cannot be written."""
    return ExportError(
        f"cannot write {path}: {error.strerror or error}; what was written before is whole: "
        "make room or choose a folder that you may write to, and call again",
        path=path,
    )


def batches(
    histories: Histories,
    events: int = BATCH_EVENTS,
    unless: Callable[[WorkflowHistory], bool] = lambda run: False,
) -> Iterator[list[WorkflowHistory]]:
    """Yield the runs in lists of so many events or 64 MiB, or as few more as the last run has.

    A run is taken once, and not without an event, nor where `unless` says so; TableError for
    anything but whole histories.
    """
    batch: list[WorkflowHistory] = []
    held = weight = 0
    for run in _each(histories):
        if unless(run):
            continue
        batch.append(run)
        held += len(run.events)
        weight += sum(event.ByteSize() for event in run.events)
        if held >= events or weight >= _BATCH_BYTES:
            yield batch
            batch, held, weight = [], 0, 0
    if batch:
        yield batch


def _each(histories: Histories) -> Iterator[History]:
    given: set[str] = set()
    # What is neither is named as what it is, like a wrong one among histories.
    for run in histories if isinstance(histories, Iterable) else [histories]:
        if not isinstance(run, WorkflowHistory):
            raise TableError(
                f"expected histories, found {type(run).__name__} among them; "
                "take what histories.load, lab.fetch_histories or handle.fetch_history() return"
            )
        if run.events:
            # As it is read back from a file, so that a reset run has one Run Id everywhere.
            own = run if isinstance(run, History) else History(run.workflow_id, run.events)
            if _run_id(own) not in given:
                given.add(own.run_id)
                yield own


def _run_id(run: History) -> str:
    try:
        found = run.run_id
    except RuntimeError:
        found = ""
    if not found:
        raise TableError(
            f"the history of Workflow Id {run.workflow_id!r} does not begin with "
            "WorkflowExecutionStarted, or that names no Run Id; fetch it whole",
            workflow_id=run.workflow_id,
        )
    return found


def by_run(recorder: Iterable[Record] | None) -> Records | None:
    """Return the records by their Run Id, so that a batch need not look through all of them."""
    if recorder is None:
        return None
    found: dict[str, list[Record]] = defaultdict(list)
    for one in recorder:
        if not isinstance(one, Mapping):
            raise TableError(
                f"recorder must yield attempt records, not {type(one).__name__}; "
                "pass recorder=lab.attempts"
            )
        if not isinstance(one.get("run_id"), str):
            raise TableError("recorder holds a record without run_id; pass recorder=lab.attempts")
        found[one["run_id"]].append(one)
    return dict(found)


def records_of(runs: Iterable[WorkflowHistory], records: Records | None) -> list[Record] | None:
    """Return the records of some runs; None where there never was a recorder."""
    if records is None:
        return None
    return [one for run in runs for one in records.get(run.run_id, ())]


def rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as plain values, None for NA."""
    plain = table.astype(object)
    return list(plain.where(plain.notna(), None).to_dict("records"))
