"""The submission form: what is typed becomes the input, starts once, and tells how it ended."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from temporalio.exceptions import WorkflowAlreadyStartedError

from projectai_lab import FaultPlan, RetrySettings, WorkflowInput, notebooks, widgets
from projectai_lab.config import LabConfig
from projectai_lab.devserver import DevServer
from projectai_lab.errors import LabClosedError, PayloadError, WorkflowDefinitionError
from projectai_lab.lab import Lab
from projectai_lab.workflows import ExampleWorkflow
from tests import zoo
from tests.form_workflows import (
    Colour,
    Inner,
    Lies,
    Loose,
    Notes,
    Nothing,
    Order,
    Orders,
    Plain,
    Sleeper,
)
from tests.test_faults_of_the_world import kill, restart

submit_form: Any = widgets.submit_form
"""As in a notebook: what a field holds depends on the workflow, and no type checker knows it."""
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


def test_the_request_form_starts_and_tells_the_result(lab: Lab) -> None:
    form = submit_form(lab, ExampleWorkflow)
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
    form = submit_form(lab, ExampleWorkflow)
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
    form = submit_form(lab, Orders)
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
    form = submit_form(lab, Orders)
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


@pytest.fixture
def own(lab: Lab) -> Lab:
    """Return the Lab with a worker for the workflows of the form's tests."""
    lab.start_worker(workflows=[Orders, Notes, Plain, Nothing, Lies, Sleeper, Loose])
    return lab


def test_several_plain_parameters_and_none_have_a_form(own: Lab) -> None:
    with submit_form(own, Plain) as form:
        handle = form.fill(word="hi", times=3).submit()
        assert handle.result(timeout=30) == "hi hi hi"
        assert form.code.endswith("handle = lab.start_workflow(Plain.run, 'hi', 3)")
        form.fill(pause=timedelta(seconds=1))
        assert form.code.endswith("(Plain.run, 'hi', 3, timedelta(seconds=1.0))")
    with submit_form(own, Nothing.run) as form:
        assert form.submit().result(timeout=30) is None
        zoo.until(lambda: "COMPLETED" in form.facts_text())
        assert form.code.endswith("handle = lab.start_workflow(Nothing.run)")


def test_a_workflow_by_name_takes_its_arguments_as_json(own: Lab) -> None:
    with submit_form(own, "Plain") as form:
        (area,) = form.fields
        area.control.value = '["hi", 2'
        assert "not JSON" in area.note.value
        area.control.value = '"hi"'
        assert "not a list" in area.note.value
        with pytest.raises(ValueError, match="needs another value: arguments"):
            form.submit()
        area.control.value = '["hi", 2]'
        assert form.submit().result(timeout=30) == "hi hi"
        assert form.code == "handle = lab.start_workflow('Plain', 'hi', 2)"


def test_parts_are_filled_by_dotted_names(lab: Lab) -> None:
    with submit_form(lab, ExampleWorkflow) as form:
        parts = {"faults.latency.a": 0.5, "retry": {"simulate_ai_call": {"maximum_attempts": 3}}}
        form.fill(data="x", user_id="u", **parts)
        (request,) = form.arguments()
        assert request.faults.latency.a == 0.5
        assert request.retry == {"simulate_ai_call": RetrySettings(maximum_attempts=3)}
        with pytest.raises(TypeError, match=r"no field 'latenzy' in faults; did you mean"):
            form.fill(**{"faults.latenzy": 1})
        with pytest.raises(ValueError, match="faults must be a FaultPlan"):
            form.fill(faults=3)
        assert form.arguments() == [request]


def test_groups_are_folded_and_the_request_comes_first(lab: Lab) -> None:
    with submit_form(lab, ExampleWorkflow) as form:
        assert [one.spec.name for one in form._record.fields][:3] == ["data", "user_id", "seed"]
        folded = {one.spec.name: one for one in form._record.fields if hasattr(one, "inner")}
        assert list(folded) == ["faults", "retry", "timeouts"]
        assert all(one.inner is None for one in folded.values())
        folded["faults"].fold.open()
        assert folded["faults"].inner
        assert folded["retry"].inner is None


