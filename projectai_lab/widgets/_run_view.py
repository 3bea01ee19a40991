"""What the explorer shows of one history: head, timeline, events, and an item's payloads."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import ipywidgets
import pandas as pd

from projectai_lab import tables
from projectai_lab._frames import clock_words
from projectai_lab._words import duration, many
from projectai_lab.histories import History
from projectai_lab.widgets import _event_table, _timeline_view
from projectai_lab.widgets._lanes import Item, Lane, lanes, pages
from projectai_lab.widgets._look import Html, badge, block, message, text
from projectai_lab.widgets._panel import show_in

_SHEET = f"<style>{_timeline_view.STYLE}</style>"


class RunView:
    """The widgets of one history or none; `view` holds them all, `lock` is that of the panel."""

    def __init__(
        self, lock: AbstractContextManager[Any], recorder: Any, hide: dict[str, Any], live: bool
    ) -> None:
        self._lock, self._recorder, self._hide, self._live = lock, recorder, hide, live
        self._history: History | None = None
        self._pages: list[list[Lane]] = [[]]
        self._longest = 0.0
        html, number = ipywidgets.HTML, ipywidgets.BoundedIntText
        self.head, self.axis, self.note, self.details, self.table = (html() for _ in range(5))
        self.lanes = ipywidgets.VBox(layout=ipywidgets.Layout(width="100%"))
        self.lane_page = number(1, min=1, max=1, description="Lanes, page")
        self.kind = ipywidgets.Dropdown(options=list(_event_table.KINDS), description="Kind")
        self.event_page = number(1, min=1, max=1, description="Page")
        rows = ipywidgets.Layout(flex_flow="row wrap")
        events = ipywidgets.HBox([self.kind, self.event_page], layout=rows)
        timeline = (self.head, self.axis, self.lanes, self.lane_page, self.note, self.details)
        sheet = ipywidgets.HTML(_SHEET, layout=ipywidgets.Layout(display="none"))
        self.view = ipywidgets.VBox([sheet, *timeline, events, self.table])
        self.lane_page.observe(lambda _: self._show_lanes(), "value")
        self.kind.observe(lambda _: self._show_events(first=True), "value")
        self.event_page.observe(lambda _: self._show_events(), "value")

    def show(self, history: History) -> None:
        """Show a history from its beginning."""
        events = tables.events(history)
        run = tables.executions(history).iloc[0]
        until, how = _until(history, run, events, self._live)
        every, longest = lanes(history, until, self._recorder)
        with self._lock:
            self._history, self._events, self._longest = history, events, longest
            self._pages = pages(every)
            self.head.value = block(_head(run, events, how))
            self.axis.value = block(_timeline_view.axis_html(longest))
            blind = sum(lane.blind for lane in every)
            self.note.value = block(_note(blind, self._recorder is not None))
            self.details.value = block(message("Choose a bar of the timeline to see its events."))
            _restart(self.lane_page, len(self._pages))
            self._show_lanes()
            self._show_events(first=True)

    def clear(self) -> None:
        """Show none."""
        with self._lock:
            self._history, self._pages = None, [[]]
            for one in (self.head, self.axis, self.note, self.details, self.table):
                one.value = ""
            _restart(self.lane_page, 1)
            _restart(self.event_page, 1)
            self._show_lanes()

    def _show_lanes(self) -> None:
        with self._lock:
            drawn = partial(_timeline_view.lane_buttons, longest=self._longest, choose=self.choose)
            show_in(self.lanes, [*map(drawn, self._page)])

    @property
    def _page(self) -> list[Lane]:
        return self._pages[self.lane_page.value - 1]

    def _show_events(self, first: bool = False) -> None:
        if self._history is None:
            return
        with self._lock:
            found = _event_table.of_kind(self._events, self.kind.value)
            size = _event_table.PAGE_EVENTS
            if first:
                _restart(self.event_page, max(1, -(-len(found) // size)))
            at = size * (self.event_page.value - 1)
            some = found.iloc[at : at + size]
            where = f"{at + 1:,}–{at + len(some):,} of " if len(found) > size else ""
            caption = f"Events ({self.kind.value}): {where}{len(found):,}"
            self.table.value = block(_event_table.events_html(some, caption))

    def choose(self, item: Item) -> None:
        """Show the events and payloads of an item of the timeline."""
        with self._lock:
            assert self._history
            self.details.value = block(
                _event_table.details_html(item, self._history, self._events, **self._hide)
            )

    def facts_html(self) -> Html:
        """Return the page of the timeline, the chosen item and the page of events; or nothing."""
        if not self._history:
            return Html("")
        drawn = _timeline_view.lanes_html(self._page, self._longest)
        parts = [self.note.value, self.details.value, self.table.value]
        return Html("".join([_SHEET, self.head.value, drawn, *parts]))

    def facts_text(self) -> list[str]:
        """Return the items on the page of the timeline, a line each; or nothing."""
        if not self._history:
            return []
        items = [_timeline_view.words(item) for lane in self._page for item in lane.items]
        return [f"{self._history.workflow_id}: {many(len(self._events), 'event')}", *items]


def _restart(page: ipywidgets.BoundedIntText, last: int) -> None:
    page.value, page.max = 1, last
    page.layout.display = "none" if last == 1 else None


def _until(
    history: History, run: Any, events: pd.DataFrame, live: bool
) -> tuple[pd.Timestamp, str]:
    """Return where open bars end, and that in words."""
    last = events["event_time"].max()
    if history.is_closed:
        return last, ""
    if live and history.clock != "virtual":
        now = max(pd.Timestamp.now("UTC"), last)
        return now, f"open: bars run to now, {now:%H:%M:%S} UTC by this machine's clock"
    return last, "open: bars run to its last event so far"


def _head(run: Any, events: pd.DataFrame, how: str) -> Html:
    took = "" if pd.isna(run["duration_s"]) else f", took {duration(run['duration_s'])}"
    return Html(
        f"<strong>{text(run['workflow_id'])}</strong> {badge(str(run['status']))} "
        f"{text(run['workflow_type'])}, {many(len(events), 'event')}{text(took)}"
        f'<div class="dim">run {text(run["run_id"])}; started {run["start_time"]:%Y-%m-%d %H:%M:%S}'
        f" UTC; times are the server's, {text(clock_words(events))}"
        f"{text('; ' + how if how else '')}</div>"
    )


def _note(blind: int, recorded: bool) -> Html:
    more = (
        "the recorder does not know them"
        if recorded
        else "pass recorder=lab.attempts, or recorder=attempts.read(folder)"
    )
    why = (
        f" {many(blind, 'attempt')} without times: history keeps the last attempt of an activity "
        f"only (source NA, time_quality unknown); {more}."
    )
    return Html(
        f'<div class="dim">{text(_timeline_view.LEGEND)}.{text(why) if blind else ""}</div>'
    )
