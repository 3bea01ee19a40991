"""What a form sends, read back from the history: what the fields say and the code evaluates to."""

from __future__ import annotations

from typing import Any

import pytest

from projectai_lab import widgets
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.lab import Lab
from tests.form_workflows import Inner, Parcel, Parcels, Shade, UserId

HOSTILE = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>'&\n\\"


@pytest.fixture
def own(lab: Lab) -> Lab:
    """Return the Lab with a worker for the workflow."""
    lab.start_worker(workflows=[Parcels])
    return lab


def input_of(handle: LabWorkflowHandle[Any], *hints: type) -> list[Any]:
    """Return the input that history keeps, read as the worker reads it."""
    started = handle.fetch_history().events[0].workflow_execution_started_event_attributes
    convert = handle.connection.client.data_converter.payload_converter
    return convert.from_payloads(started.input.payloads, list(hints))


def evaluated(code: str) -> tuple[Any, ...]:
    """Return the arguments that the code would start a workflow with."""
    space: dict[str, Any] = {}
    exec(code.replace("handle = lab.start_workflow", "seen = (lambda *a, **o: a)"), space)
    return tuple(space["seen"][1:])


LEAST = Parcel(UserId("u"), Shade.DARK, Inner(), [], {})
MOST = Parcel(
    UserId(HOSTILE),
    Shade.LIGHT,
    Inner(7),
    [Shade.LIGHT, Shade.DARK],
    {"": Inner(2), HOSTILE: Inner(1)},
    weight=0.1,
    limit=-1e-300,
    extra=Inner(0),
    more=[Inner(8), Inner(9)],
    mode="b",
    step=-2,
    after=Parcel(UserId(""), Shade.DARK, Inner(), [], {}, weight=1.0),
    within=[Parcel(UserId("a"), Shade.LIGHT, Inner(), [Shade.DARK], {}, weight=2.0)],
)


@pytest.mark.parametrize("parcel", [LEAST, MOST], ids=["least", "most"])
def test_what_is_submitted_is_read_back_and_is_what_the_code_evaluates_to(
    own: Lab, parcel: Parcel
) -> None:
    with widgets.submit_form(own, Parcels) as form:
        form.fill(parcel=parcel, copies=2)
        code = form.code
        handle = form.submit()
        sent = input_of(handle, Parcel, int)
        # As text, since NaN does not equal itself.
        assert repr(sent) == repr([parcel, 2]) == repr([*evaluated(code)])
        assert handle.result(timeout=30) == f"{parcel!r} x 2"


def test_a_record_comes_as_one_also_where_the_arguments_after_it_stand_at_their_defaults(
    own: Lab,
) -> None:
    with widgets.submit_form(own, Parcels) as form:
        form.fill(parcel=LEAST)
        handle = form.submit()
        assert repr(input_of(handle, Parcel, int)) == repr([LEAST, 1])
        assert repr(form.arguments()) == repr([*evaluated(form.code)])
        assert handle.result(timeout=30) == f"{LEAST!r} x 1"
        assert "weight=nan, limit=inf" in handle.result(timeout=30)
        assert "not a" not in form.facts_text()
