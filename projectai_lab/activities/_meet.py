"""Let an attempt meet the fate that the request's fault plan holds for it."""

from __future__ import annotations

import asyncio

from temporalio import activity
from temporalio.exceptions import ApplicationError

from projectai_lab.faults import Fate, fate
from projectai_lab.models import WorkflowInput


def fate_here(request: WorkflowInput) -> Fate:
    """Return the fate of the running activity attempt."""
    info = activity.info()
    return fate(request.faults, request.seed, info.activity_type, info.attempt)


async def meet(request: WorkflowInput, here: Fate) -> None:
    """Hang past the attempt's timeout, or fail, if the fate says so; else return at once."""
    if here.hangs:
        info = activity.info()
        limit = info.start_to_close_timeout or info.schedule_to_close_timeout
        # One second late is past every timeout and still ends, so that no slot is lost for ever.
        await asyncio.sleep(limit.total_seconds() + 1 if limit else 60)
    if here.failure:
        raise ApplicationError(
            here.failure,
            type=request.faults.error_type,
            non_retryable=not request.faults.retryable,
        )
