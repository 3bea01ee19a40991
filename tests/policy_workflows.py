"""Workflows with one activity whose policy and faults a test chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import activity, workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from projectai_lab.models import Duration, WorkflowInput, seconds

# On purpose without imports_passed_through: the sandbox must be able to load it.
from projectai_lab.retries import jittered


@dataclass(frozen=True)
class Backoff:
    """How the jittered activity fails, and under which policy."""

    strategy: Any
    seed: str
    first_s: float
    most: int


@activity.defn
async def fail_with_jitter(asked: Backoff) -> None:
    """Fail each attempt and draw the wait before the next."""
    info = activity.info()
    delay = jittered(info.retry_policy, info.attempt, asked.strategy, seed=asked.seed)
    raise ApplicationError("not yet", type="Busy", next_retry_delay=delay)


@workflow.defn
class Jittered:
    """Run the activity that jitters until its policy gives up."""

    @workflow.run
    async def run(self, asked: Backoff) -> None:
        """Wait for its end."""
        policy = RetryPolicy(
            initial_interval=timedelta(seconds=asked.first_s), maximum_attempts=asked.most
        )
        try:
            await workflow.execute_activity(
                fail_with_jitter,
                asked,
                start_to_close_timeout=timedelta(seconds=10),
                retry_policy=policy,
            )
        except ActivityError:
            return


@workflow.defn
class Request:
    """One AI call, and nothing else."""

    @workflow.run
    async def run(self, request: WorkflowInput) -> bool:
        """Return whether it succeeded."""
        retry = request.retry["simulate_ai_call"]
        limits = request.timeouts["simulate_ai_call"]
        try:
            await workflow.execute_activity(
                "simulate_ai_call",
                request,
                retry_policy=RetryPolicy(
                    initial_interval=timedelta(seconds=seconds(retry.initial_interval)),
                    backoff_coefficient=retry.backoff_coefficient,
                    maximum_attempts=retry.maximum_attempts,
                    non_retryable_error_types=list(retry.non_retryable_error_types),
                ),
                start_to_close_timeout=_length(limits.start_to_close),
                schedule_to_close_timeout=_length(limits.schedule_to_close),
            )
        except ActivityError:
            return False
        return True


def _length(duration: Duration | None) -> timedelta | None:
    return None if duration is None else timedelta(seconds=seconds(duration))


WORKFLOWS: tuple[type, ...] = (Jittered, Request)
ACTIVITIES: tuple[Callable[..., Any], ...] = (fail_with_jitter,)
