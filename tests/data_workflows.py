"""Small workflows whose histories the table tests read, and the runs that record them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, ChildWorkflowError

RETRY = RetryPolicy(initial_interval=timedelta(seconds=0.2), backoff_coefficient=1.5)
THREE = RetryPolicy(initial_interval=timedelta(seconds=0.2), maximum_attempts=3)
LIMIT = timedelta(seconds=1)


@activity.defn
async def fail_until(attempt: int) -> int:
    """Fail each attempt before the given one."""
    if activity.info().attempt < attempt:
        raise ApplicationError(f"not before {attempt}", type="TooEarly")
    return activity.info().attempt


@activity.defn
async def fail_for_good() -> None:
    """Fail without a retry."""
    raise ApplicationError("never", type="Hopeless", non_retryable=True)


@activity.defn
async def fail_with_delay() -> str:
    """Fail once and name the delay of the retry."""
    if activity.info().attempt == 1:
        raise ApplicationError("later", type="Busy", next_retry_delay=timedelta(seconds=0.6))
    return "done"


@activity.defn
async def outlive(attempts: int, seconds: float) -> int:
    """Sleep too long in the first attempts, and report all the same."""
    if activity.info().attempt <= attempts:
        await asyncio.sleep(seconds)
    return activity.info().attempt


@activity.defn
async def echo(text: str) -> str:
    """Return the text."""
    return text


@activity.defn
async def wait_for_cancel() -> None:
    """Heartbeat until canceled."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.05)


@workflow.defn
class CleanWorkflow:
    """Three activities that succeed at once."""

    @workflow.run
    async def run(self) -> list[str]:
        """Run them in turn."""
        return [
            await workflow.execute_activity(echo, text, start_to_close_timeout=LIMIT)
            for text in ("a", "bb", "ccc")
        ]


@workflow.defn
class MixedWorkflow:
    """Twelve attempts: success at 4, 3 exhausted, a timeout then success, three clean ones."""

    @workflow.run
    async def run(self) -> int:
        """Run them all at once."""
        await asyncio.gather(
            workflow.execute_activity(
                fail_until, 4, start_to_close_timeout=LIMIT, retry_policy=RETRY
            ),
            self.exhaust(),
            workflow.execute_activity(
                # Twice the limit: a busy server tells a timeout late.
                outlive,
                args=[1, 2.0],
                start_to_close_timeout=LIMIT,
                retry_policy=RETRY,
            ),
            *(
                workflow.execute_activity(echo, text, start_to_close_timeout=LIMIT)
                for text in ("a", "b", "c")
            ),
        )
        # Long enough for the late report to reach the recorder.
        await workflow.sleep(2)
        return 12

    async def exhaust(self) -> None:
        """Use up three attempts."""
        try:
            await workflow.execute_activity(
                fail_until, 9, start_to_close_timeout=LIMIT, retry_policy=THREE
            )
        except ActivityError:
            return


@workflow.defn
class TimeoutsWorkflow:
    """Two timeouts in a row, a heartbeat timeout, a delay of the failure's own."""

    @workflow.run
    async def run(self) -> None:
        """Run them all at once."""
        await asyncio.gather(
            workflow.execute_activity(
                outlive, args=[2, 2.0], start_to_close_timeout=LIMIT, retry_policy=RETRY
            ),
            workflow.execute_activity(
                outlive,
                args=[2, 2.0],
                start_to_close_timeout=5 * LIMIT,
                heartbeat_timeout=LIMIT,
                retry_policy=RETRY,
            ),
            workflow.execute_activity(
                fail_with_delay, start_to_close_timeout=LIMIT, retry_policy=RETRY
            ),
        )
        await workflow.sleep(2)


@workflow.defn
class EverythingWorkflow:
    """Timer, child, local activity, cancel, Signal, Update and a failure without a retry."""

    def __init__(self) -> None:
        self.told: list[str] = []

    @workflow.run
    async def run(self) -> None:
        """Do one thing after the other, and end as failed."""
        await workflow.wait_condition(lambda: len(self.told) == 2)
        await workflow.sleep(0.3)
        await workflow.execute_child_workflow(
            CleanWorkflow.run, id=f"{workflow.info().workflow_id}-c"
        )
        await self.fail_child()
        await workflow.execute_local_activity(
            fail_until, 3, start_to_close_timeout=LIMIT, retry_policy=RETRY
        )
        await self.cancel_running()
        await self.cancel_in_backoff()
        unfired = asyncio.create_task(workflow.sleep(60))
        await workflow.sleep(0.01)
        unfired.cancel()
        await workflow.execute_activity(fail_for_good, start_to_close_timeout=LIMIT)

    async def fail_child(self) -> None:
        """Run a child that fails."""
        try:
            await workflow.execute_child_workflow(
                FailingWorkflow.run, id=f"{workflow.info().workflow_id}-f"
            )
        except ChildWorkflowError:
            return

    async def cancel_running(self) -> None:
        """Cancel an activity that runs."""
        running = workflow.start_activity(
            wait_for_cancel,
            start_to_close_timeout=10 * LIMIT,
            heartbeat_timeout=2 * LIMIT,
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
        await workflow.sleep(0.3)
        running.cancel()
        await workflow.wait([running])

    async def cancel_in_backoff(self) -> None:
        """Cancel an activity that waits for its second attempt."""
        waiting = workflow.start_activity(
            fail_until,
            9,
            start_to_close_timeout=LIMIT,
            retry_policy=RetryPolicy(initial_interval=timedelta(seconds=30)),
        )
        await workflow.sleep(0.5)
        waiting.cancel()
        await workflow.wait([waiting])

    @workflow.signal
    async def tell(self, text: str) -> None:
        """Take a Signal."""
        self.told.append(text)

    @workflow.update
    async def ask(self, text: str) -> int:
        """Take an Update."""
        self.told.append(text)
        return len(self.told)


@workflow.defn
class FailingWorkflow:
    """Fails at once."""

    @workflow.run
    async def run(self) -> None:
        """Fail."""
        raise ApplicationError("no child of mine", type="Refused", non_retryable=True)


@workflow.defn
class HourWorkflow:
    """Sleeps an hour, then retries after a thousand seconds: for a server that skips time."""

    @workflow.run
    async def run(self) -> int:
        """Sleep and retry."""
        await workflow.sleep(3600)
        policy = RetryPolicy(initial_interval=timedelta(seconds=1000))
        return await workflow.execute_activity(
            fail_until, 3, start_to_close_timeout=LIMIT, retry_policy=policy
        )


WORKFLOWS = [
    CleanWorkflow,
    MixedWorkflow,
    TimeoutsWorkflow,
    EverythingWorkflow,
    FailingWorkflow,
    HourWorkflow,
]
ACTIVITIES: list[Callable[..., Any]] = [
    echo,
    fail_for_good,
    fail_until,
    fail_with_delay,
    outlive,
    wait_for_cancel,
]