def test_a_hostile_text_is_escaped_in_every_field(own: Lab, new_id: Callable[[str], str]) -> None:
    with submit_form(own, Notes) as form:
        form.fill(name=HOSTILE, tags=[HOSTILE], sizes={HOSTILE: 1.0})
        form.task_queue.put(HOSTILE)
        form.workflow_id.put(new_id(HOSTILE))
        controls = {one.spec.name: one for one in form._record.fields}
        controls["count"].control.value = HOSTILE
        shown = [form.facts_html()]
        controls["count"].control.value = "1"
        shown.append(form._code.value)
        form.task_queue.put(own.task_queue)
        handle = form.submit()
        zoo.until(lambda: "COMPLETED" in form._table.value)
        shown += [form.facts_html(), form._table.value, form._message.value]
        for html_ in shown:
            assert "&lt;script&gt;" in html_
            assert "<script" not in html_
            assert "<img" not in html_
        assert HOSTILE in form.facts_text()
        assert handle.result(timeout=30) == HOSTILE


def test_what_cannot_be_sent_is_told_and_the_input_kept(own: Lab) -> None:
    with submit_form(own, Orders).fill(name="kept") as form:
        with pytest.raises(PayloadError):
            form.submit()
        assert "Object of type Colour is not JSON serializable" in form._message.value
        assert "kept" in form.facts_text()
        assert not form.button.disabled


def test_a_failed_run_and_an_unreadable_result_are_told_in_words(own: Lab) -> None:
    with submit_form(own, ExampleWorkflow) as form:
        form.fill(
            data="x",
            user_id="u",
            faults={"fail_first": {"simulate_ai_call": 9}},
            retry={"simulate_ai_call": {"maximum_attempts": 1}},
        )
        form.submit()
        zoo.until(lambda: "planned failure of attempt 1" in form.facts_text())
    with submit_form(own, Lies) as form:
        form.submit()
        zoo.until(lambda: "the result cannot be read" in form.facts_text())
        assert "COMPLETED" in form.facts_text()


def test_many_open_rows_all_have_their_turn(own: Lab) -> None:
    with submit_form(own, Sleeper) as form:
        form.fill(seconds=600)
        sleepers = [form.submit() for _ in range(9)]
        short = form.fill(seconds=0.01).submit()
        zoo.until(lambda: f"{short.id}  COMPLETED" in form.facts_text())
        for one in sleepers:
            one.terminate()
        zoo.until(lambda: form.facts_text().count("TERMINATED") == 9)


def test_another_input_is_another_execution_also_after_a_lost_answer(lab: Lab) -> None:
    with submit_form(lab, ExampleWorkflow).fill(data="x", user_id="u") as form:
        same = [form._call()["id"] for _ in range(2)]
        other = form.fill(data="y")._call()["id"]
        assert same[0] == same[1] != other


def test_a_start_whose_answer_was_lost_is_found_again(lab: Lab) -> None:
    with submit_form(lab, ExampleWorkflow).fill(data="x", user_id="u") as form:
        call = form._call()
        lost = lab.start_workflow(ExampleWorkflow.run, *call["args"], id=call["id"])
        assert form.submit().run_id == lost.run_id
        call = form._call()
        lost = lab.start_workflow(ExampleWorkflow.run, *call["args"], id=call["id"])
        lost.result(timeout=30)
        assert form.submit().run_id == lost.run_id
        zoo.until(lambda: form.facts_text().count("COMPLETED") == 2)


def test_a_double_click_starts_one(lab: Lab) -> None:
    form = submit_form(lab, ExampleWorkflow).fill(data="x", user_id="u")
    form.button.click()
    form.button.click()
    assert len(form.handles) == 1
    form.close()


