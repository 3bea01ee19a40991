"""A worker on the Lab's thread: what it runs, how it drains, what it keeps of its logs."""

from __future__ import annotations

import concurrent.futures
import importlib
import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, Interceptor, WorkerTuner

from projectai_lab._connect import new_identity
from projectai_lab.attempts import AttemptLog
from projectai_lab.config import LabConfig
from projectai_lab.errors import WorkerStartError, WorkflowDefinitionError
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.lab import Lab
from projectai_lab.worker import BackgroundWorker
from projectai_lab.worker_spec import WorkerSpec
from tests import zoo

ZOO: dict[str, Any] = {"workflows": zoo.WORKFLOWS, "activities": zoo.ACTIVITIES}


def fresh(address: str) -> LabConfig:
    """Return a configuration with a Task Queue of its own."""
    return LabConfig(address=address, task_queue=f"tests-worker-{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="module")
def lab(address: str) -> Iterator[Lab]:
    """Return a Lab whose worker knows the zoo."""
    with Lab.connect(fresh(address), **ZOO) as opened:
        yield opened


@pytest.fixture
def idle(address: str) -> Iterator[Lab]:
    """Return a Lab without a worker, on a Task Queue of its own."""
    with Lab.connect(fresh(address), worker=False) as opened:
        yield opened


def background(lab: Lab, **options: Any) -> BackgroundWorker:
    """Start a worker with the zoo on the Lab's thread."""
    worker = lab.start_worker(**{**ZOO, **options})
    assert isinstance(worker, BackgroundWorker)
    return worker


def test_async_and_plain_activities_run_and_plain_ones_in_threads(lab: Lab) -> None:
    greet = lab.execute_workflow(zoo.Greeting.run, "greet", "you", timeout=20)
    in_thread = lab.execute_workflow(zoo.Greeting.run, "greet_in_thread", "you", timeout=20)
    assert greet == "hello you"
    assert in_thread == "hello you from projectai-lab-activity"


def test_the_number_of_activities_at_a_time_is_the_given_one(idle: Lab, tmp_path: Path) -> None:
    background(idle, max_concurrent_activities=2)
    most = idle.execute_workflow(zoo.Parallel.run, str(tmp_path), 6, timeout=20)
    assert most == 2


def test_a_tuner_of_the_user_takes_the_place_of_the_limits(idle: Lab) -> None:
    tuner = WorkerTuner.create_fixed(workflow_slots=3, activity_slots=2, local_activity_slots=1)
    assert background(idle, tuner=tuner).status == "running"
    assert idle.execute_workflow(zoo.Greeting.run, "greet", "you", timeout=20) == "hello you"


def test_threads_of_the_user_are_used_and_left_to_the_user(idle: Lab) -> None:
    with concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="mine") as mine:
        worker = background(idle, activity_executor=mine, max_concurrent_activities=2)
        answer = idle.execute_workflow(zoo.Greeting.run, "greet_in_thread", "you", timeout=20)
        assert answer == "hello you from mine"
        worker.close()
        assert mine.submit(lambda: "still usable").result() == "still usable"


class Counting(Interceptor):
    """Counts the activities that pass."""

    def __init__(self) -> None:
        self.passed = 0

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """Count one more chain."""
        self.passed += 1
        return next


def test_an_interceptor_of_the_user_works_beside_the_recorder(idle: Lab) -> None:
    counting = Counting()
    background(idle, interceptors=[counting])
    idle.execute_workflow(zoo.Greeting.run, "greet", "you", timeout=20)
    assert counting.passed == 1
    assert idle.attempts is not None
    assert [record["activity_type"] for record in idle.attempts] == ["greet"]


def test_a_given_identity_is_that_of_worker_and_records(idle: Lab) -> None:
    worker = background(idle, identity="the-one@here")
    assert worker.identity == "the-one@here"
    idle.execute_workflow(zoo.Greeting.run, "greet", "you", timeout=20)
    assert idle.attempts is not None
    assert [record["identity"] for record in idle.attempts] == ["the-one@here"]


