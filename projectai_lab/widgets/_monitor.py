"""`monitor`: a live table of Workflow Executions, those first that need somebody."""

from __future__ import annotations

import math
import time
from datetime import datetime
from typing import Any

import ipywidgets
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab import _html
from projectai_lab._checks import check_type
from projectai_lab._words import duration, many, shorten
from projectai_lab.client import LabClient
from projectai_lab.errors import LabError
from projectai_lab.models import Duration, seconds
from projectai_lab.widgets._actions import Actions
from projectai_lab.widgets._executions import STATUSES, Ask, Executions, Row, Seen
from projectai_lab.widgets._look import Html, badge, block, message, table
from projectai_lab.widgets._pace import Pace
from projectai_lab.widgets._panel import Panel, check_open, style

_COLUMNS = (
    *("Workflow Id", "type", "status", "running activity", "attempt", "next retry in"),
    *("age or duration", "last failure"),
)
_CLOCKS = "ages and waits by this computer's clock, durations by the server's"
# Words stay whole on a narrow screen: the table scrolls. Ids and failures may break anywhere.
_STYLE = """<style>
.plab .plab-runs th,.plab .plab-runs td{overflow-wrap:normal}
.plab .plab-runs td:first-child,.plab .plab-runs td:last-child{overflow-wrap:anywhere;
min-width:12em}
</style>"""
# What the server does for a look, it does not do for the workers.
_SHARE, _MOST_REST_S = 0.05, 10.0
_ROW = {"flex_flow": "row wrap"}


def monitor(lab: LabClient, query: str = "", every: Duration = 1.0) -> Monitor:
    """Show the executions of a List Filter, looked at each `every` (a timedelta or seconds).

    Open runs come first and of them those that are stuck (their Workflow Task keeps failing, or no
    worker takes their task), then those whose activity is retrying. A look is one List call, one
    Count call and at most ten Describe calls; where they take the server long, looks are rarer, so
    that they take it a twentieth of the time, up to 10 s apart.

    Errors: ValueError for a query that is no text and for `every` that is not above 0; TypeError
    for what is no Lab; LabClosedError. A query that the server refuses is told at its field.

    >>> widgets.monitor(lab, "WorkflowType = 'ExampleWorkflow'")               # doctest: +SKIP
    """
    check_open(lab)
    check_type("query", query, str)
    every_s = seconds(every)
    if not 0 < every_s < math.inf:
        raise ValueError(f"every must be a timedelta or seconds, above 0; got {every}")
    return Monitor(lab, query, every_s)


