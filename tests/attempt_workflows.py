"""Workflows whose attempts end in every way, for the tests of the attempts table."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

LIMIT = timedelta(seconds=30)


@dataclass(frozen=True)
class Asked:
    """Which activity to run, with what, and how it is retried."""

    activity: str
    argument: Any = None
    first_s: float = 0.2
    coefficient: float = 1.0
    start_to_close_s: float = 30.0
    heartbeat_s: float | None = None
    most: int = 0
    times: int = 1


@activity.defn
async def fail_before(attempt: int) -> int:
    """Fail each attempt before the given one."""
    if activity.info().attempt < attempt:
        raise ApplicationError(f"not before {attempt}", type="TooEarly")
    return activity.info().attempt


@activity.defn
async def fail_without_type(attempt: int) -> int:
    """Fail each attempt before the given one, in no words of its own."""
    if activity.info().attempt < attempt:
        raise ApplicationError("no type")
    return activity.info().attempt


@activity.defn
async def sleep_first(attempts: int) -> int:
    """Sleep for two seconds, silently, in the first attempts, and report all the same."""
    if activity.info().attempt <= attempts:
        await asyncio.sleep(2)
    return activity.info().attempt


@activity.defn
async def fail_then_sleep() -> int:
    """Fail in the first attempt, outlive its timeout in the second, succeed in the third."""
    attempt = activity.info().attempt
    if attempt == 1:
        raise ApplicationError("first", type="TooEarly")
    if attempt == 2:
        await asyncio.sleep(2)
    return attempt


@activity.defn
async def beat_for_ever() -> None:
    """Heartbeat until canceled."""
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.05)


class UnspeakableError(Exception):
    """An exception that at first fails to describe itself; the SDK would hang if it always did."""

    asked = False

    def __str__(self) -> str:
        if not self.asked:
            self.asked = True
            raise RuntimeError("no words")
        return "at last"


@activity.defn
async def raise_in_kind(kind: str) -> None:
    """Raise one kind of error."""
    match kind:
        case "no type":
            raise ApplicationError("plain")
        case "own class":
            raise type("Mine", (ApplicationError,), {})("mine")
        case "own type":
            raise ApplicationError("typed", type="Typed")
        case "plain":
            raise KeyError("x")
        case "no message":
            raise TimeoutError
        case "cancelled by itself":
            raise asyncio.CancelledError
        case "unspeakable":
            raise UnspeakableError
    raise AssertionError(kind)


@activity.defn
async def complete_elsewhere() -> str:
    """Leave the completion to somebody else."""
    activity.raise_complete_async()


@workflow.defn
class Configured:
    """Run one activity as asked, some times at once."""

    @workflow.run
    async def run(self, asked: Asked) -> list[Any]:
        """Return what the activities return."""
        arguments = [] if asked.argument is None else [asked.argument]
        beat = None if asked.heartbeat_s is None else timedelta(seconds=asked.heartbeat_s)
        runs = (
            workflow.execute_activity(
                asked.activity,
                args=arguments,
                start_to_close_timeout=timedelta(seconds=asked.start_to_close_s),
                heartbeat_timeout=beat,
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(seconds=asked.first_s),
                    backoff_coefficient=asked.coefficient,
                    maximum_attempts=asked.most,
                ),
            )
            for _ in range(asked.times)
        )
        return list(await asyncio.gather(*runs))


@workflow.defn
class Locally:
    """Run two Local Activities at once, whose later backoffs are left to timers."""

    @workflow.run
    async def run(self, attempt: int) -> list[int]:
        """Return the attempts that succeeded."""
        runs = (
            workflow.execute_local_activity(
                fail_without_type,
                attempt,
                start_to_close_timeout=LIMIT,
                local_retry_threshold=timedelta(seconds=0.15),
                retry_policy=RetryPolicy(initial_interval=timedelta(seconds=0.1)),
            )
            for _ in range(2)
        )
        return list(await asyncio.gather(*runs))


@workflow.defn
class Again:
    """Retry once in each run of a chain."""

    @workflow.run
    async def run(self, more: int) -> int:
        """Continue as new, so many times."""
        policy = RetryPolicy(initial_interval=timedelta(seconds=0.4))
        await workflow.execute_activity(
            fail_before, 2, start_to_close_timeout=LIMIT, retry_policy=policy
        )
        if more:
            workflow.continue_as_new(more - 1)
        return more


@workflow.defn
class InTurn:
    """Run the same activity twice, one after the other, which retry alike."""

    @workflow.run
    async def run(self, pause_s: float) -> None:
        """Wait so long before each retry."""
        policy = RetryPolicy(initial_interval=timedelta(seconds=pause_s))
        for _ in range(2):
            await workflow.execute_activity(
                fail_before, 2, start_to_close_timeout=LIMIT, retry_policy=policy
            )


WORKFLOWS: tuple[type, ...] = (Again, Configured, InTurn, Locally)
ACTIVITIES: tuple[Callable[..., Any], ...] = (
    beat_for_ever,
    complete_elsewhere,
    fail_before,
    fail_then_sleep,
    fail_without_type,
    raise_in_kind,
    sleep_first,
)
