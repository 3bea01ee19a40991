"""Load one long history from files, against parsing alone by protobuf."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from google.protobuf import json_format
from temporalio.api.export.v1 import WorkflowExecution, WorkflowExecutions
from temporalio.api.history.v1 import History, HistoryEvent

from projectai_lab import histories
from tests.bench.rounds import Row, in_turns, timed, typical_ratio

DATA = Path(__file__).parents[1] / "data"
METHOD = (
    "A recorded run of most kinds of Events, its Events repeated under Event Ids in order. Load: "
    "read, sniff, parse, check Event Ids, one list of Events. Against the parse alone of what was "
    "read before: json_format.Parse of the JSON, list(WorkflowExecutions.FromString(…).events) of "
    "a Cloud export. They take turns; medians; the ratio is the median of the rounds' ratios."
)


def measure(events: int = 50_000, rounds: int = 3) -> list[Row]:
    """Return a row for JSON and one for a Cloud export."""
    history = History(events=long_history(events))
    with tempfile.TemporaryDirectory() as folder:
        as_json, exported = Path(folder, "run.json"), Path(folder, "run.binpb")
        text, content = json_format.MessageToJson(history), _export(history)
        as_json.write_text(text)
        exported.write_bytes(content)
        return [
            _row(
                f"load: {events:,} Events of JSON to their parse",
                lambda: histories.load(as_json),
                lambda: json_format.Parse(text, History()),
                rounds,
            ),
            _row(
                f"load: {events:,} Events of an export to their parse",
                lambda: histories.load(exported),
                lambda: _parsed(content),
                10 * rounds,
            ),
        ]


def _row(what: str, load: Callable[[], object], parse: Callable[[], object], rounds: int) -> Row:
    seconds = in_turns("load", {"load": timed(load), "parse": timed(parse)}, rounds)
    medians = statistics.median(seconds["load"]), statistics.median(seconds["parse"])
    ratio = typical_ratio(seconds["load"], seconds["parse"])
    return Row(what, *medians, "s", *ratio, at_most=2)


def long_history(count: int) -> list[HistoryEvent]:
    """Return as many Events, numbered from 1, that begin a run."""
    recorded = histories.load(DATA / "everything.json").events
    found = []
    for number in range(count):
        event = HistoryEvent()
        event.CopyFrom(recorded[number % len(recorded)])
        event.event_id = number + 1
        found.append(event)
    return found


def _export(history: History) -> bytes:
    whole = WorkflowExecutions(items=[WorkflowExecution(history=history)])
    content: bytes = whole.SerializeToString()
    return content


def _parsed(content: bytes) -> list[HistoryEvent]:
    return list(WorkflowExecutions.FromString(content).items[0].history.events)