class Monitor(Panel):
    """A live table of executions with counts, pace, filter, pages and actions; see `monitor`."""

    def __init__(self, lab: LabClient, query: str, every_s: float) -> None:
        super().__init__(lab)
        self._lab, self._every_s = lab, every_s
        self._executions = Executions(lab.client)
        self._pages = [Ask(query.strip())]
        self._seen: Seen | None = None
        self._pace = Pace()
        self._make_controls(lab, query)
        self._go(self._pages)
        self._ticker = self.every(every_s, self._look, self._show)

    def _make_controls(self, lab: LabClient, query: str) -> None:
        self.query = ipywidgets.Text(
            value=query,
            description="List Filter",
            placeholder="such as WorkflowType = 'ExampleWorkflow'; Enter applies it",
            continuous_update=False,
            layout={"width": "auto", "flex": "1 1 22em", "max_width": "100%"},
        )
        self.status = ipywidgets.Dropdown(
            options=[("all", ""), *((word, word) for word in STATUSES)], description="Status"
        )
        self.pause = ipywidgets.ToggleButton(description="Pause", tooltip="hold the looks back")
        self.newer = ipywidgets.Button(description="Previous page")
        self.older = ipywidgets.Button(description="Next page")
        self.query_error, self.facts = ipywidgets.HTML(), ipywidgets.HTML()
        # It scrolls by keys too, and keeps its place and its focus when what it shows changes.
        self.rows = ipywidgets.HTML(tabbable=True)
        self.rows.add_class("plab-live")
        self.actions = Actions(lab, self.lock)
        filters = ipywidgets.HBox([self.query, self.status], layout=_ROW)
        pages = ipywidgets.HBox([self.pause, self.newer, self.older], layout=_ROW)
        top = (style(), filters, self.query_error, pages, self.notice)
        self.view.children = [*top, self.facts, self.rows, self.actions.view]
        self.query.observe(self._filter, "value")
        self.status.observe(self._filter, "value")
        self.pause.observe(self._pause, "value")
        self.newer.on_click(lambda _: self._go(self._pages[:-1]))
        self.older.on_click(lambda _: self._turn())

    async def _look(self) -> Seen:
        began = time.monotonic()
        seen = await self._executions.look(self._pages[-1])
        rest_s = min(_MOST_REST_S, (time.monotonic() - began) / _SHARE)
        # The first look may end before its ticker is kept.
        for ticker in self._tickers:
            ticker.seconds = max(self._every_s, rest_s)
        return seen

    def _show(self, seen: Seen) -> None:
        """Draw what was seen, unless it is of a page that has been left meanwhile."""
        if seen.ask != self._pages[-1]:
            return
        if self._seen is None or self._seen.ask.query != seen.ask.query:
            self._pace = Pace()
        self._pace.add(seen)
        self._seen = seen
        self.say_trouble(None)
        self._draw()

    def _draw(self) -> None:
        self.facts.value = block(self._facts())
        self.rows.value = block(self._table(live=True))
        self.newer.disabled = self.closed or len(self._pages) < 2
        self.older.disabled = self.closed or not (self._seen and self._seen.more)
        if self._seen:
            self.actions.offer(self._seen.rows)

    def _filter(self, _: Any) -> None:
        self._go([Ask(self.query.value.strip(), self.status.value)])

    def _turn(self) -> None:
        with self.lock:
            seen, pages = self._seen, self._pages
        if seen and seen.more and seen.ask == pages[-1]:
            self._go([*pages, seen.ask._replace(token=seen.more)])

    def _go(self, pages: list[Ask]) -> None:
        """Look at another page now; what the server says of a refused one is told at the field."""
        if self.closed or not pages:
            return
        refused, away, seen = "", "", None
        try:
            seen = self._lab.loop.run(lambda: self._executions.look(pages[-1]))
        except (RPCError, LabError) as error:
            if isinstance(error, RPCError) and error.status == RPCStatusCode.INVALID_ARGUMENT:
                refused = f"List Filter: {error}"
            else:
                away = str(error)
        with self.lock:
            if self.closed:
                return
            self.query_error.value = message(refused, "error") if refused else ""
            if not refused:
                # Where the server is away, the next look that works is at this page.
                self._pages = pages
            if seen:
                self._show(seen)
            else:
                self.say_trouble(away or None)
                self._draw()

    def _pause(self, _: Any) -> None:
        with self.lock:
            self._ticker.paused = bool(self.pause.value)
            self.pause.description = "Resume" if self.pause.value else "Pause"

    def _facts(self) -> Html:
        if not self._seen:
            return Html("<div>nothing seen yet</div>")
        counts = self._seen.counts
        words = [
            f"{badge(status)} {counts[status]:,}"
            for status in (*STATUSES, *sorted(set(counts) - set(STATUSES)))
            if counts[status]
        ]
        total = f"<strong>{many(counts.total(), 'execution')}</strong>"
        return Html(f"<div>{' &nbsp; '.join([total, *words])}</div>{self._pace.html()}")

    def _table(self, live: bool = False) -> Html:
        if not self._seen or not self._seen.rows:
            return Html("<div>no Workflow Execution matches</div>")
        at = self._seen.at
        caption = f"Workflow Executions, page {len(self._pages)}; {_CLOCKS}"
        cells = [self._cells(row, at, live) for row in self._seen.rows]
        drawn = table(_COLUMNS, cells, caption=caption, numbers=_COLUMNS[4:7], live=live)
        return Html(f'{_STYLE}<div class="plab-runs">{drawn}</div>')

    def _cells(self, row: Row, at: datetime, live: bool) -> list[object]:
        name = shorten(row.workflow_id, 48)
        url = self._lab.url(row.workflow_id, row.run_id)
        status = badge(row.status)
        if row.pending.trouble:
            status = Html(f"{status} <strong>{row.pending.trouble}</strong>")
        linked = Html(_html.link(url, name, focus=not live)) if url else name
        doing, *others = _doing(row, at)
        return [linked, shorten(row.workflow_type, 48), status, shorten(doing, 48), *others]

    def facts_html(self) -> Html:
        """Return counts, pace and the page of executions as it was seen last."""
        return block(self._facts(), self._table(), Html(self.notice.value), self._as_of())

    def facts_text(self) -> str:
        """Return the same as lines of text."""
        if not self._seen:
            return "monitor: nothing seen yet"
        counts = ", ".join(f"{status} {count:,}" for status, count in self._seen.counts.items())
        lines = [
            " | ".join(
                map(str, (row.workflow_id, row.workflow_type, _status(row), *_doing(row, at)))
            )
            for at in [self._seen.at]
            for row in self._seen.rows
        ]
        head = f"{many(self._seen.counts.total(), 'execution')}: {counts}"
        return "\n".join([head, *self._pace.words(), *lines, self._as_of()])

    def _as_of(self) -> str:
        when = f"{self._seen.at:%Y-%m-%d %H:%M:%S} UTC" if self._seen else "never"
        return f"as of {when}{', stopped' if self.closed else ''}"


def _status(row: Row) -> str:
    return f"{row.status} {row.pending.trouble}".strip()


def _doing(row: Row, at: datetime) -> tuple[str, str, str, str, str]:
    """Return activity, attempt, wait, age or duration and last failure of a row, in words."""
    now = row.pending
    limit = f" of {now.limit}" if now.limit else ""
    attempt = f"{now.attempt}{limit}" if now.attempt else ""
    wait = max(0.0, (now.next_try - at).total_seconds()) if now.next_try else None
    due = "" if wait is None else "now" if wait < 1 else _coarse(wait)
    took = row.seconds(at)
    age = duration(took) if row.closed else _coarse(took)
    return now.doing, attempt, due, age, shorten(now.failure, 80)


def _coarse(value: float) -> str:
    """Return a duration that changes once a second, and above a minute once a minute."""
    return f"{int(value)} s" if value < 60 else duration(60 * (value // 60))
