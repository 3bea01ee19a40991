"""What every panel does: all forms at once, ticks that stop, one panel a run of a cell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import ipywidgets
import pytest
from IPython.core.events import EventManager
from ipywidgets.widgets.widget import _instances
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab import widgets
from projectai_lab.config import LabConfig
from projectai_lab.errors import LabClosedError
from projectai_lab.lab import Lab
from projectai_lab.widgets import _panel
from projectai_lab.widgets._look import Html, badge, block, message, table, text
from projectai_lab.widgets._panel import Panel, style
from tests import zoo

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Count(Panel):
    """Counts its looks, as the smallest panel that there can be."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self.seen = 0
        self.tried = 0
        self.fails: Exception | None = None
        self.button = ipywidgets.Button(description="go")
        self.view.children = [style(), self.notice, self.button]
        self.ticker = self.every(0.01, self.look, self.show)

    async def look(self) -> int:
        """Ask the server something, or fail as told."""
        self.tried += 1
        if self.fails:
            raise self.fails
        return (await self._connection.client.count_workflows("")).count  # type: ignore[union-attr]

    def show(self, _: int) -> None:
        """Take note of a look."""
        self.seen += 1

    def facts_html(self) -> Html:
        """Return the number of looks."""
        return block(f"{self.seen} looks")

    def facts_text(self) -> str:
        """Return the number of looks."""
        return f"{self.seen} looks"


def test_a_panel_offers_widget_page_and_text_at_once(lab: Lab) -> None:
    with Count(lab) as panel:
        zoo.until(lambda: panel.seen)
        bundle = panel._repr_mimebundle_()
        assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == panel.view.model_id
        assert " looks</div>" in bundle["text/html"]
        assert bundle["text/html"].startswith("<style>")
        assert bundle["text/plain"].endswith(" looks")


def test_a_panel_looks_again_and_again_until_it_is_closed(lab: Lab) -> None:
    panel = Count(lab)
    zoo.until(lambda: panel.seen > 3)
    panel.close()
    panel.close()
    seen = panel.seen
    lab.execute_workflow("ExampleWorkflow", {"data": "x", "user_id": "u"}, timeout=30)
    assert panel.seen == seen
    assert panel.button.disabled


def test_a_panel_closes_with_its_lab(config: LabConfig) -> None:
    with Lab.connect(config) as lab:
        panel = Count(lab)
        zoo.until(lambda: panel.seen)
    assert panel.closed
    assert panel.button.disabled
    with pytest.raises(LabClosedError, match=r"open a new one with Lab\.open"):
        Count(lab)


def test_a_panel_that_closed_first_is_forgotten_by_the_lab(lab: Lab) -> None:
    before = len(lab._farewells)
    panel = Count(lab)
    assert len(lab._farewells) == before + 1
    panel.close()
    assert len(lab._farewells) == before


def test_a_look_that_fails_is_told_and_the_next_that_works_takes_it_back(lab: Lab) -> None:
    with Count(lab) as panel:
        panel.fails = RPCError(f"away {HOSTILE}", RPCStatusCode.UNAVAILABLE, b"")
        zoo.until(lambda: panel.notice.value)
        assert 'role="alert"' in panel.notice.value
        assert "away &lt;script&gt;" in panel.notice.value
        panel.fails = None
        zoo.until(lambda: not panel.notice.value)


def test_a_trouble_that_could_not_be_shown_is_shown_later(lab: Lab) -> None:
    with Count(lab) as panel:
        with panel.lock:
            panel.fails = ValueError("odd")
            looks = panel.tried
            zoo.until(lambda: panel.tried > looks + 2)
            assert panel.notice.value == ""
        zoo.until(lambda: "ValueError: odd" in panel.notice.value)


def test_a_look_waits_for_nobody_who_holds_the_lock_and_calls_the_lab(lab: Lab) -> None:
    with Count(lab) as panel, panel.lock:
        looks = panel.ticker.looks
        zoo.until(lambda: panel.ticker.looks > looks + 2)
        assert lab.count_workflows("").count >= 0


def test_a_pause_holds_the_looks_back(lab: Lab) -> None:
    with Count(lab) as panel:
        zoo.until(lambda: panel.seen)
        panel.ticker.paused = True

        async def settled() -> int:
            await asyncio.sleep(0.1)
            return panel.ticker.looks

        looks = lab.loop.run(settled)
        assert lab.loop.run(settled) == looks
        panel.ticker.paused = False
        zoo.until(lambda: panel.ticker.looks > looks)


class Shell:
    """Stands for IPython's shell: which cell runs, and who is told before one runs."""

    def __init__(self) -> None:
        self.cell = "a"
        self.events = EventManager(self, {"pre_run_cell": lambda info: None})  # type: ignore[arg-type]

    def get_parent(self) -> dict[str, Any]:
        """Return the request that runs."""
        return {"metadata": {"cellId": self.cell}}


