"""A form for a pydantic model: its fields, its own checks, and what arrives at the workflow.

Runs where pydantic is installed, which is no dependency of the kit.
"""

from __future__ import annotations

import pytest

pytest.importorskip("pydantic")

from projectai_lab import widgets
from projectai_lab.lab import Lab
from projectai_lab.widgets._fields import Leaf
from projectai_lab.widgets._groups import Record
from tests.pydantic_workflows import Item, Order, Take

# Temporal's default converter sends and reads a model, and recommends its own for pydantic.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The `(dict|parse_obj)` method is deprecated"),
    pytest.mark.filterwarnings("ignore:If you're using Pydantic v2"),
]


@pytest.fixture
def own(lab: Lab) -> Lab:
    """Return the Lab with a worker for the workflow."""
    lab.start_worker(workflows=[Take])
    return lab


def test_a_model_has_a_field_for_each_of_its_own_and_arrives(own: Lab) -> None:
    with widgets.submit_form(own, Take) as form:
        form.fill(customer="Ada", items=[Item(name="pen", count=3), Item(name="ink")])
        (order,) = form.fields
        assert isinstance(order, Record)
        customer = order.fields[0]
        assert isinstance(customer, Leaf)
        assert "whom it goes to" in customer.note.value
        handle = form.submit()
        assert handle.result(timeout=30) == 4
        started = handle.fetch_history().events[0].workflow_execution_started_event_attributes
        sent = Order.model_validate_json(started.input.payloads[0].data)
    assert sent == Order(customer="Ada", items=[Item(name="pen", count=3), Item(name="ink")])


def test_what_the_model_refuses_is_told_at_the_field_and_not_sent(own: Lab) -> None:
    with widgets.submit_form(own, Take) as form:
        form.fill(customer="Ada", items=[Item.model_construct(name="pen", count=0)])
        with pytest.raises(ValueError, match="needs another value"):
            form.submit()
        assert "greater than or equal to 1" in form.facts_text() + form.facts_html()
        assert not form.handles


def test_the_code_to_paste_makes_the_same_model(own: Lab) -> None:
    with widgets.submit_form(own, Take) as form:
        form.fill(customer="Ada", items=[Item(name="pen")], express=True)
        code = form.code
    assert "from tests.pydantic_workflows import Item, Order, Take" in code
    assert "express=True" in code
