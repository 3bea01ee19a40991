"""Put a cell's code in the place of what the worker runs, when the stored runs follow it."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from temporalio.client import WorkflowHistory

from projectai_lab import histories
from projectai_lab._replay import replay
from projectai_lab.cells import _pinned, _store
from projectai_lab.cells._cell import Cell, name_of
from projectai_lab.cells._pinned import OpenRun
from projectai_lab.errors import CellError
from projectai_lab.lab import Lab

# A worker of the Lab fails the run for any exception, and so must the replay of a run that failed.
# Not `Exception` itself: a run that parts would fail too, and the Replayer wait for ever.
_FAILURES = [
    one
    for one in vars(builtins).values()
    if isinstance(one, type) and issubclass(one, Exception) and one is not Exception
]
_FOLLOW: set[tuple[str, int, str]] = set()
"""Run Id, events and module of what was replayed well: it needs no second replay."""


def register(
    lab: Lab,
    cell: Cell,
    *,
    stored: str = "100",
    force: bool = False,
    check: bool = False,
    upgrade: bool = False,
) -> Cell:
    """Replay the stored runs against the cell, then swap the worker; return the cell with both.

    `stored` is how many of the newest runs on the server to replay, "none", or a file or folder of
    saved histories. Open runs keep the code that they started with, unless `upgrade`. Raises
    `CellError`, and changes nothing, for a name in use, and, unless `force`, for a run that does
    not follow the new code. `check` swaps nothing and refuses nothing: it says in the cell what
    would come of it.
    """
    if lab.loop.closed:
        raise CellError("the Lab is closed: open a new one with Lab.open()")
    if not lab.worker:
        raise CellError("this Lab has no worker to swap: start one with lab.start_worker()")
    running: dict[str, Any] = {**lab.worker.spec.workflows, **lab.worker.spec.activities}
    new = {**cell.workflows, **cell.activities}
    _check_free(cell.name, new, running)
    same = lab.worker.status == "running" and all(running.get(one) is new[one] for one in new)
    if same and not upgrade:
        return cell.with_outcome(unchanged=True)
    open_runs: list[OpenRun] = []
    older: list[OpenRun] = []
    failed: dict[OpenRun, str] = {}
    for workflow_type in cell.workflows:
        open_runs = _pinned.open_runs(lab, workflow_type)
        if not upgrade:
            older = _pinned.older(open_runs, workflow_type, cell.module)
            failed = _pinned.strangers(open_runs, workflow_type)
        fresh = set() if check else _pinned.prepare(lab, older)
        runs = _stored(lab, workflow_type, stored, open_runs)
        cell, refusal = _compared(cell, runs, running.get(workflow_type), older, open_runs)
        if refusal and check:
            cell = cell.with_outcome(refused=str(refusal))
        elif refusal and not force:
            _pinned.close(lab, fresh)
            raise refusal
    if check:
        return _told(cell.with_outcome(checked_only=True), open_runs, older, failed)
    # First the workers of the old builds: no open run is to meet the new code in between.
    failed |= _pinned.keep(lab, older)
    spec = lab.add_to_worker(cell.workflows.values(), cell.activities.values()).spec
    things = {**spec.workflows, **spec.activities}
    _store.keep_build(spec.build_id(), {name: thing.__module__ for name, thing in things.items()})
    failed |= _pinned.release(lab, [run for run in open_runs if run not in older])
    _pinned.close_idle(lab)
    return _told(cell, open_runs, older, failed)


def _told(
    cell: Cell,
    open_runs: Iterable[OpenRun],
    older: Iterable[OpenRun],
    failed: Mapping[OpenRun, str],
) -> Cell:
    """Return the cell with the open runs that go on with it, and those that keep their code."""
    kept = {run.workflow_id for run in older if run not in failed}
    return cell.with_outcome(
        open_runs=tuple(run.workflow_id for run in open_runs if run.workflow_id not in kept),
        pinned=tuple(kept),
        not_pinned="; ".join(dict.fromkeys(failed.values())),
    )


def _check_free(cell: str, new: Mapping[str, Any], running: Mapping[str, Any]) -> None:
    for name in new.keys() & running.keys():
        module = running[name].__module__
        owner = name_of(module)
        if owner != cell:
            by = f"cell {owner}" if owner else f"{module}.{running[name].__name__}"
            raise CellError(
                f"the name {name!r} is in use: the worker has it from {by}. Choose another, such "
                f'as @….defn(name="{name}2"), or run the cell under the name that it had'
            )


def _stored(
    lab: Lab, workflow_type: str, stored: str, open_runs: Iterable[OpenRun]
) -> list[WorkflowHistory]:
    """Return the histories to replay: of the open runs and the newest, or of files."""
    if stored == "none":
        return []
    if stored.isdecimal():
        named, queue = (one.replace("'", "''") for one in (workflow_type, lab.task_queue))
        query = f"WorkflowType = '{named}' AND TaskQueue = '{queue}'"
        newest = lab.list_workflows(query, limit=int(stored)) if int(stored) else []
        refs = [(run.workflow_id, run.run_id) for run in open_runs]
        refs += [(run.id, run.run_id) for run in newest]
        return list(lab.fetch_histories(list(dict.fromkeys(refs)), progress=False))
    if not Path(stored).exists():
        raise CellError(f'--histories takes a number, "none" or a path; there is no {stored!r}')
    return [run for run in histories.load_all(stored) if _type_of(run) == workflow_type]


def _type_of(run: WorkflowHistory) -> str:
    return run.events[0].workflow_execution_started_event_attributes.workflow_type.name


def _compared(
    cell: Cell,
    runs: list[WorkflowHistory],
    old: type | None,
    pinned: Iterable[OpenRun],
    open_runs: Iterable[OpenRun],
) -> tuple[Cell, CellError | None]:
    """Return the cell with what the replay told, and the refusal where runs part with it.

    A run that failed, and that the new code does not fail there, is mended rather than parted with.
    """
    ((workflow_type, code),) = cell.workflows.items()
    parted = _diverging(runs, code, old)
    mended = parted.event_type.eq("WORKFLOW_EXECUTION_FAILED").fillna(False)
    diverged = parted[~mended]
    cell = cell.with_outcome(
        replayed=len(runs) - len(parted),
        mended=tuple(parted[mended].workflow_id),
        diverged=tuple(diverged.workflow_id),
    )
    if diverged.empty:
        return cell, None
    break_ = {run.workflow_id for run in open_runs} - {run.workflow_id for run in pinned}
    after = (
        "open runs of the old way fail"
        if break_ & {*diverged.workflow_id}
        else "new runs take the new way, and none of the old ones fails"
    )
    return cell, _refusal(workflow_type, diverged, after)


def _diverging(runs: list[WorkflowHistory], new: type, old: type | None) -> pd.DataFrame:
    """Return the replay's rows of the runs that part with the new code and not with the old.

    What does not follow the code of now either is of an older time, and no reason to keep it.
    """
    fresh = [run for run in runs if _key(run, new) not in _FOLLOW]
    seen = replay(fresh, [new], workflow_failure_exception_types=_FAILURES)
    _FOLLOW.update(
        _key(run, new) for run, ok in zip(fresh, seen.ok, strict=True) if ok is not pd.NA and ok
    )
    parted = seen[seen.ok.eq(False).fillna(False)]
    if old is None or parted.empty:
        return parted
    again = [run for run in fresh if run.run_id in set(parted.run_id)]
    before = replay(again, [old], workflow_failure_exception_types=_FAILURES)
    return parted[parted.run_id.isin(before.run_id[before.ok.fillna(True)])]


def _key(run: WorkflowHistory, code: type) -> tuple[str, int, str]:
    return run.run_id, len(run.events), code.__module__


def _refusal(workflow_type: str, diverged: pd.DataFrame, after: str) -> CellError:
    first = diverged.iloc[0]
    more = f" ({len(diverged) - 1} more runs part with it too)" if len(diverged) > 1 else ""
    return CellError(
        f"{workflow_type} as it stands in this cell does not do what run "
        f"{first.workflow_id!r} did{more}. The first event that it does not follow is "
        f"{first.event_id}, {first.event_type}: {first.message}\n"
        "The worker goes on with the code of before. Put the change behind "
        'workflow.patched("…"), so that old runs keep the old way; or add --force to the '
        f"cell's first line, after which {after}",
        workflow_id=first.workflow_id,
        event_id=int(first.event_id),
        event_type=first.event_type,
    )
