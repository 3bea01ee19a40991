"""What a column of a table is, and the words of the enumerations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from temporalio.api.enums.v1 import EventType, RetryState, TimeoutType

SERVER, WORKER = "server", "worker"


class Column(NamedTuple):
    """One column: `kind` decides its dtype; `values` are the words of an enumeration, in order."""

    name: str
    kind: str
    meaning: str
    clock: str = ""
    values: tuple[str, ...] = ()


class Table(NamedTuple):
    """One table: its columns in order, and those that together name a row."""

    key: tuple[str, ...]
    columns: tuple[Column, ...]


def words(items: Iterable[tuple[str, int]], prefix: str) -> tuple[str, ...]:
    """Return the words of a protobuf enumeration by number, without prefix and UNSPECIFIED."""
    ordered = sorted(items, key=lambda item: item[1])
    return tuple(name.removeprefix(prefix) for name, number in ordered if number)


def text(name: str, meaning: str) -> Column:
    """Return a column of text."""
    return Column(name, "text", meaning)


def count(name: str, meaning: str) -> Column:
    """Return a column of whole numbers."""
    return Column(name, "count", meaning)


def time(name: str, meaning: str, clock: str = SERVER) -> Column:
    """Return a column of instants."""
    return Column(name, "time", meaning, clock)


def span(name: str, meaning: str, clock: str = SERVER) -> Column:
    """Return a column of durations in seconds."""
    return Column(name, "span", meaning, clock)


def flag(name: str, meaning: str) -> Column:
    """Return a column of yes, no or NA."""
    return Column(name, "flag", meaning)


def enum(name: str, meaning: str, *values: str) -> Column:
    """Return a column of words out of a fixed list, in its order."""
    return Column(name, "enum", meaning, values=values)


EVENT_TYPES = (*words(EventType.items(), "EVENT_TYPE_"), "OTHER")
RETRY_STATES = words(RetryState.items(), "RETRY_STATE_")
TIMEOUT_TYPES = words(TimeoutType.items(), "TIMEOUT_TYPE_")
OUTCOMES = ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED")
GROUPS = (
    *("workflow_execution", "workflow_task", "activity", "timer", "child_workflow", "signal"),
    *("update", "marker", "external_signal", "external_cancel", "nexus_operation"),
)

RUN = (
    text("namespace", "Namespace; NA when the history was loaded from a file that lacks it"),
    text("workflow_id", "Workflow Id"),
    text("run_id", "Run Id"),
)
FAILURE = (
    text("failure_type", "type of the failure below Temporal's wrappers, e.g. ValueError"),
    text("failure_message", "message of that failure"),
)
