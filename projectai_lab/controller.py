"""`AIController`: the service layer; one AI request in, one `WorkflowOutput` out."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from typing import Any, Self

from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from projectai_lab import _waits
from projectai_lab._calls import explained, start
from projectai_lab._connect import connect, translated
from projectai_lab._loop import LazyLoop, LoopThread, Say, logger
from projectai_lab._troubles import FATAL, Trouble
from projectai_lab.client import LabClient, workflow_type_of
from projectai_lab.config import LabConfig
from projectai_lab.models import WorkflowInput, WorkflowOutput
from projectai_lab.workflows import ExampleWorkflow


class AIController:
    """Sends AI requests through Temporal, on a Lab, or on a connection of its own.

    >>> output = await AIController(lab).process_ai_request(data="summarise this", user_id="u-1")
    >>> output.success
    True
    """

    def __init__(self, lab: LabClient | LabConfig | None = None) -> None:
        if not isinstance(lab, LabClient | LabConfig | None):
            raise TypeError(f"AIController takes a Lab, a LabConfig or nothing, not {lab!r}")
        self._lab = lab if isinstance(lab, LabClient) else None
        self._config = lab if isinstance(lab, LabConfig) else None
        self._client: Client | None = self._lab.client if self._lab else None
        self._own_loop = LazyLoop("projectai-lab-controller")

    async def process_ai_request(
        self, *, data: Any, user_id: Any, idempotency_key: str | None = None, **options: Any
    ) -> WorkflowOutput:
        """Run one request to its end, from any event loop.

        A business failure is `success=False` with the reason. Trouble with the infrastructure (no
        server, no worker, a workflow that cannot run) raises a `LabError` within some 5 s; the
        execution is not lost. With an `idempotency_key` the same request (key, user and data) sent
        twice is one Workflow Execution. `options` are further fields of `WorkflowInput`.
        """
        request = WorkflowInput(data=data, user_id=user_id, **options)
        return await self._process(request, idempotency_key, logger.warning)

    def process_ai_request_blocking(
        self, *, data: Any, user_id: Any, idempotency_key: str | None = None, **options: Any
    ) -> WorkflowOutput:
        """Do the same from plain Python, Flask or Qt: wait in the calling thread."""
        request = WorkflowInput(data=data, user_id=user_id, **options)
        return self._loop().call(lambda say: self._process(request, idempotency_key, say))

    async def _process(self, request: WorkflowInput, key: str | None, say: Say) -> WorkflowOutput:
        client, config = await self._connected()
        if self._lab:
            kind = workflow_type_of(ExampleWorkflow.run)
            self._lab.check_start(kind, config.task_queue, request.faults)
        handle = await _start(client, config, request, _workflow_id(request, key))

        def on_trouble(trouble: Trouble) -> None:
            if error := FATAL.get(trouble.kind):
                raise error(
                    f"request {handle.id!r} cannot progress: {trouble.line}. It is not lost: "
                    f"{_how_to_resume(handle.id, key)}",
                    workflow_id=handle.id,
                )
            say(f"{handle.id}: {trouble.line}")

        with translated(client), explained(handle, None):
            return await _waits.result(client, handle, limit_s=math.inf, on_trouble=on_trouble)

    async def _connected(self) -> tuple[Client, LabConfig]:
        if self._lab:
            return self._lab.client, self._lab.config
        self._config = self._config or LabConfig.load()
        if self._client is None:
            self._client = await connect(self._config)
        return self._client, self._config

    def _loop(self) -> LoopThread:
        return self._lab.loop if self._lab else self._own_loop.get()

    def close(self) -> None:
        """End the thread of the blocking twin, if it was used without a Lab."""
        self._own_loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _workflow_id(request: WorkflowInput, key: str | None) -> str:
    if key is None:
        return f"ai-request-{uuid.uuid4().hex}"
    identity = json.dumps([request.user_id, key, request.data], default=repr)
    return f"ai-request-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"


def _how_to_resume(workflow_id: str, key: str | None) -> str:
    if key is None:
        return f"lab.get_workflow_handle({workflow_id!r}).result() waits for it again"
    return "send it again with the same idempotency_key to take it up"


async def _start(
    client: Client, config: LabConfig, request: WorkflowInput, workflow_id: str
) -> WorkflowHandle[Any, WorkflowOutput]:
    options = {
        "arg": request,
        "id": workflow_id,
        "task_queue": config.task_queue,
        "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
        "id_reuse_policy": WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
    }
    try:
        return await start(client, ExampleWorkflow.run, options)
    except WorkflowAlreadyStartedError:
        # It has ended already: its result is the answer to the same request.
        return client.get_workflow_handle_for(ExampleWorkflow.run, workflow_id)
