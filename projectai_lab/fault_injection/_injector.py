"""`FaultInjector`: the worker interceptor that lets activity attempts meet their fates."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

from projectai_lab._heartbeat import heartbeating
from projectai_lab.activities import SIMULATES
from projectai_lab.fault_injection._carry import Carried, CarriesFaults
from projectai_lab.faults import ORDER, Fate, Strike, fate
from projectai_lab.models import Point, seconds

Write = Callable[[activity.Info, dict[str, Any]], None]
_HANG_S = 60.0
_REFUSED = (
    "the fault plan kills the worker ({rule!r}), and this worker may not be killed: it runs in a "
    "thread of the kernel, or serves others too. Run it in a process of this Lab, which comes "
    "back: lab.start_worker(process=True, restarts=3)"
)


class FaultInjector(Interceptor):
    """Carries fault plans from workflows to activities, and carries them out there.

    `write` takes a row for each injected fault; `may_kill` says that this process may be killed.
    """

    def __init__(self, write: Write | None = None, *, may_kill: bool = False) -> None:
        self._write = write
        self.may_kill = may_kill

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Wrap the activity chain; called by the worker once an attempt."""
        return _Meeting(next, self)

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor]:
        """Return what carries plans through workflows; called by the worker."""
        return CarriesFaults

    def tell(self, strike: Strike, point: Point) -> None:
        """Write the row of a fault that is about to strike the running attempt."""
        if self._write:
            self._write(activity.info(), _row(strike, point))


def _row(strike: Strike, point: Point) -> dict[str, Any]:
    fault, delay = strike.fault, strike.fault.next_retry_delay
    fails = fault.kind in ("fail", "rate_limit")
    return {
        "rule": strike.rule,
        "fault": fault.kind,
        "point": point,
        "probability": fault.probability,
        "error_type": fault.error_type or None,
        "retryable": fault.retryable if fails else None,
        "next_retry_delay_s": None if delay is None else seconds(delay),
        "delay_s": strike.delay_s,
    }


class _Meeting(ActivityInboundInterceptor):
    """One attempt; the worker makes one for each."""

    def __init__(self, next: ActivityInboundInterceptor, injector: FaultInjector) -> None:
        super().__init__(next)
        self._injector = injector

    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        self._outbound = _Heartbeats(outbound)
        super().init(self._outbound)

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        carried = Carried.of(input.headers)
        if carried is None:
            return await super().execute_activity(input)
        strikes = here(carried, activity.info()).strikes
        own_at = "end" if getattr(input.fn, SIMULATES, False) else "start"
        for strike in _at("start", strikes, own_at):
            await self._strike(strike, "start")
        result = await super().execute_activity(input)
        for strike in _at("end", strikes, own_at):
            await self._strike(strike, "end")
        return result

    async def _strike(self, strike: Strike, point: Point) -> None:
        kind = strike.fault.kind
        if kind == "kill_worker" and not self._injector.may_kill:
            refused = _REFUSED.format(rule=strike.rule)
            raise ApplicationError(refused, type="KillRefused", non_retryable=True)
        self._injector.tell(strike, point)
        if kind == "drop_heartbeats":
            self._outbound.dropped = True
        elif kind == "delay":
            await self._pass(strike.delay_s or 0.0)
        elif kind == "hang":
            limit = activity.info().start_to_close_timeout
            limit = limit or activity.info().schedule_to_close_timeout
            # One second late is past every timeout and still ends, so that no slot is lost.
            await self._pass(limit.total_seconds() + 1 if limit else _HANG_S)
        elif kind == "kill_worker":
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            raise _failure(strike)

    async def _pass(self, length_s: float) -> None:
        """Let time pass as a slow call does, which is heard of meanwhile."""
        async with heartbeating(lambda: self._outbound.details):
            await asyncio.sleep(length_s)


def _failure(strike: Strike) -> ApplicationError:
    fault, delay = strike.fault, strike.fault.next_retry_delay
    return ApplicationError(
        strike.message,
        type=fault.error_type,
        non_retryable=not fault.retryable,
        next_retry_delay=None if delay is None else timedelta(seconds=seconds(delay)),
    )


def _at(point: str, strikes: tuple[Strike, ...], own_at: str) -> list[Strike]:
    """Return the strikes at this point; those of the plan's own laws are where `own_at` says."""
    found = [one for one in strikes if (own_at if one.of_plan else one.fault.point) == point]
    return sorted(found, key=lambda one: ORDER.index(one.fault.kind))


class _Heartbeats(ActivityOutboundInterceptor):
    def __init__(self, next: ActivityOutboundInterceptor) -> None:
        super().__init__(next)
        self.dropped = False
        self.details: Sequence[Any] = next.info().heartbeat_details
        """The last ones, which the attempt before may have left."""

    def heartbeat(self, *details: Any) -> None:
        self.details = details
        if not self.dropped:
            super().heartbeat(*details)


def here(carried: Carried, info: activity.Info) -> Fate:
    """Return the fate of the running attempt, its times on the clock of its execution."""
    at = _started(carried, info)
    since = None if carried.since is None else (at - carried.since).total_seconds()
    return fate(
        carried.plan,
        carried.seed,
        info.activity_type,
        info.attempt,
        call=carried.call,
        since_start_s=since,
        at=at,
    )


def _started(carried: Carried, info: activity.Info) -> datetime:
    if carried.now is None:
        return info.started_time
    # The times of a Local Activity are the worker's: only their difference is used.
    return carried.now + (info.started_time - info.scheduled_time)
