"""Workflows that wait for long: what the virtual clock is for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@activity.defn
def fail_until(attempt: int) -> int:
    """Fail each attempt before the given one."""
    if activity.info().attempt < attempt:
        raise RuntimeError("not yet")
    return attempt


@workflow.defn
class Month:
    """A timer of 30 days, then six backoffs of 1, 2, 4 … 32 hours."""

    @workflow.run
    async def run(self) -> int:
        """Return how many attempts it took."""
        await asyncio.sleep(30 * DAY.total_seconds())
        return await workflow.execute_activity(
            fail_until,
            7,
            start_to_close_timeout=timedelta(seconds=30),
            retry_policy=RetryPolicy(initial_interval=HOUR, maximum_interval=32 * HOUR),
        )


@workflow.defn
class Hours:
    """One timer of an hour after another."""

    @workflow.run
    async def run(self, n: int) -> int:
        """Return how many."""
        for _ in range(n):
            await asyncio.sleep(HOUR.total_seconds())
        return n


@workflow.defn
class Days:
    """A day's wait, then the next run of the chain."""

    @workflow.run
    async def run(self, more: int) -> str:
        """Return when the last day is over."""
        await asyncio.sleep(DAY.total_seconds())
        if more:
            workflow.continue_as_new(more - 1)
        return "over"


@workflow.defn
class Parent:
    """Waits for a Child Workflow of so many hours."""

    @workflow.run
    async def run(self, hours: int) -> int:
        """Return what the child returns."""
        name = f"{workflow.info().workflow_id}-child"
        return await workflow.execute_child_workflow(Hours.run, hours, id=name)


@workflow.defn
class Approval:
    """Waits to be approved, for a day or, when told so, without end."""

    def __init__(self) -> None:
        self._by = ""

    @workflow.run
    async def run(self, patient: bool) -> str:
        """Return who approved, or that the time was over."""
        try:
            limit = None if patient else DAY
            await workflow.wait_condition(lambda: bool(self._by), timeout=limit)
        except TimeoutError:
            return "nobody"
        return self._by

    @workflow.signal
    def approve(self, by: str) -> None:
        """Approve by Signal."""
        self._by = by

    @workflow.update
    def confirm(self, by: str) -> str:
        """Approve by Update."""
        self._by = by
        return f"by {by}"


WORKFLOWS: tuple[type, ...] = (Month, Hours, Days, Parent, Approval)
ACTIVITIES: tuple[Callable[..., Any], ...] = (fail_until,)
