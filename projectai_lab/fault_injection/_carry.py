"""A fault plan on its way: from the start into the workflow, from there into its activities.

It travels in a Temporal header, as JSON. An execution without a plan has no header.
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    StartWorkflowInput,
    WorkflowHandle,
)
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    StartLocalActivityInput,
    WorkflowInboundInterceptor,
    WorkflowOutboundInterceptor,
)

from projectai_lab.models import FaultPlan

HEADER = "projectai-lab-faults"

Facts = dict[str, Any]
# Whatever converter the user has: a plan must be readable by a worker with another one.
_JSON = DataConverter.default.payload_converter


@dataclass(frozen=True)
class Carried:
    """What an activity is told: plan, seed and, on the clock of the execution, the times it needs.

    `since` is when its first Workflow Task was started; `now`, for a Local Activity, whose own
    times are the worker's, when the workflow scheduled it. `call` counts the calls of one activity
    type by one execution, from 1.
    """

    plan: FaultPlan
    seed: int
    since: datetime | None = None
    now: datetime | None = None
    call: int = 1

    @classmethod
    def of(cls, headers: Mapping[str, Payload]) -> Carried | None:
        """Return what the headers carry, None for nothing."""
        payload = headers.get(HEADER)
        return None if payload is None else _decoded(payload.SerializeToString())


@lru_cache(256)
def _decoded(encoded: bytes) -> Carried:
    payload = Payload.FromString(encoded)
    try:
        return _carried(_JSON.from_payload(payload, Carried))
    except Exception as error:
        raise ApplicationError(
            f"the header {HEADER!r} holds no fault plan that this worker can read ({error}); "
            "start the run with the same version of projectai_lab as the worker has",
            type="FaultPlanUnreadable",
            non_retryable=True,
        ) from error


def _carried(found: Carried) -> Carried:
    if not isinstance(found, Carried):
        raise TypeError(f"it holds {type(found).__name__}")
    return found


def carrying(client: Client, plan: FaultPlan, seed: int = 0) -> Client:
    """Return a client whose Workflow Executions meet the plan in each of their activities.

    >>> faulty = carrying(lab.client, FaultPlan(rules=(Fault("fail", attempts=(1,)),)), seed=7)
    >>> await faulty.start_workflow(MyWorkflow.run, id="w-1", task_queue=lab.task_queue)
    """
    config = client.config()
    config["interceptors"] = [*config["interceptors"], _Starting(plan, seed)]
    return Client(**config)


class _Starting(Interceptor):
    def __init__(self, plan: FaultPlan, seed: int) -> None:
        self._payload = _JSON.to_payload({"plan": plan, "seed": seed})

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _StartingOut(next, self._payload)


class _StartingOut(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, payload: Payload) -> None:
        super().__init__(next)
        self._payload = payload

    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        input.headers = {**input.headers, HEADER: self._payload}
        return await super().start_workflow(input)


class CarriesFaults(WorkflowInboundInterceptor):
    """Carries the plan of a run, from its header or its `WorkflowInput`, to what it starts.

    Runs in the workflow sandbox, whose `FaultPlan` may be another class than ours: known by name.
    """

    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        """Put the carrier before the commands of the workflow."""
        self._out = _CarryOut(outbound)
        super().init(self._out)

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        """Take up the plan, if there is one, before the workflow's own code runs."""
        self._out.facts = _facts(input.headers, input.args)
        return await super().execute_workflow(input)


def _facts(headers: Mapping[str, Payload], args: Sequence[Any]) -> Facts | None:
    facts: Facts | None = None
    if HEADER in headers:
        facts = json.loads(headers[HEADER].data)
    else:
        for one in args[:1]:
            plan: Any = getattr(one, "faults", None)
            if type(plan).__name__ == "FaultPlan" and not plan.harmless:
                facts = {"plan": dataclasses.asdict(plan), "seed": one.seed}
    if facts is not None:
        # Not workflow_start_time: under virtual time that of a child is on the server's own clock.
        facts.setdefault("since", workflow.info().start_time)
    return facts


class _CarryOut(WorkflowOutboundInterceptor):
    _facts: Facts | None = None

    def __init__(self, next: WorkflowOutboundInterceptor) -> None:
        super().__init__(next)
        self._calls: Counter[str] = Counter()

    @property
    def facts(self) -> Facts | None:
        """The plan; a Signal sent with the start is handled before the run method begins."""
        if self._facts is None and HEADER in (headers := workflow.info().headers):
            self._facts = _facts(headers, ())
        return self._facts

    @facts.setter
    def facts(self, facts: Facts | None) -> None:
        self._facts = facts

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        self._add(input, call=self._count(input.activity))
        return super().start_activity(input)

    def start_local_activity(self, input: StartLocalActivityInput) -> workflow.ActivityHandle[Any]:
        self._add(input, call=self._count(input.activity), now=workflow.now())
        return super().start_local_activity(input)

    async def start_child_workflow(
        self, input: StartChildWorkflowInput
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        # A child counts from its own start.
        self._add(input, since=None)
        return await super().start_child_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:
        self._add(input)
        super().continue_as_new(input)

    def _count(self, activity: str) -> int | None:
        """Return which call of the activity this is, None for the first."""
        self._calls[activity] += 1
        return self._calls[activity] if self._calls[activity] > 1 else None

    def _add(self, input: Any, **changes: datetime | int | None) -> None:
        facts = self.facts
        if facts is not None:
            told = {k: v for k, v in {**facts, **changes}.items() if v is not None}
            input.headers = {**input.headers, HEADER: _JSON.to_payload(told)}