def test_identities_differ_and_name_process_and_host() -> None:
    assert new_identity() != new_identity()
    assert re.fullmatch(rf"{os.getpid()}-[0-9a-f]{{6}}@.+", new_identity())


def test_an_unknown_option_is_a_named_error_that_quotes_it(idle: Lab) -> None:
    with pytest.raises(WorkerStartError, match=r"the worker could not be made: .*'colour'"):
        background(idle, colour="red")
    assert idle.worker is None


UNLOADABLE = """
import datetime
from temporalio import workflow

MADE = datetime.datetime.now()

@workflow.defn
class Unloadable:
    @workflow.run
    async def run(self) -> str:
        return str(MADE)
"""


def test_a_workflow_that_the_sandbox_cannot_load_is_named_with_the_cause(
    idle: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"unloadable_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(UNLOADABLE)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WorkflowDefinitionError) as caught:
        idle.start_worker(workflows=[importlib.import_module(name).Unloadable])
    text = str(caught.value)
    assert text.startswith("Failed validating workflow Unloadable: Cannot access datetime.datetime")
    assert "`with workflow.unsafe.imports_passed_through():`" in text


def test_what_is_not_decorated_is_refused_by_name() -> None:
    class Plain:
        """No workflow."""

    with pytest.raises(WorkflowDefinitionError, match="Plain'> is not a workflow: decorate it"):
        WorkerSpec.build([Plain])
    with pytest.raises(WorkflowDefinitionError, match=r"len.* is not an activity: decorate it"):
        WorkerSpec.build(activities=[len])


def test_what_is_registered_later_replaces_what_has_the_same_name() -> None:
    @activity.defn(name="validate_input")
    async def lenient(request: Any) -> str:
        return str(request)

    spec = WorkerSpec.build([zoo.Sleeper], [lenient, zoo.greet])
    assert list(spec.workflows) == ["ExampleWorkflow", "Sleeper"]
    assert spec.activities["validate_input"] is lenient
    assert set(spec.activities) == {
        "validate_input",
        "simulate_ai_call",
        "process_ai_task",
        "greet",
    }


CELL = """
from temporalio import workflow
from projectai_lab import Lab, LabError

@workflow.defn
class InACell:
    @workflow.run
    async def run(self) -> None: ...

try:
    Lab.connect(workflows=[InACell])
except LabError as error:
    print(type(error).__name__, error)
"""


def run_python(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run code in a Python without a `__main__` file, as a kernel is one."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env},
        check=False,
    )


def test_a_workflow_class_defined_in_a_cell_is_refused_with_the_way_out(address: str) -> None:
    done = run_python(CELL, TEMPORAL_HOST=address)
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "WorkflowDefinitionError workflow InACell is defined in a notebook cell, where the "
        "workflow sandbox cannot import it from: run `%load_ext projectai_lab`, and begin the cell "
        "with `%%workflow inacell`\n"
    )


def test_an_exception_in_workflow_code_fails_the_run_at_once(lab: Lab) -> None:
    with pytest.raises(WorkflowFailureError) as caught:
        lab.execute_workflow(zoo.Buggy.run, timeout=30)
    cause = caught.value.cause
    assert isinstance(cause, ApplicationError)
    assert (cause.type, cause.message) == ("ZeroDivisionError", "a slip in workflow code")


def test_a_wrong_argument_fails_the_run_at_once(lab: Lab) -> None:
    with pytest.raises(WorkflowFailureError) as caught:
        lab.execute_workflow("Sleeper", {"not": "a number"}, timeout=30)
    assert "TypeError: Expected value to be int|float" in str(caught.value.cause)


def running(handle: LabWorkflowHandle[Any]) -> bool:
    """Whether an activity of the execution has been started."""
    pending = handle.describe().raw_description.pending_activities
    return any(one.last_started_time.seconds for one in pending)


