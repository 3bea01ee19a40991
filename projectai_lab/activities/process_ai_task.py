"""Third activity: shape the answer into the result of the request."""

from __future__ import annotations

import time
from typing import Any

from temporalio import activity

from projectai_lab.models import AITask


@activity.defn
async def process_ai_task(task: AITask) -> dict[str, Any]:
    """Return the answer, for whom it is, and its timings in seconds (worker's monotonic clock)."""
    started = time.monotonic()
    return {
        "answer": task.response.answer,
        "user_id": task.request.user_id,
        "characters": len(task.request.data),
        "timings": {"ai_call_s": task.response.call_s, "process_s": time.monotonic() - started},
    }
