"""How fast histories become tables, against MessageToDict and json_normalize."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
from google.protobuf.json_format import MessageToDict
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from projectai_lab import histories, tables
from tests.bench.rounds import Row, in_turns, timed

DATA = Path(__file__).parents[1] / "data"
SAMPLE = 300
METHOD = (
    "A recorded three-activity run, copied under own ids until there are 20,000 events. "
    "tables.events against MessageToDict of each event and one json_normalize of all; per event: "
    f"one json_normalize each, then concat, over the first {SAMPLE} events. They take turns; "
    "shortest time of each. The last row adds tables.activities to our side alone."
)


def measure(events: int = 20_000, rounds: int = 7) -> list[Row]:
    """Return events per second of each way."""
    runs = copies(events)
    found = [event for run in runs for event in run.events]
    ways: dict[str, Callable[[], object]] = {
        "events": partial(tables.events, runs),
        "with activities": lambda: (tables.events(runs), tables.activities(runs)),
        "whole": partial(normalized, found),
        "each": partial(normalized_each, found[:SAMPLE]),
    }
    seconds = in_turns("decode", {name: timed(way) for name, way in ways.items()}, rounds)
    rate = {name: len(found) / min(taken) for name, taken in seconds.items()}
    rate["each"] *= len(found[:SAMPLE]) / len(found)
    return [
        _row("decode: events to json_normalize", rate, "events", "whole", 8),
        _row("decode: events to json_normalize per event", rate, "events", "each", 100),
        _row("decode: events + activities to json_normalize", rate, "with activities", "whole"),
    ]


def _row(
    what: str, rate: dict[str, float], ours: str, other: str, at_least: float | None = None
) -> Row:
    figures = rate[ours], rate[other], "events/s", rate[ours] / rate[other]
    return Row(what, *figures, at_least=at_least)


def copies(events: int) -> list[WorkflowHistory]:
    """Return copies of a recorded three-activity run, each under its own ids."""
    return list(each_copy(events))


def each_copy(events: int) -> Iterator[WorkflowHistory]:
    """Yield them one by one, for more than memory should hold."""
    recorded = histories.load(DATA / "clean.json")
    count = -(-events // len(recorded.events))
    return (_copy(recorded, number) for number in range(count))


def _copy(recorded: WorkflowHistory, number: int) -> WorkflowHistory:
    copied = [HistoryEvent.FromString(event.SerializeToString()) for event in recorded.events]
    started = copied[0].workflow_execution_started_event_attributes
    started.original_execution_run_id = f"run-{number:06}"
    return WorkflowHistory(f"clean-{number:06}", copied)


def normalized(events: list[HistoryEvent]) -> pd.DataFrame:
    """Decode as the usual recipe does."""
    return pd.json_normalize([MessageToDict(event) for event in events])


def normalized_each(events: list[HistoryEvent]) -> pd.DataFrame:
    """Decode as the usual recipe does when written as a loop."""
    return pd.concat([pd.json_normalize(MessageToDict(event)) for event in events])
