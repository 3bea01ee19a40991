"""`history_browser`: executions, the timeline of one, its events and their payloads."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets
import pandas as pd
from temporalio.client import WorkflowHistory
from temporalio.service import RPCError

from projectai_lab import histories, tables
from projectai_lab._frames import clock_words
from projectai_lab._words import duration, many
from projectai_lab.client import LabClient
from projectai_lab.errors import LabError
from projectai_lab.histories import History
from projectai_lab.widgets import _event_table, _timeline_view
from projectai_lab.widgets._lanes import Item, lanes, pages
from projectai_lab.widgets._look import Html, badge, block, message, table, text
from projectai_lab.widgets._panel import Panel, close_widgets, style

Choice = tuple[str, Callable[[], History]]
_WANTED = (
    "history_browser takes a Lab, a history, a list of histories or the path of saved ones; "
    "handle.fetch_history() makes a history, histories.save(history, path) a file"
)


def history_browser(
    source: LabClient | WorkflowHistory | Iterable[WorkflowHistory] | str | os.PathLike[str],
    *,
    query: str = "",
    limit: int = 100,
    recorder: Any = None,
    allow: Collection[str] | None = None,
    redact: Any = None,
    decode: Callable[..., Any] | None = None,
) -> HistoryBrowser:
    """Browse executions of a Lab, or saved histories, without a server.

    `query` (a List Filter) and `limit` choose among a Lab's executions. `recorder` defaults to the
    Lab's attempt log. `allow`, `redact` and `decode` are those of `tables.payloads`. Raises
    HistoryFileError for what is no history, and ValueError for none at all.

    >>> widgets.history_browser(lab, query="WorkflowType = 'ExampleWorkflow'")  # doctest: +SKIP
    """
    hide = {"allow": allow, "redact": redact, "decode": decode}
    if recorder is None:
        recorder = getattr(source, "attempts", None)
    return HistoryBrowser(source, query, limit, recorder, hide)


class HistoryBrowser(Panel):
    """The panel that `history_browser` returns."""

    def __init__(
        self, source: Any, query: str, limit: int, recorder: Any, hide: dict[str, Any]
    ) -> None:
        self._source, self._limit, self._recorder, self._hide = source, limit, recorder, hide
        saved = None if isinstance(source, LabClient) else _saved(source)
        super().__init__(source if saved is None else None)
        self._saved = saved or []
        self._choices: list[Choice] = []
        self._history: History | None = None
        self._busy = False
        self._make(query)
        self.refresh()

    def _make(self, query: str) -> None:
        html, button = ipywidgets.HTML, ipywidgets.Button
        wide = ipywidgets.Layout(width="auto", max_width="100%")
        self.query = ipywidgets.Text(query, description="Query", continuous_update=False)
        self.again = button(description="Refresh", tooltip="look for executions again")
        self.runs = ipywidgets.Select(description="Execution", rows=5, layout=wide)
        self.head, self.axis, self.note = html(), html(), html()
        self.lanes = ipywidgets.VBox(layout=ipywidgets.Layout(width="100%"))
        self.lane_page = ipywidgets.BoundedIntText(1, min=1, max=1, description="Lanes, page")
        self.kind = ipywidgets.Dropdown(options=list(_event_table.KINDS), description="Kind")
        self.event_page = ipywidgets.BoundedIntText(1, min=1, max=1, description="Page")
        self.table, self.details = html(), html()
        rows = ipywidgets.Layout(flex_flow="row wrap")
        self._top = ipywidgets.HBox([self.query, self.again], layout=rows)
        if not self._live:
            self._top.children = [self.again]
        sheet = ipywidgets.HTML(f"<style>{_timeline_view.STYLE}</style>")
        sheet.layout.display = "none"
        self.view.children = [
            *(style(), sheet, self._top, self.runs, self.notice, self.head, self.axis, self.lanes),
            *(self.lane_page, self.note, self.details),
            *(ipywidgets.HBox([self.kind, self.event_page], layout=rows), self.table),
        ]
        self.again.on_click(lambda _: self.refresh())
        self.query.observe(lambda _: self.refresh(), "value")
        self.runs.observe(lambda _: self._open(), "value")
        self.lane_page.observe(lambda _: self._show_lanes(), "value")
        self.kind.observe(lambda _: self._show_events(first=True), "value")
        self.event_page.observe(lambda _: self._show_events(), "value")

    @property
    def _live(self) -> bool:
        return isinstance(self._source, LabClient)

    def refresh(self) -> None:
        """Look for executions again, and fetch the chosen one again."""
        try:
            choices = self._list() if self._live else self._saved
        except (LabError, RPCError, OSError) as error:
            self.say_trouble(f"{error}; mend it and press Refresh")
            return
        with self.lock:
            self._busy = True
            before, self._choices = self.runs.value, choices
            self.runs.options = [(label, n) for n, (label, _) in enumerate(choices)]
            self.runs.value = (
                before if before is not None and before < len(choices) else 0 if choices else None
            )
            self._busy = False
        if choices:
            self._open()
        else:
            query = self.query.value
            self.say_trouble(
                f"No Workflow Execution {f'matches {query!r}' if query else 'is there yet'}: "
                "start one with lab.start_workflow(…), or change the query, and press Refresh"
            )

    def _list(self) -> list[Choice]:
        lab = self._source
        return [
            (
                f"{run.status.name if run.status else '?'} · {run.id} · {run.workflow_type}",
                lab.get_workflow_handle(run.id, run_id=run.run_id).fetch_history,
            )
            for run in lab.list_workflows(self.query.value, limit=self._limit)
        ]

    def _open(self) -> None:
        """Fetch the chosen history and show it."""
        if self.runs.value is None or self.closed or self._busy:
            return
        try:
            history = self._choices[self.runs.value][1]()
            self._take(history)
        except (LabError, RPCError, OSError) as error:
            notes = " ".join(getattr(error, "__notes__", ()))
            self.say_trouble(f"{error} {notes}; press Refresh and choose another")
            return
        self.say_trouble(None)

    def _take(self, history: History) -> None:
        events = tables.events(history)
        run = tables.executions(history).iloc[0]
        until, how = _until(history, run, events, self._live)
        every, longest = lanes(history, until, self._recorder)
        with self.lock:
            self._history, self._events, self._longest = history, events, longest
            self._pages = pages(every)
            self.head.value = block(_head(run, events, how))
            self.axis.value = block(_timeline_view.axis_html(longest))
            blind = sum(lane.blind for lane in every)
            self.note.value = block(_note(blind))
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
        parts = [self.notice.value]
        if len(self._choices) > 1:
            rows = [(label,) for label, _ in self._choices[:20]]
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
        lines = [label for label, _ in self._choices[:20]]
        if self._history:
            lines.append(f"{self._history.workflow_id}: {many(len(self._events), 'event')}")
            page = self._pages[self.lane_page.value - 1]
            lines += [_timeline_view.words(item) for lane in page for item in lane.items]
        return "\n".join(lines) or "no execution"


def _saved(source: Any) -> list[Choice]:
    """Return the histories of a source that needs no server."""
    if isinstance(source, str | os.PathLike):
        source = histories.load_all(Path(source))
    elif isinstance(source, WorkflowHistory):
        source = [source]
    if not isinstance(source, Iterable):
        raise TypeError(f"got {type(source).__name__}; {_WANTED}")
    found = list(source)
    if wrong := [one for one in found if not isinstance(one, WorkflowHistory)]:
        raise TypeError(f"got a list with {type(wrong[0]).__name__} in it; {_WANTED}")
    if not (found := [one for one in found if one.events]):
        raise ValueError(f"there is no history with events in it; {_WANTED}")
    return [(one.workflow_id, partial(_ours, one)) for one in found]


def _ours(one: WorkflowHistory) -> History:
    return one if isinstance(one, History) else History(one.workflow_id, one.events)


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


def _note(blind: int) -> Html:
    why = (
        f" {many(blind, 'attempt')} without times: history keeps the last attempt of an activity "
        "only (source NA, time_quality unknown); pass recorder=lab.attempts."
    )
    return Html(
        f'<div class="dim">{text(_timeline_view.LEGEND)}.{text(why) if blind else ""}</div>'
    )
