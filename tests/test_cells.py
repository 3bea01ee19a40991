"""Workflows in cells: a module a cell, replayed before the swap, refused by name where it parts."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowExecutionCount, WorkflowFailureError
from temporalio.common import WorkerDeploymentVersion
from temporalio.worker import WorkerDeploymentConfig

import projectai_lab
from projectai_lab import cells, histories
from projectai_lab._replay import replay
from projectai_lab._troubles import Watch
from projectai_lab.cells import Cell, _builds, _names, _store, _swap
from projectai_lab.config import LabConfig
from projectai_lab.errors import CellError, NoWorkerError, WorkflowTimeoutError
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.lab import Lab
from projectai_lab.models import WorkflowInput
from projectai_lab.worker_process import WorkerProcess
from projectai_lab.workflows import ExampleWorkflow
from tests import zoo

HEAD = """\
    from datetime import timedelta
    from temporalio import activity, workflow
"""
GREET = (
    HEAD
    + """
    @activity.defn
    async def compose(name: str) -> str:
        return f"hello {name}"

    @workflow.defn
    class Greet:
        @workflow.run
        async def run(self, name: str) -> str:
            LINE
            return await workflow.execute_activity(
                compose, name, start_to_close_timeout=timedelta(seconds=10)
            )
"""
)
WAIT = (
    HEAD
    + """
    @workflow.defn
    class Wait:
        def __init__(self) -> None:
            self.go = False

        @workflow.signal
        def release(self) -> None:
            self.go = True

        @workflow.run
        async def run(self) -> str:
            LINE
            await workflow.wait_condition(lambda: self.go)
            return "released"
"""
)
EDITED = textwrap.dedent(WAIT).replace("LINE", "pass").replace("released", "edited")
SLEEP = "await workflow.sleep(timedelta(milliseconds=1))"
PATCHED = f'if workflow.patched("sleep"): {SLEEP}'

Run = Callable[..., Any]
REQUEST = WorkflowInput("hello", "u-1")


def greet(line: str = "pass", source: str = GREET) -> str:
    """Return a cell's text with a line put into its workflow."""
    return textwrap.dedent(source).replace("LINE", line)


def greeted(lab: Lab, id: str | None = None) -> None:
    """Run `Greet` and wait until the server lists it, so that the next edit is replayed with it."""
    handle = lab.start_workflow("Greet", "Ada", id=id)
    handle.result(timeout=30)
    listed(lab, f"WorkflowId = '{handle.id}'")


def waits(lab: Lab) -> LabWorkflowHandle[Any]:
    """Start `Wait` and return when its first Workflow Task is completed."""
    handle = lab.start_workflow("Wait")
    zoo.until(lambda: tasks(handle))
    return handle


def tasks(handle: LabWorkflowHandle[Any]) -> int:
    """Count the Workflow Tasks that are completed."""
    ended = EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    return sum(event.event_type == ended for event in handle.fetch_history().events)


def listed(lab: Lab, condition: str = "") -> None:
    """Wait until the server lists an ended run, of the Lab's own Task Queue unless told."""
    which = condition or f"TaskQueue = '{lab.task_queue}'"
    ended = f"{which} AND ExecutionStatus != 'Running'"
    zoo.until(lambda: lab.count_workflows(ended).count)


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep cells in a folder of the test's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("sys.path", [*sys.path])


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """Return a shell with the extension, as a notebook's kernel has one."""
    made = InteractiveShell()
    made.run_line_magic("load_ext", "projectai_lab")
    yield made
    assert made.history_manager
    made.history_manager.end_session()
    InteractiveShell.clear_instance()


@pytest.fixture
def run(shell: InteractiveShell, lab: Lab) -> Run:
    """Return what runs a cell magic in a notebook with an open Lab."""
    shell.user_ns["lab"] = lab

    def cell(text: str, first: str = "greet", kind: str = "workflow") -> Cell:
        made = shell.run_cell_magic(kind, first, text)
        assert isinstance(made, Cell)
        return made

    return cell


def test_a_workflow_of_a_cell_runs(run: Run, shell: InteractiveShell, lab: Lab) -> None:
    cell = run(greet())
    greeted = lab.execute_workflow(shell.user_ns["Greet"].run, "Ada", timeout=30)
    assert greeted == "hello Ada"
    assert callable(shell.user_ns["compose"])
    assert list(cell.workflows) == ["Greet"]
    assert list(cell.activities) == ["compose"]
    assert "Workflow Type Greet" in repr(cell)
    assert "polls with it" in cell._repr_html_()


def test_the_module_is_named_by_its_content(run: Run, lab: Lab) -> None:
    first = run(greet())
    assert re.fullmatch(r"lab_cell_greet_[0-9a-f]{12}", first.module)
    worker = lab.worker
    again = run(greet())
    assert again.module == first.module
    assert again.unchanged
    assert lab.worker is worker
    assert "ran this already" in repr(again)
    assert run(greet("x = 1")).module != first.module


