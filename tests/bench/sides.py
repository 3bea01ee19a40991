"""Run many executions through the Lab or by a plain SDK script, each side in its own process.

`python -m tests.bench.sides SIDE HOST:PORT` opens the side, then reads numbers from stdin, runs so
many executions and answers with the seconds they took.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import subprocess
import sys
import time
import uuid
from collections import deque
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from temporalio.client import Client, WorkflowHandle
from temporalio.worker import Worker

from projectai_lab import (
    FaultPlan,
    Lab,
    LabConfig,
    Latency,
    WorkflowInput,
    allow_nested_asyncio,
)
from projectai_lab.activities import process_ai_task, simulate_ai_call, validate_input
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.workflows import ExampleWorkflow

ROOT = Path(__file__).parents[2]
REQUEST = WorkflowInput("ping", "bench", faults=FaultPlan(latency=Latency(a=0)))
AT_ONCE = 10


class Side:
    """A process that runs executions its own way when told to."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        command = [sys.executable, "-m", "tests.bench.sides", name, address]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    def seconds(self, count: int) -> float:
        """Run so many executions; return the seconds from the first start to the last result."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the side {self.name!r} died; its last words are above")
        return float(answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Closes its input, which ends it, and waits for its end.
        self._process.__exit__(None, None, None)


def through_lab(lab: Lab, count: int) -> None:
    """Run executions by the Lab's blocking calls, some at once."""
    waiting: deque[LabWorkflowHandle[Any]] = deque()
    for _ in range(count):
        if len(waiting) == AT_ONCE:
            waiting.popleft().result()
        waiting.append(lab.start_workflow(ExampleWorkflow.run, REQUEST))
    for handle in waiting:
        handle.result()


async def through_sdk(client: Client, task_queue: str, count: int) -> None:
    """Run executions by the SDK's client, in the same pattern."""
    waiting: deque[WorkflowHandle[Any, Any]] = deque()
    for _ in range(count):
        if len(waiting) == AT_ONCE:
            await waiting.popleft().result()
        waiting.append(
            await client.start_workflow(
                ExampleWorkflow.run, REQUEST, id=f"sdk-{uuid.uuid4()}", task_queue=task_queue
            )
        )
    for handle in waiting:
        await handle.result()


def serve_lab(address: str, *, attempts: bool) -> None:
    """Be the Lab's side: its worker in the background thread, blocking calls here."""
    config = LabConfig(address=address, task_queue=f"bench-lab-{uuid.uuid4()}")
    with Lab.connect(config, attempts=attempts) as lab:
        for line in sys.stdin:
            began = time.perf_counter()
            through_lab(lab, int(line))
            print(time.perf_counter() - began, flush=True)


async def serve_sdk(address: str) -> None:
    """Be the plain script: one event loop with client and worker, the Lab's worker options."""
    client = await Client.connect(address)
    queue = f"bench-sdk-{uuid.uuid4()}"
    threads = concurrent.futures.ThreadPoolExecutor(100)
    async with Worker(
        client,
        task_queue=queue,
        workflows=[ExampleWorkflow],
        activities=[validate_input, simulate_ai_call, process_ai_task],
        activity_executor=threads,
        max_concurrent_activities=100,
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
        graceful_shutdown_timeout=timedelta(seconds=10),
        workflow_failure_exception_types=[Exception],
    ):
        while line := await asyncio.to_thread(sys.stdin.readline):
            began = time.perf_counter()
            await through_sdk(client, queue, int(line))
            print(time.perf_counter() - began, flush=True)


def main(side: str, address: str) -> None:
    """Be one side until stdin ends."""
    if side == "nested":
        allow_nested_asyncio()
    if side == "sdk":
        asyncio.run(serve_sdk(address))
    else:
        serve_lab(address, attempts=side != "bare")


if __name__ == "__main__":
    main(*sys.argv[1:])
