"""Small workflows and activities that tests of the run leg start; each does one thing."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

LIMIT = timedelta(seconds=60)
# Ours answers in 5 s; the SDK's query waits 30 s, the others for ever. A busy machine is between.
SOON_S = 25.0
ONCE = RetryPolicy(maximum_attempts=1)
QUICK = RetryPolicy(initial_interval=timedelta(milliseconds=200), backoff_coefficient=1.0)


@activity.defn
async def greet(name: str) -> str:
    """Return a greeting, made on the worker's event loop."""
    return f"hello {name}"


@activity.defn
def greet_in_thread(name: str) -> str:
    """Return a greeting and the kind of thread that made it."""
    return f"hello {name} from {threading.current_thread().name.rpartition('_')[0]}"


@activity.defn
async def fail_always(message: str) -> None:
    """Fail each attempt."""
    raise ApplicationError(message, type="Unlucky")


@activity.defn
async def log_and_fail(message: str) -> None:
    """Write a warning to the activity's log, then fail."""
    activity.logger.warning("about to fail: %s", message)
    raise ApplicationError(message, type="Unlucky", non_retryable=True)


@activity.defn
async def raise_plainly(message: str) -> None:
    """Raise an exception that is none of Temporal's."""
    raise KeyError(message)


@activity.defn
async def fail_with_delay(seconds: float) -> None:
    """Fail and say when to try again."""
    raise ApplicationError("later", type="Busy", next_retry_delay=timedelta(seconds=seconds))


@activity.defn
async def log_badly() -> str:
    """Log a line whose arguments do not fit its format."""
    activity.logger.warning("%d items", "many")
    return "done"


@activity.defn
def wait_for_file(path: str) -> int:
    """Wait in a thread until the file exists, a minute at most; return the attempt's number."""
    deadline = time.monotonic() + 60
    while not Path(path).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return activity.info().attempt


@activity.defn
def count_running(folder: str, seconds: float) -> int:
    """Stay for some seconds and return how many of this activity ran at that time, with itself."""
    mine = Path(folder) / activity.info().activity_id
    mine.touch()
    time.sleep(seconds)
    running = len(list(Path(folder).iterdir()))
    mine.unlink()
    return running


@activity.defn
async def hold(seconds: float) -> str:
    """Heartbeat for some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        activity.heartbeat()
        await asyncio.sleep(0.05)
    return "held"


@workflow.defn
class Greeting:
    """Run one activity by name and return its answer."""

    @workflow.run
    async def run(self, activity: str, argument: Any) -> Any:
        """Run it with one argument, once."""
        return await workflow.execute_activity(
            activity, argument, start_to_close_timeout=LIMIT, retry_policy=ONCE
        )


@workflow.defn
class NoArgument:
    """Run one activity that takes no argument."""

    @workflow.run
    async def run(self, activity: str) -> Any:
        """Run it once."""
        return await workflow.execute_activity(
            activity, start_to_close_timeout=LIMIT, retry_policy=ONCE
        )


@workflow.defn
class Blocking:
    """Hold the worker's thread within a Workflow Task, which the SDK allows for two seconds."""

    @workflow.run
    async def run(self, seconds: float) -> str:
        """Block, then end."""
        with workflow.unsafe.sandbox_unrestricted():
            time.sleep(seconds)
        return "free again"


@workflow.defn
class Persistent:
    """Run one activity by name until it succeeds."""

    @workflow.run
    async def run(self, activity: str, argument: Any) -> Any:
        """Retry every 0.2 s for ever; a silent worker counts as dead after 2 s."""
        return await workflow.execute_activity(
            activity,
            argument,
            start_to_close_timeout=LIMIT,
            heartbeat_timeout=timedelta(seconds=2) if activity == "hold" else None,
            retry_policy=QUICK,
        )


@workflow.defn
class Elsewhere:
    """Run an activity on another Task Queue."""

    @workflow.run
    async def run(self, task_queue: str) -> str:
        """Greet from there."""
        return await workflow.execute_activity(
            greet, "you", task_queue=task_queue, start_to_close_timeout=LIMIT
        )