def test_an_inserted_sleep_is_refused_and_the_event_named(
    run: Run, lab: Lab, new_id: Callable[[str], str]
) -> None:
    run(greet())
    ran = new_id("greet")
    greeted(lab, ran)
    worker = lab.worker
    with pytest.raises(CellError) as refused:
        run(greet(SLEEP))
    told = str(refused.value)
    assert f"does not do what run {ran!r} did" in told
    assert "does not follow is 5, ACTIVITY_TASK_SCHEDULED" in told
    assert 'workflow.patched("…")' in told
    assert "--force" in told
    assert (refused.value.event_id, refused.value.event_type) == (5, "ACTIVITY_TASK_SCHEDULED")
    assert lab.worker is worker
    assert lab.execute_workflow("Greet", "Bob", timeout=30) == "hello Bob"


def test_a_check_says_what_would_come_of_it_and_changes_nothing(
    run: Run, shell: InteractiveShell, lab: Lab
) -> None:
    run(greet())
    greeted(lab)
    worker, code = lab.worker, shell.user_ns["Greet"]
    checked = run(greet(SLEEP), "greet --check")
    assert "does not follow is 5, ACTIVITY_TASK_SCHEDULED" in checked.refused
    assert "not swapped: this was a check" in repr(checked)
    assert "refused" in checked._repr_html_()
    fine = run(greet(PATCHED), "greet --check")
    assert (fine.refused, fine.replayed) == ("", 1)
    assert (lab.worker, shell.user_ns["Greet"]) == (worker, code)


def test_an_edit_of_comments_passes_and_so_does_a_patch(run: Run, lab: Lab) -> None:
    run(greet())
    greeted(lab)
    assert run(greet("pass  # of comments only")).replayed >= 1
    assert run(greet(PATCHED)).replayed >= 1
    assert lab.execute_workflow("Greet", "Bob", timeout=30) == "hello Bob"


def test_force_swaps_and_names_what_parts_and_the_next_edit_is_free_of_it(
    run: Run, lab: Lab, new_id: Callable[[str], str]
) -> None:
    run(greet())
    ran = new_id("greet")
    greeted(lab, ran)
    forced = run(greet(SLEEP), "greet --force")
    assert ran in forced.diverged
    assert f"diverged {ran}" in repr(forced)
    after = run(greet(f"{SLEEP}  # and a comment"))
    assert after.diverged == ()


def test_an_unrelated_workflow_goes_on_through_the_swap(run: Run, lab: Lab) -> None:
    run(greet(source=WAIT), "wait")
    waiting = waits(lab)
    run(greet())
    swapped = run(greet("pass  # a comment"))
    assert (swapped.open_runs, swapped.pinned) == ((), ())
    waiting.signal("release")
    assert waiting.result(timeout=30) == "released"
    assert lab.execute_workflow("Greet", "Ada", timeout=30) == "hello Ada"


def test_an_open_run_keeps_its_code_and_new_runs_take_the_new(run: Run, lab: Lab) -> None:
    run(greet(source=WAIT), "wait")
    old = waits(lab)
    swapped = run(EDITED, "wait")
    assert (swapped.pinned, swapped.open_runs, swapped.not_pinned) == ((old.id,), (), "")
    assert f"open, with the code of before {old.id}" in repr(swapped)
    new = lab.start_workflow("Wait")
    for one in (old, new):
        one.signal("release")
    assert (old.result(timeout=30), new.result(timeout=30)) == ("released", "edited")
    assert "edited" not in cells.source(old).data
    assert "edited" in cells.source(new).data


def test_a_run_that_was_started_just_before_the_edit_has_the_code_of_before(
    run: Run, lab: Lab
) -> None:
    run(greet(source=WAIT), "wait")
    old = lab.start_workflow("Wait")
    later = lab.start_workflow("Wait", start_delay=timedelta(hours=1))
    swapped = run(EDITED, "wait")
    assert (swapped.pinned, swapped.open_runs) == ((old.id,), (later.id,))
    old.signal("release")
    assert old.result(timeout=30) == "released"
    later.terminate()


def test_a_second_edit_leaves_each_run_its_own_code(run: Run, lab: Lab) -> None:
    texts = [greet(source=WAIT).replace('"released"', f'"{n}"') for n in range(3)]
    runs = []
    for text in texts:
        swapped = run(text, "wait")
        runs.append(waits(lab))
    assert {*swapped.pinned} == {one.id for one in runs[:2]}
    for one in runs:
        one.signal("release")
    assert [one.result(timeout=30) for one in runs] == ["0", "1", "2"]


