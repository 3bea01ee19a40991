"""Hostile text in every text field of every panel and in all that comes back is never HTML."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import ipywidgets
import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError

from projectai_lab import FaultPlan, RetrySettings, WorkflowInput, widgets
from projectai_lab.errors import WorkflowDefinitionError
from projectai_lab.lab import Lab
from projectai_lab.widgets._panel import Panel, _all_of
from projectai_lab.workflows import ExampleWorkflow
from tests import made, zoo
from tests.form_workflows import Notes, Orders, Plain, UserId
from tests.test_widgets_reruns import opened

SCRIPT, IMAGE = "<script>alert(1)</script>", "\"><img src=x onerror='alert(1)'>"
HOSTILE = f"{SCRIPT}{IMAGE}&amp;"


def texts(panel: Panel) -> list[Any]:
    """Return every field of a panel that text can be typed into."""
    kinds = (ipywidgets.Text, ipywidgets.Textarea)
    return [one for one in _all_of(panel.view) if isinstance(one, kinds)]


def is_harmless(panel: Panel) -> str:
    """Assert that neither page nor any widget holds a tag that was typed; return what they hold."""
    bundle = panel._repr_mimebundle_()
    drawn = [bundle["text/html"]]
    for one in _all_of(panel.view):
        assert not getattr(one, "description_allow_html", False)
        assert not isinstance(one, ipywidgets.HTMLMath)
        if isinstance(one, ipywidgets.HTML):
            drawn.append(one.value)
    whole = "\n".join(drawn)
    assert "<script" not in whole
    assert "<img src=x" not in whole
    # What is escaped once is shown as it was typed.
    assert "&amp;lt;" not in whole
    return whole


class Choices(enum.Enum):
    """Its members are named by whoever wrote them."""

    ONE = HOSTILE


Odd = enum.Enum("Odd", {HOSTILE: 1})  # type: ignore[misc]


@dataclass
class Described:
    """A part; <script>alert(1)</script>"><img src=x onerror='alert(1)'>"""

    word: str = field(default=HOSTILE, metadata={"doc": HOSTILE})
    number: int = 1
    """<script>alert(1)</script> below the field"""
    mode: Literal["a", "<script>alert(1)</script>"] = "<script>alert(1)</script>"
    choice: Choices = Choices.ONE
    odd: Odd | None = None
    data: Any = None
    sizes: dict[str, float] = field(default_factory=lambda: {HOSTILE: 1.0})
    names: list[UserId] = field(default_factory=lambda: [UserId(HOSTILE)])
    part: tuple[str, int] = (HOSTILE, 1)

    def __post_init__(self) -> None:
        if self.number != 1:
            raise ValueError(f"number {self.number} is odd: {HOSTILE}")


@workflow.defn(name=HOSTILE)
class Named:
    """Named and described by whoever wrote it: <script>alert(1)</script>"><img src=x onerror=''>"""

    @workflow.run
    async def run(self, what: Described) -> str:
        """Return it."""
        return what.word


@pytest.fixture
def own(lab: Lab) -> Lab:
    """Return the Lab with a worker for the workflows of these tests."""
    lab.start_worker(workflows=[Notes, zoo.Doomed])
    return lab


FORMS = {
    "request": ExampleWorkflow,
    "orders": Orders,
    "several": Plain,
    "named": Named,
    "by name": HOSTILE,
}


@pytest.mark.parametrize("started", FORMS.values(), ids=FORMS)
def test_every_text_field_of_a_form(lab: Lab, started: Any) -> None:
    with widgets.submit_form(lab, started) as form:
        if started is ExampleWorkflow:
            opened(form)
        is_harmless(form)
        fields = texts(form)
        assert len(fields) >= 3
        for one in fields:
            was, one.value = one.value, HOSTILE
            assert "&lt;script&gt;" in is_harmless(form), one.description
            one.value = was
        for one in fields:
            one.value = HOSTILE
        with pytest.raises(ValueError, match=r"^needs another value: "):
            form.submit()
        assert "&lt;script&gt;alert(1)" in is_harmless(form)
        assert HOSTILE in form.facts_text()


def test_documentation_choices_and_checks_of_a_form(lab: Lab) -> None:
    with widgets.submit_form(lab, Named) as form:
        for one in form.fields[0].fields:  # type: ignore[attr-defined]
            if hasattr(one, "inner"):
                one.fold.open()
        assert "&lt;script&gt;alert(1)&lt;/script&gt; below the field" in is_harmless(form)
        form.fill(number=2)
        with pytest.raises(ValueError, match="needs another value: number"):
            form.submit()
        assert is_harmless(form).count("is odd: &lt;script&gt;") >= 2


def test_a_workflow_type_that_nobody_has(lab: Lab) -> None:
    with widgets.submit_form(lab, HOSTILE) as form:
        with pytest.raises(WorkflowDefinitionError, match="has no Workflow Type"):
            form.submit()
        assert "has no Workflow Type &#x27;&lt;script&gt;" in is_harmless(form)


