"""Records the golden histories: run the data workflows on a real server, keep what they left.

Run it from the repository: python -m tests.data.record
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from projectai_lab import histories
from projectai_lab.attempts import AttemptLog, AttemptRecorder
from tests import data_workflows as kinds

HERE = Path(__file__).parent
TASK_QUEUE = "data-tasks"
IDENTITY = "worker@lab"
_FLAGS = (
    'history.timerProcessorMaxTimeShift="10ms"',
    "frontend.WorkflowTimeSkippingEnabled=true",
    "frontend.WorkflowPauseEnabled=true",
)


@asynccontextmanager
async def server() -> AsyncIterator[Client]:
    """Run a dev server on the fast clock and give a client of it."""
    beside = Path(sys.executable).with_name("temporal")
    args = [part for flag in _FLAGS for part in ("--dynamic-config-value", flag)]
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(beside) if beside.exists() else shutil.which("temporal"),
        dev_server_extra_args=args,
        identity="client@lab",
    ) as environment:
        yield environment.client


@asynccontextmanager
async def worker(
    client: Client, log: AttemptLog, task_queue: str = TASK_QUEUE
) -> AsyncIterator[None]:
    """Run a worker of the data workflows that writes every attempt down."""
    recorder = AttemptRecorder(log, IDENTITY)
    async with Worker(
        client,
        task_queue=task_queue,
        workflows=kinds.WORKFLOWS,
        activities=kinds.ACTIVITIES,
        identity=IDENTITY,
        interceptors=[recorder],
    ):
        yield
    recorder.close()


async def run_all(client: Client) -> list[histories.History]:
    """Run each data workflow once and return what `histories.fetch` finds."""
    await asyncio.gather(
        _run(client, kinds.CleanWorkflow, "clean"),
        _run(client, kinds.MixedWorkflow, "mixed"),
        _run(client, kinds.TimeoutsWorkflow, "timeouts"),
        _run_everything(client),
    )
    ids = ["clean", "mixed", "timeouts", "everything"]
    return await histories.fetch(client, ids, clock="fast")


async def _run(client: Client, kind: type, name: str) -> None:
    await client.execute_workflow(kind.__name__, id=name, task_queue=TASK_QUEUE)


async def _run_everything(client: Client) -> None:
    handle = await client.start_workflow(
        kinds.EverythingWorkflow.run, id="everything", task_queue=TASK_QUEUE
    )
    await handle.signal(kinds.EverythingWorkflow.tell, "a signal")
    await handle.execute_update(kinds.EverythingWorkflow.ask, "an update")
    try:
        await handle.result()
    except WorkflowFailureError:
        return


def _without_traces(node: dict[str, Any]) -> dict[str, Any]:
    """Leave out stack traces: they hold the paths of the machine that recorded them."""
    return {name: value for name, value in node.items() if name != "stackTrace"}


async def main(folder: Path = HERE) -> None:
    """Write one history a workflow, and the attempts of all of them."""
    with tempfile.TemporaryDirectory() as scratch:
        log = AttemptLog(scratch)
        async with server() as client, worker(client, log):
            runs = await run_all(client)
        records = log.records()
    for run in runs:
        path = histories.save(run, folder / f"{run.workflow_id}.json")
        clean = json.loads(path.read_text(), object_hook=_without_traces)
        path.write_text(json.dumps(clean, indent=1) + "\n")
    lines = (json.dumps({**record, "pid": 1, "host": "lab"}) for record in records)
    (folder / "attempts.jsonl").write_text("".join(f"{line}\n" for line in lines))


if __name__ == "__main__":
    asyncio.run(main())