def test_an_id_in_use_and_an_unknown_type_are_told(lab: Lab, new_id: Callable[[str], str]) -> None:
    lab.start_worker(workflows=[Sleeper])
    form = submit_form(lab, Sleeper).fill(seconds=60.0)
    mine = new_id("mine")
    handle = form.submit(id=mine)
    with pytest.raises(WorkflowAlreadyStartedError):
        form.submit(id=mine)
    assert "in use" in form._message.value
    handle.terminate()
    zoo.until(lambda: "TERMINATED" in form._table.value)
    other = submit_form(lab, "Unknown")
    with pytest.raises(WorkflowDefinitionError):
        other.submit()
    assert "has no Workflow Type" in other._message.value
    form.close()
    other.close()


def test_a_closed_lab_is_told_and_the_input_kept(config: LabConfig) -> None:
    with Lab.connect(config) as lab:
        form = submit_form(lab, ExampleWorkflow).fill(data="kept", user_id="u")
        handle = form.submit()
        handle.result(timeout=30)
    assert "after Lab.open() where the Lab is closed too" in form._message.value
    with pytest.raises(LabClosedError):
        form.submit()
    assert "open a new one, with Lab.open()" in form._message.value
    assert len(form.handles) == 1
    assert "kept" in form.facts_text()
    assert "COMPLETED" in form.facts_text()


@pytest.mark.parametrize("wrong", [int, 3, "", lambda: None])
def test_what_is_no_workflow_is_refused(lab: Lab, wrong: Any) -> None:
    with pytest.raises(TypeError, match="a form needs a workflow"):
        submit_form(lab, wrong)


def test_no_lab_and_a_misspelt_field_are_refused(lab: Lab) -> None:
    with pytest.raises(TypeError, match="needs an open Lab"):
        submit_form(None, ExampleWorkflow)
    with (
        submit_form(lab, ExampleWorkflow) as form,
        pytest.raises(TypeError, match="did you mean 'data'"),
    ):
        form.fill(dta="x")


def test_a_server_that_is_away_is_told_and_the_same_form_works_when_it_is_back(
    tmp_path: Path,
) -> None:
    first = DevServer.start(db_filename=tmp_path / "lab.db")
    with first, Lab.connect(LabConfig(address=first.address)) as lab:
        form = submit_form(lab, ExampleWorkflow).fill(data="kept", user_id="u")
        kill(first)
        form.button.click()
        assert "no Temporal server answers" in form._message.value
        assert "kept" in form.facts_text()
        assert not form.button.disabled
        with restart(first):
            zoo.until(lambda: form.button.click() or form.handles)
            zoo.until(lambda: "COMPLETED" in form._table.value)
        assert len(form.handles) == 1


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


def test_the_cause_of_a_failure_is_escaped(lab: Lab) -> None:
    lab.start_worker(workflows=[zoo.Doomed])
    with submit_form(lab, zoo.Doomed) as form:
        form.fill(reason=HOSTILE).submit()
        zoo.until(lambda: "FAILED" in form._table.value)
        assert "ApplicationError" in form._table.value
        assert "<script" not in form._table.value


def test_any_number_of_further_arguments_has_a_list(own: Lab) -> None:
    with submit_form(own, Loose) as form:
        form.fill(more=["a", "b"])
        assert "any number of further arguments" in form.fields[1].inner.note.value
        assert form.code.endswith("handle = lab.start_workflow(Loose.run, 1, 'a', 'b')")
        assert form.submit().result(timeout=30) == "int a b"
        form.fill(value="x", more=[])
        assert form.submit().result(timeout=30) == "str"


def test_a_value_that_only_equals_the_default_is_sent(lab: Lab) -> None:
    form = submit_form(lab, Loose)
    assert [one.spec.name for one in form.fields] == ["value", "more"]
    assert form.arguments() == []
    form.fields[0].control.value = "true"
    assert form.arguments() == [True]
