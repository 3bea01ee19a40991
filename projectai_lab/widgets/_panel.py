"""`Panel`: live where a front end draws widgets; the same facts as HTML and text elsewhere."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import ipywidgets
from IPython import display as front_end
from IPython.core.getipython import get_ipython

from projectai_lab._connection import Connection
from projectai_lab.errors import LabClosedError
from projectai_lab.widgets._look import STYLE, Html, message
from projectai_lab.widgets._ticker import Ticker

logger = logging.getLogger("projectai_lab")
T = TypeVar("T")

_WIDGET = "application/vnd.jupyter.widget-view+json"
_OF_CELL: dict[str, list[Panel]] = {}


class Panel:
    """A view of facts. Subclasses fill `view` and say the facts in `facts_html`, `facts_text`.

    Every widget that it makes stands in `view`, hidden where it is not wanted; what leaves it goes
    through `show_in`. So each is closed with the panel, and no run of a cell leaves one behind.

    What happens to it comes on the kernel's threads (controls) and the Lab's (ticks): whoever
    touches its state holds `lock`, and makes no call of the Lab while it does. It closes with its
    Lab, with its cell's next run, or by hand.
    """

    def __init__(self, connection: Connection | None = None) -> None:
        # Before anything is made: a panel that is refused leaves no widget behind.
        if connection is not None:
            check_open(connection)
        self.lock = threading.RLock()
        self.closed = False
        self.view = ipywidgets.VBox(layout=ipywidgets.Layout(max_width="100%"))
        self.view.add_class("projectai-lab")
        self.notice = ipywidgets.HTML()
        self._connection = connection
        self._shown: list[str] = []
        self._tickers: list[Ticker[Any]] = []
        self._forget = connection.before_close(self.close) if connection else lambda: None
        self._take_over(_cell_id())

    def facts_html(self) -> Html:
        """Return what the view shows now, without controls, as escaped HTML."""
        raise NotImplementedError

    def facts_text(self) -> str:
        """Return what the view shows now, as plain text."""
        raise NotImplementedError

    def every(
        self, seconds: float, look: Callable[[], Awaitable[T]], show: Callable[[T], None]
    ) -> Ticker[T]:
        """Await `look` on the Lab's loop again and again and hand what it saw to `show`.

        `show` runs on the Lab's loop, with the lock held: it sets widgets, makes no calls of the
        Lab, and takes a few milliseconds, because the worker waits meanwhile.
        """
        assert self._connection, "a panel without a connection has nothing to look at"

        def locked(call: Callable[[Any], None], seen: Any) -> bool:
            # Waiting for the lock would stop the loop that its holder may be waiting for.
            if not self.lock.acquire(blocking=False):
                return False
            try:
                if not self.closed:
                    call(seen)
                return True
            finally:
                self.lock.release()

        ticker = Ticker(
            self._connection.loop,
            seconds,
            look,
            partial(locked, show),
            partial(locked, self.say_trouble),
        )
        self._tickers.append(ticker)
        return ticker

    def say_trouble(self, words: str | None) -> None:
        """Show in `notice` why the last look failed; None takes it back."""
        self.notice.value = message(words, "error") if words else ""

    def close(self) -> None:
        """Stop looking, disable the controls, leave the last facts; closing twice is harmless."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
            for ticker in self._tickers:
                ticker.stop()
            self._forget()
            for widget in _all_of(self.view):
                if widget.has_trait("disabled"):
                    widget.disabled = True
            if self._shown:
                self._publish()

    def _publish(self) -> None:
        """Show the facts of now wherever the panel was displayed: this is what a page keeps."""
        bundle = self._repr_mimebundle_()
        for name in self._shown:
            front_end.update_display(bundle, display_id=name, raw=True)

    def _take_over(self, cell: str | None) -> None:
        """Close with the next run of this cell, whatever that shows."""
        if cell and (shell := get_ipython()):
            _OF_CELL.setdefault(cell, []).append(self)
            # A function that is there already is not registered twice.
            shell.events.register("pre_run_cell", _before_run)

    def _dispose(self) -> None:
        """Close without a trace: the cell that showed it shows something else."""
        self._shown.clear()
        self.close()
        close_widgets(self.view)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """Return all forms at once: the front end takes the best that it can draw."""
        with self.lock:
            page = f"<style>{STYLE}</style>{self.facts_html()}"
            bundle = {"text/plain": self.facts_text(), "text/html": page}
            model = {"version_major": 2, "version_minor": 0, "model_id": self.view.model_id}
            return bundle | ({_WIDGET: model} if self.view.model_id else {})

    def _ipython_display_(self) -> None:
        shown = front_end.display(self._repr_mimebundle_(), raw=True, display_id=True)
        if shown:
            self._shown.append(shown.display_id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_open(lab: Any) -> None:
    """Raise TypeError for what is no Lab, LabClosedError for one that is closed."""
    if not isinstance(lab, Connection):
        raise TypeError(f"this needs an open Lab: lab = Lab.open(), then pass lab; got {lab!r}")
    if lab.loop.closed:
        raise LabClosedError("the Lab is closed: open a new one with Lab.open()")


def _before_run(_: Any) -> None:
    """Close the panels that the earlier run of the cell made."""
    for panel in _OF_CELL.pop(_cell_id() or "", []):
        try:
            panel._dispose()
        except Exception:
            logger.warning("a panel did not close cleanly", exc_info=True)


def close_widgets(root: Any) -> None:
    """Close a widget and all that stand in it, with what they look like: each is a comm."""
    for widget in _all_of(root):
        for one in (widget, getattr(widget, "layout", None), getattr(widget, "style", None)):
            if isinstance(one, ipywidgets.Widget):
                one.close()


def show_in(box: Any, children: Sequence[Any]) -> None:
    """Show these in a box, and close what leaves it: a panel closes what stands in its view."""
    left = [one for one in box.children if one not in children]
    box.children = children
    for one in left:
        close_widgets(one)


def attended() -> bool:
    """Return whether somebody may be looking: Voilà, or a front end that names the cell it runs.

    What runs a notebook to its end (papermill, nbconvert) is not attended: there a last cell closes
    the Lab, and the panels leave their last facts.
    """
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila/") or _cell_id() is not None


def style() -> ipywidgets.HTML:
    """Return the style sheet as the first child of a view; it takes no room."""
    return ipywidgets.HTML(f"<style>{STYLE}</style>", layout=ipywidgets.Layout(display="none"))


def _cell_id() -> str | None:
    """Return which cell runs now, as the front end names it; None where it does not."""
    shell = get_ipython()
    get_parent = getattr(shell, "get_parent", None)
    metadata = (get_parent() if get_parent else {}).get("metadata", {})
    cell: str | None = metadata.get("cellId")
    return cell


def _all_of(widget: Any) -> list[Any]:
    """Return a widget and all that stand in it."""
    return [widget, *(one for child in getattr(widget, "children", ()) for one in _all_of(child))]
