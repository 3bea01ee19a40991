"""Loads on a real server with a real worker process: stalls, interrupts, outages, unknown types."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from temporalio.service import RPCError

from projectai_lab import Fault, FaultPlan, Lab, LabConfig, WorkflowInput, load, tables
from projectai_lab.devserver import DevServer
from projectai_lab.errors import (
    ConfigError,
    LabClosedError,
    LabError,
    NoWorkerError,
    PayloadError,
    WorkflowDefinitionError,
    WorkflowStuckError,
)
from projectai_lab.load._run import _maker
from projectai_lab.worker_process import WorkerProcess
from tests.load_workflows import Ask, answer
from tests.zoo import Doomed, Sleeper, until

WORKFLOWS = (Ask, Doomed, Sleeper)
Window = tuple[float, float]


@pytest.fixture
def lab(address: str) -> Iterator[Lab]:
    """Return a Lab without a worker, on a Task Queue of its own."""
    config = LabConfig(address=address, task_queue=f"tests-load-{uuid.uuid4().hex[:12]}")
    with Lab.connect(config, worker=False, attempts=False) as opened:
        opened.clock = "fast"
        yield opened


@pytest.fixture
def worker(lab: Lab) -> WorkerProcess:
    """Return the Lab's worker in a process of its own."""
    started = lab.start_worker(workflows=WORKFLOWS, activities=[answer], process=True, grace=0)
    assert isinstance(started, WorkerProcess)
    return started


def opened(lab: Lab, workflow: Any, input: Any, **options: Any) -> load.Load:
    """Run a small open loop."""
    small = {"rate": 10, "duration": 1, "arrivals": "constant", "progress": False, "drain": 120}
    return load.open_loop(lab, workflow, input, **{**small, **options})


def closed(lab: Lab, workflow: Any, input: Any, **options: Any) -> load.Load:
    """Run a small closed loop."""
    small = {"clients": 2, "think": 0.05, "duration": 1, "progress": False, "drain": 120}
    return load.closed_loop(lab, workflow, input, **{**small, **options})


@contextlib.contextmanager
def once(condition: Callable[[], bool], then: Callable[[], None]) -> Iterator[None]:
    """Do something in the middle of the body, when a condition holds."""

    def watch() -> None:
        while not condition():
            if over.wait(0.05):
                return
        then()

    over = threading.Event()
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def has_started(lab: Lab, id: str) -> Callable[[], bool]:
    """Return whether there is such a run by now."""

    def look() -> bool:
        with contextlib.suppress(RPCError):
            lab.get_workflow_handle(id).describe()
            return True
        return False

    return look


def end(lab: Lab, one: load.Load) -> None:
    """End what a load has left running."""
    for row in one.table.itertuples():
        if row.status == "RUNNING":
            lab.get_workflow_handle(row.workflow_id).terminate()


@contextlib.contextmanager
def stall(
    worker: WorkerProcess, after: Callable[[], bool], seconds: float
) -> Iterator[list[float]]:
    """Stop the worker process for so long; the moments stand on this process's monotonic clock."""
    moments: list[float] = []

    def stop() -> None:
        os.kill(worker.pid, signal.SIGSTOP)
        try:
            while psutil.Process(worker.pid).status() != psutil.STATUS_STOPPED:
                time.sleep(0.001)
            moments.append(time.monotonic())
            # The stall itself, and no wait for something.
            time.sleep(seconds)
            moments.append(time.monotonic())
        finally:
            os.kill(worker.pid, signal.SIGCONT)

    with once(after, stop):
        yield moments


def window(one: load.Load, moments: list[float]) -> Window:
    """Return when a stall began and ended on the clock of a load."""
    began = one.table.attrs["began_monotonic_s"]
    return moments[0] - began, moments[1] - began


