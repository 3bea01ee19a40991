"""What the timeline of one history shows: lanes of items, each with its place in seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from projectai_lab import tables
from projectai_lab._spans import spans
from projectai_lab.histories import History

PAGE_ITEMS, PAGE_LANES = 120, 20


@dataclass(frozen=True)
class Item:
    """A bar, or a point where `end` is None; `opener` is the Event Id that opened its group."""

    name: str
    outcome: str
    begin: float
    end: float | None
    opener: int
    mark: str = ""
    row: Any = None

    @property
    def facts(self) -> dict[str, Any]:
        """What its row of the tables knows."""
        return {} if self.row is None else _known(self.row)


@dataclass(frozen=True)
class Lane:
    """A row of the timeline; `gaps` are the backoffs, `blind` attempts have no known time."""

    label: str
    items: list[Item]
    gaps: list[tuple[float, float]] = field(default_factory=list)
    blind: int = 0


def lanes(history: History, until: pd.Timestamp, recorder: Any = None) -> tuple[list[Lane], float]:
    """Return the lanes in order of their begin, and the longest time, in seconds since the start.

    What is open ends at `until`.
    """
    [run] = tables.executions(history).itertuples()
    zero = run.start_time
    now = max(0.0, (until - zero).total_seconds())
    found = [
        *_activities(history, zero, now, recorder),
        *_spells(tables.timers(history), "timer", "started", zero, now),
        *_spells(tables.child_workflows(history), "child", "initiated", zero, now),
        *_messages(tables.messages(history), zero),
    ]
    found.sort(key=lambda lane: lane.items[0].begin)
    whole = Item("workflow execution", str(run.status), 0.0, now, 1, row=run)
    every = [Lane(str(run.workflow_type), [whole]), *found]
    most = max(item.end or item.begin for lane in every for item in lane.items)
    return every, max(most, 1e-6)


def pages(every: list[Lane]) -> list[list[Lane]]:
    """Return the lanes in pages of bounded size; a lane that is longer goes on on the next."""
    found: list[list[Lane]] = [[]]
    room = PAGE_ITEMS
    for lane in every:
        for at in range(0, len(lane.items), PAGE_ITEMS):
            part = lane.items[at : at + PAGE_ITEMS]
            if len(part) > room or len(found[-1]) == PAGE_LANES:
                found.append([])
                room = PAGE_ITEMS
            found[-1].append(_part(lane, at, part))
            room -= len(part)
    return found


def _part(lane: Lane, at: int, part: list[Item]) -> Lane:
    """Return a part of a lane with the backoffs before its own items; those after with the last."""
    after = lane.items[at - 1].begin if at else float("-inf")
    last = at + len(part) == len(lane.items)
    until = float("inf") if last else part[-1].begin
    gaps = [gap for gap in lane.gaps if after <= gap[0] < until]
    return Lane(lane.label, part, gaps, lane.blind)


def _activities(history: History, zero: Any, now: float, recorder: Any) -> Iterator[Lane]:
    of: defaultdict[int, list[Any]] = defaultdict(list)
    for row in spans(tables.attempts(history, recorder=recorder), zero).itertuples():
        of[row.scheduled_event_id].append(row)
    for one in tables.activities(history, recorder).itertuples():
        opener, label = int(one.scheduled_event_id), str(one.activity_type)
        part = of[opener]
        items = [_attempt(row, label, opener, now) for row in part if row.start >= 0]
        gaps = [(row.ended_before, row.due) for row in part if row.ended_before <= row.due]
        blind = sum(pd.isna(row.start) for row in part)
        if not items:
            begin = _since(one.scheduled_time, zero, now)
            end = _since(one.closed_time, zero, now)
            items = [Item(f"activity {label}", str(one.status), begin, end, opener, "", one)]
        yield Lane(label, items, gaps, blind)


def _attempt(row: Any, label: str, opener: int, now: float) -> Item:
    running = str(row.state) == "RUNNING"
    end = row.end if row.end >= row.start else (max(now, row.start) if running else row.start)
    name = f"activity {label}, attempt {row.attempt}"
    outcome = "RUNNING" if running else str(row.outcome)
    return Item(name, outcome, row.start, end, opener, str(row.attempt), row)


def _spells(frame: pd.DataFrame, kind: str, first: str, zero: Any, now: float) -> Iterator[Lane]:
    for row in frame.itertuples():
        label = str(row.timer_id if kind == "timer" else row.child_workflow_id)
        begin = _since(getattr(row, f"{first}_time"), zero, now)
        end = _since(row.closed_time, zero, now)
        opener = int(getattr(row, f"{first}_event_id"))
        item = Item(f"{kind} {label}", str(row.status), begin, end, opener, "", row)
        yield Lane(f"{kind} {label}", [item])


def _messages(frame: pd.DataFrame, zero: Any) -> Iterator[Lane]:
    for (kind, name), part in frame.astype({"kind": str, "name": str}).groupby(["kind", "name"]):
        label = f"{kind.lower().replace('_', ' ')} {name}"
        yield Lane(
            label,
            [
                Item(
                    *(label, str(row.status), _since(row.opened_time, zero, 0.0), None),
                    *(int(row.event_id), "", row),
                )
                for row in part.itertuples()
            ],
        )


def _since(time: Any, zero: Any, otherwise: float) -> float:
    return otherwise if pd.isna(time) else float((time - zero).total_seconds())


_PLACES = {"Index", "namespace", "run", "due", "start", "end", "ended_before", "due_after"}


def _known(row: Any) -> dict[str, Any]:
    """Return what a row of a table knows."""
    return {k: v for k, v in row._asdict().items() if k not in _PLACES and not pd.isna(v)}