def build_ids(handle: LabWorkflowHandle[Any]) -> set[str]:
    """Return the build ids that history has of the workers of an execution."""
    completed = [
        event.workflow_task_completed_event_attributes for event in handle.fetch_history().events
    ]
    return {one.worker_version.build_id for one in completed} - {""}


EDITED = """
from temporalio import workflow


@workflow.defn
class Edited:
    @workflow.run
    async def run(self) -> int:
        return {answer}
"""


def test_the_build_id_in_history_follows_the_code(
    idle: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "edited_workflows.py"
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    ids = []
    for answer in (1, 2, 2):
        file.write_text(EDITED.format(answer=answer))
        sys.modules.pop("edited_workflows", None)
        importlib.invalidate_caches()
        module = importlib.import_module("edited_workflows")
        idle.start_worker(workflows=[module.Edited])
        handle = idle.start_workflow("Edited")
        assert handle.result(timeout=20) == answer
        ids.append(build_ids(handle))
    monkeypatch.delitem(sys.modules, "edited_workflows")
    first, second, third = ids
    assert len(first) == len(second) == 1
    assert first != second == third


def test_a_build_id_of_the_user_is_used(idle: Lab) -> None:
    background(idle, build_id="mine-1")
    handle = idle.start_workflow(zoo.Greeting.run, "greet", "you")
    handle.result(timeout=20)
    assert build_ids(handle) == {"mine-1"}


def test_a_build_id_knows_code_that_stands_in_no_file() -> None:
    @activity.defn
    def typed_in_a_cell() -> None: ...

    typed_in_a_cell.__module__ = "__main__"
    assert len(WorkerSpec.build(activities=[typed_in_a_cell]).build_id()) == 32


def close_in_thread(close: Callable[[], object]) -> threading.Thread:
    """Call close elsewhere, because it waits for what we still have to do."""
    thread = threading.Thread(target=close)
    thread.start()
    return thread


def test_closing_lets_a_running_activity_finish(idle: Lab, tmp_path: Path) -> None:
    worker = background(idle)
    go = tmp_path / "go"
    handle = idle.start_workflow(zoo.Persistent.run, "wait_for_file", str(go))
    zoo.until(lambda: running(handle))
    closing = close_in_thread(worker.close)
    closing.join(0.3)
    assert closing.is_alive()
    go.touch()
    closing.join(20)
    assert worker.status == "stopped"
    background(idle)
    assert handle.result(timeout=20) == 1
    assert idle.attempts is not None
    assert [record["outcome"] for record in idle.attempts] == ["COMPLETED"]


def test_what_outlasts_the_grace_is_cancelled_and_runs_again(idle: Lab) -> None:
    worker = background(idle, grace=0.2)
    handle = idle.start_workflow(zoo.Persistent.run, "hold", 1.5)
    zoo.until(lambda: running(handle))
    worker.close()
    assert worker.status == "stopped"
    background(idle)
    assert handle.result(timeout=20) == "held"
    assert idle.attempts is not None
    outcomes = [(record["attempt"], record["outcome"]) for record in idle.attempts]
    assert outcomes == [(1, "CANCELED"), (2, "COMPLETED")]


def test_a_restart_with_changed_code_takes_effect_and_drains_the_old(
    idle: Lab, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    old = background(idle)
    slow = idle.start_workflow(zoo.Persistent.run, "wait_for_file", str(go))
    zoo.until(lambda: running(slow))

    @activity.defn(name="wait_for_file")
    async def changed(path: str) -> str:
        return f"changed code ignores {Path(path).name}"

    restarting = close_in_thread(
        lambda: idle.start_worker(workflows=zoo.WORKFLOWS, activities=[changed])
    )
    restarting.join(0.3)
    assert restarting.is_alive()
    go.touch()
    restarting.join(20)
    assert old.status == "stopped"
    assert slow.result(timeout=20) == 1
    new = idle.execute_workflow(zoo.Persistent.run, "wait_for_file", str(go), timeout=20)
    assert new == "changed code ignores go"


def test_a_workflow_goes_on_under_the_next_worker(idle: Lab) -> None:
    background(idle)
    handle = idle.start_workflow(zoo.Counter.run)
    assert handle.execute_update(zoo.Counter.add_and_tell, 3) == 3
    background(idle)
    assert handle.query(zoo.Counter.total) == 3
    handle.signal(zoo.Counter.stop)
    assert handle.result(timeout=20) == 3


def test_closing_twice_is_harmless_and_the_card_tells_the_state(idle: Lab) -> None:
    worker = background(idle)
    assert worker.status == "running"
    assert "running" in worker._repr_html_()
    worker.close()
    worker.close()
    assert worker.status == "stopped"
    card = worker._repr_html_()
    assert all(text in card for text in ("stopped", worker.identity, "Greeting", "hold"))
    assert repr(worker) == (f"<BackgroundWorker {worker.identity} on {idle.task_queue!r}, stopped>")


def test_logs_are_one_line_each_and_name_activity_attempt_and_workflow(idle: Lab) -> None:
    worker = background(idle)
    handle = idle.start_workflow(zoo.Greeting.run, "log_and_fail", "so be it")
    with pytest.raises(WorkflowFailureError):
        handle.result(timeout=20)
    lines = [line for line in worker.logs().splitlines() if handle.id in line]
    where = f"log_and_fail attempt 1 of {handle.id}"
    assert lines[0].endswith(f"WARNING temporalio.activity: about to fail: so be it {where}")
    assert lines[1].endswith(f"{where}: temporalio.exceptions.ApplicationError: Unlucky: so be it")
    assert worker.logs(1) == worker.logs().splitlines()[-1]


def test_logs_of_workflow_failures_are_readable_lines(idle: Lab) -> None:
    worker = background(idle, fail_workflow_on_exception=False)
    handle = idle.start_workflow(zoo.Buggy.run)
    zoo.until(lambda: handle.describe().raw_description.pending_workflow_task.attempt > 1)
    handle.terminate()
    zoo.until(lambda: "ZeroDivisionError: a slip in workflow code" in worker.logs())
    assert max(len(line) for line in worker.logs().splitlines()) < 400


NOISY = """
import os, signal
from projectai_lab import Lab
from projectai_lab.config import LabConfig
from tests import zoo

with Lab.start_local(workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES) as lab:
    for workflow, arguments in ((zoo.Greeting, ("log_and_fail", "x")), (zoo.Buggy, ())):
        try:
            lab.execute_workflow(workflow.run, *arguments, timeout=20)
        except Exception:
            pass
    # A log line that cannot be formatted does not fail its activity.
    print(lab.execute_workflow(zoo.NoArgument.run, "log_badly", timeout=20))
    print("unreadable log line of temporalio.activity, '%d items'" in lab.worker.logs())
    print("Unlucky: x" in lab.worker.logs())
    lab.worker.close()
    os.kill(lab.server.pid, signal.SIGKILL)
    try:
        lab.count_workflows()
    except Exception as error:
        print(type(error).__name__)
"""


def test_logs_are_kept_and_not_sprayed_into_the_cell() -> None:
    done = run_python(NOISY)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "done\nTrue\nTrue\nServerUnreachableError\n"
    assert done.stderr == ""


def test_a_worker_of_its_own_needs_no_lab(address: str, lab: Lab, tmp_path: Path) -> None:
    log = AttemptLog(tmp_path)
    queue = f"{lab.task_queue}-own"
    spec = WorkerSpec.build(zoo.WORKFLOWS, zoo.ACTIVITIES)
    worker = BackgroundWorker.start(lab._loop, lab.config, spec, task_queue=queue, log=log)
    assert (
        lab.execute_workflow(zoo.Greeting.run, "greet", "you", task_queue=queue, timeout=20)
        == "hello you"
    )
    worker.close()
    assert len(log.records()) == 1
