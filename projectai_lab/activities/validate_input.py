"""First activity: is this request worth an AI call?"""

from __future__ import annotations

from temporalio import activity
from temporalio.exceptions import ApplicationError

from projectai_lab.models import WorkflowInput

MAX_DATA_CHARS = 10_000
INVALID = "InvalidInput"


@activity.defn
async def validate_input(request: WorkflowInput) -> str:
    """Return the stripped text; empty, over `MAX_DATA_CHARS` or not text fails without retry."""
    reason = _why_invalid(request)
    if reason:
        raise ApplicationError(reason, type=INVALID, non_retryable=True)
    return str(request.data).strip()


def _why_invalid(request: WorkflowInput) -> str | None:
    for name, value in (("data", request.data), ("user_id", request.user_id)):
        if not isinstance(value, str):
            return f"{name} must be text, got {type(value).__name__}"
        if not value.strip():
            return f"{name} is empty"
        if len(value) > MAX_DATA_CHARS:
            return f"{name} has {len(value):,} characters, the limit is {MAX_DATA_CHARS:,}"
    return None
