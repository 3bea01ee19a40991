"""What a monitor asks of the server, and how its answers become rows: one List call a look."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from temporalio.api.common.v1 import WorkflowExecution as Execution
from temporalio.api.enums.v1 import WorkflowExecutionStatus as Status
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    CountWorkflowExecutionsRequest,
    DescribeWorkflowExecutionRequest,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab._connect import ANSWER_WITHIN_S, translated
from projectai_lab.widgets._pending import NOTHING, Pending, pending_of

PAGE = 25
"""Executions on a page."""
MOST_DESCRIBED = 10
"""Open runs that one look describes; on a page with more they take turns."""
STATUSES = {
    "RUNNING": "Running",
    "PAUSED": "Paused",
    "COMPLETED": "Completed",
    "FAILED": "Failed",
    "TIMED_OUT": "TimedOut",
    "CANCELED": "Canceled",
    "TERMINATED": "Terminated",
    "CONTINUED_AS_NEW": "ContinuedAsNew",
}
"""Temporal's words for a status, and how a List Filter writes them."""
OPEN = ("RUNNING", "PAUSED")
"""Statuses that are no end."""
_WORDS = {written: word for word, written in STATUSES.items()}
_RPC_TIMEOUT = timedelta(seconds=ANSWER_WITHIN_S)
# The server finds runs whose Workflow Task fails, on whatever page they are.
_STUCK = "TemporalReportedProblems IS NOT NULL AND ExecutionStatus = 'Running'"
_STUCK_TURN, _TURNS = 1, 5


class Ask(NamedTuple):
    """Which page of which executions: a List Filter, a status of it, and where the page begins."""

    query: str = ""
    status: str = ""
    token: bytes = b""

    @property
    def filter(self) -> str:
        """The List Filter of the page."""
        return self.also(f"ExecutionStatus = '{STATUSES[self.status]}'" if self.status else "")

    def also(self, condition: str) -> str:
        """Return the query with one condition more."""
        return " AND ".join(filter(None, (self.query and f"({self.query})", condition)))


@dataclass(frozen=True)
class Row:
    """One Workflow Execution; `pending` is what an open one does, as far as it is known."""

    workflow_id: str
    run_id: str
    workflow_type: str
    status: str
    began: datetime
    closed: datetime | None
    pending: Pending = NOTHING

    @property
    def rank(self) -> int:
        """Where it stands on the page: who needs somebody first, who is done last."""
        if self.closed:
            return 3
        return {"stuck": 0, "retrying": 1}.get(self.pending.trouble, 2)

    def seconds(self, at: datetime) -> float:
        """Return the duration of a closed run, the age of an open one."""
        return max(0.0, ((self.closed or at) - self.began).total_seconds())


@dataclass(frozen=True)
class Seen:
    """What one look saw: rows in the order to show, counts by status of all that match."""

    ask: Ask
    at: datetime
    rows: tuple[Row, ...] = ()
    more: bytes = b""
    counts: Counter[str] = field(default_factory=Counter)


