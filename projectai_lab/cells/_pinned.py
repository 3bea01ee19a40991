"""Open runs keep the code that they started with: a worker of that build, and runs pinned to it.

Of Worker Versioning this takes what leaves the Task Queue's other work alone: the Lab's own worker
stays unversioned and no version is made current, so that new runs, other cells' runs and other
workers are routed as ever. Only the open runs of an edited cell get a versioning override, to a
version that one more worker of this Lab polls for; each Workflow Task names that build.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import time
import weakref
from collections.abc import Iterable
from typing import NamedTuple

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.deployment.v1 import WorkerDeploymentVersion as Version
from temporalio.api.workflow.v1 import VersioningOverride, WorkflowExecutionOptions
from temporalio.api.workflowservice.v1 import UpdateWorkflowExecutionOptionsRequest
from temporalio.client import WorkflowExecutionDescription, WorkflowExecutionStatus
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

from projectai_lab.cells import _store
from projectai_lab.errors import LabError
from projectai_lab.lab import Lab
from projectai_lab.worker import BackgroundWorker
from projectai_lab.worker_spec import WorkerSpec

_PINNED = VersioningOverride.PINNED_OVERRIDE_BEHAVIOR_PINNED
_AT_ONCE = 50
_REGISTERED_WITHIN_S = 10.0
_FIRST_TASK_WITHIN_S = 1.0
_OF_THE_OTHER_WORKER = ("ai", "process", "restarts", "identity", "build_id")
_LISTED_WITHIN_S = 10.0
_Workers = dict[str, tuple[BackgroundWorker, float]]
_WORKERS: weakref.WeakKeyDictionary[Lab, _Workers] = weakref.WeakKeyDictionary()
"""The workers of the builds that a Lab's open runs are pinned to, and when each was started."""


class OpenRun(NamedTuple):
    """An open run; `build` completed its last Workflow Task, or is what it is pinned to."""

    workflow_id: str
    run_id: str
    build: str
    pinned: bool


def open_runs(lab: Lab, workflow_type: str) -> list[OpenRun]:
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
        found = _open_run(run, _deployment(lab))
        # Its first Workflow Task is with the worker of now, which is then its code.
        begins = not found.build and run.raw_description.HasField("pending_workflow_task")
        if not begins or asyncio.get_running_loop().time() > deadline:
            return found
        await asyncio.sleep(0.02)


def _open_run(run: WorkflowExecutionDescription, deployment: str) -> OpenRun:
    info = run.raw_description.workflow_execution_info
    version = info.versioning_info.versioning_override.pinned.version
    pinned = version.deployment_name == deployment
    build = version.build_id if pinned else info.most_recent_worker_version_stamp.build_id
    return OpenRun(run.id, run.run_id, build, pinned)


def older(runs: Iterable[OpenRun], workflow_type: str, module: str) -> list[OpenRun]:
    """Return the runs that are carried by a cell of another text than that of `module`."""
    homes = {run: _home(run, workflow_type) for run in runs}
    return [run for run, home in homes.items() if home not in (None, module)]


def strangers(runs: Iterable[OpenRun], workflow_type: str) -> dict[OpenRun, str]:
    """Return the runs whose code this machine does not have, with the words for it."""
    words = "build {} that carried them is of no cell that was run on this machine"
    return {
        run: words.format(run.build)
        for run in runs
        if run.build and _home(run, workflow_type) is None
    }


def _home(run: OpenRun, workflow_type: str) -> str | None:
    return (_store.modules_of(run.build) or {}).get(workflow_type)


def prepare(lab: Lab, runs: Iterable[OpenRun]) -> set[str]:
    """Start the workers that `keep` will need, as the server takes a second to know of one.

    Returns the builds that had none before.
    """
    before = {*_workers(lab)}
    for build in {run.build for run in runs}:
        # `keep` starts it again, and tells what fails.
        with contextlib.suppress(LabError, ImportError):
            _start(lab, build)
    return {*_workers(lab)} - before


