"""The history explorer: timeline, events by kind, an item's payloads; saved or from a server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from projectai_lab import histories, widgets
from projectai_lab.errors import HistoryFileError
from projectai_lab.lab import Lab
from projectai_lab.models import FaultPlan, WorkflowInput
from projectai_lab.widgets._event_table import KINDS
from projectai_lab.widgets._lanes import PAGE_ITEMS
from projectai_lab.workflows import ExampleWorkflow
from tests import made

DATA = Path(__file__).parent / "data"
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


def test_a_saved_file_is_browsed_without_a_server() -> None:
    panel = widgets.history_browser(DATA / "mixed.json")
    told = panel.facts_text()
    assert "mixed: 46 events" in told
    assert "activity fail_until, attempt 3, FAILED" in told
    assert "timer 1, FIRED" in told
    assert "Events (all): 46" in panel.facts_html()


def test_a_click_on_a_bar_shows_its_events_and_payloads() -> None:
    panel = widgets.history_browser(DATA / "mixed.json")
    lane = next(one for one in panel.lanes.children if "echo" in one.children[0].value)
    lane.children[2].click()
    assert "Payloads of activity echo, attempt 1" in panel.details.value
    assert "ACTIVITY_TASK_COMPLETED" in panel.details.value
    assert panel.details.value in panel.facts_html()


def test_what_is_redacted_or_not_allowed_stays_so() -> None:
    panel = widgets.history_browser(DATA / "mixed.json", allow=[])
    for lane in panel.lanes.children:
        lane.children[2].click()
        assert "<code>" not in panel.details.value
    hidden = widgets.history_browser(DATA / "mixed.json", redact=lambda _: "hidden")
    hidden.lanes.children[1].children[2].click()
    assert "<code>&quot;hidden&quot;</code>" in hidden.details.value


def test_the_filter_shows_one_kind_and_every_event_has_one() -> None:
    panel = widgets.history_browser(DATA / "everything.json")
    counts = []
    for kind in [kind for kind in KINDS if kind != "all"]:
        panel.kind.value = kind
        caption = panel.table.value.partition("<caption>")[2].partition("</caption>")[0]
        counts.append(int(caption.rpartition(" ")[2].replace(",", "")))
    assert sum(counts) == len(histories.load(DATA / "everything.json").events)


def test_long_histories_come_in_pages() -> None:
    panel = widgets.history_browser(made.history("long", *["call"] * 200))
    assert "Events (all): 1–50 of 602" in panel.table.value
    panel.event_page.value = panel.event_page.max
    assert "601–602 of 602" in panel.table.value
    assert sum(len(lane.children) - 2 for lane in panel.lanes.children) <= PAGE_ITEMS
    panel.lane_page.value = 2
    assert "workflow execution" not in panel.facts_text()


def test_hostile_text_is_escaped_everywhere() -> None:
    step = made.Step(HOSTILE, status="FAILED", failure={"message": HOSTILE})
    history = made.history(HOSTILE, step, made.Signal(HOSTILE), workflow_type=HOSTILE)
    panel = widgets.history_browser([history, history])
    for lane in panel.lanes.children:
        lane.children[2].click()
        page = panel.facts_html() + "".join(one.value for one in lane.children[:2])
        assert "<script>a" not in page
        assert "<img" not in page
    assert "&lt;script&gt;" in panel.details.value


def test_an_open_run_says_where_its_bars_end() -> None:
    panel = widgets.history_browser(
        made.history("open", "call", made.Step("slow", status=None), status=None)
    )
    assert "open: bars run to its last event so far" in panel.head.value
    assert "activity slow, PENDING" in panel.facts_text()


def test_a_bad_source_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no history with events"):
        widgets.history_browser([])
    with pytest.raises(TypeError, match=r"got int; history_browser takes"):
        widgets.history_browser(7)  # type: ignore[arg-type]
    with pytest.raises(HistoryFileError, match=r"histories\.save"):
        widgets.history_browser(tmp_path / "missing.json")
    (tmp_path / "none.json").write_text("no JSON")
    with pytest.raises(HistoryFileError, match="cannot be used"):
        widgets.history_browser(tmp_path)


def test_a_lab_offers_its_executions_and_its_recorder_all_attempts(
    lab: Lab, new_id: Callable[[str], str]
) -> None:
    name = new_id("browsed")
    panel = widgets.history_browser(lab, query=f"WorkflowId = '{name}'")
    assert "No Workflow Execution matches" in panel.notice.value
    faults = FaultPlan(fail_first={"simulate_ai_call": 2})
    lab.start_workflow(ExampleWorkflow.run, WorkflowInput("x", "u", faults=faults), id=name).result(
        timeout=30
    )

    def found() -> bool:
        panel.again.click()
        return bool(panel.runs.options)

    from tests import zoo

    zoo.until(found)
    assert not panel.notice.value
    for attempt in (1, 2, 3):
        assert f"activity simulate_ai_call, attempt {attempt}" in panel.facts_text()
    panel.close()
    assert panel.again.disabled
