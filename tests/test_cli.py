"""The terminal: what each command prints, and the exit code it promises."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from projectai_lab import histories
from projectai_lab.cli import main, parser
from projectai_lab.lab import Lab
from projectai_lab.models import FaultPlan, RetrySettings, WorkflowInput
from projectai_lab.workflows import ExampleWorkflow

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run_it(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


@pytest.fixture
def here(lab: Lab) -> tuple[str, ...]:
    return ("--address", lab.address, "--task-queue", lab.task_queue)


@pytest.fixture
def process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "projectai_lab", *words]
        pipe = subprocess.PIPE
        child = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        started.append(child)
        return child

    yield start
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read_until(child: subprocess.Popen[str], word: str) -> str:
    text = ""
    assert child.stdout
    for line in child.stdout:
        text += line
        if word in line:
            return text
    raise AssertionError(f"{word!r} never came:\n{text}{child.stderr and child.stderr.read()}")


def test_every_command_has_help(run: Run) -> None:
    names = ("demo", "server", "worker", "submit", "status", "history", "export", "notebooks")
    for name in (*names, "doctor"):
        code, out, _ = run(name, "--help")
        assert code == 0
        assert f"projectai-lab {name}" in out


def test_no_command_and_a_typo_are_usage_errors(run: Run) -> None:
    assert run()[0] == 2
    code, _, err = run("sumbit")
    assert code == 2
    assert "sumbit" in err
    assert "exit codes" in parser().format_help()


def test_version_is_the_package_s(run: Run) -> None:
    code, out, _ = run("--version")
    assert (code, out.startswith("projectai-lab 0.")) == (0, True)


def test_submit_prints_the_output_as_json(run: Run, here: tuple[str, ...]) -> None:
    code, out, _ = run("submit", "hello", "--user", "u-9", "--json", *here)
    output = json.loads(out)
    assert code == 0
    assert output["success"] is True
    assert output["result"]["user_id"] == "u-9"


def test_a_business_failure_is_exit_code_1(run: Run, here: tuple[str, ...]) -> None:
    code, out, _ = run("submit", "   ", *here)
    assert code == 1
    assert "data is empty" in out


def test_the_same_key_is_one_execution(run: Run, lab: Lab, here: tuple[str, ...]) -> None:
    for _ in range(2):
        assert run("submit", "hello", "--key", lab.task_queue, *here)[0] == 0
    assert len({record["run_id"] for record in lab.attempts or ()}) == 1


def test_fail_first_reaches_the_fault_plan(run: Run, lab: Lab, here: tuple[str, ...]) -> None:
    assert run("submit", "hello", "--fail-first", "validate_input=1", *here)[0] == 0
    attempts = [r["attempt"] for r in lab.attempts or () if r["activity_type"] == "validate_input"]
    assert attempts == [1, 2]
    assert run("submit", "hello", "--fail-first", "validate_input", *here)[0] == 2
    code, _, err = run("submit", "hello", "--fail-first", "validate=1", *here)
    assert (code, "unknown activity 'validate'" in err) == (1, True)


def test_a_dead_address_is_exit_code_3_and_says_what_to_do(run: Run) -> None:
    code, _, err = run("submit", "hello", "--address", f"127.0.0.1:{free_port()}")
    assert code == 3
    assert "no Temporal server answers" in err
    assert "projectai-lab server" in err


def test_an_address_without_a_port_is_refused(run: Run) -> None:
    code, _, err = run("status", "--address", "localhost")
    assert code == 3
    assert "host:port" in err


def test_no_worker_is_said_within_the_limit(run: Run, address: str) -> None:
    code, _, err = run("submit", "hello", "--address", address, "--task-queue", "nobody-polls-this")
    assert code == 3
    assert "no worker polls Task Queue 'nobody-polls-this'" in err


def test_status_of_one_execution_and_of_the_latest(
    run: Run, lab: Lab, here: tuple[str, ...]
) -> None:
    handle = lab.start_workflow(ExampleWorkflow.run, WorkflowInput("hello", "u-1"))
    handle.result(timeout=30)
    code, out, _ = run("status", handle.id, "--json", *here)
    assert code == 0
    assert json.loads(out)["status"] == "COMPLETED"
    code, out, _ = run("status", "--limit", "3", *here)
    assert code == 0
    assert "executions in namespace 'default'" in out
    assert "executions" in json.loads(run("status", "--json", *here)[1])


def test_status_of_an_unknown_id_says_so(run: Run, here: tuple[str, ...]) -> None:
    code, _, err = run("status", "no-such-id", *here)
    assert code == 3
    assert "no-such-id" in err


@pytest.fixture
def finished(lab: Lab) -> str:
    request = WorkflowInput(
        "hello",
        "u-1",
        faults=FaultPlan(fail_first={"simulate_ai_call": 1}),
        retry={"simulate_ai_call": RetrySettings(initial_interval=0.05, maximum_attempts=3)},
    )
    handle = lab.start_workflow(ExampleWorkflow.run, request)
    handle.result(timeout=30)
    return handle.id


def test_history_in_every_format(
    run: Run, here: tuple[str, ...], finished: str, tmp_path: Path
) -> None:
    code, out, _ = run("history", finished, *here)
    assert (code, "WORKFLOW_EXECUTION_STARTED" in out) == (0, True)
    code, out, _ = run("history", finished, "--format", "json", *here)
    assert (code, "events" in json.loads(out)) == (0, True)
    code, out, _ = run("history", finished, "--table", "activities", "--format", "csv", *here)
    assert out.startswith("namespace,workflow_id,run_id,scheduled_event_id")
    target = tmp_path / "events.parquet"
    code, *_ = run("history", finished, "--format", "parquet", "--output", str(target), *here)
    assert pd.read_parquet(target).attrs["schema"] == "projectai_lab/events/1"


def test_history_of_a_saved_file_needs_no_server(
    run: Run, lab: Lab, finished: str, tmp_path: Path
) -> None:
    saved = histories.save(lab.get_workflow_handle(finished).fetch_history(), tmp_path / "h.json")
    assert lab.attempts
    code, out, _ = run(
        "history", str(saved), "--table", "attempts", "--attempts", str(lab.attempts.folder)
    )
    assert code == 0
    assert out.count("simulate_ai_call") == 2


def test_parquet_to_the_terminal_is_a_usage_error(run: Run) -> None:
    code, _, err = run("history", "some-id", "--format", "parquet")
    assert (code, "--output" in err) == (2, True)


def test_a_file_that_is_no_history_is_exit_code_3(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text("")
    code, _, err = run("history", str(tmp_path / "empty.json"))
    assert code == 3
    assert "empty" in err


def test_a_failing_notebook_is_exit_code_1(run: Run, tmp_path: Path) -> None:
    code, _, err = run("notebooks", "run", str(tmp_path / "none.ipynb"))
    assert code == 1
    assert "none.ipynb" in err


def test_doctor_is_healthy_here(run: Run, address: str) -> None:
    code, out, _ = run("doctor", "--json", "--address", address)
    facts = json.loads(out)
    assert (code, facts["healthy"]) == (0, True), facts
    assert "starts and answers" in facts["embedded server"]
    assert "answers" in facts["configured server"]


def test_doctor_names_what_is_broken(run: Run) -> None:
    code, out, _ = run("doctor", "--address", f"127.0.0.1:{free_port()}")
    assert code == 1
    assert "FAILED: no Temporal server answers" in out


def test_server_runs_until_interrupted_and_leaves_nothing(
    process: Callable[..., subprocess.Popen[str]],
) -> None:
    port = free_port()
    server = process("server", "--port", str(port), "--ui-port", str(free_port()))
    assert f"127.0.0.1:{port}" in read_until(server, "stop with Ctrl-C")
    server.send_signal(signal.SIGINT)
    assert server.wait(30) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_server_on_a_port_in_use_says_so(process: Callable[..., subprocess.Popen[str]]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        server = process("server", "--port", port, "--ui-port", str(free_port()))
        _, err = server.communicate(timeout=30)
    assert server.returncode == 3
    assert "address already in use" in err


def test_worker_polls_runs_and_drains_on_sigterm(
    process: Callable[..., subprocess.Popen[str]], run: Run, address: str, tmp_path: Path
) -> None:
    queue = f"cli-{os.getpid()}"
    words = ("--address", address, "--task-queue", queue)
    worker = process("worker", *words, "--attempts", str(tmp_path))
    read_until(worker, "polling")
    assert run("submit", "hello", *words)[0] == 0
    worker.send_signal(signal.SIGTERM)
    out, err = worker.communicate(timeout=30)
    assert worker.returncode == 0, err
    assert "draining" in out
    assert len(list(tmp_path.glob("*.jsonl"))) == 1


def test_worker_cannot_load_what_is_not_there(
    process: Callable[..., subprocess.Popen[str]], address: str
) -> None:
    worker = process("worker", "--address", address, "--workflow", "no_such_module:Nothing")
    _, err = worker.communicate(timeout=30)
    assert worker.returncode == 3
    assert "cannot load 'no_such_module:Nothing'" in err


def test_worker_waits_for_its_server_and_gives_up_with_a_reason(
    process: Callable[..., subprocess.Popen[str]],
) -> None:
    worker = process("worker", "--address", f"127.0.0.1:{free_port()}", "--wait", "0.5")
    _, err = worker.communicate(timeout=30)
    assert worker.returncode == 3
    assert "trying again" in err
    assert "no Temporal server answers" in err


def test_output_into_a_closed_pipe_is_no_traceback(
    process: Callable[..., subprocess.Popen[str]], finished: str, here: tuple[str, ...]
) -> None:
    reader = process("history", finished, *here)
    assert reader.stdout
    assert reader.stderr
    reader.stdout.close()
    reader.stdout = None
    assert reader.wait(30) == 0
    assert "Traceback" not in reader.stderr.read()
