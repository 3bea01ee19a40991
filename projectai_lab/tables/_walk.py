"""One walk over the events of some runs, shared by every table that is made of them.

Each event type is read when a table first asks for it, and once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from temporalio.api.history.v1 import HistoryEvent

from projectai_lab.tables._headers import headers
from projectai_lab.tables._plans import PLANS, Plan
from projectai_lab.tables._runs import NAT, Run, Runs

_MOST_SECONDS = np.iinfo(np.int64).max // 1_000_000_000 - 1


class Part:
    """The events of one type: their `rows` in the walk, and their attributes."""

    def __init__(self, plan: Plan, rows: np.ndarray, attributes: list[Any]) -> None:
        self.plan, self.rows, self.attributes = plan, rows, attributes

    @cached_property
    def columns(self) -> Mapping[str, Sequence[Any]]:
        """Return what the attributes say, by column of `tables.events`; unset ones are "" or 0."""
        values = zip(*map(self.plan.read, self.attributes), strict=True)
        found = dict(zip(self.plan.columns, values, strict=False))
        return found or dict.fromkeys(self.plan.columns, ())

    @cached_property
    def payload_bytes(self) -> np.ndarray | None:
        """Return the data bytes of each event, −1 for none; None where the type carries none."""
        measure = self.plan.payload_bytes
        return measure and np.array(list(map(measure, self.attributes)), dtype=np.int64)


class Walk:
    """The events of some runs, one after the other, as arrays; times in epoch nanoseconds."""

    def __init__(self, runs: Sequence[Run]) -> None:
        # A copy: the walk is kept with its runs, and a circle would keep both until a collection.
        self.runs = tuple(runs)
        self.events: list[HistoryEvent] = list(chain.from_iterable(run.events for run in runs))
        lengths = np.array([len(run.events) for run in runs], dtype=np.int64)
        self.starts = np.cumsum(lengths) - lengths
        self.owner = np.repeat(np.arange(len(runs)), lengths)
        self.first = self.starts[self.owner]
        self.ids, seconds, nanos, self.kinds, self.sizes = headers(self.events)
        self.times = _nanoseconds(seconds, nanos)
        order = np.argsort(self.kinds, kind="stable")
        kinds, begins = np.unique(self.kinds[order], return_index=True)
        parted = np.split(order, begins[1:]) if len(kinds) else []
        self._rows = dict(zip(kinds.tolist(), parted, strict=True))
        self._parts: dict[int, Part] = {}
        self.kept: dict[str, Any] = {}

    def part(self, kind: int) -> Part:
        """Return the events of a known type."""
        if kind not in self._parts:
            plan, rows = PLANS[kind], self._rows.get(kind, _NOTHING)
            attributes = list(map(plan.attributes, map(self.events.__getitem__, rows.tolist())))
            self._parts[kind] = Part(plan, rows, attributes)
        return self._parts[kind]

    def parts(self) -> Iterator[Part]:
        """Yield the events of each known type that occurs."""
        return (self.part(kind) for kind in self._rows if kind in PLANS)

    def find(self, rows: np.ndarray, ids: Any) -> np.ndarray:
        """Return where the Events with these ids stand in the runs of the rows; −1 for none."""
        first, wanted = self.first[rows], np.asarray(ids, dtype=np.int64)
        # A server counts ids up by one: so the first guess is right in all but made-up histories.
        guess = np.clip(first + wanted - self.ids[first], 0, len(self.ids) - 1)
        found = np.where((self.ids[guess] == wanted) & (self.first[guess] == first), guess, -1)
        for at in np.flatnonzero((found < 0) & (wanted != 0)):
            found[at] = self._by_id.get((int(first[at]), int(wanted[at])), -1)
        return found

    @cached_property
    def _by_id(self) -> dict[tuple[int, int], int]:
        keys = zip(self.first.tolist(), self.ids.tolist(), strict=True)
        return {key: row for row, key in enumerate(keys)}

    def names(self, owners: Any) -> dict[str, Any]:
        """Return the columns that every table begins with, for rows of these runs."""
        fields = ("namespace", "workflow_id", "run_id")
        named = {name: [getattr(run, name) for run in self.runs] for name in fields}
        return {name: repeated(values, owners) for name, values in named.items()}

    def count(self, rows: np.ndarray, weights: Any = None) -> np.ndarray:
        """Return how many of the rows each run has, or the sum of their weights."""
        counted = np.bincount(self.owner[rows], weights, minlength=len(self.runs))
        return counted.astype(np.int64)

    def rows(self, *kinds: int) -> np.ndarray:
        """Return the rows of some event types, in order."""
        return np.sort(np.concatenate([self._rows.get(kind, _NOTHING) for kind in kinds]))


_NOTHING = np.zeros(0, dtype=np.int64)


def walk_of(runs: Sequence[Run]) -> Walk:
    """Return the walk over runs; that of `Runs` is kept with them."""
    if not isinstance(runs, Runs):
        return Walk(runs)
    walk: Walk = runs.walk or Walk(runs)
    runs.walk = walk
    return walk


def repeated(values: Sequence[str | None], positions: Any) -> Any:
    """Return a column of text that holds few values many times."""
    known = pa.array(values, type=pa.large_string())
    return pd.array(known.take(pa.array(positions)), dtype="str")


def elapsed(later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
    """Return later − earlier in seconds, NaN where one of them is not known."""
    known = (later != NAT) & (earlier != NAT)
    return np.where(known, (later - earlier) / 1e9, np.nan)


def _nanoseconds(seconds: np.ndarray, nanos: np.ndarray) -> np.ndarray:
    """Return epoch nanoseconds; NaT where none was set, or where they do not fit (year 9999)."""
    fits = (np.abs(seconds) <= _MOST_SECONDS) & ((seconds != 0) | (nanos != 0))
    return np.where(fits, seconds * 1_000_000_000 + nanos, NAT)