@workflow.defn
class Parallel:
    """Run `count_running` several times at once."""

    @workflow.run
    async def run(self, folder: str, times: int) -> int:
        """Return the largest number that ran at one time."""
        counts = [
            workflow.execute_activity(
                count_running, args=[folder, 0.3], start_to_close_timeout=LIMIT
            )
            for _ in range(times)
        ]
        return max(await asyncio.gather(*counts))


@workflow.defn
class Counter:
    """Count by Signals and Updates until told to stop; the total is its result."""

    def __init__(self) -> None:
        self._total = 0
        self._stopped = False

    @workflow.run
    async def run(self) -> int:
        """Wait for `stop`."""
        await workflow.wait_condition(lambda: self._stopped)
        return self._total

    @workflow.signal
    def add(self, number: int, times: int = 1) -> None:
        """Add a number, as often as wished."""
        self._total += number * times

    @workflow.signal
    def stop(self) -> None:
        """End the workflow."""
        self._stopped = True

    @workflow.query
    def total(self) -> int:
        """Return the sum so far."""
        return self._total

    @workflow.query
    def total_plus(self, number: int, times: int) -> int:
        """Return the sum so far and more."""
        return self._total + number * times

    @workflow.update
    async def add_and_tell(self, number: int) -> int:
        """Add a number and return the sum."""
        self._total += number
        return self._total

    @workflow.update
    async def add_slowly(self, number: int, seconds: float) -> int:
        """Sleep, then add a number and return the sum."""
        await workflow.sleep(seconds)
        self._total += number
        return self._total

    @add_and_tell.validator
    def only_positive(self, number: int) -> None:
        """Refuse negative numbers."""
        if number < 0:
            raise ValueError("only up")


@workflow.defn
class Sleeper:
    """Wait for a timer."""

    @workflow.run
    async def run(self, seconds: float) -> str:
        """Sleep so long."""
        await workflow.sleep(seconds)
        return "awake"


@workflow.defn
class Parent:
    """Run a child workflow."""

    @workflow.run
    async def run(self, seconds: float) -> str:
        """Return what a child `Sleeper` returns."""
        return await workflow.execute_child_workflow(Sleeper.run, seconds)


@workflow.defn
class Doomed:
    """Fail as a workflow should."""

    @workflow.run
    async def run(self, reason: str) -> None:
        """Raise an application failure."""
        raise ApplicationError(reason, type="Doom")


@workflow.defn
class Buggy:
    """Raise a plain exception, as a slip in workflow code does."""

    @workflow.run
    async def run(self) -> None:
        """Raise what is no failure in Temporal's sense."""
        raise ZeroDivisionError("a slip in workflow code")

    @workflow.update
    async def poke(self) -> str:
        """Answer."""
        return "never"

    @workflow.query
    def state(self) -> str:
        """Answer."""
        return "never"


WORKFLOWS: tuple[type, ...] = (
    Buggy,
    Counter,
    Doomed,
    Elsewhere,
    Greeting,
    NoArgument,
    Parallel,
    Parent,
    Persistent,
    Sleeper,
)
ACTIVITIES: tuple[Callable[..., Any], ...] = (
    count_running,
    fail_always,
    fail_with_delay,
    greet,
    greet_in_thread,
    hold,
    log_and_fail,
    log_badly,
    raise_plainly,
    wait_for_file,
)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the lines that the kit has said to its user."""
    return [record.getMessage() for record in caplog.records if record.name == "projectai_lab"]


def freeze(pid: int) -> None:
    """Stop a process and return once each of its threads has stopped."""
    os.kill(pid, signal.SIGSTOP)
    states = Path(f"/proc/{pid}/task").glob("*/stat")
    if found := list(states):
        # The state stands behind the name, which is in brackets: proc(5).
        until(lambda: all(file.read_text().rpartition(")")[2].split()[0] == "T" for file in found))


def until(condition: Callable[[], Any], within_s: float = 30.0) -> Any:
    """Return the first true answer of the condition; fail when none comes in time."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not true within {within_s:g} s"
        time.sleep(0.01)
    return answer


def shout(text: str) -> str:
    """Answer as an AI that raises its voice."""
    return text.upper()
