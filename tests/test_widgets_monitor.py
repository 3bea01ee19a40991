"""The monitor on a real server: rows, pages, filters, pause, and what it does when cut off."""

from __future__ import annotations

import re
import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.workflowservice.v1 import (
    ListWorkflowExecutionsRequest,
    PauseWorkflowExecutionRequest,
)

from projectai_lab import devserver, widgets
from projectai_lab.client import LabClient
from projectai_lab.config import LabConfig
from projectai_lab.devserver import DevServer
from projectai_lab.errors import LabClosedError
from projectai_lab.lab import Lab
from projectai_lab.widgets import _executions, _monitor
from projectai_lab.widgets._executions import Ask, Executions, Row, Seen
from projectai_lab.widgets._monitor import Monitor
from projectai_lab.widgets._pending import Pending
from tests import zoo
from tests.test_widgets_panel import HOSTILE

FAST = 0.05


@pytest.fixture
def zoo_lab(config: LabConfig) -> Iterator[Lab]:
    """Return a Lab whose worker runs the zoo and blocks a run on a plain exception."""
    options: dict[str, Any] = {"fail_workflow_on_exception": False, "attempts": False}
    options |= {"workflows": zoo.WORKFLOWS, "activities": zoo.ACTIVITIES}
    with Lab.connect(config, **options) as opened:
        yield opened
        for one in opened.list_workflows(f"{mine(opened)} AND ExecutionStatus = 'Running'"):
            opened.get_workflow_handle(one.id).terminate()


def mine(lab: LabClient) -> str:
    """Return the List Filter of the executions of one test."""
    return f"TaskQueue = '{lab.task_queue}'"


def doomed(lab: Lab, count: int) -> None:
    """Have so many runs fail, and wait until the server lists them."""
    handles = [lab.start_workflow(zoo.Doomed.run, "why") for _ in range(count)]
    lab.results(handles, timeout=60, progress=False)
    failed = f"{mine(lab)} AND ExecutionStatus = 'Failed'"
    zoo.until(lambda: lab.count_workflows(failed).count == count)


def shown(panel: Monitor) -> str:
    """Return what the table shows."""
    return str(panel.rows.value)


def words(html: str) -> str:
    """Return what HTML says, without its tags."""
    return " ".join(re.sub("<[^>]*>", " ", html).split())


def ids(panel: Monitor) -> list[str]:
    """Return the Workflow Ids in the table, from the top."""
    return [row.workflow_id for row in panel._seen.rows] if panel._seen else []


def test_it_shows_what_runs_and_those_first_that_need_somebody(zoo_lab: Lab) -> None:
    lab = zoo_lab
    retrying = lab.start_workflow(zoo.Persistent.run, "fail_always", HOSTILE)
    stuck = lab.start_workflow(zoo.Buggy.run)
    lab.start_workflow(zoo.Sleeper.run, 600.0)
    lab.execute_workflow(zoo.Greeting.run, "greet", "you", timeout=30)
    with widgets.monitor(lab, mine(lab), every=FAST) as panel:
        zoo.until(
            lambda: (
                "RUNNING stuck" in panel.facts_text()
                and "RUNNING retrying" in panel.facts_text()
                and "COMPLETED" in panel.facts_text()
            )
        )
        lines = [line for line in panel.facts_text().splitlines() if " | " in line]
        kinds = [line.split(" | ")[1] for line in lines]
        assert kinds == ["Buggy", "Persistent", "Sleeper", "Greeting"]
        assert "fail_always" in lines[1]
        assert stuck.id in shown(panel)
        assert str(lab.url(retrying.id, retrying.run_id)) in shown(panel)
        assert "&lt;script&gt;" in shown(panel)
        assert "<script" not in shown(panel)
        assert "<img" not in panel.facts_html()


def test_the_page_without_a_front_end_says_the_same_as_the_view(zoo_lab: Lab) -> None:
    doomed(zoo_lab, 2)
    with widgets.monitor(zoo_lab, mine(zoo_lab), every=FAST) as panel, panel.lock:
        page = panel.facts_html()
        for live in (panel.facts.value, panel.rows.value):
            assert words(live) in words(page)
        # On a page that nobody draws anew, Tab comes to the table's links.
        assert 'tabindex="-1"' in panel.rows.value
        assert 'tabindex="-1"' not in page
        assert '<div class="wide" tabindex="0" role="region"' in page
        assert "<strong>2 executions</strong>" in page
        assert "2 executions: FAILED 2" in panel.facts_text()
        assert "throughput: " in panel.facts_text()
        assert "closed runs seen (server&#x27;s clock)" in page
        assert '<svg role="img" aria-label="latency: ' in page


def test_nothing_changes_on_the_wire_where_nothing_changed(zoo_lab: Lab) -> None:
    doomed(zoo_lab, 1)
    with widgets.monitor(zoo_lab, mine(zoo_lab), every=FAST) as panel:
        changes: list[str] = []
        panel.rows.observe(lambda change: changes.append(change["new"]), "value")
        looks = panel._ticker.looks
        zoo.until(lambda: panel._ticker.looks > looks + 5)
        assert changes == []


