"""Workflows that leave every kind of event that a server here can make, and what runs them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import (
    PauseWorkflowExecutionRequest,
    ResetWorkflowExecutionRequest,
    UnpauseWorkflowExecutionRequest,
)
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleSpec,
    WorkflowExecutionDescription,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError, FailureError

from projectai_lab import histories
from projectai_lab.histories import History

QUEUE = "zoo"
SECOND = timedelta(seconds=1)
ONCE = RetryPolicy(maximum_attempts=1)
TWICE = RetryPolicy(initial_interval=0.2 * SECOND, maximum_attempts=2)


@activity.defn
async def say(text: str) -> str:
    """Return the text."""
    return text


@activity.defn
async def stumble(times: int) -> int:
    """Fail the first times."""
    if activity.info().attempt <= times:
        raise ApplicationError("not yet", "a detail", type="Stumbled")
    return activity.info().attempt


@activity.defn
async def oversleep(seconds: float) -> None:
    """Sleep without a heartbeat."""
    await asyncio.sleep(seconds)


@activity.defn
async def doze_off() -> None:
    """Fail at once, then sleep."""
    if activity.info().attempt == 1:
        raise ApplicationError("again", type="Stumbled")
    await asyncio.sleep(4)


@workflow.defn
class Timeouts:
    """Activities that meet each of the four timeouts."""

    @workflow.run
    async def run(self) -> None:
        """Run them at once."""
        short, long = 0.4 * SECOND, 20 * SECOND
        await asyncio.gather(
            self.fails(oversleep, 1.0, start_to_close_timeout=short, retry_policy=ONCE),
            self.fails(
                oversleep, 1.5, start_to_close_timeout=long, heartbeat_timeout=short,
                retry_policy=ONCE,
            ),
            self.fails(
                say, "?", schedule_to_start_timeout=short, start_to_close_timeout=long,
                task_queue="nobody-polls-this",
            ),
            self.fails(
                doze_off, schedule_to_close_timeout=3 * SECOND, start_to_close_timeout=long,
                retry_policy=TWICE,
            ),
        )  # fmt: skip

    async def fails(self, *call: Any, **options: Any) -> None:
        """Run an activity that does not end well."""
        try:
            await workflow.execute_activity(*call, **options)
        except FailureError:
            return


@workflow.defn
class Locals:
    """Local Activities that succeed, fail, time out, and wait for a timer before a retry."""

    @workflow.run
    async def run(self) -> int:
        """Run one after the other, behind a patch."""
        if workflow.patched("new-way"):
            await workflow.execute_local_activity(say, "hi", start_to_close_timeout=SECOND)
        workflow.deprecate_patch("old-way")
        for name, argument, policy in (("stumble", 9, TWICE), ("oversleep", 1.0, ONCE)):
            try:
                await workflow.execute_local_activity(
                    name, argument, start_to_close_timeout=0.3 * SECOND, retry_policy=policy
                )
            except FailureError:
                continue
        return await workflow.execute_local_activity(
            stumble, 2, start_to_close_timeout=SECOND, retry_policy=RetryPolicy(
                initial_interval=SECOND), local_retry_threshold=0.5 * SECOND
        )  # fmt: skip


@workflow.defn
class Chain:
    """Continues as new until the count is used up."""

    @workflow.run
    async def run(self, more: int) -> int:
        """Go on, or end."""
        await workflow.execute_activity(say, str(more), start_to_close_timeout=SECOND)
        if more:
            workflow.continue_as_new(more - 1, memo={"left": more})
        return more


@workflow.defn
class Talk:
    """Takes Signals and Updates until told to stop."""

    def __init__(self) -> None:
        self.stopped = False

    @workflow.run
    async def run(self) -> None:
        """Wait for `stop`, with a timer that will be canceled."""
        await workflow.wait_condition(lambda: self.stopped, timeout=60 * SECOND)
        await workflow.wait_condition(workflow.all_handlers_finished)

    @workflow.signal
    def stop(self, reason: str) -> None:
        """End."""
        self.stopped = bool(reason)

    @workflow.update
    async def double(self, number: int) -> int:
        """Return twice the number, after an activity; fail for 13."""
        if number == 13:
            raise ApplicationError("unlucky", type="Superstition")
        await workflow.execute_activity(say, "hm", start_to_close_timeout=SECOND)
        return 2 * number

    @double.validator
    def positive(self, number: int) -> None:
        """Refuse negative numbers."""
        if number < 0:
            raise ValueError("only up")


@workflow.defn
class Idle:
    """Waits for a cancel, or for ever."""

    @workflow.run
    async def run(self) -> None:
        """Wait."""
        await workflow.sleep(3600)


@workflow.defn
class Family:
    """Starts children, signals and cancels others, and changes what is stored of itself."""

    @workflow.run
    async def run(self, friend: str) -> None:
        """Do each once."""
        workflow.upsert_memo({"mood": "good"})
        own = workflow.info().workflow_id
        await workflow.execute_child_workflow(Chain.run, 1, id=f"{own}-chain")
        child = await workflow.start_child_workflow(Idle.run, id=f"{own}-idle")
        child.cancel()
        late = workflow.execute_child_workflow(Idle.run, id=f"{own}-late", execution_timeout=SECOND)
        taken = workflow.start_child_workflow(Idle.run, id=friend)
        # A server refuses one task that both starts a workflow and cancels it.
        await asyncio.gather(child, late, taken, return_exceptions=True)
        other = workflow.get_external_workflow_handle(friend)
        nobody = workflow.get_external_workflow_handle("nobody-here")
        calls = (
            *(other.signal("stop", "bye"), nobody.signal("stop", "bye")),
            *(other.cancel(), nobody.cancel()),
        )
        await asyncio.gather(*calls, return_exceptions=True)


WORKFLOWS = [Chain, Family, Idle, Locals, Talk, Timeouts]
ACTIVITIES: list[Callable[..., Any]] = [doze_off, oversleep, say, stumble]


async def run_zoo(
    client: Client,
) -> tuple[dict[str, History], dict[str, WorkflowExecutionDescription]]:
    """Run every animal and return the histories and descriptions by name, some with two runs."""
    makers = (
        *(_plain(Timeouts.run), _plain(Locals.run), _chain, _talk, _family, _canceled),
        *(_terminated, _timed_out, _reset, _scheduled, _paused),
    )
    handles = {
        name: handle
        for found in await asyncio.gather(*(make(client) for make in makers))
        for name, handle in found.items()
    }
    runs, told = {}, {}
    for name, handle in handles.items():
        told[name] = await handle.describe()
        (runs[name],) = await histories.fetch(
            client, [(handle.id, told[name].run_id)], clock="fast"
        )
    return runs, told


Handles = dict[str, WorkflowHandle[Any, Any]]


async def _start(client: Client, run: Any, *args: Any, **options: Any) -> WorkflowHandle[Any, Any]:
    name = f"zoo-{uuid.uuid4().hex[:8]}"
    return await client.start_workflow(run, args=args, id=name, task_queue=QUEUE, **options)


async def _ended(handle: WorkflowHandle[Any, Any]) -> WorkflowHandle[Any, Any]:
    try:
        await handle.result(follow_runs=False)
    except WorkflowFailureError:
        return handle
    return handle


def _plain(run: Any) -> Callable[[Client], Awaitable[Handles]]:
    async def make(client: Client) -> Handles:
        return {run.__qualname__.split(".")[0].lower(): await _ended(await _start(client, run))}

    return make


async def _chain(client: Client) -> Handles:
    first = await _start(client, Chain.run, 1, memo={"left": 1})
    await first.result()
    last = client.get_workflow_handle(first.id)
    whole = client.get_workflow_handle(first.id, run_id=first.result_run_id)
    return {"chain-first": whole, "chain-last": last}


async def _talk(client: Client) -> Handles:
    handle = await _start(client, Talk.run)
    assert await handle.execute_update(Talk.double, 4) == 8
    for number in (13, -1):
        try:
            await handle.execute_update(Talk.double, number)
        except WorkflowUpdateFailedError:
            continue
    await handle.signal(Talk.stop, "enough")
    return {"talk": await _ended(handle)}


async def _family(client: Client) -> Handles:
    friend = await _start(client, Idle.run)
    family = await _ended(await _start(client, Family.run, friend.id))
    return {"family": family, "friend": await _ended(friend)}


async def _canceled(client: Client) -> Handles:
    handle = await _start(client, Idle.run)
    await _begun(handle)
    await handle.cancel()
    return {"canceled": await _ended(handle)}


async def _terminated(client: Client) -> Handles:
    handle = await _start(client, Idle.run)
    await handle.terminate("no more", reason="enough")
    return {"terminated": await _ended(handle)}


async def _timed_out(client: Client) -> Handles:
    return {"timed-out": await _ended(await _start(client, Idle.run, run_timeout=SECOND))}


async def _begun(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until the workflow has set its timer."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
            return


async def _reset(client: Client) -> Handles:
    base = await _start(client, Chain.run, 0)
    await base.result()
    # Not a wait for anything: counting from the base run must come out wrong by this much.
    await asyncio.sleep(1.5)
    whole = WorkflowExecution(workflow_id=base.id, run_id=base.result_run_id or "")
    answer = await client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=whole,
            reason="again",
            workflow_task_finish_event_id=10,
            request_id=str(uuid.uuid4()),
        )
    )
    return {"reset": await _ended(client.get_workflow_handle(base.id, run_id=answer.run_id))}


async def _scheduled(client: Client) -> Handles:
    name = f"zoo-{uuid.uuid4().hex[:8]}"
    action = ScheduleActionStartWorkflow(Chain.run, 0, id=name, task_queue=QUEUE)
    plan = await client.create_schedule(
        name, Schedule(action=action, spec=ScheduleSpec()), trigger_immediately=True
    )
    while not (started := (await plan.describe()).info.recent_actions):
        await asyncio.sleep(0.05)
    await plan.delete()
    taken = started[0].action
    assert isinstance(taken, ScheduleActionExecutionStartWorkflow)
    handle = client.get_workflow_handle(taken.workflow_id, run_id=taken.first_execution_run_id)
    return {"scheduled": await _ended(handle)}


async def _paused(client: Client) -> Handles:
    handle = await _start(client, Talk.run)
    run: dict[str, Any] = {"namespace": client.namespace, "workflow_id": handle.id}
    ids: dict[str, Any] = {"run_id": handle.result_run_id, "request_id": str(uuid.uuid4())}
    await client.workflow_service.pause_workflow_execution(
        PauseWorkflowExecutionRequest(**run, **ids)
    )
    await client.workflow_service.unpause_workflow_execution(
        UnpauseWorkflowExecutionRequest(**run, **ids)
    )
    await handle.signal(Talk.stop, "enough")
    return {"paused": await _ended(handle)}