def test_an_open_loop_sends_into_a_stall_and_a_closed_loop_does_not(
    lab: Lab, worker: WorkerProcess
) -> None:
    with stall(worker, has_started(lab, "users-00120"), 2.0) as moments:
        users = opened(lab, Ask.run, "hi", name="users", rate=20, duration=20)
    began, over = window(users, moments)
    table = users.table
    assert (table["status"] == "COMPLETED").all()
    assert table["intended_s"].tolist() == [n / 20 for n in range(400)]
    # Nothing can be answered while the one worker is stopped, however fast or slow the machine.
    met = table[(table["sent_s"] > began) & (table["intended_s"] < over)]
    assert (met["done_s"] > over).all()
    assert (met["sent_s"] < over).sum() > 10, "it sent into the stall"
    (row,) = users.summary().table.to_dict("records")
    assert row["highest"] == "p99"
    # p99 of 400 is the fifth slowest: at least what the fifth that met the stall waited for it.
    assert row["p99_s"] >= sorted(over - met["intended_s"])[-5]
    assert row["most_in_flight"] > 10

    with stall(worker, has_started(lab, "clients-00003"), 2.0) as moments:
        clients = closed(lab, Ask.run, "hi", name="clients", duration=10)
    began, over = window(clients, moments)
    table = clients.table
    assert (table["status"] == "COMPLETED").all()
    # Each client sends at most one run into the stall, and waits for it.
    assert ((table["sent_s"] > began) & (table["sent_s"] < over)).sum() <= 2
    found = load.report(users, clients)
    assert found.table["most_in_flight"].tolist()[1] <= 2
    assert "Users who come on their own" in found.sentence
    assert "feel the open loop" in found.sentence


