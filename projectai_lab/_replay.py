"""Histories against the workflow code of today: which still fit, and where the others part."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

import pandas as pd
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from projectai_lab._connect import runtime
from projectai_lab._loop import LoopThread

_KINDS = {
    **dict.fromkeys(["workflow_id", "run_id"], "str"),
    **{"ok": "boolean", "event_id": "Int64", "event_type": "str", "message": "str"},
}
# The core wraps what happened into its own debug text.
_INNER = re.compile(r'message: "((?:[^"\\]|\\.)*)"')
_STARTED = EventType.EVENT_TYPE_WORKFLOW_TASK_STARTED
_NOTHING = (pd.NA, pd.NA, None, "no Workflow Task has started: there is nothing to replay")


def replay(
    histories: Iterable[WorkflowHistory], workflows: Sequence[type], **options: Any
) -> pd.DataFrame:
    """Replay every history with the SDK's Replayer: one row a run, whether the code still fits.

    Columns: workflow_id, run_id, ok (NA: no Workflow Task has started, so there is nothing to
    replay), event_id and event_type of the first event that the code does not follow, message (NA:
    it follows all). `options` go to the Replayer: data_converter, plugins, …
    """
    runs = list(histories)
    replayer = Replayer(workflows=workflows, **{"runtime": runtime(), **options})
    loop = LoopThread("projectai-lab-replay")
    try:
        verdicts = loop.run(lambda: _verdicts(replayer, runs))
    finally:
        loop.close()
    rows = [
        (run.workflow_id, run.run_id, *verdict) for run, verdict in zip(runs, verdicts, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(_KINDS)).astype(_KINDS)


async def _verdicts(replayer: Replayer, runs: Sequence[WorkflowHistory]) -> list[tuple[Any, ...]]:
    # The Replayer would wait for ever for the first Workflow Task of the others.
    firsts = [_first_task(run) for run in runs]
    begun = [run for run, first in zip(runs, firsts, strict=True) if first]
    failures = iter(await _failures(replayer, begun))
    return [
        await _verdict(replayer, run, first, next(failures)) if first else _NOTHING
        for run, first in zip(runs, firsts, strict=True)
    ]


def _first_task(run: WorkflowHistory) -> int | None:
    """Return how many events there are up to the start of the first Workflow Task."""
    return next((n for n, event in enumerate(run.events, 1) if event.event_type == _STARTED), None)


async def _verdict(
    replayer: Replayer, run: WorkflowHistory, begun: int, failure: Exception | None
) -> tuple[Any, ...]:
    if failure is None:
        return True, pd.NA, None, None
    # Not every failure names its event, so the shortest history that fails is looked for: where
    # the code parts at event n, all of n events or more fail, and all that are shorter fit.
    fits, fails = begun - 1, len(run.events)
    while fails - fits > 1:
        middle = (fits + fails) // 2
        shorter = WorkflowHistory(run.workflow_id, run.events[:middle])
        fine = await _failures(replayer, [shorter]) == [None]
        fits, fails = (middle, fails) if fine else (fits, middle)
    event = run.events[fails - 1]
    kind = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    return False, event.event_id, kind, _message(failure)


def _message(failure: Exception) -> str:
    inner = _INNER.search(str(failure))
    text = re.sub(r"\\(.)", r"\1", inner[1]) if inner else str(failure)
    return text or type(failure).__name__


async def _failures(replayer: Replayer, runs: Sequence[WorkflowHistory]) -> list[Exception | None]:
    """Return what each run failed with, of one worker for all: each worker costs milliseconds."""

    async def given() -> AsyncIterator[WorkflowHistory]:
        for run in runs:
            yield run

    if not runs:
        return []
    async with replayer.workflow_replay_iterator(given()) as results:
        return [result.replay_failure async for result in results]
