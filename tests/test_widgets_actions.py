"""Cancel, terminate and signal from the monitor: nothing goes out that was not confirmed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from projectai_lab import widgets
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.lab import Lab
from projectai_lab.widgets._monitor import Monitor
from tests import zoo
from tests.test_widgets_monitor import FAST, mine, zoo_lab
from tests.test_widgets_panel import HOSTILE

__all__ = ["zoo_lab"]
Counting = tuple[Monitor, LabWorkflowHandle[int]]


@pytest.fixture
def counting(zoo_lab: Lab) -> Iterator[Counting]:
    """Return a monitor and a run that counts Signals, chosen in it."""
    handle = zoo_lab.start_workflow(zoo.Counter.run)
    with widgets.monitor(zoo_lab, mine(zoo_lab), every=FAST) as panel:
        choose(panel, handle)
        yield panel, handle


def choose(panel: Monitor, handle: LabWorkflowHandle[int]) -> None:
    """Choose a run as soon as it is offered."""
    which = panel.actions.which
    zoo.until(lambda: handle.id in which.options)
    which.value = handle.id


def hidden(panel: Monitor) -> bool:
    """Say whether nothing is to be confirmed."""
    return bool(panel.actions._sure.layout.display == "none")


def test_nothing_is_done_before_it_is_confirmed_by_name(counting: Counting) -> None:
    panel, handle = counting
    actions = panel.actions
    actions.verb.value = "terminate"
    actions.ask.click()
    assert not hidden(panel)
    assert handle.id in actions.confirm.description
    assert f"terminate &#x27;{handle.id}&#x27;, run {handle.run_id}" in actions.problem.value
    actions.back.click()
    assert hidden(panel)
    actions.confirm.click()
    assert handle.describe().status.name == "RUNNING"  # type: ignore[union-attr]


def test_a_choice_that_is_changed_is_to_be_confirmed_anew(counting: Counting) -> None:
    panel, handle = counting
    panel.actions.ask.click()
    panel.actions.verb.value = "terminate"
    assert hidden(panel)
    panel.actions.confirm.click()
    assert handle.describe().status.name == "RUNNING"  # type: ignore[union-attr]


@pytest.mark.parametrize(("verb", "end"), [("cancel", "CANCELED"), ("terminate", "TERMINATED")])
def test_a_run_is_ended_and_the_table_says_so(counting: Counting, verb: str, end: str) -> None:
    panel, handle = counting
    panel.actions.verb.value = verb
    panel.actions.ask.click()
    panel.actions.confirm.click()
    assert f"{handle.id}&#x27; was " in panel.actions.outcome.value
    assert panel.actions.which.value == ""
    zoo.until(lambda: end in panel.rows.value)


def signal(panel: Monitor, name: str, argument: str) -> None:
    """Fill in a Signal and ask."""
    actions = panel.actions
    actions.verb.value = "signal"
    actions.signal.value, actions.argument.value = name, argument
    actions.ask.click()


def test_a_signal_is_sent_with_its_json(counting: Counting) -> None:
    panel, handle = counting
    signal(panel, " add ", "5")
    panel.actions.confirm.click()
    assert "was sent the Signal &#x27;add&#x27;; it is RUNNING now" in panel.actions.outcome.value
    assert handle.query("total") == 5
    choose(panel, handle)
    signal(panel, "stop", "")
    panel.actions.confirm.click()
    assert handle.result(timeout=30) == 5


@pytest.mark.parametrize(
    ("name", "argument", "told"),
    [
        ("", "1", "Signal: give its name; nothing was sent"),
        ("  ", "1", "Signal: give its name"),
        ("add", "{", "Argument: not JSON (Expecting property name"),
        ("add", "stop", "text needs quotes, such as &quot;stop&quot;; nothing was sent"),
        ("add", "NaN", "NaN is none of JSON&#x27;s numbers"),
        ("add", "[" * 100_000, "Argument: not JSON"),
        ("add", "9" * 10_000, "Argument: not JSON"),
        ("add", HOSTILE, "Argument: not JSON"),
    ],
)
def test_a_signal_that_cannot_be_is_told_and_the_input_kept(
    counting: Counting, name: str, argument: str, told: str
) -> None:
    panel, handle = counting
    signal(panel, name, argument)
    assert told in panel.actions.problem.value
    assert 'role="alert"' in panel.actions.problem.value
    assert hidden(panel)
    assert (panel.actions.signal.value, panel.actions.argument.value) == (name, argument)
    panel.actions.confirm.click()
    assert handle.query("total") == 0


def test_an_argument_too_long_for_the_server_is_told(counting: Counting) -> None:
    panel, handle = counting
    signal(panel, "add", f'"{"x" * 5_000_000}"')
    panel.actions.confirm.click()
    assert "signal failed: " in panel.actions.outcome.value
    assert handle.query("total") == 0


def test_a_signal_with_a_hostile_name_is_escaped(counting: Counting) -> None:
    panel, _ = counting
    signal(panel, HOSTILE, '"<script>"')
    panel.actions.confirm.click()
    assert "&lt;script&gt;" in panel.actions.outcome.value
    assert "<script" not in panel.actions.outcome.value
    assert "<img" not in panel.actions.outcome.value


@pytest.mark.parametrize(
    ("verb", "told"),
    [
        # The server takes it, and leaves the run as it is.
        ("cancel", "was asked to cancel; it is COMPLETED now"),
        ("terminate", "terminate failed: workflow execution already completed"),
        ("signal", "signal failed: workflow execution already completed"),
    ],
)
def test_of_a_run_that_ended_meanwhile_the_servers_word_is_told(
    counting: Counting, verb: str, told: str
) -> None:
    panel, handle = counting
    signal(panel, "add", "1")
    panel.actions.verb.value = verb
    panel.actions.ask.click()
    handle.signal("stop")
    handle.result(timeout=30)
    panel.actions.confirm.click()
    assert told in panel.actions.outcome.value
    assert ('role="alert"' in panel.actions.outcome.value) is ("failed" in told)


def test_without_a_choice_one_is_asked_for(lab: Lab) -> None:
    with widgets.monitor(lab, mine(lab), every=FAST) as panel:
        panel.actions.ask.click()
        assert "Execution: choose one first" in panel.actions.problem.value


def test_a_name_that_is_not_on_the_page_is_told(counting: Counting) -> None:
    panel, _ = counting
    panel.actions.which.value = HOSTILE
    panel.actions.ask.click()
    assert "is not on this page; choose one that is" in panel.actions.problem.value
    assert "<img" not in panel.actions.problem.value
    assert hidden(panel)


def test_the_chosen_run_is_linked_to_and_no_other(counting: Counting) -> None:
    panel, handle = counting
    assert f'href="{handle.url}"' in panel.actions.page.value
    panel.actions.which.value = handle.id[:-1]
    assert panel.actions.page.value == ""


def test_a_choice_stays_when_the_run_leaves_the_page(counting: Counting) -> None:
    panel, handle = counting
    panel.query.value = "WorkflowType = 'NoSuch'"
    zoo.until(lambda: panel.actions.which.options == ())
    panel.actions.ask.click()
    assert f"run {handle.run_id}: are you sure?" in panel.actions.problem.value


def test_runs_of_one_workflow_id_are_told_apart(zoo_lab: Lab) -> None:
    name = f"again-{zoo_lab.task_queue}"
    first = zoo_lab.start_workflow(zoo.Sleeper.run, 0.0, id=name)
    first.result(timeout=30)
    second = zoo_lab.start_workflow(zoo.Counter.run, id=name)
    with widgets.monitor(zoo_lab, mine(zoo_lab), every=FAST) as panel:
        both = (name, f"{name}, run {first.run_id}")
        zoo.until(lambda: panel.actions.which.options == both)
        panel.actions.which.value = both[0]
        panel.actions.ask.click()
        assert f"run {second.run_id}: are you sure?" in panel.actions.problem.value


def test_fields_of_a_signal_are_there_for_a_signal_only(counting: Counting) -> None:
    panel, _ = counting
    fields = panel.actions._fields.layout
    assert fields.display == "none"
    panel.actions.verb.value = "signal"
    assert fields.display is None


def test_the_lock_is_free_while_the_server_is_asked(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, _ = counting
    looks: list[int] = []

    def terminate(self: LabWorkflowHandle[int], **_: object) -> None:
        # Ticks go on only where nobody holds the lock.
        before = panel._seen
        zoo.until(lambda: panel._seen is not before)
        looks.append(1)

    panel.actions.verb.value = "terminate"
    panel.actions.ask.click()
    with monkeypatch.context() as patch:
        patch.setattr(LabWorkflowHandle, "terminate", terminate)
        panel.actions.confirm.click()
    assert looks == [1]
