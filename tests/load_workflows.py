"""A small request, for loads: one Workflow Task, one activity, one Workflow Task."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity, workflow


@activity.defn
async def answer(text: str) -> str:
    """Answer at once."""
    return f"answer to {text}"


@workflow.defn
class Ask:
    """Ask one activity."""

    @workflow.run
    async def run(self, text: str) -> str:
        """Return its answer."""
        return await workflow.execute_activity(
            answer, text, start_to_close_timeout=timedelta(seconds=60)
        )
