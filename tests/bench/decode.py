"""How fast histories become tables, against MessageToDict and json_normalize."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
from google.protobuf.json_format import MessageToDict
from temporalio.api.history.v1 import History, HistoryEvent
from temporalio.client import WorkflowHistory

from projectai_lab import histories, tables
from tests.bench.rounds import Row, in_turns, timed

DATA = Path(__file__).parents[1] / "data"
SAMPLE = 300
FOUR = ("executions", "events", "activities", "timers")
METHOD = (
    "A recorded three-activity run, copied under own ids until there are 100,000 events. "
    "tables.build of executions, events, activities and timers against MessageToDict of each "
    "event and one json_normalize of all; per event: one json_normalize each, then concat, over "
    f"{SAMPLE} events; the parse: HistoryEvent.FromString of each event's bytes, or "
    "History.FromString of each run's and one look at each event. They take turns; shortest time "
    "of each, with Python's garbage collector as it comes."
)


def measure(events: int = 100_000, rounds: int = 5) -> list[Row]:
    """Return events per second of each way."""
    runs = copies(events)
    found = [event for run in runs for event in run.events]
    encoded = [event.SerializeToString() for event in found]
    whole = [History(events=run.events).SerializeToString() for run in runs]
    ways: dict[str, Callable[[], object]] = {
        "tables": partial(tables.build, runs, only=FOUR),
        "normalize": partial(normalized, found),
        "each": partial(normalized_each, found[:SAMPLE]),
        "parse": lambda: [HistoryEvent.FromString(one) for one in encoded],
        "parse whole": lambda: [list(History.FromString(one).events) for one in whole],
    }
    seconds = in_turns("decode", {name: timed(way) for name, way in ways.items()}, rounds)
    rate = {name: len(found) / min(taken) for name, taken in seconds.items()}
    rate["each"] *= len(found[:SAMPLE]) / len(found)
    return [
        _row("decode: four tables to json_normalize", rate, "tables", "normalize", 8),
        _row("decode: four tables to json_normalize per event", rate, "tables", "each", 100),
        _row("decode: four tables to parsing each event", rate, "tables", "parse", 0.4),
        _row("decode: four tables to parsing whole runs", rate, "tables", "parse whole"),
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
