"""A Lab opens in one line, closes what it opened, and stays usable whatever happens in between."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

from projectai_lab import Lab, LabConfig, WorkflowInput
from projectai_lab.client import LabClient
from projectai_lab.devserver import DevServer
from projectai_lab.errors import (
    BlockingCallError,
    ConfigError,
    LabClosedError,
    ServerUnreachableError,
    WorkerStartError,
    WorkflowDefinitionError,
)
from projectai_lab.worker import BackgroundWorker
from projectai_lab.workflows import ExampleWorkflow
from tests import zoo

REQUEST = WorkflowInput("hello", "u-1")


def threads() -> list[str]:
    """Return the names of our threads that run."""
    names = [thread.name for thread in threading.enumerate()]
    return sorted(name for name in names if name.startswith("projectai-lab"))


def servers() -> list[int]:
    """Return the process ids of the servers that this process has started."""
    children = psutil.Process().children(recursive=True)
    return sorted(child.pid for child in children if child.name() == "temporal")


@pytest.fixture
def nothing_more() -> Iterator[None]:
    """Fail where a test leaves a thread or a server behind."""
    before = threads(), servers()
    yield
    zoo.until(lambda: (threads(), servers()) == before)


@pytest.mark.usefixtures("nothing_more")
def test_one_line_gives_a_server_a_worker_and_a_record_of_attempts() -> None:
    with Lab.open() as lab:
        assert lab.execute_workflow(ExampleWorkflow.run, REQUEST, timeout=20).success
        assert (lab.config.address_source, lab.clock, lab.namespace) == (
            "embedded",
            "fast",
            "default",
        )
        assert lab.task_queue == "project-ai-tasks"
        assert lab.server is not None
        assert lab.ui_url == lab.server.ui_url
        assert lab.worker is not None
        assert lab.attempts is not None
        assert [record["activity_type"] for record in lab.attempts] == [
            "validate_input",
            "simulate_ai_call",
            "process_ai_task",
        ]
        folder = lab.attempts.folder
    assert not folder.exists()
    # What was recorded outlives the Lab.
    assert len(lab.attempts.records()) == 3


@pytest.mark.usefixtures("nothing_more")
def test_where_the_environment_names_a_server_it_is_used_and_left_running(
    address: str, server: DevServer | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_HOST", address)
    monkeypatch.setenv("TEMPORAL_TASK_QUEUE", f"from-outside-{uuid.uuid4().hex}")
    with Lab.open(clock="default", db_filename="ignored.db") as lab:
        assert (lab.address, lab.server, lab.clock) == (address, None, None)
        assert lab.task_queue.startswith("from-outside-")
        assert lab.execute_workflow(ExampleWorkflow.run, REQUEST, timeout=20).success
    assert server is None or server.alive
    assert not Path("ignored.db").exists()


def test_arguments_win_over_the_environment(
    address: str, config: LabConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_HOST", "nowhere.invalid:1")
    with Lab.open(address=address, task_queue=config.task_queue, worker=False) as lab:
        assert lab.address == address
        assert lab.worker is None


@pytest.mark.usefixtures("nothing_more")
def test_closing_twice_is_harmless_and_use_after_close_is_named(config: LabConfig) -> None:
    lab = Lab.connect(config)
    handle = lab.start_workflow(ExampleWorkflow.run, REQUEST)
    handle.result(timeout=20)
    lab.close()
    lab.close()
    for use in (
        lab.start_worker,
        lambda: lab.start_worker(process=True),
        lambda: lab.start_workflow(ExampleWorkflow.run, REQUEST),
        lambda: lab.execute_workflow(ExampleWorkflow.run, REQUEST),
        lambda: lab.start_workflow("Anything"),
        lab.list_workflows,
        handle.result,
    ):
        with pytest.raises(LabClosedError, match=r"closed.*[Ll]ab\.open\(\)"):
            use()
    assert lab.workers == {}
    assert repr(lab).endswith(", closed>")


def test_closing_on_the_labs_own_loop_is_refused_and_closes_nothing(config: LabConfig) -> None:
    with Lab.connect(config) as lab:

        async def inside() -> None:
            lab.close()

        with pytest.raises(BlockingCallError, match="would wait for itself"):
            lab._loop.run(inside)
        assert lab.execute_workflow(ExampleWorkflow.run, REQUEST, timeout=20).success


def test_opening_again_tells_of_the_lab_that_is_open_and_close_all_ends_both(
    config: LabConfig, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"address": config.address, "task_queue": config.task_queue}
    first = Lab.open(**options, worker=False)
    assert zoo.told(caplog) == []
    second = Lab.open(**options, worker=False)
    (line,) = zoo.told(caplog)
    assert f"another Lab is open in this process, at {config.address}" in line
    assert "Lab.close_all()" in line
    Lab.close_all()
    assert repr(first).endswith(", closed>")
    assert repr(second).endswith(", closed>")


def test_a_queue_that_another_worker_polls_is_told(
    config: LabConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with Lab.connect(config) as first:
        assert isinstance(first.worker, BackgroundWorker)
        identity = first.worker.identity

        def told() -> list[str]:
            # The Lab before this one may be told of too, while its last heartbeat is young.
            with Lab.connect(config):
                return [line for line in zoo.told(caplog) if identity in line]

        # Heard of by its heartbeat, which comes within a second.
        (line,) = zoo.until(told)
    assert line.startswith(f"Task Queue {config.task_queue!r} has another worker already")
    assert "TEMPORAL_TASK_QUEUE" in line


def test_a_queue_of_ones_own_is_not_spoken_of(
    config: LabConfig, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        with Lab.connect(config) as lab:
            assert lab.execute_workflow(ExampleWorkflow.run, REQUEST, timeout=20).success
    assert zoo.told(caplog) == []


HOST: Any = "host:7233"
FIVE: Any = 5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Lab.connect(HOST), r"expected a LabConfig, got 'host:7233': Lab\.open\(address="),
        (lambda: Lab.start_local(HOST), "expected a LabConfig, got 'host:7233'"),
        (lambda: LabClient.connect(HOST), "expected a LabConfig, got 'host:7233'"),
        (lambda: Lab.open(namespace=FIVE), "namespace must be text, got int: 5"),
        (lambda: Lab.open(address=FIVE), "address must be text, got int: 5"),
        (lambda: Lab.open(task_queue=FIVE), "task_queue must be text, got int: 5"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_starts(
    wrong: Callable[[], object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        wrong()


def test_the_card_tells_address_worker_and_state_and_never_asks_the_server(lab: Lab) -> None:
    card = lab._repr_html_()
    for fact in (lab.address, lab.task_queue, "default", "BackgroundWorker", "open"):
        assert fact in card
    lab.close()
    assert "closed" in lab._repr_html_()


def test_the_card_escapes_what_the_user_named(address: str) -> None:
    config = LabConfig(address=address, task_queue="<script>alert(1)</script>")
    with Lab.connect(config) as lab:
        assert "<script" not in lab._repr_html_()
        assert lab.worker is not None
        assert "<script" not in lab.worker._repr_html_()


@pytest.mark.usefixtures("nothing_more")
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"colour": "red"}, WorkerStartError, "colour"),
        ({"workflows": [int]}, WorkflowDefinitionError, "is not a workflow"),
        ({"attempts": "/dev/null/none"}, OSError, "/dev/null"),
    ],
)
def test_a_failed_start_undoes_itself(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Lab.start_local(**options)


@pytest.mark.usefixtures("nothing_more")
def test_a_failed_connect_undoes_itself() -> None:
    with pytest.raises(ServerUnreachableError, match=r"nowhere\.invalid:7233"):
        Lab.connect(LabConfig(address="nowhere.invalid:7233"))


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("ExampleWorkflw", "did you mean 'ExampleWorkflow'?"),
        ("Sleepr", "did you mean 'Sleeper'?"),
        ("Zzz", "it knows ExampleWorkflow, Sleeper."),
    ],
)
def test_an_unknown_workflow_type_is_refused_with_a_near_match(
    lab: Lab, given: str, hint: str
) -> None:
    lab.start_worker(workflows=[zoo.Sleeper])
    with pytest.raises(WorkflowDefinitionError) as caught:
        lab.start_workflow(given, 1.0)
    assert str(caught.value) == (
        f"the worker on Task Queue {lab.task_queue!r} has no Workflow Type {given!r}; {hint} "
        "Register it: lab.start_worker(workflows=[…])"
    )


def test_a_type_of_another_queue_is_not_ours_to_refuse(lab: Lab) -> None:
    handle = lab.start_workflow("FromAnotherTeam", task_queue=f"{lab.task_queue}-theirs")
    handle.terminate()


def test_starting_a_worker_again_replaces_it_and_other_queues_keep_theirs(lab: Lab) -> None:
    first, other = lab.worker, lab.start_worker(task_queue=f"{lab.task_queue}-2")
    second = lab.start_worker()
    assert isinstance(first, BackgroundWorker)
    assert (first.status, second.status, other.status) == ("stopped", "running", "running")
    assert lab.worker is second
    assert set(lab.workers) == {lab.task_queue, f"{lab.task_queue}-2"}


def test_a_real_ai_callable_takes_the_place_of_the_simulation(lab: Lab) -> None:
    lab.start_worker(ai=str.upper)
    output = lab.execute_workflow(ExampleWorkflow.run, REQUEST, timeout=20)
    assert output.result is not None
    assert output.result["answer"] == "HELLO"


def test_a_worker_process_refuses_what_it_cannot_pass_on(lab: Lab) -> None:
    with pytest.raises(TypeError, match="max_concurrent_activities"):
        lab.start_worker(process=True, max_concurrent_activities=1)


def test_without_the_recorder_nothing_is_recorded(config: LabConfig) -> None:
    with Lab.connect(config, attempts=False) as lab:
        assert lab.execute_workflow(ExampleWorkflow.run, REQUEST, timeout=20).success
        assert lab.attempts is None


def test_attempts_go_to_a_given_folder_and_stay_there(config: LabConfig, tmp_path: Path) -> None:
    with Lab.connect(config, attempts=tmp_path / "log") as lab:
        assert lab.execute_workflow(ExampleWorkflow.run, REQUEST, timeout=20).success
    assert len(list((tmp_path / "log").glob("*.jsonl"))) == 1


@pytest.mark.usefixtures("nothing_more")
def test_two_labs_in_one_process_do_not_disturb_each_other() -> None:
    with Lab.start_local() as one, Lab.start_local(clock="virtual") as two:
        assert one.address != two.address
        same = "the-same-id"
        first = one.start_workflow(ExampleWorkflow.run, REQUEST, id=same)
        second = two.start_workflow(ExampleWorkflow.run, REQUEST, id=same)
        assert first.run_id != second.run_id
        assert first.result(timeout=20).success
        one.close()
        assert second.result(timeout=20).success
        assert two.execute_workflow(ExampleWorkflow.run, REQUEST, timeout=20).success
        assert [len(lab.attempts.records()) for lab in (one, two) if lab.attempts] == [3, 6]
        with pytest.raises(LabClosedError):
            first.describe()


@pytest.mark.usefixtures("nothing_more")
def test_with_a_database_file_the_next_lab_takes_up_what_the_last_one_left(
    tmp_path: Path,
) -> None:
    database = tmp_path / "lab.db"
    with Lab.start_local(db_filename=database, worker=False) as lab:
        lab.start_workflow(ExampleWorkflow.run, REQUEST, id="kept")
    with Lab.start_local(db_filename=database) as lab:
        assert lab.get_workflow_handle("kept").result(timeout=20)["success"] is True


@pytest.mark.usefixtures("nothing_more")
def test_on_the_virtual_clock_an_hour_passes_in_no_time() -> None:
    with Lab.start_local(clock="virtual", workflows=[zoo.Sleeper]) as lab:
        assert lab.execute_workflow(zoo.Sleeper.run, 3600.0, timeout=20) == "awake"


@pytest.fixture
def kernel() -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """Return a real Jupyter kernel."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(Path(__file__).parents[1]))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)
    manager.context.destroy()