def test_the_next_run_of_a_cell_closes_the_panels_of_the_one_before(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = Shell()
    monkeypatch.setattr(_panel, "get_ipython", lambda: shell)
    first, beside = Count(lab), Count(lab)
    shell.cell = "b"
    elsewhere = Count(lab)
    assert [first.closed, beside.closed] == [False, False]
    shell.cell = "a"
    shell.events.trigger("pre_run_cell", None)
    again = Count(lab)
    closed = [panel.closed for panel in (first, beside, elsewhere, again)]
    assert closed == [True, True, False, False]
    assert first.view.comm is None
    for panel in (again, elsewhere):
        panel.close()


PANELS: dict[str, Callable[[Any], Panel]] = {
    "form": lambda lab: widgets.submit_form(lab, "ExampleWorkflow"),
    "monitor": widgets.monitor,
    "history_browser": widgets.history_browser,
    "policy_playground": widgets.policy_playground,
}


@pytest.mark.parametrize("make", PANELS.values(), ids=PANELS)
def test_a_closed_lab_is_refused_with_the_next_step_and_nothing_is_left(
    config: LabConfig, make: Callable[[Any], Panel]
) -> None:
    with Lab.connect(config, worker=False) as lab:
        pass
    before = set(_instances)
    with pytest.raises(LabClosedError, match=r"^the Lab is closed: open a new one with Lab\.open"):
        make(lab)
    assert set(_instances) == before
    assert not lab._farewells


def test_the_handle_of_a_closed_lab_is_refused_too(config: LabConfig) -> None:
    with Lab.connect(config, worker=False) as lab:
        handle = lab.get_workflow_handle("any")
    with pytest.raises(LabClosedError, match=r"open a new one with Lab\.open"):
        widgets.history_browser(handle)


@pytest.mark.parametrize("name", [name for name in PANELS if name != "history_browser"])
def test_what_is_no_lab_is_refused_with_the_line_to_type(name: str) -> None:
    with pytest.raises(TypeError, match=r"needs an open Lab: .*lab.*; got 'x'$"):
        PANELS[name]("x")


@pytest.mark.parametrize("make", [widgets.monitor, lambda lab: widgets.submit_form(lab, "Any")])
def test_none_is_no_lab_for_what_asks_one(make: Any) -> None:
    with pytest.raises(TypeError, match=r"needs an open Lab: .*lab.*; got None$"):
        make(None)


@pytest.mark.parametrize(
    ("make", "given", "told"),
    [
        (widgets.monitor, {"query": 3}, "query must be a str, got int: 3"),
        (widgets.history_browser, {"query": 3}, "query must be a str, got int: 3"),
        (widgets.monitor, {"every": "x"}, "a duration is a timedelta or a number of seconds"),
        (widgets.monitor, {"every": None}, "a number of seconds; got None"),
        (widgets.policy_playground, {"fail": "x"}, r"simulate_ai_call'\] must be a number.*'x'"),
        (widgets.policy_playground, {"fail": 2}, "out of range: 2"),
        (widgets.policy_playground, {"latency": "x"}, "number of seconds; got 'x'"),
    ],
)
def test_a_setting_of_another_type_is_told_and_leaves_no_widget(
    lab: Lab, make: Any, given: dict[str, Any], told: str
) -> None:
    before = set(_instances)
    with pytest.raises(ValueError, match=told):
        make(lab, **given)
    assert set(_instances) == before


def test_all_text_is_escaped_and_html_is_not() -> None:
    shown = block(
        table([HOSTILE], [[HOSTILE], [badge(HOSTILE)]], caption=HOSTILE),
        message(HOSTILE),
        HOSTILE,
        Html("<b>fine</b>"),
    )
    assert "<script" not in shown
    assert "<img" not in shown
    assert shown.count("&lt;script&gt;") == 7
    assert "<b>fine</b>" in shown
    assert (text(None), text(3), text(Html("<i>"))) == ("", "3", "<i>")


def test_a_table_marks_its_head_and_aligns_numbers() -> None:
    shown = table(["name", "n"], [["a", 1]], caption="two", numbers=["n"])
    assert '<th scope="col">name</th><th scope="col" class="num">n</th>' in shown
    assert '<td>a</td><td class="num">1</td>' in shown
    assert 'aria-label="two"' in shown


def test_a_panel_that_cannot_close_does_not_keep_the_lab_open(
    config: LabConfig, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise AttributeError("half made")

    with Lab.connect(config) as lab:
        lab.before_close(fail)
    assert lab.loop.closed
    assert "did not close cleanly" in caplog.text