def test_what_comes_back_to_a_form(own: Lab, new_id: Callable[[str], str]) -> None:
    with widgets.submit_form(own, Notes) as form:
        name = new_id(HOSTILE)
        handle = form.fill(name=HOSTILE, sizes={HOSTILE: 1.0}, tags=[HOSTILE]).submit(id=name)
        assert handle.result(timeout=30) == HOSTILE
        zoo.until(lambda: "COMPLETED" in form.facts_text())
        assert f"{name}  COMPLETED  {HOSTILE!r}" in form.facts_text()
        assert "&lt;script&gt;" in is_harmless(form)
        form.close()
        assert "&lt;script&gt;" in is_harmless(form)


def test_the_failure_that_comes_back_to_a_form(own: Lab) -> None:
    with widgets.submit_form(own, zoo.Doomed) as form:
        form.fill(reason=HOSTILE).submit()
        zoo.until(lambda: "FAILED" in form.facts_text())
        assert SCRIPT in form.facts_text()
        assert is_harmless(form).count("&lt;script&gt;") >= 2


def test_the_monitor_its_fields_and_what_it_shows(own: Lab, new_id: Callable[[str], str]) -> None:
    lab = own
    idle = f"{lab.task_queue}-idle"
    waits = lab.start_workflow(HOSTILE, id=new_id(HOSTILE), task_queue=idle)
    failed = lab.start_workflow(zoo.Doomed.run, HOSTILE, id=new_id(HOSTILE))
    with pytest.raises(WorkflowFailureError):
        failed.result(timeout=30)
    query = f"TaskQueue = '{idle}' OR TaskQueue = '{lab.task_queue}'"
    with widgets.monitor(lab, query, every=0.05) as panel:
        which = panel.actions.which
        zoo.until(lambda: waits.id in which.options)
        zoo.until(lambda: failed.id[:20] in panel.facts_text())
        assert "&lt;script&gt;" in is_harmless(panel)
        which.value = HOSTILE
        panel.actions.ask.click()
        assert "is not on this page" in is_harmless(panel)
        which.value = waits.id
        panel.actions.verb.value = "signal"
        for one in texts(panel):
            if one not in (panel.query, which):
                one.value = HOSTILE
        panel.actions.ask.click()
        assert "Argument: not JSON" in is_harmless(panel)
        panel.actions.argument.value = ""
        panel.actions.ask.click()
        assert "are you sure?" in is_harmless(panel)
        panel.actions.confirm.click()
        assert "was sent the Signal &#x27;&lt;script&gt;" in is_harmless(panel)
        panel.query.value = f"WorkflowId = '{HOSTILE.replace(chr(39), '')}"
        zoo.until(lambda: panel.query_error.value)
        is_harmless(panel)
    waits.terminate()


def test_the_explorer_its_query_and_what_it_shows(lab: Lab, new_id: Callable[[str], str]) -> None:
    name = new_id(HOSTILE)
    faults = FaultPlan(fail_first={"simulate_ai_call": 1}, error_type=HOSTILE)
    request = WorkflowInput(HOSTILE, HOSTILE, faults=faults)
    lab.start_workflow(ExampleWorkflow.run, request, id=name).result(timeout=30)
    lab.start_workflow(HOSTILE, HOSTILE, task_queue=f"{lab.task_queue}-idle").terminate(
        HOSTILE, reason=HOSTILE
    )
    panel = widgets.history_browser(
        lab, query=f"TaskQueue = '{lab.task_queue}' OR TaskQueue = '{lab.task_queue}-idle'"
    )

    def listed() -> bool:
        panel.again.click()
        return len(panel.runs.options) == 2

    zoo.until(listed)
    for chosen in (0, 1):
        panel.runs.value = chosen
        for lane in panel.run.lanes.children:
            for bar in lane.children[2:]:
                bar.click()
                assert "&lt;script&gt;" in is_harmless(panel)
    (query,) = texts(panel)
    for typed in (HOSTILE, f"WorkflowId = {HOSTILE!r}", f"WorkflowId = '{SCRIPT}'"):
        query.value = typed
        assert panel.notice.value
        assert "&lt;script&gt;" in is_harmless(panel)


def test_saved_histories_and_the_playground() -> None:
    step = made.Step(HOSTILE, status="FAILED", failure={"message": HOSTILE})
    history = made.history(HOSTILE, step, made.Signal(HOSTILE), workflow_type=HOSTILE)
    panel = widgets.history_browser([history, history], redact=lambda _: HOSTILE)
    for lane in panel.run.lanes.children:
        lane.children[2].click()
        assert "&lt;script&gt;" in is_harmless(panel)
    policy = RetrySettings(non_retryable_error_types=(HOSTILE,), maximum_attempts=2)
    played = widgets.policy_playground(policy=policy)
    assert texts(played) == []
    assert "&lt;script&gt;" in is_harmless(played)
