"""`ExampleWorkflow`: validate, call the AI, process the answer; each step an activity."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, FailureError

with workflow.unsafe.imports_passed_through():
    from projectai_lab.activities import process_ai_task, simulate_ai_call, validate_input
    from projectai_lab.models import (
        AITask,
        Duration,
        RetrySettings,
        TimeoutSettings,
        WorkflowInput,
        WorkflowOutput,
        WorkflowState,
        seconds,
    )

DEFAULT_RETRY = {
    "validate_input": RetrySettings(initial_interval=0.2, maximum_attempts=3),
    "simulate_ai_call": RetrySettings(
        initial_interval=0.5, maximum_interval=10, maximum_attempts=5
    ),
    "process_ai_task": RetrySettings(initial_interval=0.2, maximum_attempts=3),
}
DEFAULT_TIMEOUTS = {
    "validate_input": TimeoutSettings(start_to_close=5),
    "simulate_ai_call": TimeoutSettings(start_to_close=30, heartbeat=2),
    "process_ai_task": TimeoutSettings(start_to_close=5),
}


@workflow.defn
class ExampleWorkflow:
    """One AI request. An activity that fails for good ends in `success=False`, not in FAILED."""

    def __init__(self) -> None:
        self._state = WorkflowState(activity=None, since=None)

    @workflow.run
    async def run(self, request: WorkflowInput) -> WorkflowOutput:
        """Run the three activities in order and return the result or the reason of the failure.

        Canceled, it ends as CANCELED once the running activity has ended, however that ends; only
        the last activity's success is kept.
        """
        try:
            text = await self._step(validate_input, request, request)
            request = replace(request, data=text)
            response = await self._step(simulate_ai_call, request, request)
            result = await self._step(process_ai_task, AITask(request, response), request)
        except (ActivityError, asyncio.CancelledError) as error:
            if _is_canceled() or not isinstance(error, ActivityError):
                self._enter(None, status="cancelled")
                raise asyncio.CancelledError from error
            self._enter(None, status="failed")
            return WorkflowOutput(success=False, error=_reason(error))
        self._enter(None, status="completed")
        return WorkflowOutput(success=True, result=result)

    @workflow.query
    def state(self) -> WorkflowState:
        """Return which activity runs, since when (workflow time) and which are done."""
        return self._state

    async def _step(self, activity: Any, argument: Any, request: WorkflowInput) -> Any:
        if _is_canceled():
            # The SDK forgets the request when the activity before this one succeeds all the same.
            raise asyncio.CancelledError
        name = activity.__name__
        self._enter(name)
        result = await workflow.execute_activity(activity, argument, **_options(name, request))
        self._state = replace(self._state, done=(*self._state.done, name))
        return result

    def _enter(self, activity: str | None, **changes: Any) -> None:
        self._state = replace(self._state, activity=activity, since=workflow.now(), **changes)


def _is_canceled() -> bool:
    return workflow.cancellation_reason() is not None


def _options(name: str, request: WorkflowInput) -> dict[str, Any]:
    retry = request.retry.get(name, DEFAULT_RETRY[name])
    timeouts = request.timeouts.get(name, DEFAULT_TIMEOUTS[name])
    return {
        "retry_policy": RetryPolicy(
            initial_interval=timedelta(seconds=seconds(retry.initial_interval)),
            backoff_coefficient=retry.backoff_coefficient,
            maximum_interval=_timedelta(retry.maximum_interval),
            maximum_attempts=retry.maximum_attempts,
            non_retryable_error_types=list(retry.non_retryable_error_types),
        ),
        "start_to_close_timeout": _timedelta(timeouts.start_to_close),
        "schedule_to_close_timeout": _timedelta(timeouts.schedule_to_close),
        "schedule_to_start_timeout": _timedelta(timeouts.schedule_to_start),
        "heartbeat_timeout": _timedelta(timeouts.heartbeat),
        # A cancelled run waits until its activity has really ended: nothing runs on behind it.
        "cancellation_type": workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    }


def _timedelta(duration: Duration | None) -> timedelta | None:
    return None if duration is None else timedelta(seconds=seconds(duration))


def _reason(error: ActivityError) -> str:
    cause = error.cause
    kind = getattr(cause, "type", None)
    name = getattr(kind, "name", kind) or type(cause).__name__
    message = cause.message if isinstance(cause, FailureError) else cause
    retry_state = f" ({error.retry_state.name})" if error.retry_state else ""
    return f"{error.activity_type} failed for good{retry_state}: {name}: {message}"
