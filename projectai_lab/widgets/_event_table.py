"""The event table of the explorer, and the events and payloads of a chosen item."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pandas as pd

from projectai_lab import tables
from projectai_lab._words import cut, duration
from projectai_lab.histories import History
from projectai_lab.widgets._lanes import Item
from projectai_lab.widgets._look import Html, message, table, text
from projectai_lab.widgets._timeline_view import words

PAGE_EVENTS, MOST_CHARACTERS, MOST_EVENTS = 50, 4000, 50
KINDS = {
    "all": (),
    "workflow": ("workflow_execution",),
    "workflow task": ("workflow_task",),
    "activity": ("activity",),
    "timer": ("timer",),
    "child": ("child_workflow",),
    "signal/update": ("signal", "update"),
    "marker": ("marker",),
    "other": ("external_signal", "external_cancel", "nexus_operation"),
}
_NONE = message("These events carry no payloads.")
_NAMES = (
    *("activity_type", "timer_id", "child_workflow_id", "signal_name", "update_name"),
    *("marker_name", "change_id"),
)
_FACTS = ("attempt", "failure_type", "failure_message", "timeout_type", "retry_state", "identity")
_HEAD = ("id", "since start", "event", "name", "facts", "bytes")


def of_kind(events: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the events of a kind; what has no group is "other"."""
    if kind == "all":
        return events
    fits = events["group_kind"].isin(KINDS[kind])
    return events[fits | events["group_kind"].isna()] if kind == "other" else events[fits]


def events_html(events: pd.DataFrame, caption: str) -> Html:
    """Return events as a table."""
    rows = map(_cells, events.itertuples())
    drawn = table(_HEAD, rows, caption=caption, numbers=("id", "bytes"))
    return Html(f'<div class="plab-rows">{drawn}</div>')


def _cells(row: Any) -> tuple[object, ...]:
    name = next((v for k in _NAMES if not pd.isna(v := getattr(row, k))), None)
    facts = [f"{k.replace('_', ' ')} {v}" for k in _FACTS if not pd.isna(v := getattr(row, k))]
    size = None if pd.isna(row.payload_bytes) else int(row.payload_bytes)
    at = duration(row.since_start_s)
    return row.event_id, at, row.event_type, name, cut("; ".join(facts), 300), size


def details_html(
    item: Item,
    history: History,
    events: pd.DataFrame,
    *,
    allow: Collection[str] | None,
    redact: Any,
    decode: Callable[..., Any] | None,
) -> Html:
    """Return what is known of an item: its facts, its events, and their payloads."""
    mine = events[(events["group_id"] == item.opener) | (events["event_id"] == item.opener)]
    shown = mine.head(MOST_EVENTS)
    wanted = set(shown["event_id"])
    first, *rest = history.events
    some = [first, *(event for event in rest if event.event_id in wanted)]
    part = History(history.workflow_id, some, history.namespace, history.clock)
    found = tables.payloads(part, allow=allow, redact=redact, decode=decode)
    found = found[found["event_id"].isin(wanted)]
    rows = [
        (one.event_id, one.role, None if pd.isna(one.name) else one.name, one.bytes, _content(one))
        for one in found.itertuples()
    ]
    payloads = table(
        ("event", "role", "name", "bytes", "content"),
        rows,
        caption=f"Payloads of {item.name}",
        numbers=("event", "bytes"),
    )
    facts = table(("fact", "value"), [(k, cut(str(v), 600)) for k, v in item.facts.items()])
    return Html(
        f"<h4>{text(words(item))}</h4>{events_html(shown, f'Events of {item.name}')}"
        f'<div class="plab-rows">{payloads if rows else _NONE}</div>'
        f"<details><summary>All that is known of it</summary>{facts}</details>"
    )


def _content(one: Any) -> object:
    if pd.isna(one.data):
        return f"not shown: {one.encoding} that is not decoded here or not allowed"
    return Html(f"<code>{text(cut(one.data, MOST_CHARACTERS))}</code>")
