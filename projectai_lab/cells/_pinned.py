"""Open runs keep the code that they started with: a worker of that build, and runs pinned to it.

Of Worker Versioning this takes what leaves the Task Queue's other work alone: the Lab's own worker
stays unversioned and no version is made current, so that new runs, other cells' runs and other
workers are routed as ever. Only the open runs of an edited cell get a versioning override, to a
version that one more worker of this Lab polls for; each Workflow Task names that build.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import NamedTuple

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentVersion as Version
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import UpdateWorkflowExecutionOptionsRequest
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab.cells import _builds, _store
from projectai_lab.cells._cell import Cell, name_of
from projectai_lab.errors import LabError
from projectai_lab.lab import Lab

_PINNED = VersioningOverride.PINNED_OVERRIDE_BEHAVIOR_PINNED
_AT_ONCE = 50
_REGISTERED_WITHIN_S = 10.0
_FIRST_TASK_WITHIN_S = 1.0
_ANSWER_WITHIN = timedelta(seconds=5)


class OpenRun(NamedTuple):
    """An open run; `build` completed its last Workflow Task, or is what it is pinned to.

    `module` is the cell that the build had the workflow from, "" where that is not known.
    """

    workflow_id: str
    run_id: str
    build: str
    module: str
    pinned: bool


class OpenRuns(NamedTuple):
    """The open runs of a cell's Workflow Type, at one look."""

    every: list[OpenRun]
    older: list[OpenRun]
    """Those that keep the code of another text."""
    failed: dict[OpenRun, str]
    """Those that would, but cannot, and why."""

    def but(self, failed: dict[OpenRun, str]) -> OpenRuns:
        """Return the same with what has failed since."""
        older = [run for run in self.older if run not in failed]
        return OpenRuns(self.every, older, self.failed | failed)


def look(lab: Lab, cell: Cell, *, upgrade: bool) -> OpenRuns:
    """Look at the open runs of the cell's type; with `upgrade` none keeps an older code."""
    every = [run for one in cell.workflows for run in _open_runs(lab, one)]
    other = [run for run in every if run.build and run.module != cell.module and not upgrade]
    whys = {
        build: _builds.why_not(lab, build) for build in {run.build for run in other if run.module}
    }
    unknown = "build {} that carried them is of no cell that was run on this machine"
    words = {run: whys.get(run.build, unknown.format(run.build)) for run in other}
    return OpenRuns(every, other, {}).but({run: why for run, why in words.items() if why})


def _open_runs(lab: Lab, workflow_type: str) -> list[OpenRun]:
    """Return the type's open runs on the Lab's Task Queue, those of the last moment too."""
    named, queue = (one.replace("'", "''") for one in (workflow_type, lab.task_queue))
    query = f"WorkflowType = '{named}' AND TaskQueue = '{queue}' AND ExecutionStatus = 'Running'"
    refs = [(run.id, run.run_id) for run in lab.list_workflows(query)]
    refs += [(run.id, str(run.run_id)) for run in lab.just_started()]
    limit = asyncio.Semaphore(_AT_ONCE)

    async def all_of_them() -> list[OpenRun | None]:
        looks = [_look(lab, workflow_type, limit, *ref) for ref in dict.fromkeys(refs)]
        return await asyncio.gather(*looks)

    return [run for run in lab.loop.run(all_of_them) if run]


async def _look(
    lab: Lab, workflow_type: str, limit: asyncio.Semaphore, workflow_id: str, run_id: str
) -> OpenRun | None:
    """Return what is known of a run, None where it is none of those that are asked for."""
    deadline = asyncio.get_running_loop().time() + _FIRST_TASK_WITHIN_S
    while True:
        try:
            async with limit:
                run = await lab.client.get_workflow_handle(workflow_id, run_id=run_id).describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return None
            raise
        where = run.status, run.workflow_type, run.task_queue
        if where != (WorkflowExecutionStatus.RUNNING, workflow_type, lab.task_queue):
            return None
        found = _open_run(lab, run)
        # Its first Workflow Task is with the worker of now, which is then its code.
        begins = not found.build and run.raw_description.HasField("pending_workflow_task")
        if not begins or asyncio.get_running_loop().time() > deadline:
            return found
        await asyncio.sleep(0.02)


