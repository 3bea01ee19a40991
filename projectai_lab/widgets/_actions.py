"""Cancel, terminate or signal an execution: choose, see it named, confirm; the outcome is told."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import ipywidgets
from temporalio.service import RPCError

from projectai_lab._html import link
from projectai_lab._words import shorten
from projectai_lab.client import LabClient
from projectai_lab.errors import LabError
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.widgets._executions import Row
from projectai_lab.widgets._kinds import strict_json
from projectai_lab.widgets._look import Html, block, message

_DONE = {
    "cancel": "was asked to cancel",
    "terminate": "was terminated",
    "signal": "was sent the Signal",
}
# A Layout of the module would be shared by all panels, and end with the first.
_WIDE = {"width": "auto", "max_width": "100%"}


@dataclass(frozen=True)
class Intent:
    """What will be done once it is confirmed."""

    verb: str
    workflow_id: str
    run_id: str
    signal: str = ""
    args: tuple[Any, ...] = ()

    def carry_out(self, handle: LabWorkflowHandle[Any]) -> None:
        """Do it; the server's refusal is an RPCError."""
        if self.verb == "cancel":
            handle.cancel()
        elif self.verb == "terminate":
            handle.terminate(reason="terminated in the monitor")
        else:
            handle.signal(self.signal, *self.args)

    def __str__(self) -> str:
        what = f"signal {shorten(self.signal)!r} to" if self.verb == "signal" else self.verb
        return f"{what} {shorten(self.workflow_id, 48)!r}"


class Actions:
    """The controls of one monitor; `view` holds them all, `lock` is that of the panel."""

    def __init__(self, lab: LabClient, lock: AbstractContextManager[Any]) -> None:
        self._lab, self._lock = lab, lock
        self._armed: Intent | None = None
        self._offered: dict[str, tuple[str, str]] = {}
        self._chosen: tuple[str, str] | None = None
        # Not a Dropdown: what a look finds would close one that is open. Not a Select: JupyterLab
        # takes its keys.
        self.which = ipywidgets.Combobox(
            description="Execution",
            placeholder="a Workflow Id of this page",
            layout={**_WIDE, "flex": "1 1 22em"},
        )
        self.page = ipywidgets.HTML()
        self.verb = ipywidgets.Dropdown(options=list(_DONE), description="Action", layout=_WIDE)
        self.signal = ipywidgets.Text(description="Signal", placeholder="its name", layout=_WIDE)
        self.argument = ipywidgets.Text(
            description="Argument", placeholder="JSON, or empty for none", layout=_WIDE
        )
        self.ask = ipywidgets.Button(description="Ask to confirm")
        self.confirm = ipywidgets.Button(button_style="danger", layout={"width": "auto"})
        self.back = ipywidgets.Button(description="Back")
        self.problem, self.outcome = ipywidgets.HTML(), ipywidgets.HTML()
        self._fields = ipywidgets.HBox([self.signal, self.argument], layout=_ROW)
        self._sure = ipywidgets.HBox([self.confirm, self.back], layout=_ROW)
        choice = ipywidgets.HBox([self.which, self.page], layout=_ROW)
        act = ipywidgets.HBox([self.verb, self._fields, self.ask], layout=_ROW)
        self.view = ipywidgets.VBox([choice, act, self.problem, self._sure, self.outcome])
        for widget in (self.which, self.verb, self.signal, self.argument):
            widget.observe(self._disarm, "value")
        self.which.observe(self._choose, "value")
        self.ask.on_click(self._arm)
        self.confirm.on_click(self._carry_out)
        self.back.on_click(self._disarm)
        self._disarm()

    def offer(self, rows: Iterable[Row]) -> None:
        """Offer the rows by Workflow Id, the further ones of one Id with their Run Id."""
        self._offered = {}
        for row in rows:
            name = row.workflow_id
            name = f"{name}, run {row.run_id}" if name in self._offered else name
            self._offered[name] = row.workflow_id, row.run_id
        if self.which.options != tuple(self._offered):
            self.which.options = tuple(self._offered)

    def _choose(self, _: Any) -> None:
        """Keep the run that has this name now, and link to it from where no look draws anew."""
        with self._lock:
            self._chosen = self._offered.get(self.which.value)
            url = self._lab.url(*self._chosen) if self._chosen else None
            self.page.value = block(Html(link(url, "open in the Web UI"))) if url else ""

    def _disarm(self, _: Any = None) -> None:
        with self._lock:
            self._armed = None
            self.problem.value = ""
            _show(self._sure, False)
            _show(self._fields, self.verb.value == "signal")

    def _arm(self, _: Any) -> None:
        with self._lock:
            self._disarm()
            self.outcome.value = ""
            try:
                intent = self._intent()
            except ValueError as error:
                self.problem.value = message(error, "error")
                return
            self._armed = intent
            # The button has room for a short id only; here it stands whole.
            where = f"{intent.workflow_id!r}, run {intent.run_id}"
            self.problem.value = message(f"{intent.verb} {where}: are you sure?")
            self.confirm.description = f"Yes, {intent}"
            self.confirm.tooltip = f"{intent.verb} {intent.workflow_id}, run {intent.run_id}"
            _show(self._sure, True)

    def _intent(self) -> Intent:
        if self._chosen is None:
            typed = shorten(self.which.value, 48)
            wrong = f"{typed!r} is not on this page; choose one that is"
            raise ValueError(f"Execution: {wrong if typed else 'choose one first'}")
        workflow_id, run_id = self._chosen
        if self.verb.value != "signal":
            return Intent(self.verb.value, workflow_id, run_id)
        if not (name := self.signal.value.strip()):
            raise ValueError("Signal: give its name; nothing was sent")
        return Intent("signal", workflow_id, run_id, name, _arguments(self.argument.value))

    def _carry_out(self, _: Any) -> None:
        with self._lock:
            intent, self._armed = self._armed, None
        if not intent:
            return
        words, kind = self._told(intent)
        with self._lock:
            self.outcome.value = message(words, kind)
            self._disarm()
            if kind == "note":
                self.which.value = ""

    def _told(self, intent: Intent) -> tuple[str, str]:
        """Carry out an intent and return how that went; the lock is free meanwhile."""
        name = repr(intent.workflow_id)
        try:
            handle = self._lab.get_workflow_handle(intent.workflow_id, run_id=intent.run_id)
            intent.carry_out(handle)
        except (RPCError, LabError) as error:
            return f"{name}: {intent.verb} failed: {error}", "error"
        signal = f" {intent.signal!r}" if intent.signal else ""
        return f"{name} {_DONE[intent.verb]}{signal}{_now(handle)}", "note"


def _now(handle: LabWorkflowHandle[Any]) -> str:
    try:
        status = handle.describe().status
    except (RPCError, LabError):
        return ""
    return f"; it is {status.name} now" if status else ""


def _arguments(written: str) -> tuple[Any, ...]:
    """Return the argument that JSON says, none for empty; raise ValueError for what is no JSON."""
    if not written.strip():
        return ()
    try:
        return (strict_json(written),)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f'Argument: not JSON ({error}); text needs quotes, such as "stop"; nothing was sent'
        ) from error


def _show(widget: Any, visible: bool) -> None:
    widget.layout.display = None if visible else "none"


_ROW = {"flex_flow": "row wrap"}
