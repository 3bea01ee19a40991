"""The workers of builds that the Lab's own worker has left behind, one a build.

They poll for a version of Worker Versioning, which only runs that are pinned to it are routed to.
"""

from __future__ import annotations

import hashlib
import time
import weakref
from collections.abc import Iterable
from typing import Any

from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

from projectai_lab.cells import _store
from projectai_lab.cells._cell import load, name_of
from projectai_lab.errors import LabError
from projectai_lab.lab import Lab
from projectai_lab.worker import BackgroundWorker
from projectai_lab.worker_spec import WorkerSpec

_OF_THE_OTHER_WORKER = ("ai", "process", "restarts", "identity", "build_id")
_LISTED_WITHIN_S = 10.0
_Workers = dict[str, tuple[BackgroundWorker, float]]
_WORKERS: weakref.WeakKeyDictionary[Lab, _Workers] = weakref.WeakKeyDictionary()
"""The workers that a Lab's pinned runs need, by build, and when each was last asked for."""


def why_not(lab: Lab, build: str) -> str:
    """Return why no worker of the build can be, "" where nothing is known against it."""
    if "deployment_config" in lab.worker_options():
        return "the Lab's worker has a deployment_config of its own"
    try:
        _spec(lab, build)
    except LabError as error:
        return f"the code of before does not start any more: {error}"
    return ""


def close_idle(lab: Lab) -> None:
    """Close the workers of builds that no open run is pinned to any more."""
    idle = set()
    for build, (_, asked) in workers(lab).items():
        version = f"{deployment(lab)}:{build}"
        query = f"TemporalWorkerDeploymentVersion = '{version}' AND ExecutionStatus = 'Running'"
        listed = time.monotonic() - asked > _LISTED_WITHIN_S
        if listed and not lab.count_workflows(query).count:
            idle.add(build)
    close(lab, idle)


def close(lab: Lab, builds: Iterable[str]) -> None:
    """Close the workers of these builds."""
    for build in builds:
        workers(lab).pop(build)[0].close()


def workers(lab: Lab) -> _Workers:
    """Return the Lab's workers of old builds, which close with it."""
    if lab not in _WORKERS:
        made = _WORKERS[lab] = {}

        def close_all() -> None:
            while made:
                made.popitem()[1][0].close()

        lab.before_close(close_all)
    return _WORKERS[lab]


def start(lab: Lab, build: str) -> None:
    """Start a worker of the build, unless one polls."""
    there = workers(lab)
    if build in there and there[build][0].status != "running":
        close(lab, [build])
    if build in there:
        worker = there[build][0]
    else:
        options = {"task_queue": lab.task_queue, "log": lab.attempts, **_options(lab, build)}
        worker = BackgroundWorker.start(lab.loop, lab.config, _spec(lab, build), **options)
    there[build] = worker, time.monotonic()


def _options(lab: Lab, build: str) -> dict[str, Any]:
    """Return the options of the Lab's own worker, for one of this build."""
    options = lab.worker_options()
    # Auto-Upgrade: a run whose override is taken away goes to the Lab's own worker.
    config = WorkerDeploymentConfig(
        WorkerDeploymentVersion(deployment(lab), build), True, VersioningBehavior.AUTO_UPGRADE
    )
    own = {name: one for name, one in options.items() if name not in _OF_THE_OTHER_WORKER}
    return {**own, "deployment_config": config}


def _spec(lab: Lab, build: str) -> WorkerSpec:
    """Return what a build ran; of a build of another kernel, what stands in no cell is of now."""
    assert lab.worker, "there is none to swap"
    if build in lab.specs:
        return lab.specs[build]
    spec, homes = lab.worker.spec, _store.modules_of(build) or {}
    for module in sorted({home for home in homes.values() if name_of(home)}):
        defined = WorkerSpec.of_module(load(module))
        names = [name for name, home in homes.items() if home == module]
        spec = spec.plus(
            [defined.workflows[name] for name in names if name in defined.workflows],
            [defined.activities[name] for name in names if name in defined.activities],
        )
    return spec


def deployment(lab: Lab) -> str:
    """Return a name for the Task Queue's builds: the queue's own may hold what none may hold."""
    return f"projectai-lab-cells-{hashlib.sha256(lab.task_queue.encode()).hexdigest()[:12]}"
