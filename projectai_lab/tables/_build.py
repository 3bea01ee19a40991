"""`tables.build`: every table of some histories at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pandas as pd

from projectai_lab.tables._activities import activities
from projectai_lab.tables._attempt import Record
from projectai_lab.tables._attempts import attempts
from projectai_lab.tables._child_workflows import child_workflows
from projectai_lab.tables._events import events
from projectai_lab.tables._executions import executions
from projectai_lab.tables._runs import Histories
from projectai_lab.tables._timers import timers

_PLAIN: dict[str, Callable[[Any], pd.DataFrame]] = {
    "executions": executions,
    "events": events,
    "timers": timers,
    "child_workflows": child_workflows,
}
_JOINED = {"activities": activities, "attempts": attempts}


def build(
    histories: Histories, recorder: Iterable[Record] | None = None
) -> dict[str, pd.DataFrame]:
    """Return every table by its name; `recorder` (`lab.attempts`) goes to those that take it.

    >>> tables.build(runs, recorder=lab.attempts)["attempts"]                  # doctest: +SKIP
    """
    found = [histories] if not isinstance(histories, Iterable) else list(histories)
    records = None if recorder is None else list(recorder)
    return {
        **{name: make(found) for name, make in _PLAIN.items()},
        **{name: make(found, records) for name, make in _JOINED.items()},
    }