class Calls:
    """Counts the calls that a look makes of the server's service."""

    def __init__(self, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        for name in ("list", "count", "describe"):
            method = f"{name}_workflow_execution{'' if name == 'describe' else 's'}"
            monkeypatch.setattr(
                client.workflow_service,
                method,
                self._counted(name, getattr(client.workflow_service, method)),
            )

    def _counted(self, name: str, call: Any) -> Any:
        async def counted(request: Any, **options: Any) -> Any:
            if isinstance(request, ListWorkflowExecutionsRequest):
                assert request.page_size <= _executions.PAGE
            self.names.append(name)
            return await call(request, **options)

        return counted


def test_a_look_is_one_list_one_count_and_ten_describes(
    zoo_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(12):
        zoo_lab.start_workflow(zoo.Sleeper.run, 600.0)
    zoo.until(lambda: zoo_lab.count_workflows(mine(zoo_lab)).count == 12)
    executions = Executions(zoo_lab.client)
    with monkeypatch.context() as patch:
        calls = Calls(zoo_lab.client, patch)
        for _ in range(7):
            seen = zoo_lab.loop.run(lambda: executions.look(Ask(mine(zoo_lab))))
            assert len(seen.rows) == 12
            assert sorted(calls.names) == ["count", *["describe"] * 10, "list"]
            calls.names.clear()


def test_a_stuck_run_is_first_on_the_first_page_wherever_it_stands(
    zoo_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = zoo_lab.start_workflow(zoo.Buggy.run)
    problem = f"{mine(zoo_lab)} AND TemporalReportedProblems IS NOT NULL"
    zoo.until(lambda: zoo_lab.count_workflows(problem).count == 1)
    # The server lists open runs first, and of those the newest.
    for _ in range(4):
        zoo_lab.start_workflow(zoo.Sleeper.run, 600.0)
    zoo.until(lambda: zoo_lab.count_workflows(mine(zoo_lab)).count == 5)
    monkeypatch.setattr(_executions, "PAGE", 3)
    with widgets.monitor(zoo_lab, mine(zoo_lab), every=FAST) as panel:
        zoo.until(lambda: panel._seen and panel._seen.rows[0].workflow_id == stuck.id)
        assert panel._seen
        assert len(panel._seen.rows) == 4


def test_pages_go_forth_and_back(zoo_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_executions, "PAGE", 3)
    doomed(zoo_lab, 4)
    with widgets.monitor(zoo_lab, mine(zoo_lab), every=FAST) as panel:
        assert (panel.newer.disabled, panel.older.disabled) == (True, False)
        panel.older.click()
        assert "page 2" in shown(panel)
        assert shown(panel).count("<tr>") == 2
        assert (panel.newer.disabled, panel.older.disabled) == (False, True)
        panel.older.click()
        assert "page 2" in shown(panel)
        panel.newer.click()
        assert "page 1" in shown(panel)
        assert shown(panel).count("<tr>") == 4


def test_a_filter_that_the_server_refuses_is_told_and_the_last_good_table_stays(
    zoo_lab: Lab,
) -> None:
    doomed(zoo_lab, 1)
    with widgets.monitor(zoo_lab, mine(zoo_lab), every=FAST) as panel:
        good = shown(panel)
        panel.query.value = f"nonsense = {HOSTILE}"
        assert 'role="alert"' in panel.query_error.value
        assert "List Filter: " in panel.query_error.value
        assert "<script" not in panel.query_error.value
        assert shown(panel) == good
        assert panel.query.value == f"nonsense = {HOSTILE}"
        panel.query.value = f"{mine(zoo_lab)} AND WorkflowType = 'Sleeper'"
        assert panel.query_error.value == ""
        assert "no Workflow Execution matches" in shown(panel)


def test_a_first_filter_that_is_refused_shows_nothing_else_until_it_is_mended(lab: Lab) -> None:
    with widgets.monitor(lab, "nonsense", every=FAST) as panel:
        assert "List Filter: " in panel.query_error.value
        assert "no Workflow Execution matches" in shown(panel)
        zoo.until(lambda: panel.notice.value)
        panel.query.value = mine(lab)
        assert panel.query_error.value == panel.notice.value == ""


def test_a_status_is_chosen_beside_the_filter(zoo_lab: Lab) -> None:
    doomed(zoo_lab, 1)
    zoo_lab.execute_workflow(zoo.Greeting.run, "greet", "you", timeout=30)
    zoo.until(lambda: zoo_lab.count_workflows(mine(zoo_lab)).count == 2)
    query = f"WorkflowType = 'HadByNobody' OR {mine(zoo_lab)}"
    with widgets.monitor(zoo_lab, query, every=FAST) as panel:
        panel.status.value = "FAILED"
        assert panel._seen
        assert [row.workflow_type for row in panel._seen.rows] == ["Doomed"]
        zoo.until(lambda: "2 executions" in panel.facts.value)
        panel.status.value = ""
        assert len(panel._seen.rows) == 2


def test_a_pause_holds_the_looks_back_and_resume_goes_on(lab: Lab) -> None:
    with widgets.monitor(lab, mine(lab), every=FAST) as panel:
        panel.pause.value = True
        assert panel.pause.description == "Resume"
        assert panel._ticker.paused
        panel.pause.value = False
        looks = panel._ticker.looks
        zoo.until(lambda: panel._ticker.looks > looks)


def test_looks_that_take_the_server_long_are_rarer(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    with widgets.monitor(lab, mine(lab), every=FAST) as panel:
        monkeypatch.setattr(_monitor, "_SHARE", 1e-9)
        zoo.until(lambda: panel._ticker.seconds == _monitor._MOST_REST_S)
    with widgets.monitor(lab, mine(lab), every=3600) as panel:
        zoo.until(lambda: panel._ticker.looks)
        assert panel._ticker.seconds == 3600


@pytest.mark.parametrize("every", [0, -1, float("nan"), float("inf"), timedelta(0)])
def test_an_interval_that_is_none_is_refused(lab: Lab, every: Any) -> None:
    with pytest.raises(ValueError, match="every must be a timedelta or seconds, above 0"):
        widgets.monitor(lab, every=every)


def test_it_closes_with_its_lab_and_says_as_of_when(config: LabConfig) -> None:
    with Lab.connect(config) as lab:
        panel = widgets.monitor(lab, mine(lab), every=FAST)
    assert panel.closed
    assert panel.query.disabled
    assert panel.actions.ask.disabled
    assert " UTC, stopped" in panel.facts_text()
    panel.status.value = "FAILED"
    with pytest.raises(LabClosedError):
        widgets.monitor(lab)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_a_server_that_goes_away_is_told_and_it_goes_on_when_that_is_back(tmp_path: Path) -> None:
    port, file = free_port(), tmp_path / "server.db"
    server = DevServer.start(port=port, db_filename=file)
    try:
        config = LabConfig(address=server.address, task_queue=f"away-{uuid.uuid4().hex}")
        with Lab.connect(config) as lab:
            lab.execute_workflow("ExampleWorkflow", {"data": "x", "user_id": "u"}, timeout=30)
            zoo.until(lambda: lab.count_workflows(mine(lab)).count == 1)
            panel = widgets.monitor(lab, mine(lab), every=FAST)
            good = shown(panel)
            server.close()
            zoo.until(lambda: 'role="alert"' in panel.notice.value)
            assert shown(panel) == good
            panel.query.value = f"{mine(lab)} AND WorkflowType = 'ExampleWorkflow'"
            assert shown(panel) == good
            server = DevServer.start(port=port, db_filename=file)
            zoo.until(lambda: panel._seen and panel._seen.ask.query == panel.query.value)
            zoo.until(lambda: not panel.notice.value)
            assert "ExampleWorkflow" in shown(panel)
    finally:
        server.close()


def test_names_of_others_are_escaped_wherever_they_stand(lab: Lab) -> None:
    row = Row(
        *(f"{HOSTILE}-id", f"{HOSTILE}-run", f"{HOSTILE}-type", "RUNNING"),
        datetime.now(UTC),
        None,
        Pending(f"{HOSTILE}-activity", 3, 0, None, f"{HOSTILE}-failure", "retrying"),
    )
    with widgets.monitor(lab, mine(lab), every=600) as panel:
        with panel.lock:
            panel._show(Seen(panel._pages[-1], row.began, (row,)))
        for page in (panel.facts_html(), panel.rows.value):
            assert "<script" not in page
            assert "<img" not in page
            assert page.count("&lt;script&gt;") >= 4


def test_a_status_that_the_sdk_has_no_word_for_is_shown_and_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(devserver._DYNAMIC_CONFIG, "frontend.WorkflowPauseEnabled", "true")
    with Lab.start_local(workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES) as lab:
        lab.start_workflow(zoo.Sleeper.run, 600.0, id="held")
        pause = PauseWorkflowExecutionRequest(namespace=lab.namespace, workflow_id="held")
        service = lab.client.workflow_service
        lab.loop.run(lambda: service.pause_workflow_execution(pause))
        with widgets.monitor(lab, every=FAST) as panel:
            zoo.until(lambda: "held | Sleeper | PAUSED" in panel.facts_text())
            assert "PAUSED 1" in panel.facts_text()
            assert panel.actions.which.options == ("held",)
            lab.start_workflow(zoo.Sleeper.run, 600.0, id="runs")
            panel.status.value = "RUNNING"
            zoo.until(lambda: ids(panel) == ["runs"])
            panel.status.value = "PAUSED"
            assert ids(panel) == ["held"]


def test_a_server_without_paused_runs_takes_their_filter(zoo_lab: Lab) -> None:
    handle = zoo_lab.start_workflow(zoo.Sleeper.run, 600.0)
    with widgets.monitor(zoo_lab, mine(zoo_lab), every=FAST) as panel:
        zoo.until(lambda: handle.id in shown(panel))
        panel.status.value = "PAUSED"
        assert "no Workflow Execution matches" in shown(panel)
        assert panel.query_error.value == ""
