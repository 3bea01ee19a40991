"""`history_browser`: executions, the timeline of one, its events and their payloads."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from typing import Any

import ipywidgets
import pandas as pd
from temporalio.client import WorkflowHistory
from temporalio.service import RPCError

from projectai_lab import tables
from projectai_lab._frames import clock_words
from projectai_lab._words import duration, many
from projectai_lab.client import LabClient
from projectai_lab.errors import LabError
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.histories import History
from projectai_lab.widgets import _event_table, _timeline_view
from projectai_lab.widgets._lanes import Item, Lane, lanes, pages
from projectai_lab.widgets._look import Html, badge, block, message, table, text
from projectai_lab.widgets._panel import Panel, close_widgets, style
from projectai_lab.widgets._runs import (
    Choice,
    Found,
    Source,
    in_words,
    place_of,
    source_of,
    why_not,
)

_BAD_FILES = 20


def history_browser(
    source: LabClient
    | LabWorkflowHandle[Any]
    | WorkflowHistory
    | Iterable[WorkflowHistory]
    | str
    | os.PathLike[str],
    *,
    query: str = "",
    limit: int = 100,
    recorder: Any = None,
    allow: Collection[str] | None = None,
    redact: Any = None,
    decode: Callable[..., Any] | None = None,
) -> HistoryBrowser:
    """Browse executions of a Lab, that of a handle, or saved histories, without a server.

    `query` (a List Filter) and `limit` choose among a Lab's executions. Of a folder or zip the bad
    files are named and the others shown. `recorder` defaults to the Lab's attempt log. `allow`,
    `redact` and `decode` are those of `tables.payloads`. Raises HistoryFileError for what is no
    history, and ValueError for none at all.

    >>> widgets.history_browser(lab, query="WorkflowType = 'ExampleWorkflow'")  # doctest: +SKIP
    """
    hide = {"allow": allow, "redact": redact, "decode": decode}
    found = source_of(source, limit)
    if recorder is None:
        recorder = getattr(found.connection, "attempts", None)
    return HistoryBrowser(found, query, recorder, hide)


class HistoryBrowser(Panel):
    """The panel that `history_browser` returns."""

    def __init__(self, source: Source, query: str, recorder: Any, hide: dict[str, Any]) -> None:
        self._source, self._recorder, self._hide = source, recorder, hide
        # A saved source that cannot be read is an error of the call.
        saved = None if source.connection else source.find("")
        super().__init__(source.connection)
        self._choices: list[Choice] = []
        self._bad: list[tuple[str, str]] = []
        self._history: History | None = None
        self._pages: list[list[Lane]] = [[]]
        self._key: tuple[str, str | None] | None = None
        self._busy = False
        self._make(query)
        self._query = query
        if saved:
            self._offer(saved)
        else:
            self.refresh()

    def _make(self, query: str) -> None:
        html, button = ipywidgets.HTML, ipywidgets.Button
        wide = ipywidgets.Layout(width="auto", max_width="100%")
        self.query = ipywidgets.Text(query, description="Query", continuous_update=False)
        self.again = button(description="Refresh", tooltip="look for executions again")
        self.runs = ipywidgets.Dropdown(description="Execution", layout=wide)
        self.bad, self.head, self.axis, self.note = html(), html(), html(), html()
        self.lanes = ipywidgets.VBox(layout=ipywidgets.Layout(width="100%"))
        self.lane_page = ipywidgets.BoundedIntText(1, min=1, max=1, description="Lanes, page")
        self.kind = ipywidgets.Dropdown(options=list(_event_table.KINDS), description="Kind")
        self.event_page = ipywidgets.BoundedIntText(1, min=1, max=1, description="Page")
        self.table, self.details = html(), html()
        rows = ipywidgets.Layout(flex_flow="row wrap")
        self._top = ipywidgets.HBox([self.query, self.again], layout=rows)
        if not self._source.asks:
            self._top.children = [self.again]
        sheet = ipywidgets.HTML(f"<style>{_timeline_view.STYLE}</style>")
        sheet.layout.display = "none"
        self.view.children = [
            *(style(), sheet, self._top, self.runs, self.bad, self.notice, self.head, self.axis),
            *(self.lanes, self.lane_page, self.note, self.details),
            *(ipywidgets.HBox([self.kind, self.event_page], layout=rows), self.table),
        ]
        self.again.on_click(lambda _: self.refresh())
        self.query.observe(lambda _: self.refresh(), "value")
        self.runs.observe(lambda _: self._open(), "value")
        self.lane_page.observe(lambda _: self._show_lanes(), "value")
        self.kind.observe(lambda _: self._show_events(first=True), "value")
        self.event_page.observe(lambda _: self._show_events(), "value")

    def refresh(self) -> None:
        """Look for executions again, and fetch the chosen one again."""
        try:
            self._offer(self._source.find(self.query.value))
        except (LabError, RPCError, OSError, ValueError) as error:
            self.say_trouble(f"{in_words(error)}; mend it and press Refresh")

    def _offer(self, found: Found) -> None:
        """Offer runs; the chosen one stays chosen, wherever it stands now."""
        with self.lock:
            self._busy = True
            choices, at = list(found.choices), self.runs.value
            chosen = None if at is None else self._choices[at]
            place = None if chosen is None else place_of(chosen.key, choices, at)
            if chosen and place is None and self.query.value == self._query:
                choices, place = [*choices, chosen.left()], len(choices)
            self._choices, self._bad, self._query = choices, found.bad, self.query.value
            self.runs.options = [(one.label, n) for n, one in enumerate(choices)]
            self.runs.value = place if place is not None else 0 if choices else None
            self.bad.value = block(_bad_files(found.bad)) if found.bad else ""
            self._busy = False
        if choices:
            self._open()
            return
        self._clear()
        query = self.query.value
        self.say_trouble(
            f"No Workflow Execution {f'matches {query!r}' if query else 'is there yet'}: "
            "start one with lab.start_workflow(…), or change the query, and press Refresh"
        )

    def _open(self) -> None:
        """Fetch the chosen history and show it."""
        if self.runs.value is None or self.closed or self._busy:
            return
        chosen = self._choices[self.runs.value]
        try:
            self._take(chosen.fetch())
        except (LabError, RPCError, OSError) as error:
            # Facts of another run must not stand under this one's name.
            if chosen.key != self._key:
                self._clear()
            self.say_trouble(why_not(error, chosen))
            return
        self._key = chosen.key
        self.say_trouble(None)

    def _clear(self) -> None:
        with self.lock:
            self._history, self._key, self._pages = None, None, [[]]
            for one in (self.head, self.axis, self.note, self.details, self.table):
                one.value = ""
            self._restart(self.lane_page, 1)
            self._restart(self.event_page, 1)
            self._show_lanes()

    def _take(self, history: History) -> None:
        events = tables.events(history)
        run = tables.executions(history).iloc[0]
        live = self._source.connection is not None
        until, how = _until(history, run, events, live)
        every, longest = lanes(history, until, self._recorder)
        with self.lock:
            self._history, self._events, self._longest = history, events, longest
            self._pages = pages(every)
            self.head.value = block(_head(run, events, how))
            self.axis.value = block(_timeline_view.axis_html(longest))
            blind = sum(lane.blind for lane in every)
            self.note.value = block(_note(blind, self._recorder is not None))
            self.details.value = block(message("Choose a bar of the timeline to see its events."))
            self._restart(self.lane_page, len(self._pages))
            self._show_lanes()
            self._show_events(first=True)

    @staticmethod
    def _restart(page: ipywidgets.BoundedIntText, last: int) -> None:
        page.value, page.max = 1, last
        page.layout.display = "none" if last == 1 else None

    def _show_lanes(self) -> None:
        with self.lock:
            old = self.lanes.children
            self.lanes.children = [
                _timeline_view.lane_buttons(lane, self._longest, self.choose)
                for lane in self._pages[self.lane_page.value - 1]
            ]
            for lane in old:
                close_widgets(lane)

    def _show_events(self, first: bool = False) -> None:
        if self._history is None:
            return
        with self.lock:
            found = _event_table.of_kind(self._events, self.kind.value)
            size = _event_table.PAGE_EVENTS
            if first:
                self._restart(self.event_page, max(1, -(-len(found) // size)))
            at = size * (self.event_page.value - 1)
            some = found.iloc[at : at + size]
            where = f"{at + 1:,}–{at + len(some):,} of " if len(found) > size else ""
            caption = f"Events ({self.kind.value}): {where}{len(found):,}"
            self.table.value = block(_event_table.events_html(some, caption))

    def choose(self, item: Item) -> None:
        """Show the events and payloads of an item of the timeline."""
        with self.lock:
            assert self._history
            self.details.value = block(
                _event_table.details_html(item, self._history, self._events, **self._hide)
            )

    def facts_html(self) -> Html:
        """Return the list of executions, and of the chosen one timeline, item and events."""
        parts = [self.notice.value, self.bad.value]
        if len(self._choices) > 1:
            rows = [(one.label,) for one in self._choices[:20]]
            title = f"{many(len(self._choices), 'execution')}, the first {len(rows)}"
            parts.append(table(("execution",), rows, caption=title))
        if self._history:
            page = self._pages[self.lane_page.value - 1]
            drawn = _timeline_view.lanes_html(page, self._longest)
            parts += [f"<style>{_timeline_view.STYLE}</style>", self.head.value, drawn]
            parts += [self.note.value, self.details.value, self.table.value]
        return block(*map(Html, parts))

    def facts_text(self) -> str:
        """Return the executions, and the items on the page of the timeline, a line each."""
        lines = [one.label for one in self._choices[:20]]
        lines += [f"cannot be used: {path} {why}" for path, why in self._bad[:_BAD_FILES]]
        if self._history:
            lines.append(f"{self._history.workflow_id}: {many(len(self._events), 'event')}")
            page = self._pages[self.lane_page.value - 1]
            lines += [_timeline_view.words(item) for lane in page for item in lane.items]
        return "\n".join(lines) or "no execution"


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


def _bad_files(bad: list[tuple[str, str]]) -> Html:
    rest = len(bad) - _BAD_FILES
    rows = bad[:_BAD_FILES] + [(f"and {rest:,} more", "see histories.scan(path)")] * (rest > 0)
    title = f"{many(len(bad), 'file')} cannot be used; the others are shown"
    return table(("file", "why"), rows, caption=title)
