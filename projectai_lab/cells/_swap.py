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
from projectai_lab.cells import _builds, _pinned, _store
from projectai_lab.cells._cell import Cell, name_of
from projectai_lab.cells._pinned import OpenRun, OpenRuns
from projectai_lab.errors import CellError
from projectai_lab.lab import AnyWorker, Lab
from projectai_lab.worker_spec import WorkerSpec

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
    worker = _worker(lab)
    _keep_builds(lab)
    running: dict[str, Any] = {**worker.spec.workflows, **worker.spec.activities}
    new = {**cell.workflows, **cell.activities}
    _check_free(cell.name, new, running)
    open_runs = _pinned.look(lab, cell, upgrade=upgrade)
    same = worker.status == "running" and all(running.get(one) is new[one] for one in new)
    if same and not upgrade:
        return _unchanged(lab, cell, open_runs)
    if check:
        cell, refusal = _compared(lab, cell, stored, running, open_runs)
        refused = str(refusal or "")
        return _told(cell.with_outcome(checked_only=True, refused=refused), open_runs)
    with _pinned.prepared(lab, open_runs) as open_runs:
        cell, refusal = _compared(lab, cell, stored, running, open_runs)
        if refusal and not force:
            raise refusal
    return _swap(lab, cell, upgrade=upgrade)


def _worker(lab: Lab) -> AnyWorker:
    if lab.loop.closed:
        raise CellError("the Lab is closed: open a new one with Lab.open()")
    if not lab.worker:
        raise CellError("this Lab has no worker to swap: start one with lab.start_worker()")
    return lab.worker


def _keep_builds(lab: Lab, coming: Iterable[WorkerSpec] = ()) -> None:
    """Keep which modules the Lab's workers had, those too that were started by hand."""
    builds = lab.specs | {spec.build_id(): spec for spec in coming}
    for build, spec in builds.items():
        things = {**spec.workflows, **spec.activities}
        _store.keep_build(build, {name: thing.__module__ for name, thing in things.items()})


def _unchanged(lab: Lab, cell: Cell, open_runs: OpenRuns) -> Cell:
    """Return the cell as it runs already; what is pinned has its worker, or gets it back."""
    pinned = [run for run in open_runs.older if run.pinned]
    open_runs = OpenRuns(open_runs.every, pinned, {}).but(_pinned.start(lab, pinned))
    return _told(cell.with_outcome(unchanged=True), open_runs)


def _swap(lab: Lab, cell: Cell, *, upgrade: bool) -> Cell:
    # Again, as the replay took its time: other clients start runs too, and runs end.
    open_runs = _pinned.look(lab, cell, upgrade=upgrade)
    # First the workers of the old builds: no open run is to meet the new code in between.
    open_runs = open_runs.but(_pinned.keep(lab, open_runs.older))
    new = cell.workflows.values(), cell.activities.values()
    # Before it polls: a run that it carries is to be known, however this kernel ends.
    _keep_builds(lab, [_worker(lab).spec.plus(*new)])
    lab.add_to_worker(*new)
    failed = _pinned.release(lab, [run for run in open_runs.every if run not in open_runs.older])
    _builds.close_idle(lab)
    return _told(cell, open_runs.but(failed))


def _told(cell: Cell, open_runs: OpenRuns) -> Cell:
    """Return the cell with the open runs that go on with it, and those that keep their code."""
    others = [run for run in open_runs.every if run not in open_runs.older]
    return cell.with_outcome(
        open_runs=tuple(run.workflow_id for run in others),
        pinned=tuple(run.workflow_id for run in open_runs.older),
        not_pinned="; ".join(dict.fromkeys(open_runs.failed.values())),
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
    lab: Lab, cell: Cell, stored: str, running: Mapping[str, Any], open_runs: OpenRuns
) -> tuple[Cell, CellError | None]:
    """Return the cell with what the replay told, and the refusal where runs part with it.

    A run that failed, and that the new code does not fail there, is mended rather than parted with.
    """
    for workflow_type, code in cell.workflows.items():
        runs = _stored(lab, workflow_type, stored, open_runs.every)
        parted = _diverging(runs, code, running.get(workflow_type))
        mended = parted.event_type.eq("WORKFLOW_EXECUTION_FAILED").fillna(False)
        diverged = parted[~mended]
        cell = cell.with_outcome(
            replayed=len(runs) - len(parted),
            mended=tuple(parted[mended].workflow_id),
            diverged=tuple(diverged.workflow_id),
        )
        if not diverged.empty:
            return cell, _refusal(workflow_type, diverged, _after(diverged, open_runs))
    return cell, None


def _after(diverged: pd.DataFrame, open_runs: OpenRuns) -> str:
    """Return what would come of it with --force."""
    go_on = {run.run_id for run in open_runs.every} - {run.run_id for run in open_runs.older}
    if go_on & {*diverged.run_id}:
        return "open runs of the old way fail"
    return "new runs take the new way, and none of the old ones fails"


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