def test_a_forced_edit_that_parts_with_an_open_run_leaves_it_its_code(run: Run, lab: Lab) -> None:
    run(greet(SLEEP, WAIT), "wait")
    old = waits(lab)
    zoo.until(lambda: tasks(old) == 2)
    with pytest.raises(CellError, match="new runs take the new way, and none of the old ones fa"):
        run(greet(source=WAIT), "wait --histories 0")
    assert not _builds.workers(lab)
    forced = run(greet(source=WAIT), "wait --force")
    assert (forced.diverged, forced.pinned) == ((old.id,), (old.id,))
    old.signal("release")
    assert old.result(timeout=30) == "released"


def test_open_runs_go_on_with_the_new_code_where_it_is_asked_for(run: Run, lab: Lab) -> None:
    run(greet(source=WAIT), "wait")
    first = waits(lab)
    run(greet("pass  # pins the first", WAIT), "wait")
    second = waits(lab)
    # The first completes a Workflow Task on the worker of its build.
    first.signal("nothing")
    zoo.until(lambda: "pins" not in cells.source(first).data and tasks(first) == 2)
    swapped = run(EDITED, "wait --upgrade")
    assert ({*swapped.open_runs}, swapped.pinned) == ({first.id, second.id}, ())
    for one in (first, second):
        one.signal("release")
        assert one.result(timeout=30) == "edited"


def test_the_same_cell_run_again_to_upgrade_moves_the_open_runs(run: Run, lab: Lab) -> None:
    run(greet(source=WAIT), "wait")
    old = waits(lab)
    assert run(EDITED, "wait").pinned == (old.id,)
    assert run(EDITED, "wait").unchanged
    assert run(EDITED, "wait --upgrade").open_runs == (old.id,)
    old.signal("release")
    assert old.result(timeout=30) == "edited"


def test_an_edit_taken_back_takes_the_open_run_along(run: Run, lab: Lab) -> None:
    run(greet(source=WAIT), "wait")
    old = waits(lab)
    assert run(EDITED, "wait").pinned == (old.id,)
    assert run(greet(source=WAIT), "wait").open_runs == (old.id,)
    old.signal("release")
    assert old.result(timeout=30) == "released"