def keep(lab: Lab, runs: Iterable[OpenRun]) -> dict[OpenRun, str]:
    """Let the runs go on with their builds, each carried by a worker beside the Lab's own.

    Returns the runs that could not be kept, with the reason.
    """
    builds: dict[str, list[OpenRun]] = {}
    for run in runs:
        builds.setdefault(run.build, []).append(run)
    failed: dict[OpenRun, str] = {}
    for build, carried in builds.items():
        try:
            _start(lab, build)
            failed |= _pin(lab, [run for run in carried if not run.pinned], build)
        except (LabError, ImportError) as error:
            failed |= dict.fromkeys(carried, str(error))
    return failed


def release(lab: Lab, runs: Iterable[OpenRun]) -> dict[OpenRun, str]:
    """Let pinned runs go on with the Lab's own worker; return those that could not, and why."""
    return _pin(lab, [run for run in runs if run.pinned], None)


def close_idle(lab: Lab) -> None:
    """Close the workers of builds that no open run is pinned to any more."""
    idle = set()
    for build, (_, started) in _workers(lab).items():
        version = f"{_deployment(lab)}:{build}"
        query = f"TemporalWorkerDeploymentVersion = '{version}' AND ExecutionStatus = 'Running'"
        listed = time.monotonic() - started > _LISTED_WITHIN_S
        if listed and not lab.count_workflows(query).count:
            idle.add(build)
    close(lab, idle)


def close(lab: Lab, builds: Iterable[str]) -> None:
    """Close the workers of these builds."""
    for build in builds:
        _workers(lab).pop(build)[0].close()


def _workers(lab: Lab) -> _Workers:
    """Return the Lab's workers of old builds, which close with it."""
    if lab not in _WORKERS:
        workers = _WORKERS[lab] = {}

        def close_all() -> None:
            while workers:
                workers.popitem()[1][0].close()

        lab.before_close(close_all)
    return _WORKERS[lab]


def _start(lab: Lab, build: str) -> None:
    """Start a worker of the build, unless it is there."""
    workers = _workers(lab)
    if build in workers:
        return
    options = lab.worker_options()
    if "deployment_config" in options:
        raise LabError("the Lab's worker has a deployment_config of its own")
    # Auto-Upgrade: a run whose override is taken away goes to the Lab's own worker.
    options = {name: one for name, one in options.items() if name not in _OF_THE_OTHER_WORKER}
    options["deployment_config"] = WorkerDeploymentConfig(
        WorkerDeploymentVersion(_deployment(lab), build), True, VersioningBehavior.AUTO_UPGRADE
    )
    options |= {"task_queue": lab.task_queue, "log": lab.attempts}
    worker = BackgroundWorker.start(lab.loop, lab.config, _spec(lab, build), **options)
    workers[build] = worker, time.monotonic()


def _spec(lab: Lab, build: str) -> WorkerSpec:
    """Return what a build ran; what stands in none of its modules is that of now."""
    assert lab.worker, "there is none to swap"
    spec = lab.worker.spec
    if spec.build_id() == build:
        return spec
    for module in sorted({*(_store.modules_of(build) or {}).values()}):
        defined = WorkerSpec.of_module(importlib.import_module(module))
        spec = spec.plus(defined.workflows.values(), defined.activities.values())
    return spec


def _pin(lab: Lab, runs: list[OpenRun], build: str | None) -> dict[OpenRun, str]:
    """Pin runs to a build, or to none; return those that could not be, with the reason."""
    options = WorkflowExecutionOptions()
    if build:
        version = Version(deployment_name=_deployment(lab), build_id=build)
        options.versioning_override.pinned.behavior = _PINNED
        options.versioning_override.pinned.version.CopyFrom(version)
    limit = asyncio.Semaphore(_AT_ONCE)

    async def all_of_them() -> list[str]:
        async with asyncio.timeout(_REGISTERED_WITHIN_S + len(runs) / 10):
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
                await lab.client.workflow_service.update_workflow_execution_options(request)
        except RPCError as error:
            # The server hears of a new version by its worker's first poll, about a second later.
            known = "is not present in task queue" not in error.message
            if known or asyncio.get_running_loop().time() > deadline:
                return error.message
            await asyncio.sleep(0.05)
        else:
            return ""


def _deployment(lab: Lab) -> str:
    """Return a name for the Task Queue's builds: the queue's own may hold what none may hold."""
    return f"projectai-lab-cells-{hashlib.sha256(lab.task_queue.encode()).hexdigest()[:12]}"
