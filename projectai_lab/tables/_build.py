"""`tables.build`: every table of some histories at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import pandas as pd

from projectai_lab.errors import TableError
from projectai_lab.tables._activities import activities
from projectai_lab.tables._attempt import Record
from projectai_lab.tables._attempts import attempts
from projectai_lab.tables._child_workflows import child_workflows
from projectai_lab.tables._events import events
from projectai_lab.tables._executions import executions
from projectai_lab.tables._messages import messages
from projectai_lab.tables._runs import Histories, gc_paused, runs_of
from projectai_lab.tables._timers import timers
from projectai_lab.tables._workflow_tasks import workflow_tasks

_PLAIN: dict[str, Callable[[Any], pd.DataFrame]] = {
    "executions": executions,
    "events": events,
    "timers": timers,
    "child_workflows": child_workflows,
    "messages": messages,
    "workflow_tasks": workflow_tasks,
}
_JOINED = {"activities": activities, "attempts": attempts}


@gc_paused()
def build(
    histories: Histories,
    recorder: Iterable[Record] | None = None,
    *,
    seen: Iterable[Record] | None = None,
    only: Collection[str] | None = None,
) -> dict[str, pd.DataFrame]:
    """Return every table but `payloads` by its name, or only some; faster than a call a table.

    `recorder` (`lab.attempts`) and `seen` go to those that take them, as to `tables.attempts`.

    >>> tables.build(runs, recorder=lab.attempts)["attempts"]                  # doctest: +SKIP
    >>> tables.build(runs, only=["executions", "events"])                      # doctest: +SKIP
    """
    wanted = _wanted(only)
    runs = runs_of(histories)
    records = None if recorder is None else list(recorder)
    plain = {name: make(runs) for name, make in _PLAIN.items() if name in wanted}
    looks = None if seen is None else list(seen)
    joined = {
        name: make(runs, records, seen=looks) for name, make in _JOINED.items() if name in wanted
    }
    return plain | joined


def _wanted(only: Collection[str] | None) -> set[str]:
    known = [*_PLAIN, *_JOINED]
    if isinstance(only, str) or not set(only or ()) <= set(known):
        raise TableError(f"only={only!r} must be a list of some of: {', '.join(known)}")
    return set(known if only is None else only)