class Executions:
    """Looks at pages of executions; lives on the Lab's loop and keeps what it saw last."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ask = Ask()
        self._looks = 0
        self._page = ListWorkflowExecutionsResponse()
        self._stuck: list[WorkflowExecutionInfo] = []
        self._knows_stuck = True
        self._pending: dict[str, tuple[int, Pending]] = {}

    async def look(self, ask: Ask) -> Seen:
        """Return a page now; the errors of a server that refuses or is away are the kit's.

        Each fifth look at a first page lists the stuck runs of all pages instead of the page.
        """
        if ask != self._ask:
            self._ask, self._looks, self._stuck = ask, 0, []
        turn, self._looks = self._looks % _TURNS, self._looks + 1
        with translated(self._client):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                counts, page = await asyncio.gather(self._count(ask), self._list(ask, turn))
                shown = {one.execution.run_id: one for one in (*self._stuck, *page.executions)}
                await self._describe(list(shown.values()))
        rows = sorted(map(self._row, shown.values()), key=lambda row: row.rank)
        return Seen(ask, datetime.now(UTC), tuple(rows), page.next_page_token, counts)

    async def _list(self, ask: Ask, turn: int) -> ListWorkflowExecutionsResponse:
        if (
            turn == _STUCK_TURN
            and self._knows_stuck
            and not ask.token
            and ask.status in ("", "RUNNING")
        ):
            await self._list_stuck(ask)
            return self._page
        page = await self._listed(ask.filter, PAGE, ask.token)
        if ask == self._ask:
            self._page = page
        return page

    async def _list_stuck(self, ask: Ask) -> None:
        try:
            found = await self._listed(ask.also(_STUCK), MOST_DESCRIBED)
        except RPCError as error:
            # Older servers report no problems.
            if error.status != RPCStatusCode.INVALID_ARGUMENT:
                raise
            self._knows_stuck = False
            return
        if ask == self._ask:
            self._stuck = list(found.executions)

    async def _listed(
        self, query: str, size: int, token: bytes = b""
    ) -> ListWorkflowExecutionsResponse:
        request = ListWorkflowExecutionsRequest(
            namespace=self._client.namespace, page_size=size, next_page_token=token, query=query
        )
        return await self._client.workflow_service.list_workflow_executions(
            request, retry=True, timeout=_RPC_TIMEOUT
        )

    async def _count(self, ask: Ask) -> Counter[str]:
        """Return how many match the query, whatever the page's status, by status."""
        request = CountWorkflowExecutionsRequest(
            namespace=self._client.namespace, query=f"{ask.also('')} GROUP BY ExecutionStatus"
        )
        answer = await self._client.workflow_service.count_workflow_executions(
            request, retry=True, timeout=_RPC_TIMEOUT
        )
        decode = self._client.data_converter.payload_converter.from_payloads
        found = {decode(one.group_values)[0]: one.count for one in answer.groups}
        return Counter({_WORDS.get(name, name.upper()): count for name, count in found.items()})

    async def _describe(self, shown: list[WorkflowExecutionInfo]) -> None:
        """Ask of the open runs what they do: those first whose last answer is oldest."""
        running = [one for one in shown if _status(one) == "RUNNING"]
        known = {one.execution.run_id: one for one in running}
        self._pending = {run: past for run, past in self._pending.items() if run in known}
        turn = sorted(running, key=lambda one: (self._asked(one), one.start_time.ToNanoseconds()))
        chosen = [one.execution for one in turn[:MOST_DESCRIBED]]
        answers = await asyncio.gather(*map(self._described, chosen), return_exceptions=True)
        for one, answer in zip(chosen, answers, strict=True):
            if isinstance(answer, Pending):
                self._pending[one.run_id] = self._looks, answer
            elif not isinstance(answer, RPCError):
                raise answer

    def _asked(self, one: WorkflowExecutionInfo) -> int:
        return self._pending.get(one.execution.run_id, (-1, NOTHING))[0]

    async def _described(self, one: Execution) -> Pending:
        request = DescribeWorkflowExecutionRequest(namespace=self._client.namespace, execution=one)
        answer = await self._client.workflow_service.describe_workflow_execution(
            request, timeout=_RPC_TIMEOUT
        )
        return pending_of(answer, datetime.now(UTC))

    def _row(self, one: WorkflowExecutionInfo) -> Row:
        began = one.execution_time if one.HasField("execution_time") else one.start_time
        return Row(
            one.execution.workflow_id,
            one.execution.run_id,
            one.type.name,
            _status(one),
            began.ToDatetime(UTC),
            one.close_time.ToDatetime(UTC) if one.HasField("close_time") else None,
            self._pending.get(one.execution.run_id, (0, NOTHING))[1],
        )


def _status(one: WorkflowExecutionInfo) -> str:
    """Return Temporal's word; a status that is newer than the SDK has its number."""
    try:
        return Status.Name(one.status).removeprefix("WORKFLOW_EXECUTION_STATUS_")
    except ValueError:
        return f"STATUS_{one.status}"
