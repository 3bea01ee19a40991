"""Carry a sweep out: start what is missing, in order, a few at once, and await every end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab._calls import status_of
from projectai_lab._connect import ANSWER_WITHIN_S
from projectai_lab._troubles import RUNS_ON
from projectai_lab.errors import SweepError
from projectai_lab.sweeps._checked import Planned
from projectai_lab.sweeps._identity import MEMO, MEMO_DESIGN, Identity
from projectai_lab.sweeps._listing import Found, memo_of
from projectai_lab.sweeps._outage import Outage

_RPC_TIMEOUT = timedelta(seconds=2 * ANSWER_WITHIN_S)


@dataclass(frozen=True)
class Run:
    """One planned run and what starts it."""

    workflow_id: str
    planned: Planned
    arguments: list[Any]


@dataclass
class Progress:
    """How far a sweep is: runs ended by status, and since when the open ones are known."""

    total: int
    ended: Counter[str] = field(default_factory=Counter)
    open: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        done = self.ended.total()
        missing = self.total - done - len(self.open)
        return (
            f"{done} of {self.total} runs have ended, {len(self.open)} are open, {missing} missing"
        )


class Carrier:
    """Carries out one sweep over one client; `progress` may be read meanwhile."""

    def __init__(
        self,
        client: Client,
        identity: Identity,
        outage: Outage,
        options: Mapping[str, Any],
        total: int,
    ) -> None:
        self._client, self._identity, self._outage = client, identity, outage
        self._options = options
        self._first = identity.workflow_ids()[0]
        self.progress = Progress(total)

    async def carry(self, runs: list[Run], found: Mapping[str, Found], concurrency: int) -> None:
        """Start what was not found and await what has not ended, so many at once."""
        todo = [run for run in runs if not self._ended_already(found.get(run.workflow_id))]
        if todo and not found:
            # Alone, so that the run which holds the design is there whenever any is.
            await self._outage.through(partial(self._start, todo[0]))
        known = found.keys() | ({todo[0].workflow_id} if todo and not found else set())
        coming = iter(todo)
        lanes = [
            asyncio.create_task(self._lane(coming, known))
            for _ in range(min(concurrency, len(todo)))
        ]
        try:
            for lane in asyncio.as_completed(lanes):
                await lane
        finally:
            for task in lanes:
                task.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)

    def _ended_already(self, found: Found | None) -> bool:
        if found is None or found.status in RUNS_ON:
            return False
        self.progress.ended[found.status.name] += 1
        return True

    async def _lane(self, coming: Iterator[Run], known: Collection[str]) -> None:
        for run in coming:
            if run.workflow_id not in known:
                await self._outage.through(partial(self._start, run))
            self.progress.open[run.workflow_id] = time.monotonic()
            status = await self._outage.through(partial(self._end, run))
            del self.progress.open[run.workflow_id]
            self.progress.ended[status] += 1

    async def _start(self, run: Run) -> None:
        """Start a run that nobody has started, however often and from wherever this is called."""
        memo = {**(self._options.get("memo") or {}), MEMO: self._identity.memo(run.planned)}
        if run.workflow_id == self._first:
            memo[MEMO_DESIGN] = self._identity.memo_design
        try:
            await self._client.start_workflow(
                self._identity.workflow_type,
                args=run.arguments,
                id=run.workflow_id,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,
                rpc_timeout=_RPC_TIMEOUT,
                **{**self._options, "memo": memo},
            )
        except WorkflowAlreadyStartedError:
            # By another kernel, or by us when the answer was lost: what the listing did not show.
            await self._check_ours(run)
        except RPCError as error:
            error.add_note(f"Workflow Id {run.workflow_id!r} ({run.planned.label}) did not start")
            raise

    async def _check_ours(self, run: Run) -> None:
        there = await self._handle(run).describe(rpc_timeout=_RPC_TIMEOUT)
        memo = await memo_of(self._client, there.raw_info)
        self._identity.check_same(memo or {}, run.workflow_id)

    async def _end(self, run: Run) -> str:
        """Return the status in which a run ends."""
        try:
            await self._handle(run).result()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND and "namespace" not in error.message.lower():
                raise self._gone(run) from error
            raise
        except WorkflowFailureError as error:
            return status_of(error)
        return "COMPLETED"

    def _gone(self, run: Run) -> SweepError:
        return SweepError(
            f"Workflow Execution {run.workflow_id!r} was started and is gone: deleted, or its "
            "server began anew without a database. The same line again starts it anew",
            name=self._identity.name,
            workflow_id=run.workflow_id,
        )

    def _handle(self, run: Run) -> WorkflowHandle[Any, Any]:
        return self._client.get_workflow_handle(run.workflow_id)
