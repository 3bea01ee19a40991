"""`history_browser`: executions, the timeline of one, its events and their payloads."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from typing import Any

import ipywidgets
from temporalio.client import WorkflowHistory
from temporalio.service import RPCError

from projectai_lab._checks import check_type
from projectai_lab._words import many
from projectai_lab.client import LabClient
from projectai_lab.errors import LabError
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.widgets._look import Html, block, table
from projectai_lab.widgets._panel import Panel, style
from projectai_lab.widgets._run_view import RunView
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

    `query` (a List Filter) and `limit` choose among a Lab's executions. Of a handle without a Run
    Id the latest run is shown; Refresh keeps to it, and lists a later one beside it. Of a folder or
    zip the bad files are named and the others shown. `recorder` defaults to the Lab's attempt log.
    `allow`, `redact` and `decode` are those of `tables.payloads`.

    Errors: HistoryFileError for what is no history; ValueError for none at all, for no path and
    for a query that is no text; TypeError for another source; LabClosedError.

    >>> widgets.history_browser(lab, query="WorkflowType = 'ExampleWorkflow'")  # doctest: +SKIP
    """
    check_type("query", query, str)
    hide = {"allow": allow, "redact": redact, "decode": decode}
    found = source_of(source, limit)
    if recorder is None:
        recorder = getattr(found.connection, "attempts", None)
    return HistoryBrowser(found, query, recorder, hide)


class HistoryBrowser(Panel):
    """The panel that `history_browser` returns."""

    def __init__(self, source: Source, query: str, recorder: Any, hide: dict[str, Any]) -> None:
        self._source = source
        # A saved source that cannot be read is an error of the call.
        saved = None if source.connection else source.find("")
        super().__init__(source.connection)
        self._choices: list[Choice] = []
        self._bad: list[tuple[str, str]] = []
        self._key: tuple[str, str | None] | None = None
        self._busy = False
        self.run = RunView(self.lock, recorder, hide, source.connection is not None)
        self._make(query)
        self._query = query
        if saved:
            self._offer(saved)
        else:
            self.refresh()

    def _make(self, query: str) -> None:
        button = ipywidgets.Button
        wide = ipywidgets.Layout(width="auto", max_width="100%")
        self.query = ipywidgets.Text(query, description="Query", continuous_update=False)
        self.again = button(description="Refresh", tooltip="look for executions again")
        self.runs = ipywidgets.Dropdown(description="Execution", layout=wide)
        self.bad = ipywidgets.HTML()
        rows = ipywidgets.Layout(flex_flow="row wrap")
        top = ipywidgets.HBox([self.query, self.again], layout=rows)
        self.query.layout.display = None if self._source.asks else "none"
        above = (style(), top, self.runs, self.bad, self.notice)
        self.view.children = [*above, self.run.view]
        self.again.on_click(lambda _: self.refresh())
        self.query.observe(lambda _: self.refresh(), "value")
        self.runs.observe(lambda _: self._open(), "value")

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
            # One that was never shown has nothing to stay for.
            shown = chosen is not None and chosen.key == self._key
            if chosen and shown and place is None and self.query.value == self._query:
                choices, place = [*choices, chosen.left()], len(choices)
            self._choices, self._bad, self._query = choices, found.bad, self.query.value
            self.runs.options = [(one.label, n) for n, one in enumerate(choices)]
            self.runs.value = place if place is not None else 0 if choices else None
            self.bad.value = block(_bad_files(found.bad)) if found.bad else ""
            self._busy = False
        if choices:
            self._open()
            return
        self._key = None
        self.run.clear()
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
            self.run.show(chosen.fetch())
        except (LabError, RPCError, OSError) as error:
            # Facts of another run must not stand under this one's name.
            if chosen.key != self._key:
                self._key = None
                self.run.clear()
            self.say_trouble(why_not(error, chosen))
            return
        self._key = chosen.key
        self.say_trouble(None)

    def facts_html(self) -> Html:
        """Return the list of executions, and of the chosen one timeline, item and events."""
        parts = [self.notice.value, self.bad.value]
        if len(self._choices) > 1:
            rows = [(one.label,) for one in self._choices[:20]]
            title = f"{many(len(self._choices), 'execution')}, the first {len(rows)}"
            parts.append(table(("execution",), rows, caption=title))
        return block(*map(Html, parts), self.run.facts_html())

    def facts_text(self) -> str:
        """Return the executions, and the items on the page of the timeline, a line each."""
        lines = [one.label for one in self._choices[:20]]
        lines += [f"cannot be used: {path} {why}" for path, why in self._bad[:_BAD_FILES]]
        return "\n".join([*lines, *self.run.facts_text()]) or "no execution"


def _bad_files(bad: list[tuple[str, str]]) -> Html:
    rest = len(bad) - _BAD_FILES
    rows = bad[:_BAD_FILES] + [(f"and {rest:,} more", "see histories.scan(path)")] * (rest > 0)
    title = f"{many(len(bad), 'file')} cannot be used; the others are shown"
    return table(("file", "why"), rows, caption=title)
