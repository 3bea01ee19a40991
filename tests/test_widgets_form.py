"""The submission form: what is typed becomes the input, starts once, and tells how it ended."""

from __future__ import annotations

import enum
import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import nbformat
import pytest
from temporalio import workflow
from temporalio.exceptions import WorkflowAlreadyStartedError

from projectai_lab import FaultPlan, RetrySettings, WorkflowInput, notebooks, widgets
from projectai_lab.config import LabConfig
from projectai_lab.devserver import DevServer
from projectai_lab.errors import WorkflowDefinitionError
from projectai_lab.lab import Lab
from projectai_lab.workflows import ExampleWorkflow
from tests import zoo
from tests.test_faults_of_the_world import kill, restart

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Colour(enum.Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Inner:
    """A part."""

    size: int = 3
    """How large."""


@dataclass
class Order:
    """All that a form can take."""

    name: str
    count: int = 1
    colour: Colour = Colour.RED
    pause: timedelta = timedelta(seconds=1)
    mode: Literal["a", "b"] = "a"
    maybe: int | None = None
    flag: bool = False
    inner: Inner = field(default_factory=Inner)
    extra: Inner | None = None
    tags: list[str] = field(default_factory=list)
    sizes: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError("count must be 1 or more")


@workflow.defn
class Orders:
    """Return the order."""

    @workflow.run
    async def run(self, order: Order) -> str:
        """Tell it."""
        return order.name


def test_the_request_form_starts_and_tells_the_result(lab: Lab) -> None:
    form = widgets.submit_form(lab, ExampleWorkflow)
    handle = form.fill(data=HOSTILE, user_id="u-1").submit()
    assert handle.result(timeout=30).success
    zoo.until(lambda: "COMPLETED" in form.facts_text())
    zoo.until(lambda: "COMPLETED" in form._table.value)
    assert handle.id in form.facts_html()
    assert "<script" not in form.facts_html()
    assert "<img" not in form._code.value
    form.close()
    assert form.button.disabled


def test_the_code_starts_the_same_input(lab: Lab, new_id: Callable[[str], str]) -> None:
    form = widgets.submit_form(lab, ExampleWorkflow)
    request = WorkflowInput(
        "hello",
        "u-1",
        faults=FaultPlan(fail_first={"simulate_ai_call": 1}),
        retry={"simulate_ai_call": RetrySettings(initial_interval=0.2)},
    )
    form.fill(**{name: getattr(request, name) for name in ("data", "user_id", "faults", "retry")})
    assert form.arguments() == [request]
    form.workflow_id.put(new_id("pasted"))
    space: dict[str, Any] = {"lab": lab}
    exec(form.code, space)
    assert space["handle"].result(timeout=30).success
    form.close()


def test_every_type_has_its_field_and_its_code(lab: Lab) -> None:
    form = widgets.submit_form(lab, Orders)
    order = Order(
        "n",
        2,
        Colour.BLUE,
        timedelta(minutes=2),
        "b",
        5,
        True,
        Inner(4),
        Inner(5),
        ["x", "y"],
        {"k": 1.5},
    )
    form.fill(**vars(order))
    assert form.arguments() == [order]
    assert {"sizes[k]: 1.5", "tags[1]: y", "extra.size: 5"} <= {*form.facts_text().splitlines()}
    space: dict[str, Any] = {}
    exec(form.code.replace("handle = lab.start_workflow", "seen = (lambda *a: a)"), space)
    assert space["seen"][1] == order
    form.close()


def test_a_wrong_text_is_told_at_its_field(lab: Lab) -> None:
    form = widgets.submit_form(lab, Orders)
    fields = {one.spec.name: one for one in form._record.fields}
    fields["count"].control.value = "many"
    assert "not a whole number" in fields["count"].note.value
    with pytest.raises(ValueError, match="needs another value: name, count"):
        form.submit()
    assert "required" in fields["name"].note.value
    form.fill(name="n", count=0)
    assert "count must be 1 or more" in fields["count"].note.value
    fields["name"].control.value = "x" * (2 * 2**20 + 1)
    assert "2 MiB" in fields["name"].note.value
    form.close()


def test_a_double_click_starts_one(lab: Lab) -> None:
    form = widgets.submit_form(lab, ExampleWorkflow).fill(data="x", user_id="u")
    form.button.click()
    form.button.click()
    assert len(form.handles) == 1
    form.close()


def test_an_id_in_use_and_an_unknown_type_are_told(lab: Lab, new_id: Callable[[str], str]) -> None:
    lab.start_worker(workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES)
    form = widgets.submit_form(lab, zoo.Sleeper).fill(seconds=60.0)
    mine = new_id("mine")
    handle = form.submit(id=mine)
    with pytest.raises(WorkflowAlreadyStartedError):
        form.submit(id=mine)
    assert "in use" in form._message.value
    handle.terminate()
    zoo.until(lambda: "TERMINATED" in form._table.value)
    other = widgets.submit_form(lab, "Unknown")
    with pytest.raises(WorkflowDefinitionError):
        other.submit()
    assert "has no Workflow Type" in other._message.value
    form.close()
    other.close()


def test_a_closed_lab_is_told_and_the_input_kept(config: LabConfig) -> None:
    with Lab.connect(config) as lab:
        form = widgets.submit_form(lab, ExampleWorkflow).fill(data="kept", user_id="u")
        handle = form.submit()
        handle.result(timeout=30)
    assert "The Lab is closed" in form._message.value
    assert "kept" in form.facts_text()
    assert "COMPLETED" in form.facts_text()


@pytest.mark.parametrize("wrong", [int, 3, "", lambda: None])
def test_what_is_no_workflow_is_refused(lab: Lab, wrong: Any) -> None:
    with pytest.raises(TypeError, match="a form needs a workflow"):
        widgets.submit_form(lab, wrong)


def test_no_lab_and_a_misspelt_field_are_refused(lab: Lab) -> None:
    with pytest.raises(TypeError, match="needs an open Lab"):
        widgets.submit_form(None, ExampleWorkflow)
    with (
        widgets.submit_form(lab, ExampleWorkflow) as form,
        pytest.raises(TypeError, match="did you mean 'data'"),
    ):
        form.fill(dta="x")


def test_a_server_that_is_away_is_told_and_the_same_form_works_when_it_is_back(
    tmp_path: Path,
) -> None:
    first = DevServer.start(db_filename=tmp_path / "lab.db")
    with first, Lab.connect(LabConfig(address=first.address)) as lab:
        form = widgets.submit_form(lab, ExampleWorkflow).fill(data="kept", user_id="u")
        kill(first)
        form.button.click()
        assert "no Temporal server answers" in form._message.value
        assert "kept" in form.facts_text()
        assert not form.button.disabled
        with restart(first):
            form.button.click()
            zoo.until(lambda: form.handles)
            zoo.until(lambda: "COMPLETED" in form._table.value)


def test_notebook_09_leaves_the_last_facts_on_its_page_and_saves_its_widgets(
    tmp_path: Path,
) -> None:
    source = Path(__file__).parents[1] / "notebooks" / "09_submission_forms.ipynb"
    wanted = {"output_dir": str(tmp_path), "failures": 1}
    done = notebooks.run(source, parameters=wanted, output=tmp_path / "done.ipynb")
    assert done.html
    kept = nbformat.read(done.output, 4)
    # The saved widgets' state stands in a script and shows nothing without a front end.
    page = re.sub(r"(?s)<script.*?</script>", "", done.html.read_text())
    assert kept.metadata["widgets"]
    texts = [
        out.data["text/plain"]
        for cell in kept.cells
        for out in cell.get("outputs", [])
        if "application/vnd.jupyter.widget-view+json" in out.get("data", {})
    ]
    assert len(texts) == 2
    for text in texts:
        (row,) = [line for line in text.splitlines() if "  COMPLETED  " in line]
        workflow_id, _, result, _ = row.split("  ")
        assert workflow_id in page
        assert result in html.unescape(page)
    assert "jsdelivr" not in page


def test_no_argument_plain_parameters_and_a_failed_run(lab: Lab) -> None:
    lab.start_worker(workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES)
    with widgets.submit_form(lab, zoo.Doomed) as form:
        form.fill(reason=HOSTILE).submit()
        zoo.until(lambda: "FAILED" in form._table.value)
        assert "ApplicationError" in form._table.value
        assert "<script" not in form._table.value
    with widgets.submit_form(lab, zoo.Counter) as form:
        assert form.code.endswith("lab.start_workflow(Counter.run)")
        form.submit().terminate()
    with widgets.submit_form(lab, zoo.Greeting.run) as form:
        handle = form.fill(activity="greet", argument="you").submit()
        assert handle.result(timeout=30) == "hello you"
