"""The history explorer: timeline, events by kind, an item's payloads; saved or from a server."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from ipywidgets.widgets.widget import _instances
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab import attempts, histories, widgets
from projectai_lab.config import LabConfig
from projectai_lab.errors import HistoryFileError
from projectai_lab.lab import Lab
from projectai_lab.models import FaultPlan, WorkflowInput
from projectai_lab.widgets._event_table import KINDS, PAGE_EVENTS
from projectai_lab.widgets._history_browser import HistoryBrowser
from projectai_lab.widgets._lanes import PAGE_ITEMS, PAGE_LANES, Item, Lane, pages
from projectai_lab.workflows import ExampleWorkflow
from tests import made, zoo

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
    lane = next(one for one in panel.run.lanes.children if "echo" in one.children[0].value)
    lane.children[2].click()
    assert "Payloads of activity echo, attempt 1" in panel.run.details.value
    assert "ACTIVITY_TASK_COMPLETED" in panel.run.details.value
    assert panel.run.details.value in panel.facts_html()


def test_what_is_redacted_or_not_allowed_stays_so() -> None:
    panel = widgets.history_browser(DATA / "mixed.json", allow=[])
    for lane in panel.run.lanes.children:
        lane.children[2].click()
        assert "<code>" not in panel.run.details.value
    hidden = widgets.history_browser(DATA / "mixed.json", redact=lambda _: "hidden")
    hidden.run.lanes.children[1].children[2].click()
    assert "<code>&quot;hidden&quot;</code>" in hidden.run.details.value


def test_the_filter_shows_one_kind_and_every_event_has_one() -> None:
    panel = widgets.history_browser(DATA / "everything.json")
    counts = []
    for kind in [kind for kind in KINDS if kind != "all"]:
        panel.run.kind.value = kind
        caption = panel.run.table.value.partition("<caption>")[2].partition("</caption>")[0]
        counts.append(int(caption.rpartition(" ")[2].replace(",", "")))
    assert sum(counts) == len(histories.load(DATA / "everything.json").events)


def test_long_histories_come_in_pages() -> None:
    panel = widgets.history_browser(made.history("long", *["call"] * 200))
    assert "Events (all): 1–50 of 602" in panel.run.table.value
    panel.run.event_page.value = panel.run.event_page.max
    assert "601–602 of 602" in panel.run.table.value
    assert sum(len(lane.children) - 2 for lane in panel.run.lanes.children) <= PAGE_ITEMS
    panel.run.lane_page.value = 2
    assert "workflow execution" not in panel.facts_text()


def test_hostile_text_is_escaped_everywhere() -> None:
    step = made.Step(HOSTILE, status="FAILED", failure={"message": HOSTILE})
    history = made.history(HOSTILE, step, made.Signal(HOSTILE), workflow_type=HOSTILE)
    panel = widgets.history_browser([history, history])
    for lane in panel.run.lanes.children:
        lane.children[2].click()
        page = panel.facts_html() + "".join(one.value for one in lane.children[:2])
        assert "<script>a" not in page
        assert "<img" not in page
    assert "&lt;script&gt;" in panel.run.details.value


def test_an_open_run_says_where_its_bars_end() -> None:
    panel = widgets.history_browser(
        made.history("open", "call", made.Step("slow", status=None), status=None)
    )
    assert "open: bars run to its last event so far" in panel.run.head.value
    assert "activity slow, PENDING" in panel.facts_text()


def test_a_bad_source_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no history with events"):
        widgets.history_browser([])
    with pytest.raises(TypeError, match=r"got int; history_browser takes"):
        widgets.history_browser(7)  # type: ignore[arg-type]
    for empty in ("", "  "):
        with pytest.raises(ValueError, match=r"^got ' *', which is no path; .* saved ones; .*save"):
            widgets.history_browser(empty)
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

    zoo.until(found)
    assert not panel.notice.value
    for attempt in (1, 2, 3):
        assert f"activity simulate_ai_call, attempt {attempt}" in panel.facts_text()
    panel.close()
    assert panel.again.disabled


def gone(lab: Lab, name: str, run_id: str) -> None:
    """Delete a run at the server and wait until nothing of it is left."""
    execution = WorkflowExecution(workflow_id=name, run_id=run_id)
    request = DeleteWorkflowExecutionRequest(namespace=lab.namespace, workflow_execution=execution)
    lab.within(lambda: lab.client.workflow_service.delete_workflow_execution(request))
    handle = lab.get_workflow_handle(name, run_id=run_id)

    def is_gone() -> bool:
        try:
            handle.describe()
        except RPCError as error:
            return error.status == RPCStatusCode.NOT_FOUND
        return False

    zoo.until(is_gone)


def listed(panel: HistoryBrowser, many: int) -> None:
    """Press Refresh until the list holds so many."""

    def found() -> bool:
        panel.again.click()
        return len(panel.runs.options) == many

    zoo.until(found)


def run_of(lab: Lab, name: str) -> str:
    """Run the example to its end and return its Run Id."""
    handle = lab.start_workflow(ExampleWorkflow.run, WorkflowInput("x", "u"), id=name)
    handle.result(timeout=30)
    return str(handle.run_id)


def test_refresh_keeps_the_chosen_run_and_one_that_is_deleted_leaves_the_list_usable(
    lab: Lab, new_id: Callable[[str], str]
) -> None:
    name = new_id(HOSTILE)
    other = new_id("other")
    idle = f"{lab.task_queue}-idle"
    # The server deletes an open run at once, a closed one when its own queues come to it.
    open_run = lab.start_workflow("Any", id=name, task_queue=idle)
    queues = f"TaskQueue = '{lab.task_queue}' OR TaskQueue = '{idle}'"
    panel = widgets.history_browser(lab, query=queues)
    listed(panel, 1)
    run_of(lab, other)
    listed(panel, 2)
    assert panel.runs.label.split(" · ")[1] == name
    assert f"{name}: " in panel.facts_text()
    panel.runs.value = 1 - panel.runs.value
    assert f"{other}: " in panel.facts_text()
    gone(lab, name, str(open_run.run_id))
    panel.runs.value = 1 - panel.runs.value
    assert "is not at the server: it was deleted" in panel.notice.value
    assert "<script>a" not in panel.facts_html()
    assert "<strong>" not in panel.facts_html(), "facts of another run under this one's name"
    assert len(panel.runs.options) == 2
    panel.runs.value = 1 - panel.runs.value
    assert not panel.notice.value
    assert f"{other}: " in panel.facts_text()
    listed(panel, 1)


def test_a_chosen_run_that_is_no_longer_found_stays_until_the_query_is_changed(
    lab: Lab, new_id: Callable[[str], str]
) -> None:
    first, second = new_id("first"), new_id("second")
    run_of(lab, first)
    panel = widgets.history_browser(lab, query=f"TaskQueue = '{lab.task_queue}'", limit=1)
    listed(panel, 1)
    run_of(lab, second)
    listed(panel, 2)
    assert panel.runs.label == f"no longer listed · {first}"
    assert f"{first}: " in panel.facts_text()
    panel.query.value += f" AND WorkflowId = '{second}'"
    assert [label.split(" · ")[1] for label, _ in panel.runs.options] == [second]
    assert f"{second}: " in panel.facts_text()
    panel.query.value = f"WorkflowId = '{HOSTILE}"
    assert "press Refresh" in panel.notice.value
    assert "<img" not in panel.facts_html()
    assert len(panel.runs.options) == 1


def test_a_handle_is_browsed_and_closes_with_its_lab(
    config: LabConfig, new_id: Callable[[str], str]
) -> None:
    with Lab.connect(config) as lab:
        name = new_id("handled")
        faults = FaultPlan(fail_first={"simulate_ai_call": 1})
        handle = lab.start_workflow(
            ExampleWorkflow.run, WorkflowInput("x", "u", faults=faults), id=name
        )
        handle.result(timeout=30)
        panel = widgets.history_browser(handle)
        assert f"{name}: " in panel.facts_text()
        assert "activity simulate_ai_call, attempt 1, FAILED" in panel.facts_text()
        assert panel.query.layout.display == "none"
        nobody = widgets.history_browser(lab.get_workflow_handle("never-there"))
        assert "&#x27;never-there&#x27; is not at the server" in nobody.notice.value
    assert panel.closed
    assert panel.again.disabled


def test_refresh_keeps_to_the_run_of_a_handle_and_lists_a_later_one(
    lab: Lab, new_id: Callable[[str], str]
) -> None:
    name = new_id("again")
    panel = widgets.history_browser(lab.get_workflow_handle(name))
    assert f"{name!r} is not at the server".replace("'", "&#x27;") in panel.notice.value
    started = lab.start_workflow(ExampleWorkflow.run, WorkflowInput("x", "u"), id=name)
    started.result(timeout=30)
    panel.again.click()
    first = str(started.run_id)
    assert not panel.notice.value
    assert [label for label, _ in panel.runs.options] == [f"{name} · run {first}"]
    second = run_of(lab, name)
    assert second != first
    panel.again.click()
    assert first in panel.run.head.value
    labels = [f"{name} · run {second}, the latest", f"{name} · run {first}"]
    assert [label for label, _ in panel.runs.options] == labels
    assert panel.runs.label == labels[1]
    panel.runs.value = 0
    assert second in panel.run.head.value
    # The handle of a start knows its run.
    panel = widgets.history_browser(started)
    panel.again.click()
    assert first in panel.run.head.value
    assert len(panel.runs.options) == 1


def test_bad_files_are_named_and_the_good_ones_shown(tmp_path: Path) -> None:
    bad = f"{HOSTILE.replace('/', '')}.json"
    (tmp_path / bad).write_text("no JSON")
    shutil.copy(DATA / "mixed.json", tmp_path)
    shutil.copy(DATA / "clean.json", tmp_path)
    with zipfile.ZipFile(tmp_path.parent / f"{tmp_path.name}.zip", "w") as whole:
        for file in tmp_path.iterdir():
            whole.write(file, file.name)
    for source in (tmp_path, Path(str(whole.filename))):
        panel = widgets.history_browser(source)
        assert len(panel.runs.options) == 2
        assert "1 file cannot be used; the others are shown" in panel.facts_html()
        assert "<script>a" not in panel.facts_html()
        assert "<img" not in panel.facts_html()
        assert f"cannot be used: {source / bad} " in panel.facts_text()
    panel = widgets.history_browser(tmp_path)
    panel.runs.value = 1
    chosen = panel.runs.label
    (tmp_path / bad).unlink()
    shutil.copy(DATA / "timeouts.json", tmp_path / "a.json")
    panel.again.click()
    assert not panel.bad.value
    assert (panel.runs.label, len(panel.runs.options)) == (chosen, 3)
    shutil.rmtree(tmp_path)
    panel.again.click()
    assert "press Refresh" in panel.notice.value
    assert len(panel.runs.options) == 3


def test_many_bad_files_are_counted(tmp_path: Path) -> None:
    shutil.copy(DATA / "mixed.json", tmp_path)
    for n in range(25):
        (tmp_path / f"bad-{n:02}.json").write_text("no JSON")
    panel = widgets.history_browser(tmp_path)
    assert "25 files cannot be used" in panel.bad.value
    assert "and 5 more" in panel.bad.value
    assert "bad-20" not in panel.bad.value


def test_a_recorder_is_asked_for_where_none_was_given() -> None:
    history = made.history("retried", made.Step("call", attempts=3))
    without = widgets.history_browser(history)
    assert "2 attempts without times" in without.run.note.value
    assert "pass recorder=lab.attempts" in without.run.note.value
    given = widgets.history_browser(history, recorder=attempts.read(DATA / "attempts.jsonl"))
    assert "2 attempts without times" in given.run.note.value
    assert "pass recorder=" not in given.run.note.value
    assert "the recorder does not know them" in given.run.note.value


def test_pages_that_are_left_leave_no_models_behind() -> None:
    panel = widgets.history_browser(made.history("long", *["call"] * 60))
    counts = []
    for _ in range(3):
        for page in (2, 1):
            panel.run.lane_page.value = page
        counts.append(len(_instances))
    assert len(set(counts)) == 1


def test_fifty_thousand_events_stay_in_pages() -> None:
    history = made.history("huge", *["call"] * 16_666)
    panel = widgets.history_browser(history)
    assert f"Events (all): 1–{PAGE_EVENTS} of 50,000" in panel.run.table.value
    assert panel.run.event_page.max == 50_000 // PAGE_EVENTS
    assert panel.run.lane_page.max == -(-16_667 // PAGE_LANES)
    for page in (1, panel.run.lane_page.max // 2, panel.run.lane_page.max):
        panel.run.lane_page.value = page
        panel.run.event_page.value = page
        hits = sum(len(lane.children) - 2 for lane in panel.run.lanes.children)
        assert 0 < hits <= PAGE_ITEMS
        assert len(panel.run.lanes.children) <= PAGE_LANES
        assert panel.run.table.value.count("<tr>") == PAGE_EVENTS + 1
        assert len(panel.facts_text().splitlines()) <= PAGE_ITEMS + 2
    panel.run.event_page.value = panel.run.event_page.max
    assert "49,951–50,000 of 50,000" in panel.run.table.value
    panel.run.kind.value = "workflow"
    assert panel.run.event_page.value == 1
    assert "Events (workflow): 2" in panel.run.table.value


def test_a_lane_longer_than_a_page_goes_on_on_the_next() -> None:
    signals = [made.Signal(HOSTILE)] * (2 * PAGE_ITEMS + 10)
    panel = widgets.history_browser(made.history("told", *signals))
    seen = []
    for page in range(1, panel.run.lane_page.max + 1):
        panel.run.lane_page.value = page
        counts = [len(lane.children) - 2 for lane in panel.run.lanes.children]
        assert sum(counts) <= PAGE_ITEMS
        seen.append(sum(counts))
        drawn = "".join(lane.children[1].value for lane in panel.run.lanes.children)
        assert drawn.count("<circle") + drawn.count("<rect") == sum(counts)
        assert "<script>a" not in panel.facts_html()
    assert sum(seen) == 2 * PAGE_ITEMS + 11
    panel.run.lanes.children[-1].children[-1].click()
    assert f'<td class="num">{2 * PAGE_ITEMS + 11}</td>' in panel.run.details.value


def test_each_backoff_of_a_long_lane_is_drawn_on_one_page() -> None:
    items = [Item("a", "FAILED", float(n), n + 0.5, 5) for n in range(300)]
    gaps = [(n + 0.5, n + 1.0) for n in range(300)]
    parts = [lane for page in pages([Lane("a", items, gaps)]) for lane in page]
    assert [len(lane.items) for lane in parts] == [120, 120, 60]
    assert sorted(gap for lane in parts for gap in lane.gaps) == gaps
