"""A cell that is run again and again: one panel, and no widget and no comm more than before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ipywidgets.widgets.widget import _instances

from projectai_lab import widgets
from projectai_lab.lab import Lab
from projectai_lab.widgets._groups import Folded, Items
from projectai_lab.workflows import ExampleWorkflow
from tests import made
from tests.form_workflows import Orders
from tests.test_widgets_monitor_kernel import Kernel
from tests.test_widgets_monitor_kernel import kernel as kernel

COUNT = """
import comm
from ipywidgets.widgets import widget
print(len(widget._instances), len(comm.get_comm_manager().comms))
"""
CELLS = {
    "form": """
from projectai_lab.workflows import ExampleWorkflow
form = widgets.submit_form(lab, ExampleWorkflow)
form.fill(data="x", user_id="u", **{"faults.latency.a": 0.1, "retry": {"simulate_ai_call": {}}})
form.fill(retry={"process_ai_task": {}})
form
""",
    "monitor": "widgets.monitor(lab, every=0.05)",
    "history_browser": "widgets.history_browser(lab)",
    "policy_playground": "widgets.policy_playground(lab)",
    "policy_playground without a Lab": "widgets.policy_playground()",
}


@pytest.mark.parametrize("code", CELLS.values(), ids=CELLS)
def test_a_cell_that_is_run_again_adds_no_widget_and_no_comm(kernel: Kernel, code: str) -> None:
    kernel.run("a", "pass")
    before = kernel.run("c", COUNT)
    kernel.run("a", code)
    once = kernel.run("c", COUNT)
    for _ in range(3):
        kernel.run("a", code)
        assert kernel.run("c", COUNT) == once != before
    # What IPython keeps of a cell's value does not keep its widgets.
    kernel.run("a", "pass")
    assert kernel.run("c", COUNT) == before


TWO = """
from projectai_lab.workflows import ExampleWorkflow
from IPython.display import display
two = [widgets.submit_form(lab, ExampleWorkflow).fill(data=one, user_id="u") for one in "ab"]
forms += two
display(*two)
"""


def test_two_forms_in_one_cell_stand_beside_each_other_and_go_together(kernel: Kernel) -> None:
    kernel.run("b", "forms = []")
    kernel.run("a", "pass")
    before = kernel.run("c", COUNT)
    kernel.run("a", TWO)
    assert len(kernel.bundles) == 2
    once = kernel.run("c", COUNT)
    told = "print([(one.closed, one.arguments()[0].data) for one in forms])"
    assert kernel.run("c", told) == "[(False, 'a'), (False, 'b')]\n"
    # Each starts its own: neither's click, id nor message is the other's.
    kernel.run("c", "for one in forms: one.button.click()")
    started = "print(len({handle.id for one in forms for handle in one.handles}))"
    assert kernel.run("c", started) == "2\n"
    kernel.run("a", TWO)
    assert kernel.run("c", "print([one.closed for one in forms])") == "[True, True, False, False]\n"
    assert kernel.run("c", COUNT) == once
    kernel.run("a", "pass")
    assert kernel.run("c", COUNT) == before


def opened(form: Any) -> None:
    """Open every group of a form, add to its lists twice and remove the first item again."""

    def go(field: Any) -> None:
        if isinstance(field, Folded):
            field.fold.open()
            field = field.inner
        if isinstance(field, Items):
            field.add.click()
            field.add.click()
            go(field.rows[1][1])
            field.rows[0][2].click()
        for one in getattr(field, "fields", ()):
            go(one)

    for one in form.fields:
        go(one)
    assert any(line.startswith("faults.rules[0].") for line in form.facts_text().splitlines())


def clicked(browser: Any) -> None:
    """Choose a bar, another kind and another page of the timeline."""
    browser.run.lanes.children[0].children[2].click()
    browser.run.kind.value = "activity"
    browser.run.lane_page.value = 2


PANELS: dict[str, tuple[Callable[[Lab], Any], Callable[[Any], None]]] = {
    "form": (lambda lab: widgets.submit_form(lab, ExampleWorkflow), opened),
    "form for a name": (lambda lab: widgets.submit_form(lab, "Any"), lambda _: None),
    "monitor": (widgets.monitor, lambda _: None),
    "saved histories": (
        lambda _: widgets.history_browser(made.history("long", *["call"] * 60)),
        clicked,
    ),
    "executions": (widgets.history_browser, lambda _: None),
    "playground": (widgets.policy_playground, lambda _: None),
    "playground without a Lab": (lambda _: widgets.policy_playground(), lambda _: None),
}


@pytest.mark.parametrize(("make", "use"), PANELS.values(), ids=PANELS)
def test_every_widget_of_a_panel_ends_with_it_however_it_was_used(
    lab: Lab, make: Callable[[Lab], Any], use: Callable[[Any], None]
) -> None:
    before = set(_instances)
    panel = make(lab)
    use(panel)
    assert set(_instances) > before
    panel._dispose()
    assert set(_instances) == before


def test_an_item_that_is_removed_replaced_or_refused_takes_its_widgets_with_it(lab: Lab) -> None:
    before = set(_instances)
    form = widgets.submit_form(lab, Orders)
    form.fill(name="n", tags=["a"])
    with_one = len(_instances)
    record: Any = form.fields[0]
    tags = next(one for one in record.fields if one.spec.name == "tags")
    tags.inner.add.click()
    assert len(_instances) > with_one
    tags.inner.rows[1][2].click()
    assert len(_instances) == with_one
    form.fill(tags=["b"])
    assert len(_instances) == with_one
    with pytest.raises(ValueError, match="value: 3 is not text"):
        form.fill(tags=[3])
    form._dispose()
    assert set(_instances) == before
