"""Workflows for the tests of sweeps."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError


@dataclass(frozen=True)
class Inner:
    """A record within the input."""

    factor: float = 1.0
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    """An input with records in fields, in a dict and in none at all."""

    text: str
    inner: Inner = Inner()
    by_name: dict[str, Inner] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    perhaps: Inner | None = None


@workflow.defn
class Plain:
    """A workflow with plain arguments."""

    @workflow.run
    async def run(self, text: str, times: int = 2, seed: int = 0) -> str:
        """Return the text, repeated, with the seed."""
        return f"{text * times}/{seed}"


@workflow.defn
class Structured:
    """A workflow with an input of its own."""

    @workflow.run
    async def run(self, given: Outer) -> float:
        """Return a product."""
        return given.inner.factor * given.by_name.get("a", Inner()).factor


@workflow.defn
class Ends:
    """Ends as it is told."""

    @workflow.run
    async def run(self, how: str) -> str:
        """Complete, fail, wait for a signal, or sleep for an hour."""
        if how == "fail":
            raise ApplicationError("as told", type="Told")
        if how == "again" and workflow.info().continued_run_id is None:
            workflow.continue_as_new("again")
        if how == "hour":
            await asyncio.sleep(3600)
        if how == "wait":
            await workflow.wait_condition(lambda: self.told, timeout=timedelta(hours=1))
        return how

    def __init__(self) -> None:
        self.told = False

    @workflow.signal
    def go(self) -> None:
        """Let the run go on."""
        self.told = True