def test_the_worker_of_an_old_build_goes_with_its_last_run(
    run: Run, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(greet(source=WAIT), "wait")
    old = waits(lab)
    run(EDITED, "wait")
    ((worker, _),) = _builds.workers(lab).values()
    assert worker.status == "running"
    old.signal("release")
    old.result(timeout=30)
    build = f"TemporalWorkerDeployment = '{_builds.deployment(lab)}'"
    zoo.until(lambda: not lab.count_workflows(f"{build} AND ExecutionStatus = 'Running'").count)
    run(greet())
    assert worker.status == "running", "the server may not list a fresh worker's runs yet"
    monkeypatch.setattr(_builds, "_LISTED_WITHIN_S", 0.0)
    run(greet("pass  # a comment"))
    assert worker.status == "stopped"
    assert not _builds.workers(lab)


@pytest.mark.parametrize("edits_before", [False, True])
def test_the_next_kernel_brings_the_old_code_back(
    shell: InteractiveShell, config: LabConfig, edits_before: bool
) -> None:
    with Lab.connect(config) as lab:
        shell.user_ns["lab"] = lab
        shell.run_cell_magic("workflow", "wait", greet(source=WAIT))
        old = waits(lab)
        if edits_before:
            shell.run_cell_magic("workflow", "wait", EDITED)
    with Lab.connect(config) as lab:
        shell.user_ns["lab"] = lab
        zoo.until(lambda: lab.count_workflows(f"WorkflowId = '{old.id}'").count)
        swapped = shell.run_cell_magic("workflow", "wait", EDITED)
        assert swapped.pinned == (old.id,)
        again = lab.get_workflow_handle(old.id)
        again.signal("release")
        assert again.result(timeout=30) == "released"


def test_a_wait_for_a_pinned_run_that_nobody_carries_says_so(
    shell: InteractiveShell, config: LabConfig
) -> None:
    with Lab.connect(config) as lab:
        shell.user_ns["lab"] = lab
        shell.run_cell_magic("workflow", "wait", greet(source=WAIT))
        old, ended = waits(lab), waits(lab)
        shell.run_cell_magic("workflow", "wait", EDITED)
        ended.signal("release")
        ended.result(timeout=30)
    with Lab.connect(config) as lab:
        again = lab.get_workflow_handle(old.id)
        again.signal("release")
        told = r"no worker of build \w+, which the run is pinned to, polls.*: run its cell again"
        with pytest.raises(WorkflowTimeoutError, match=told):
            again.result(timeout=5)
        for handle in (again, lab.get_workflow_handle(ended.id)):
            with pytest.raises(NoWorkerError, match=told):
                handle.query("__stack_trace")
        shell.user_ns["lab"] = lab
        shell.run_cell_magic("workflow", "wait", EDITED)
        assert again.result(timeout=30) == "released"
        watch = Watch(lab.client, again.handle)
        lab.loop.run(watch.look)
        # Its worker is known to live from its first heartbeat on.
        zoo.until(lambda: lab.loop.run(lambda: watch.who_polls(lab.task_queue)) is None)


def test_a_lab_that_closes_takes_the_workers_of_old_builds_along(
    shell: InteractiveShell, config: LabConfig
) -> None:
    with Lab.connect(config) as lab:
        shell.user_ns["lab"] = lab
        shell.run_cell_magic("workflow", "wait", greet(source=WAIT))
        old = waits(lab)
        shell.run_cell_magic("workflow", "wait", EDITED)
        ((worker, _),) = _builds.workers(lab).values()
        old.terminate()
    assert worker.status == "stopped"


def test_where_a_run_cannot_be_pinned_it_is_named_and_goes_on_with_the_new_code(
    run: Run, lab: Lab
) -> None:
    run(greet(source=WAIT), "wait")
    old = waits(lab)
    version = WorkerDeploymentVersion("own", "1")
    lab.start_worker(deployment_config=WorkerDeploymentConfig(version, False))
    swapped = run(EDITED, "wait")
    assert (swapped.pinned, swapped.open_runs) == ((), (old.id,))
    assert "not pinned the Lab's worker has a deployment_config of its own" in repr(swapped)
    old.signal("release")
    assert old.result(timeout=30) == "edited"


def test_a_run_of_a_build_that_nobody_knows_is_named(run: Run, lab: Lab) -> None:
    lab.start_worker(build_id="nobody's")
    run(greet(source=WAIT), "wait")
    old = waits(lab)
    swapped = run(greet("pass  # a comment", WAIT), "wait")
    assert (swapped.pinned, swapped.open_runs) == ((), (old.id,))
    assert "build nobody's that carried them is of no cell" in swapped.not_pinned
    old.terminate()


def test_a_run_of_a_worker_that_was_started_by_hand_keeps_its_code(run: Run, lab: Lab) -> None:
    run(greet(source=WAIT), "wait")
    lab.start_worker(activities=[zoo.greet])
    old = waits(lab)
    swapped = run(EDITED, "wait")
    assert (swapped.pinned, swapped.not_pinned) == ((old.id,), "")
    old.signal("release")
    assert old.result(timeout=30) == "released"
    assert "edited" not in cells.source(old).data


def test_a_run_that_another_client_starts_during_the_replay_keeps_its_code(
    run: Run, lab: Lab, config: LabConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(greet(source=WAIT), "wait")
    stored, started = _swap._stored, []

    def meanwhile(*args: Any) -> Any:
        found = stored(*args)
        with Lab.connect(config, worker=False) as other:
            started.append(waits(other).id)
            zoo.until(lambda: other.count_workflows(f"WorkflowId = '{started[0]}'").count)
        return found

    monkeypatch.setattr(_swap, "_stored", meanwhile)
    assert [*run(EDITED, "wait").pinned] == started
    late = lab.get_workflow_handle(started[0])
    late.signal("release")
    assert late.result(timeout=30) == "released"


def test_code_of_before_that_starts_no_more_is_named_and_stands_in_no_ones_way(
    shell: InteractiveShell, config: LabConfig, tmp_path: Path
) -> None:
    (tmp_path / "there").write_text("1")
    text = f"""
with workflow.unsafe.imports_passed_through():
    import os
    os.stat({str(tmp_path / "there")!r})
"""
    with Lab.connect(config) as lab:
        shell.user_ns["lab"] = lab
        first = shell.run_cell_magic("workflow", "wait", greet(source=WAIT) + text)
        old = waits(lab)
    del sys.modules[first.module]
    (tmp_path / "there").unlink()
    with Lab.connect(config) as lab:
        shell.user_ns["lab"] = lab
        zoo.until(lambda: lab.count_workflows(f"WorkflowId = '{old.id}'").count)
        swapped = shell.run_cell_magic("workflow", "wait", EDITED)
        assert (swapped.pinned, swapped.open_runs) == ((), (old.id,))
        assert "code of before does not start any more: the cell cannot be" in swapped.not_pinned
        assert "raised FileNotFoundError" in swapped.not_pinned
        lab.get_workflow_handle(old.id).terminate()


def test_the_refusal_tells_of_open_runs_that_cannot_be_pinned(run: Run, lab: Lab) -> None:
    run(greet(SLEEP, WAIT), "wait")
    old = waits(lab)
    zoo.until(lambda: tasks(old) == 2)
    own = WorkerDeploymentConfig(WorkerDeploymentVersion("own", "1"), False)
    lab.start_worker(deployment_config=own)
    with pytest.raises(CellError, match="after which open runs of the old way fail"):
        run(greet(source=WAIT), "wait")
    checked = run(greet(source=WAIT), "wait --check")
    assert (checked.pinned, checked.open_runs) == ((), (old.id,))
    assert "has a deployment_config of its own" in checked.not_pinned
    old.terminate()


def test_a_cell_that_fails_before_the_swap_leaves_no_worker(run: Run, lab: Lab) -> None:
    run(greet(source=WAIT), "wait")
    old = waits(lab)
    with pytest.raises(CellError, match="there is no 'nowhere'"):
        run(EDITED, "wait --histories nowhere")
    assert not _builds.workers(lab)
    old.terminate()


def test_a_cell_that_is_run_again_brings_a_dead_worker_of_an_old_build_back(
    run: Run, lab: Lab
) -> None:
    run(greet(source=WAIT), "wait")
    old = waits(lab)
    run(EDITED, "wait")
    ((worker, _),) = _builds.workers(lab).values()
    worker.close()
    again = run(EDITED, "wait")
    assert (again.unchanged, again.pinned) == (True, (old.id,))
    ((another, _),) = _builds.workers(lab).values()
    assert (worker.status, another.status) == ("stopped", "running")
    old.signal("release")
    assert old.result(timeout=30) == "released"


def test_a_worker_that_is_asked_for_again_is_not_idle(
    run: Run, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(greet(source=WAIT), "wait")
    old = waits(lab)
    run(EDITED, "wait")
    ((build, (worker, asked)),) = _builds.workers(lab).items()
    _builds.workers(lab)[build] = worker, asked - _builds._LISTED_WITHIN_S
    # As the server answers that has not listed the override yet.
    monkeypatch.setattr(lab, "count_workflows", lambda _: WorkflowExecutionCount(0, []))
    run(f"{EDITED}x = 2\n", "wait")
    assert worker.status == "running"
    old.signal("release")
    assert old.result(timeout=30) == "released"


def test_an_interrupt_while_the_old_worker_drains_comes_after_the_swap(
    run: Run, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(greet(source=WAIT), "wait")

    def interrupted() -> None:
        raise KeyboardInterrupt

    old = lab.worker
    assert old
    with monkeypatch.context() as patch:
        patch.setattr(old, "close", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(EDITED, "wait")
    old.close()
    waiting = waits(lab)
    assert "edited" in cells.source(waiting).data
    lab.start_worker()
    waiting.signal("release")
    assert waiting.result(timeout=30) == "edited"


def test_the_run_that_a_pinned_run_continues_as_keeps_its_code(run: Run, lab: Lab) -> None:
    text = greet(source=WAIT).replace("run(self)", "run(self, again: bool = False)")
    text = text.replace(
        "return", "if not again:\n            workflow.continue_as_new(True)\n        return"
    )
    run(text, "wait")
    old = waits(lab)
    run(text.replace("released", "edited"), "wait")
    old.signal("release")
    chain = lab.get_workflow_handle(old.id)
    zoo.until(lambda: tasks(chain) and chain.fetch_history().run_id != old.run_id)
    chain.signal("release")
    assert chain.result(timeout=30) == "released"
    assert "edited" not in cells.source(chain).data


def test_a_run_that_failed_by_its_own_code_is_no_reason_to_refuse(run: Run, lab: Lab) -> None:
    run(greet("raise ValueError('no ' + name)"))
    with pytest.raises(WorkflowFailureError):
        lab.execute_workflow("Greet", "Ada", timeout=30)
    listed(lab)
    assert run(greet("raise ValueError('no ' + name)  # comment")).replayed == 1


def test_an_open_run_that_would_break_is_named_in_the_refusal(run: Run, lab: Lab) -> None:
    run(greet("await workflow.sleep(timedelta(hours=1))", WAIT), "wait")
    waiting = waits(lab)
    with pytest.raises(CellError, match=rf"what run '{waiting.id}' did.*is 5, TIMER_STARTED"):
        run(greet(source=WAIT), "wait --histories 0")
    with pytest.raises(CellError, match="after which open runs of the old way fail"):
        run(greet(source=WAIT), "wait --upgrade")
    waiting.terminate()


def test_saved_histories_are_replayed_too_and_none_can_be_asked_for(
    run: Run, lab: Lab, tmp_path: Path
) -> None:
    run(greet())
    handle = lab.start_workflow("Greet", "Ada")
    handle.result(timeout=30)
    histories.save(handle.fetch_history(), tmp_path / "ada.json")
    with pytest.raises(CellError, match="does not follow is 5, ACTIVITY_TASK_SCHEDULED"):
        run(greet(SLEEP), f"greet --histories {tmp_path / 'ada.json'}")
    with pytest.raises(CellError, match=r"there is no 'nowhere\.json'"):
        run(greet(SLEEP), "greet --histories nowhere.json")
    assert run(greet(SLEEP), "greet --histories none").replayed == 0


def test_activities_have_cells_of_their_own(run: Run, lab: Lab) -> None:
    text = (
        textwrap.dedent(HEAD) + "@activity.defn\ndef {}(name: str) -> str:\n    return '{} ' + name"
    )
    made = run(text.format("shout", "HEY"), "loud", "activity")
    assert list(made.activities) == ["shout"]
    assert made.replayed == 0
    calls = """return await workflow.execute_activity(
                'shout', name, start_to_close_timeout=timedelta(seconds=10))"""
    run(greet(calls))
    assert lab.execute_workflow("Greet", "Ada", timeout=30) == "HEY Ada"
    run(text.format("shout", "OI"), "loud", "activity")
    assert lab.execute_workflow("Greet", "Ada", timeout=30) == "OI Ada"


def test_the_workers_options_outlive_the_swap(run: Run, lab: Lab) -> None:
    lab.start_worker(ai=zoo.shout, max_concurrent_activities=3)
    run(greet())
    assert lab.worker_options()["max_concurrent_activities"] == 3
    answer = lab.execute_workflow(ExampleWorkflow.run, REQUEST, timeout=30)
    assert answer.success
    assert str(answer.result).count(REQUEST.data.upper())


def test_a_worker_process_can_run_a_cell(run: Run, lab: Lab) -> None:
    lab.start_worker(process=True)
    run(greet())
    assert isinstance(lab.worker, WorkerProcess)
    assert lab.execute_workflow("Greet", "Ada", timeout=60) == "hello Ada"


def test_a_failure_in_a_cells_workflow_shows_the_cells_own_line(run: Run, lab: Lab) -> None:
    run(greet("raise ValueError('no ' + name)"))
    handle = lab.start_workflow("Greet", "Ada")
    with pytest.raises(WorkflowFailureError):
        handle.result(timeout=30)
    ended = handle.fetch_history().events[-1].workflow_execution_failed_event_attributes
    # The magic's line is the first, as the notebook counts.
    assert re.search(r'lab_cell_greet_\w+\.py", line 13, in run', ended.failure.stack_trace)


def test_the_text_of_a_run_is_kept_after_an_edit(run: Run, lab: Lab) -> None:
    run(greet())
    old = lab.start_workflow("Greet", "Ada")
    old.result(timeout=30)
    run(greet("x = 'an edit'"))
    new = lab.start_workflow("Greet", "Ada")
    new.result(timeout=30)
    assert "an edit" not in cells.source(old).data
    assert "an edit" in cells.source(new.fetch_history()).data
    assert cells.source(old).data.startswith("# %%workflow greet\nfrom datetime import timedelta")
    assert "Greet</span>" in cells.source(old)._repr_html_()


def test_the_text_is_that_of_the_workflow_task_asked_for(run: Run, lab: Lab) -> None:
    run(greet(source=WAIT), "wait")
    waiting = waits(lab)
    run(greet("x = 'an edit'", WAIT), "wait --upgrade")
    waiting.signal("release")
    waiting.result(timeout=30)
    assert "an edit" in cells.source(waiting).data
    assert "an edit" not in cells.source(waiting, event_id=4).data


def test_code_that_is_no_cells_is_said_to_be_of_another_origin(run: Run, lab: Lab) -> None:
    handle = lab.start_workflow(ExampleWorkflow.run, REQUEST)
    handle.result(timeout=30)
    with pytest.raises(CellError, match="is of no cell that was run on this machine"):
        cells.source(handle)
    run(greet())
    delayed = lab.start_workflow("Greet", "Ada", start_delay=timedelta(seconds=60))
    with pytest.raises(CellError, match=r"no Workflow Task of .* is completed"):
        cells.source(delayed)
    delayed.terminate()


@pytest.mark.parametrize(
    ("text", "first", "message"),
    [
        ("x = 1", "greet", "the cell has no workflow"),
        (greet() + greet().replace("Greet", "Two"), "greet", "this one has Greet, Two: give each"),
        (greet(), "9x", "takes a name such as `greet`, got '9x'"),
        (greet(), "class", "takes a name such as `greet`, got 'class'"),
        (greet().replace("Greet", "ExampleWorkflow"), "greet", "'ExampleWorkflow' is in use"),
        (greet("x = LIMIT"), "greet", r"LIMIT = … +# the notebook's own, a int"),
        (greet("x = pd.NA"), "greet", r"uses pd; add to the cell:\n    import pandas as pd"),
        (greet("x = unknown"), "greet", r"unknown = … +# nobody defines it"),
        (greet().replace("timedelta\n", "date\n"), "greet", "    from datetime import timedelta$"),
        ("from __main__ import x\n" + greet(), "greet", "imports from __main__, which"),
        ("import nowhere_to_be_found\n" + greet(), "greet", r"line 2, .* raised ModuleNotFound"),
        ("\n1 / 0\n" + greet(), "greet", "line 3, `1 / 0` raised ZeroDivisionError"),
        ("import random\nX = random.random()\n" + greet(), "greet", "random"),
        (greet(), "greet --lab other", "--lab other: the notebook has no Lab of that name"),
    ],
)  # fmt: skip
def test_a_cell_that_cannot_be_a_workflow_is_told_why(
    run: Run, shell: InteractiveShell, lab: Lab, text: str, first: str, message: str
) -> None:
    import pandas

    shell.user_ns.update(LIMIT=3, pd=pandas)
    worker = lab.worker
    with pytest.raises(projectai_lab.LabError, match=re.compile(message, re.DOTALL | re.MULTILINE)):
        run(text, first)
    assert lab.worker is worker
    assert lab.execute_workflow(ExampleWorkflow.run, REQUEST, timeout=30).success


def test_an_activity_cell_without_one_or_with_a_workflow_is_told(run: Run) -> None:
    with pytest.raises(CellError, match="the cell has no activity"):
        run("x = 1", "loud", "activity")
    with pytest.raises(CellError, match="activities only, and this one has the workflow Greet"):
        run(greet(), "loud", "activity")


def test_a_syntax_error_has_the_cells_line(run: Run) -> None:
    with pytest.raises(SyntaxError) as wrong:
        run("x = 1\ny = = 2\n")
    # The magic stands in line 1.
    assert wrong.value.lineno == 3
    assert wrong.value.filename == "<%%workflow greet>"


def test_a_type_of_another_cell_is_in_use(run: Run) -> None:
    run(greet())
    with pytest.raises(CellError, match="in use: the worker has it from cell greet"):
        run(greet("x = 2"), "other")


def test_without_a_name_the_usage_is_told(run: Run) -> None:
    with pytest.raises(UsageError, match="the following arguments are required: name"):
        run(greet(), "")


def test_a_lab_must_be_open_and_be_the_only_one_or_named(
    shell: InteractiveShell, config: LabConfig
) -> None:
    def cell(first: str) -> Any:
        return shell.run_cell_magic("workflow", first, greet())

    with pytest.raises(CellError, match="no Lab is open in this notebook"):
        cell("greet")
    with Lab.connect(config) as one, Lab.connect(config, worker=False) as two:
        shell.user_ns.update(one=one, alias=one, two=two)
        with pytest.raises(CellError, match=r"several Labs are open \(alias, two\)"):
            cell("greet")
        with pytest.raises(CellError, match="this Lab has no worker to swap"):
            cell("greet --lab two")
        assert cell("greet --lab one").workflows
    with pytest.raises(CellError, match="no Lab is open in this notebook"):
        cell("greet")
    with pytest.raises(CellError, match="the Lab is closed"):
        cell("greet --lab one")


def test_a_folder_that_cannot_be_written_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with pytest.raises(CellError, match=r"cannot be kept in .*; name another place with XDG"):
        run(greet())


def test_a_refusal_is_shown_as_a_sentence() -> None:
    assert CellError("refused: why")._render_traceback_() == ["CellError: refused: why"]


def test_what_was_replayed_well_is_not_replayed_again(
    run: Run, lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(greet())
    greeted(lab)
    run(greet("x = 3"))
    counts: list[int] = []

    def counted(runs: list[Any], code: list[type], **options: Any) -> Any:
        counts.append(len(runs))
        return replay(runs, code, **options)

    monkeypatch.setattr(_swap, "replay", counted)
    run(greet("x = 4"), "greet --check")
    run(greet("x = 4"))
    assert counts == [1, 0]


@pytest.mark.parametrize(
    "fine",
    [
        "import os.path\nos.path.join('a', 'b')",
        "class A:\n    where = __module__, __qualname__",
        "print(__package__, __loader__)",
        "def f(v):\n    match v:\n        case {'a': a, **rest}:\n            return a, rest",
        "a = [(y := i) for i in range(3)]\ndef f():\n    return y",
        "def f():\n    return g()\ndef g():\n    return [i for i in range(3)]",
        "class A:\n    x = 1\n    def f(self):\n        return __name__, self.x, A",
        "def f():\n    global late\n    late = 1\ndef g():\n    return late",
        "try:\n    import x\nexcept ImportError:\n    x = None\nx",
        "from os import *\npath, sep",
        "lam = lambda a, *b, c=1, **d: (a, b, c, d)",
        "import asyncio as a\nasync def f():\n    async with a.timeout(1) as t:\n        return t",
    ],
)
def test_a_cell_that_has_all_its_names_is_fine(fine: str) -> None:
    _names.check_names(fine, {})


def test_the_store_knows_no_build_of_elsewhere() -> None:
    assert _store.modules_of("nobody") is None
    assert _store.text_of("lab_cell_nobody_0") is None


TAKES = """
from __future__ import annotations
from dataclasses import dataclass
from enum import StrEnum
from temporalio import workflow

@dataclass
class Order:
    kind: Kind
    items: list[Item]

@dataclass
class Item:
    count: int

class Kind(StrEnum):
    SMALL = "small"

def _hidden() -> None: ...

@workflow.defn
class Take:
    @workflow.run
    async def run(self, order: Order) -> int:
        match order:
            case Order(kind=Kind.SMALL, items=[Item(count=count)]):
                return count
        raise TypeError(order)
"""


def test_the_notebook_gets_the_classes_that_the_workflow_takes(
    run: Run, shell: InteractiveShell, lab: Lab
) -> None:
    run(TAKES, "take")
    names = shell.user_ns
    order = names["Order"](names["Kind"].SMALL, [names["Item"](3)])
    assert lab.execute_workflow(names["Take"].run, order, timeout=30) == 3
    assert "_hidden" not in names


def test_a_type_with_a_quote_in_its_name_is_looked_for(run: Run, lab: Lab) -> None:
    text = greet().replace("@workflow.defn", '@workflow.defn(name="it\'s")')
    run(text)
    lab.execute_workflow("it's", "Ada", timeout=30)
    listed(lab)
    assert run(f"{text}x = 2\n").replayed == 1


def test_a_name_that_is_too_long_for_a_file_is_refused(run: Run) -> None:
    with pytest.raises(CellError, match="takes a name such as"):
        run(greet(), "x" * 101)


@pytest.mark.parametrize("force", ["", " --force"])
def test_the_mend_of_what_failed_is_no_divergence(run: Run, lab: Lab, force: str) -> None:
    run(greet("raise ValueError(name)"))
    failed = lab.start_workflow("Greet", "Ada")
    with pytest.raises(WorkflowFailureError):
        failed.result(timeout=30)
    listed(lab)
    mended = run(greet(), f"greet{force}")
    assert (mended.mended, mended.diverged, mended.replayed) == ((failed.id,), (), 0)
    assert f"failed, and mended by it {failed.id}" in repr(mended)
    assert lab.execute_workflow("Greet", "Ada", timeout=30) == "hello Ada"


def test_what_changes_before_the_failure_is_refused_all_the_same(run: Run, lab: Lab) -> None:
    run(greet(f"{SLEEP}\n        raise ValueError(name)"))
    with pytest.raises(WorkflowFailureError):
        lab.execute_workflow("Greet", "Ada", timeout=30)
    listed(lab)
    with pytest.raises(CellError, match="does not follow is 5, TIMER_STARTED"):
        run(greet())


@pytest.mark.parametrize("options", [{}, {"process": True}, {"max_concurrent_activities": 2}])
def test_a_worker_started_by_hand_keeps_the_cells_workflow(
    run: Run, lab: Lab, options: dict[str, Any]
) -> None:
    run(greet())
    lab.start_worker(activities=[zoo.greet], **options)
    assert run(greet()).unchanged
    assert lab.execute_workflow("Greet", "Ada", timeout=60) == "hello Ada"
    edited = run(greet("name = name.upper()"))
    assert lab.worker
    assert "greet" in lab.worker.spec.activities
    assert lab.worker.spec.workflows["Greet"].__module__ == edited.module
    assert lab.execute_workflow("Greet", "Ada", timeout=60) == "hello ADA"


METHOD = """
from temporalio import activity

class Greeter:
    def __init__(self, word: str) -> None:
        self.word = word

    @activity.defn
    async def compose(self, name: str) -> str:
        return f"{self.word} {name}"
"""


def test_activities_that_are_methods_need_their_object(
    run: Run, shell: InteractiveShell, lab: Lab
) -> None:
    with pytest.raises(CellError, match=r"compose of Greeter are methods.*: greeter = Greeter\(…"):
        run(METHOD, "greeter", "activity")
    made = run(f"{METHOD}\ngreeter = Greeter('hey')\n", "greeter", "activity")
    assert list(made.activities) == ["compose"]
    assert shell.user_ns["greeter"].word == "hey"
    calls = """return await workflow.execute_activity(
                'compose', name, start_to_close_timeout=timedelta(seconds=10))"""
    text = greet(calls).replace("@activity.defn\n", "")
    run(text, "other")
    assert lab.execute_workflow("Greet", "Ada", timeout=30) == "hey Ada"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# -*- coding: latin-1 -*-\n" + greet(), "a cell is kept as UTF-8: take the `coding`"),
        ("x = '\ud800'\n" + greet(), "the cell holds half a character"),
        ("import sys\nsys.exit(3)\n" + greet(), r"line 3, `sys\.exit\(3\)` raised SystemExit: 3"),
    ],
)
def test_what_no_module_can_hold_is_told(run: Run, text: str, message: str) -> None:
    with pytest.raises(CellError, match=message):
        run(text)