def run_cell(
    client: BlockingKernelClient, code: str, on_text: Callable[[str], None] = lambda text: None
) -> str:
    """Run a cell and return all that it wrote, with an error's name and text at the end."""
    request = client.execute(code)
    written = ""
    while True:
        message = client.get_iopub_msg(timeout=30)
        if message["parent_header"].get("msg_id") != request:
            continue
        content = message["content"]
        if message["msg_type"] == "stream":
            written += content["text"]
            on_text(written)
        elif message["msg_type"] == "error":
            written += f"{content['ename']}: {content['evalue']}"
        elif message["msg_type"] == "status" and content["execution_state"] == "idle":
            return str(written)


CELL = """
from temporalio import workflow

@workflow.defn
class InACell:
    @workflow.run
    async def run(self) -> str:
        return "from the cell"

lab.start_worker(workflows=[InACell])
"""


def test_in_a_real_kernel_cells_run_and_an_interrupt_leaves_the_lab_usable(
    kernel: tuple[KernelManager, BlockingKernelClient],
) -> None:
    manager, client = kernel
    setup = "from projectai_lab import AIController, Lab, WorkflowInput\n"
    assert run_cell(client, setup + "lab = Lab.start_local(worker=False)") == ""

    told = run_cell(client, CELL)
    assert "WorkflowDefinitionError: workflow InACell is defined in a notebook cell" in told
    assert "begin the cell with `%%workflow inacell`" in told

    def interrupt(text: str) -> None:
        if "no worker polls" in text:
            manager.interrupt_kernel()

    began = time.monotonic()
    waiting = 'handle = lab.start_workflow("ExampleWorkflow", WorkflowInput("a", "u"), id="req")\n'
    told = run_cell(client, waiting + "handle.result()", on_text=interrupt)
    assert told.startswith("req: its Workflow Task waits and no worker polls Task Queue")
    assert "KeyboardInterrupt" in told
    assert time.monotonic() - began < zoo.SOON_S

    assert run_cell(client, "lab.start_worker(); print(handle.result(timeout=20)['success'])") == (
        "True\n"
    )
    ask = "print((await AIController(lab).process_ai_request(data='hi', user_id='u')).success)"
    assert run_cell(client, ask) == "True\n"
    assert (
        run_cell(
            client,
            "print(AIController(lab).process_ai_request_blocking(data='hi', "
            "user_id='u').success); lab.close()",
        )
        == "True\n"
    )


def test_a_worker_that_cannot_start_takes_no_running_one_away(lab: Lab) -> None:
    before = lab.worker
    with pytest.raises(WorkerStartError):
        lab.start_worker(no_such_option=1)
    assert lab.worker is before
    assert before is not None
    assert before.status == "running"
