"""`submit_form`: fields of a workflow's input, a button that starts it, a row an execution."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Self
from uuid import uuid4

import ipywidgets
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from projectai_lab.client import LabClient
from projectai_lab.errors import LabError
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.widgets._code import LONGEST, left_out, start_code
from projectai_lab.widgets._fields import Field, Leaf
from projectai_lab.widgets._groups import Record, field_of, nested, put_all, read_all
from projectai_lab.widgets._kinds import shape_of
from projectai_lab.widgets._look import Html, block, message, table, text
from projectai_lab.widgets._panel import Panel, check_open, style
from projectai_lab.widgets._specs import Spec, Started, started_by
from projectai_lab.widgets._started import Rows

_LOOK_EVERY_S = 0.5
_DOUBLE_CLICK_S = 1.0
_QUEUED_S = 0.2
_LEFT = "<style>.projectai-lab .widget-inline-hbox .widget-label{text-align:left}</style>"
_IN_USE = "choose another Workflow Id, or leave it empty to have one made"
_GONE = (
    "This form is closed and keeps its input: run this cell again for another, after Lab.open() "
    "where the Lab is closed too."
)


def submit_form(lab: LabClient, workflow: Any) -> SubmitForm:
    """Return a form for the input of a workflow: its class, or the name of its Workflow Type.

    Raises TypeError for what is no workflow or no Lab.

    >>> form = submit_form(lab, ExampleWorkflow)                               # doctest: +SKIP
    >>> form.fill(data="hello", user_id="u-1").submit().result(timeout=30)     # doctest: +SKIP
    """
    check_open(lab)
    return SubmitForm(lab, started_by(workflow))


class SubmitForm(Panel):
    """Fields, the equivalent code, a button, and the executions that it started."""

    def __init__(self, lab: LabClient, started: Started) -> None:
        super().__init__(lab)
        self._lab, self._started = lab, started
        self._rows = Rows(lab.client)
        self._record: Record | None = None
        self._busy, self._quiet_until = False, 0.0
        self._made_for: list[Any] | None = None
        self._made_id = self._new_id()
        self._insist = False
        self._said = Html("")
        self.fields = self._fields()
        self.workflow_id = Leaf(Spec("Workflow Id", str, "", "empty: one is made"), self._changed)
        self.task_queue = Leaf(Spec("Task Queue", str, lab.task_queue), self._changed)
        self.button = ipywidgets.Button(description="Submit", button_style="primary")
        self.button.on_click(lambda _: self._clicked())
        self._message, self._code = ipywidgets.HTML(), ipywidgets.HTML()
        self._table = ipywidgets.HTML()
        own = [self.workflow_id.view, self.task_queue.view]
        parts = [style(), ipywidgets.HTML(_LEFT), ipywidgets.HTML(block(self._head()))]
        parts += [one.view for one in self.fields] + own + [self.button, self._message, self.notice]
        self.view.children = [*parts, self._code, self._table]
        self._changed()
        self.every(_LOOK_EVERY_S, self._rows.look, lambda _: self._show_rows())

    def _fields(self) -> list[Field]:
        parameters = self._started.parameters
        shape = shape_of(parameters[0].hint) if len(parameters) == 1 else None
        if shape and shape.kind == "record" and parameters[0].required:
            self._record = Record(Spec("", parameters[0].hint), self._changed, shape.make)
            return [self._record]
        return [field_of(one, self._changed) for one in parameters]

    def _new_id(self) -> str:
        return f"{self._started.name}-{uuid4().hex[:12]}"

    def _head(self) -> Html:
        return Html(f"<strong>{text(self._started.name)}</strong> {text(self._started.doc)}")

    @property
    def handles(self) -> list[LabWorkflowHandle[Any]]:
        """The executions that the form has started, the oldest first."""
        return [row.handle for row in self._rows.all]

    @property
    def code(self) -> str:
        """The Python that starts what `submit` would; raises ValueError while a field is wrong."""
        queue = self.task_queue.read()
        arguments, own = self.arguments(), self.workflow_id.read()
        queue = None if queue in ("", self._lab.task_queue) else queue
        return start_code(self._started, arguments, id=own, task_queue=queue)

    def arguments(self) -> list[Any]:
        """Return what the workflow would be started with; raises ValueError for a wrong field."""
        values, bad = read_all(self.fields, self._insist)
        self.workflow_id.read()
        if len(str(self.workflow_id.control.value).encode()) > 1000:
            self.workflow_id.blame("too long: a Workflow Id has 1,000 bytes at most")
            bad.append("Workflow Id")
        if bad:
            wrong = [name for name, _, problem in self._lines() if problem]
            raise ValueError(f"needs another value: {', '.join(wrong or filter(None, bad))}")
        specs = [one.spec for one in self.fields]
        given = [values.get(one.name, one.default) for one in specs]
        if specs and specs[-1].rest and (rest := given.pop()):
            return [*given, *rest]
        return left_out(given, specs)

    def _lines(self) -> list[tuple[str, str, str]]:
        own = [self.workflow_id, self.task_queue]
        return [line for one in [*self.fields, *own] for line in one.lines()]

    def fill(self, **values: Any) -> Self:
        """Put values into fields by name; a part of a group by a mapping or a dotted name.

        Raises TypeError for a name that no field has, ValueError for a value that none takes.

        >>> form.fill(user_id="u-1", **{"faults.latency.a": 0.5})              # doctest: +SKIP
        """
        fields = self._record.fields if self._record else self.fields
        with self.lock:
            try:
                put_all(fields, nested(values))
            finally:
                self._changed()
        return self

    def submit(self, *, id: str | None = None) -> LabWorkflowHandle[Any]:
        """Start the execution and add its row; raises what stands in the way, and shows it."""
        with self.lock:
            if id is not None:
                self.workflow_id.put(id)
            self._insist = True
            self._changed()
            try:
                call = self._call()
            except ValueError as error:
                self._say(str(error), "error")
                raise
            self._busy = self.button.disabled = True
        try:
            handle = self._start(call)
        except Exception as error:
            with self.lock:
                self._busy, self.button.disabled = False, self.closed
                # The second click of a double click waited in the queue meanwhile.
                self._quiet_until = time.monotonic() + _QUEUED_S
                self._say(_why(error), "error")
            raise
        with self.lock:
            self._took(handle)
        return handle

    def _start(self, call: dict[str, Any]) -> LabWorkflowHandle[Any]:
        arguments = call.pop("args")
        try:
            return self._lab.start_workflow(self._started.workflow, *arguments, **call)
        except WorkflowAlreadyStartedError as error:
            if "id_reuse_policy" not in call:
                raise
            # Its answer was lost, and it has closed meanwhile.
            return self._lab.get_workflow_handle(error.workflow_id, run_id=error.run_id)

    def _call(self) -> dict[str, Any]:
        own = self.workflow_id.read()
        arguments = self.arguments()
        if arguments != self._made_for:
            # Another input is another execution, also where the first start's answer was lost.
            self._made_id, self._made_for = self._new_id(), arguments
        call = {"args": arguments, "id": own or self._made_id}
        call["task_queue"] = self.task_queue.read() or None
        if not own:
            # A start whose answer was lost is found again, not made twice.
            call["id_conflict_policy"] = WorkflowIDConflictPolicy.USE_EXISTING
            call["id_reuse_policy"] = WorkflowIDReusePolicy.REJECT_DUPLICATE
        return call

    def _took(self, handle: LabWorkflowHandle[Any]) -> None:
        """Add the row and make ready for the next."""
        self._rows.add(handle)
        self._busy, self._insist = False, False
        self._quiet_until = time.monotonic() + _DOUBLE_CLICK_S
        self._made_for = None
        self.workflow_id.put("")
        self._say(f"started {handle.id}")
        self._show_rows()

    def _clicked(self) -> None:
        """Submit, once for a double click; what stands in the way is shown already."""
        if self._busy or self.closed or time.monotonic() < self._quiet_until:
            return
        with contextlib.suppress(Exception):
            self.submit()

    def _say(self, words: str, kind: str = "note") -> None:
        self._said = message(words, kind)
        self._message.value = block(self._said)

    def _changed(self) -> None:
        with self.lock:
            if hasattr(self, "_table"):
                self._code.value = block(self._code_html())

    def _code_html(self) -> Html:
        try:
            code = self.code
        except ValueError as error:
            return Html(f'<div class="dim">no code yet: {text(error)}</div>')
        if len(code) > LONGEST:
            return Html('<div class="dim">the input is too long to show as code</div>')
        return Html(f"<pre><code>{text(code)}</code></pre>")

    def _show_rows(self) -> None:
        shown = block(self._rows.html()) if self._rows.all else ""
        if self._table.value != shown:
            self._table.value = shown
        if not self._busy and time.monotonic() > self._quiet_until:
            self.button.disabled = self.closed

    def close(self) -> None:
        """Look once more, say that the Lab is closed, disable the controls; keep the input."""
        if not self.closed:
            with contextlib.suppress(LabError, RPCError, TimeoutError):
                self._lab.loop.run(lambda: self._rows.look(100))
            with self.lock:
                self._show_rows()
                self._say(_GONE)
        super().close()

    def facts_html(self) -> Html:
        """Return the fields with their values, the code and the rows."""
        rows = [[name, value, problem] for name, value, problem in self._lines()]
        fields = table(["field", "value", "problem"], rows, caption="input")
        return block(self._head(), fields, self._said, self._code_html(), self._rows.html())

    def facts_text(self) -> str:
        """Return the same as text."""
        fields = [f"{n}: {value}{f' ({p})' if p else ''}" for n, value, p in self._lines()]
        try:
            code = self.code
        except ValueError as error:
            code = f"no code yet: {error}"
        return "\n".join([self._started.name, *fields, code, self._rows.text()]).rstrip()


def _why(error: Exception) -> str:
    if isinstance(error, WorkflowAlreadyStartedError):
        return f"{error}: the Workflow Id {error.workflow_id!r} is in use; {_IN_USE}"
    return str(error) or type(error).__name__
