"""Workflows and activities that know nothing of fault plans, for tests that injure them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

QUICK = RetryPolicy(
    initial_interval=timedelta(milliseconds=50), backoff_coefficient=1.0, maximum_attempts=8
)


@activity.defn
async def ask_model(text: str) -> str:
    """Answer with the attempt's number."""
    return f"{text} {activity.info().attempt}"


@activity.defn
def ask_in_thread(text: str) -> str:
    """Answer from a thread."""
    return f"{text} {activity.info().attempt} {threading.current_thread() is not None}"


@activity.defn
async def beat_for(seconds: float) -> int:
    """Heartbeat often for some seconds; return the attempt's number."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        activity.heartbeat()
        await asyncio.sleep(0.05)
    return activity.info().attempt


@activity.defn
def beat_in_thread_for(seconds: float) -> int:
    """Do the same from a thread."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        activity.heartbeat()
        time.sleep(0.05)
    return activity.info().attempt


@activity.defn
async def resume(progress: int) -> list[int]:
    """Fail once behind a heartbeat with some progress; then return what progress is known."""
    known = list(activity.info().heartbeat_details)
    if activity.info().attempt == 1:
        activity.heartbeat(progress)
        # Until it is on its way: a failure right behind it may overtake it.
        await asyncio.sleep(0.2)
        raise RuntimeError("half done")
    return known


@workflow.defn
class Asking:
    """Run one activity by name and return its answer, or the reason why there is none."""

    @workflow.run
    async def run(self, activity: str, argument: Any, limits: dict[str, float]) -> Any:
        """Wait for its end; `limits` are its timeouts in seconds."""
        try:
            return await workflow.execute_activity(
                activity,
                argument,
                retry_policy=QUICK,
                start_to_close_timeout=timedelta(seconds=limits.get("start_to_close", 30)),
                heartbeat_timeout=(
                    timedelta(seconds=limits["heartbeat"]) if "heartbeat" in limits else None
                ),
            )
        except ActivityError as error:
            return f"{getattr(error.cause, 'type', error.cause)}: {error.cause}"


@workflow.defn
class AskingLocally:
    """Run the activity as a Local Activity, after a pause."""

    @workflow.run
    async def run(self, pause_s: float) -> str:
        """Return its answer."""
        await workflow.sleep(pause_s)
        return await workflow.execute_local_activity(
            ask_model, "local", retry_policy=QUICK, start_to_close_timeout=timedelta(seconds=10)
        )


@workflow.defn
class Waiting:
    """Ask, wait, ask again: before and in or after a window."""

    @workflow.run
    async def run(self, waits_s: list[float]) -> list[str]:
        """Return the answers."""
        answers = []
        for wait_s in waits_s:
            await workflow.sleep(wait_s)
            answers.append(await _ask("after a wait"))
        return answers


@workflow.defn
class Family:
    """Ask in a child, then go on as new once and ask there."""

    @workflow.run
    async def run(self, again: bool) -> list[str]:
        """Return the child's answer and its own, of the second run."""
        if again:
            workflow.continue_as_new(False)
        child = await workflow.execute_child_workflow(Waiting.run, [0.0])
        return [*child, await _ask("parent")]


@workflow.defn
class Early:
    """Ask from a Signal handler, which may run with the very start."""

    def __init__(self) -> None:
        self._answer: str | None = None

    @workflow.run
    async def run(self) -> str:
        """Return the handler's answer."""
        await workflow.wait_condition(lambda: self._answer is not None)
        return str(self._answer)

    @workflow.signal
    async def ask(self) -> None:
        """Ask."""
        self._answer = await _ask("signal")


async def _ask(text: str) -> str:
    return await workflow.execute_activity(
        ask_model, text, retry_policy=QUICK, start_to_close_timeout=timedelta(seconds=10)
    )


WORKFLOWS: tuple[type, ...] = (Asking, AskingLocally, Waiting, Family, Early)
ACTIVITIES: tuple[Callable[..., Any], ...] = (
    ask_model,
    ask_in_thread,
    beat_for,
    beat_in_thread_for,
    resume,
)
