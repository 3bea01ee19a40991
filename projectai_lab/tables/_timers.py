"""`tables.timers`: one row per timer."""

from __future__ import annotations

import numpy as np
import pandas as pd
from temporalio.api.enums.v1 import EventType

from projectai_lab.tables import schema
from projectai_lab.tables._runs import NAT, Histories, clock_of, runs_of, seconds
from projectai_lab.tables._walk import elapsed, walk_of

_STARTED = EventType.EVENT_TYPE_TIMER_STARTED
_CLOSED = (EventType.EVENT_TYPE_TIMER_FIRED, EventType.EVENT_TYPE_TIMER_CANCELED)
_PENDING, _FIRED, _CANCELED = range(3)


def timers(histories: Histories) -> pd.DataFrame:
    """Return one row per timer of the histories.

    >>> tables.timers(history)[["timer_id", "timeout_s", "lag_s"]]             # doctest: +SKIP
    """
    runs = runs_of(histories)
    walk = walk_of(runs)
    asked = walk.part(_STARTED)
    status, closed = np.zeros(len(walk.events) + 1, "int64"), np.full(len(walk.events) + 1, NAT)
    for word, kind in enumerate(_CLOSED, start=_FIRED):
        part = walk.part(kind)
        opener = walk.find(part.rows, part.columns["started_event_id"])
        status[opener], closed[opener] = word, walk.times[part.rows]
    started, closed = walk.times[asked.rows], closed[asked.rows]
    spans = [seconds(one.start_to_fire_timeout) for one in asked.attributes]
    timeout = np.array(spans, dtype="float64")
    took = elapsed(closed, started)
    fired = status[asked.rows] == _FIRED
    data = {
        **walk.names(walk.owner[asked.rows]),
        **{"started_event_id": walk.ids[asked.rows], "timer_id": asked.columns["timer_id"]},
        **{"status": status[asked.rows], "started_time": started, "closed_time": closed},
        **{"timeout_s": timeout, "elapsed_s": took},
        "lag_s": np.where(fired, took - np.nan_to_num(timeout), np.nan),
    }
    return schema.frame("timers", data, clock=clock_of(runs))
