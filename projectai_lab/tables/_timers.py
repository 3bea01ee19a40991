"""`tables.timers`: one row per timer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from temporalio.api.enums.v1 import EventType

from projectai_lab.tables import schema
from projectai_lab.tables._runs import Histories, Run, clock_of, ns, runs_of, seconds, since

_STARTED = EventType.EVENT_TYPE_TIMER_STARTED
_CLOSED = {
    EventType.EVENT_TYPE_TIMER_FIRED: "FIRED",
    EventType.EVENT_TYPE_TIMER_CANCELED: "CANCELED",
}


def timers(histories: Histories) -> pd.DataFrame:
    """Return one row per timer of the histories.

    >>> tables.timers(history)[["timer_id", "timeout_s", "lag_s"]]             # doctest: +SKIP
    """
    runs = runs_of(histories)
    rows = [row for run in runs for row in _of_run(run)]
    return schema.frame("timers", rows, clock=clock_of(runs))


def _of_run(run: Run) -> Iterator[tuple[Any, ...]]:
    closed: dict[int, tuple[str, int]] = {}
    for event in run.events:
        if status := _CLOSED.get(event.event_type):
            attributes = getattr(event, f"timer_{status.lower()}_event_attributes")
            closed[attributes.started_event_id] = status, ns(event.event_time)
    for event in run.events:
        if event.event_type == _STARTED:
            status, end = closed.get(event.event_id, ("PENDING", None))
            asked = event.timer_started_event_attributes
            timeout = seconds(asked.start_to_fire_timeout)
            elapsed = since(end, ns(event.event_time))
            lag = elapsed - (timeout or 0.0) if status == "FIRED" and elapsed is not None else None
            yield (
                *(run.namespace, run.workflow_id, run.run_id, event.event_id, asked.timer_id),
                *(status, ns(event.event_time), end, timeout, elapsed, lag),
            )