def _open_run(lab: Lab, run: WorkflowExecutionDescription) -> OpenRun:
    info = run.raw_description.workflow_execution_info
    version = info.versioning_info.versioning_override.pinned.version
    pinned = version.deployment_name == _builds.deployment(lab)
    build = version.build_id if pinned else info.most_recent_worker_version_stamp.build_id
    module = (_store.modules_of(build) or {}).get(run.workflow_type, "")
    return OpenRun(run.id, run.run_id, build, module if name_of(module) else "", pinned)


@contextlib.contextmanager
def prepared(lab: Lab, runs: OpenRuns) -> Iterator[OpenRuns]:
    """Start the workers that `keep` will need, as the server takes a second to know of one.

    They go again where this raises; yields the runs without those that have none.
    """
    before = {*_builds.workers(lab)}
    try:
        yield runs.but(start(lab, runs.older))
    except BaseException:
        _builds.close(lab, {*_builds.workers(lab)} - before)
        raise


def start(lab: Lab, runs: Iterable[OpenRun]) -> dict[OpenRun, str]:
    """Have a worker for each build of the runs; return the runs that can have none, and why."""
    failed: dict[OpenRun, str] = {}
    for build, carried in _by_build(runs).items():
        try:
            _builds.start(lab, build)
        except LabError as error:
            failed |= dict.fromkeys(carried, str(error))
    return failed


def keep(lab: Lab, runs: Iterable[OpenRun]) -> dict[OpenRun, str]:
    """Let the runs go on with their builds, each carried by a worker beside the Lab's own.

    Returns the runs that could not be kept, with the reason.
    """
    failed = start(lab, runs)
    new = [run for run in runs if not run.pinned and run not in failed]
    for build, carried in _by_build(new).items():
        failed |= _pin(lab, carried, build)
    return failed


def _by_build(runs: Iterable[OpenRun]) -> dict[str, list[OpenRun]]:
    builds: dict[str, list[OpenRun]] = {}
    for run in runs:
        builds.setdefault(run.build, []).append(run)
    return builds


def release(lab: Lab, runs: Iterable[OpenRun]) -> dict[OpenRun, str]:
    """Let pinned runs go on with the Lab's own worker; return those that could not, and why."""
    return _pin(lab, [run for run in runs if run.pinned], None)


def _pin(lab: Lab, runs: list[OpenRun], build: str | None) -> dict[OpenRun, str]:
    """Pin runs to a build, or to none; return those that could not be, with the reason."""
    options = WorkflowExecutionOptions()
    if build:
        version = Version(deployment_name=_builds.deployment(lab), build_id=build)
        options.versioning_override.pinned.behavior = _PINNED
        options.versioning_override.pinned.version.CopyFrom(version)
    limit = asyncio.Semaphore(_AT_ONCE)

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(_override(lab, run, options, limit) for run in runs))

    failures = lab.loop.run(all_of_them)
    return {run: failure for run, failure in zip(runs, failures, strict=True) if failure}


async def _override(
    lab: Lab, run: OpenRun, options: WorkflowExecutionOptions, limit: asyncio.Semaphore
) -> str:
    """Set a run's versioning override; return why it could not be, "" where it is."""
    request = UpdateWorkflowExecutionOptionsRequest(
        namespace=lab.namespace,
        workflow_execution=WorkflowExecution(workflow_id=run.workflow_id, run_id=run.run_id),
        workflow_execution_options=options,
    )
    request.update_mask.paths.append("versioning_override")
    deadline = asyncio.get_running_loop().time() + _REGISTERED_WITHIN_S
    while True:
        try:
            async with limit:
                await lab.client.workflow_service.update_workflow_execution_options(
                    request, retry=True, timeout=_ANSWER_WITHIN
                )
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                # It has ended since the look, by the code that it was to keep.
                return ""
            # The server hears of a new version by its worker's first poll, about a second later.
            known = "is not present in task queue" not in error.message
            if known or asyncio.get_running_loop().time() > deadline:
                return error.message
            await asyncio.sleep(0.05)
        else:
            return ""