def test_every_run_is_a_row_on_one_clock_and_in_order(lab: Lab, worker: WorkerProcess) -> None:
    before, wall = time.monotonic(), time.time()
    one = opened(
        lab, Ask.run, lambda number: f"run {number}", name="rows", seed=5, arrivals="poisson"
    )
    took = time.monotonic() - before
    table = tables.validate(one.table)
    assert table["intended_s"].tolist() == load.schedule(rate=10, duration=1, seed=5)
    assert table["workflow_id"].tolist() == [f"rows-{n:05d}" for n in range(len(table))]
    times = table[["intended_s", "sent_s", "accepted_s", "done_s"]]
    assert (times.diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    assert times.max(axis=None) <= took
    assert table.attrs["began_monotonic_s"] >= before
    assert table.attrs["began"] >= f"{time.strftime('%Y-%m-%dT%H:%M', time.gmtime(wall))}"
    runs = lab.fetch_histories(list(table["workflow_id"]), progress=False)
    executions = tables.executions(runs).set_index("workflow_id")
    assert executions["run_id"].to_dict() == table.set_index("workflow_id")["run_id"].to_dict()
    for row in table.itertuples():
        result = lab.get_workflow_handle(row.workflow_id).result()
        assert result == f"answer to run {row.number}"
    assert not [t.name for t in threading.enumerate() if t.name == "projectai-lab-load"]
    assert load.last().table is one.table


def test_clients_of_a_closed_loop_wait_for_each_answer_and_think(
    lab: Lab, worker: WorkerProcess
) -> None:
    table = closed(lab, Ask.run, "hi", clients=3, think=timedelta(seconds=0.1)).table
    assert sorted(table["client"].unique()) == [0, 1, 2]
    for _, mine in table.sort_values("number").groupby("client"):
        assert mine["intended_s"].iloc[0] == pytest.approx(mine["client"].iloc[0] * 0.1 / 3)
        ready = mine["done_s"].shift() + 0.1
        assert mine["intended_s"].iloc[1:].tolist() == pytest.approx(ready.iloc[1:].tolist())
    assert (table["intended_s"] < 1).all()


def test_a_run_that_fails_is_a_status_and_an_error(lab: Lab, worker: WorkerProcess) -> None:
    one = opened(lab, Doomed.run, "too bad", rate=4)
    assert set(one.table["status"]) == {"FAILED"}
    assert set(one.table["error"]) == {"ApplicationError: Doom: too bad"}
    assert one.table["done_s"].notna().all()
    assert "4 runs without an answer" in one.summary().sentence


def test_an_id_that_is_in_use_is_a_run_that_was_not_started(
    lab: Lab, worker: WorkerProcess
) -> None:
    other = lab.start_workflow(Sleeper.run, 60.0, id="taken-00001")
    one = opened(lab, Ask.run, "hi", name="taken", rate=3)
    other.terminate()
    assert one.table["status"].tolist() == ["COMPLETED", "NOT_STARTED", "COMPLETED"]
    assert one.table["error"].tolist()[1] == "Workflow Id 'taken-00001' is in use"


def test_runs_that_have_not_ended_when_the_drain_ends_are_kept_as_running(
    lab: Lab, worker: WorkerProcess
) -> None:
    one = opened(lab, Sleeper.run, 600.0, rate=5, drain=0.1, warm_up=False)
    end(lab, one)
    assert one.table["status"].isin(["RUNNING", "UNKNOWN"]).all()
    assert one.table["done_s"].isna().all()
    assert len(one.table) == 5
    assert "5 runs without an answer" in one.summary().sentence


def test_with_as_many_in_flight_as_may_be_it_holds_back_and_is_invalid(
    lab: Lab, worker: WorkerProcess
) -> None:
    one = opened(lab, Sleeper.run, 0.5, rate=20, duration=0.5, max_in_flight=4)
    assert (one.table["status"] == "COMPLETED").all()
    assert one.summary().table["most_in_flight"].tolist() == [4]
    assert not one.valid
    assert "because 4 were in flight (max_in_flight)" in one.why_invalid[0]
    # Held back, it was sent late, and the latency counts from the intended start all the same.
    assert one.table["latency_s"].max() >= 1
    assert one.table["schedule_error_s"].max() > 0.5


@pytest.mark.parametrize("loop", ["open", "closed"])
def test_an_interrupt_sends_no_more_and_keeps_what_was_measured(
    lab: Lab, worker: WorkerProcess, loop: str, caplog: pytest.LogCaptureFixture
) -> None:
    started = has_started(lab, f"cut-{loop}-00001")
    options = {"name": f"cut-{loop}", "warm_up": False, "duration": 300}
    make = opened if loop == "open" else closed
    with pytest.raises(KeyboardInterrupt) as caught, once(started, _thread.interrupt_main):
        make(lab, Sleeper.run, 600.0, **options)
    one = load.last()
    assert one.name == f"cut-{loop}"
    assert one.why_invalid[0].startswith("it was interrupted: ")
    assert one.table.attrs["measured_s"] < 300
    sent = one.table["sent_s"].notna()
    assert sent.sum() >= 2
    assert sent.sum() < 3000
    assert (one.table.loc[~sent, "status"] == "NOT_STARTED").all()
    (note,) = caught.value.__notes__
    assert "load.last() has what was measured" in note
    assert f"cut-{loop}-00000" in note, "what goes on is named"
    assert note in caplog.text
    going = lab.get_workflow_handle(f"cut-{loop}-00000").describe().status
    assert going is not None
    assert going.name == "RUNNING"
    end(lab, one)
    assert opened(lab, Ask.run, "hi", rate=2).valid in (True, False), "the Lab is usable"


def test_a_server_that_goes_away_is_in_the_rows_and_no_hang() -> None:
    with Lab.start_local(attempts=False) as lab:
        assert lab.server is not None
        lab.start_worker(workflows=[Ask], activities=[answer])
        there = has_started(lab, "away-00004")

        def answered() -> bool:
            handle = lab.get_workflow_handle("away-00004")
            return there() and handle.describe().close_time is not None

        with once(answered, lab.server.close):
            one = opened(lab, Ask.run, "hi", name="away", rate=5, duration=4, drain=6)
    table = one.table
    assert len(table) == 20
    assert (table["status"] == "COMPLETED").any()
    lost = table[table["status"] != "COMPLETED"]
    assert len(lost) > 0
    assert set(lost["status"]) <= {"UNKNOWN", "RUNNING"}
    assert lost["done_s"].isna().all()
    assert lost["error"].notna().any()
    assert f"{len(lost)} run" in one.summary().sentence


def test_a_load_rides_over_a_restart_of_the_server(tmp_path: Path) -> None:
    first = DevServer.start(db_filename=tmp_path / "lab.db")
    restarted: list[DevServer] = []

    def restart() -> None:
        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        until(lambda: not first.alive)
        port, ui_port = (int(url.rpartition(":")[2]) for url in (first.address, first.ui_url))
        restarted.append(DevServer.start(port=port, ui_port=ui_port, db_filename=first.db_filename))

    config = LabConfig(address=first.address)
    with contextlib.ExitStack() as stack:
        stack.callback(first.close)
        stack.callback(lambda: restarted[0].close() if restarted else None)
        lab = stack.enter_context(Lab.connect(config, workflows=[Sleeper], attempts=False))
        with once(has_started(lab, "rides-00003"), restart):
            one = opened(lab, Sleeper.run, 1.5, name="rides", rate=5, duration=3, warm_up=False)
    table = one.table
    # What the server had acknowledged is answered, and nothing else is left without a reason.
    assert (table.loc[table["accepted_s"].notna(), "status"] == "COMPLETED").all()
    assert table["accepted_s"].notna().sum() >= 3
    assert table.loc[table["status"] != "COMPLETED", "error"].notna().all()


def test_a_type_that_the_worker_process_does_not_know_is_found_before_the_load(lab: Lab) -> None:
    lab.start_worker(process=True, grace=0)
    with pytest.raises(WorkflowStuckError, match="Ask") as caught:
        opened(lab, Ask.run, "hi", name="unknown")
    assert caught.value.__notes__[-1].startswith("Nothing of the load was started")
    before = lab.get_workflow_handle("unknown-warm-up").describe().status
    assert before is not None
    assert before.name == "TERMINATED"
    assert not has_started(lab, "unknown-00000")()


def test_a_type_that_the_thread_worker_does_not_know_is_refused_at_once(lab: Lab) -> None:
    lab.start_worker()
    with pytest.raises(WorkflowDefinitionError, match="has no Workflow Type 'Ask'"):
        opened(lab, Ask.run, "hi")


def test_a_load_without_a_worker_is_refused_before_it_begins(lab: Lab) -> None:
    with pytest.raises(NoWorkerError, match="nobody can answer"):
        closed(lab, Ask.run, "hi", name="alone")
    assert not has_started(lab, "alone-00000")()


def test_an_input_that_cannot_be_sent_is_told_before_anything_starts(lab: Lab) -> None:
    with pytest.raises(PayloadError, match="an argument of type object cannot be serialised"):
        opened(lab, Ask.run, lambda number: object() if number == 7 else "hi", name="payload")
    assert not has_started(lab, "payload-warm-up")()


def test_what_an_input_function_raises_reaches_the_caller(lab: Lab, worker: WorkerProcess) -> None:
    def refuse(number: int) -> str:
        if number == 1:
            raise ZeroDivisionError("no input 1")
        return "hi"

    for make in (opened, closed):
        with pytest.raises(ZeroDivisionError, match="no input 1"):
            make(lab, Ask.run, refuse)


def test_each_run_of_one_workflow_input_has_a_seed_of_its_own() -> None:
    make = _maker(WorkflowInput("hi", "u-1", seed=7))
    assert [make(number).seed for number in range(3)] == [7, 8, 9]
    assert {make(number).data for number in range(3)} == {"hi"}
    assert [_maker("same")(number) for number in range(2)] == ["same", "same"]


def test_a_virtual_clock_is_refused(lab: Lab) -> None:
    lab.clock = "virtual"
    with pytest.raises(ConfigError, match="a load measures real time"):
        opened(lab, Ask.run, "hi")


def test_a_closed_lab_is_refused(lab: Lab) -> None:
    lab.close()
    with pytest.raises(LabClosedError):
        opened(lab, Ask.run, "hi")


@pytest.mark.parametrize(
    ("loop", "option", "value"),
    [
        *(("open", "rate", 0), ("open", "duration", -1), ("open", "max_in_flight", 0)),
        *(("open", "drain", -1), ("closed", "clients", 0), ("closed", "think", float("nan"))),
        ("closed", "duration", 0),
    ],
)
def test_bad_numbers_are_named_before_anything_starts(
    lab: Lab, loop: str, option: str, value: Any
) -> None:
    make = opened if loop == "open" else closed
    with pytest.raises(ValueError, match=f"{option} must be"):
        make(lab, Ask.run, "hi", name="bad", **{option: value})
    assert not has_started(lab, "bad-warm-up")()


@pytest.mark.parametrize(
    ("option", "hint"), [("ratte", "did you mean 'rate'"), ("id", "follow from the name")]
)
def test_an_option_that_no_start_would_take_is_refused_at_once(
    lab: Lab, option: str, hint: str
) -> None:
    with pytest.raises(TypeError, match=hint):
        opened(lab, Ask.run, "hi", warm_up=False, name="option", **{option: 5})
    assert not has_started(lab, "option-00000")()


def test_a_fault_plan_that_would_strike_nothing_is_refused_before_anything_starts(
    lab: Lab, worker: WorkerProcess
) -> None:
    misnamed = WorkflowInput("t", "u", faults=FaultPlan(rules=(Fault("fail", "simulate_ai"),)))
    with pytest.raises(ValueError, match="names activity 'simulate_ai', which no worker"):
        opened(lab, "ExampleWorkflow", misnamed, name="misnamed")
    assert not has_started(lab, "misnamed-warm-up")()


def test_options_of_the_start_reach_every_run(lab: Lab, worker: WorkerProcess) -> None:
    one = opened(lab, Ask.run, "hi", rate=3, memo={"study": "load"})
    for workflow_id in one.table["workflow_id"]:
        described = lab.get_workflow_handle(workflow_id).describe()
        assert lab._loop.run(described.memo) == {"study": "load"}


def test_before_the_first_load_there_is_no_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("projectai_lab.load._measure._LAST", [])
    with pytest.raises(LabError, match="there was no load yet"):
        load.last()
