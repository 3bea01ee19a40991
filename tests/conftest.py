"""What tests share: one embedded server a session, a fresh Task Queue and Lab a test."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator

import psutil
import pytest

from projectai_lab.config import LabConfig
from projectai_lab.devserver import DevServer
from projectai_lab.lab import Lab


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--address host:port`: run the same suite against a server that runs elsewhere."""
    parser.addoption("--address", default=None, help="host:port of a Temporal server to test with")


def pytest_configure() -> None:
    """Take interrupts also where a shell put us in the background, which ignores them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def no_settings_from_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Keep the developer's own TEMPORAL_* variables and profile file out of the tests."""
    for name in [name for name in os.environ if name.startswith("TEMPORAL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-profile"))


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[DevServer | None]:
    """Return the session's embedded server; None where `--address` names another."""
    if request.config.getoption("--address"):
        yield None
        return
    with DevServer.start() as embedded:
        yield embedded


@pytest.fixture(scope="session")
def address(server: DevServer | None, request: pytest.FixtureRequest) -> str:
    """Return host:port of the server under the tests."""
    return server.address if server else str(request.config.getoption("--address"))


@pytest.fixture
def config(address: str) -> LabConfig:
    """Return where to connect, with a Task Queue of this test's own."""
    return LabConfig(address=address, task_queue=f"tests-{uuid.uuid4().hex[:12]}")


@pytest.fixture
def lab(config: LabConfig, server: DevServer | None) -> Iterator[Lab]:
    """Return an open Lab with a worker, on the session's server."""
    with Lab.connect(config) as opened:
        opened.clock = server.clock if server else None
        yield opened


@pytest.fixture
def new_id() -> Callable[[str], str]:
    """Return a maker of fresh Workflow Ids."""

    def make(name: str) -> str:
        return f"{name}-{uuid.uuid4().hex[:12]}"

    return make


@pytest.fixture(autouse=True, scope="session")
def nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail the session when a thread, process or temporary file of ours is left at its end."""
    place = tmp_path_factory.mktemp("temporary")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(place))
        patch.setattr(tempfile, "tempdir", None)
        yield
    threads = [t.name for t in threading.enumerate() if t.name.startswith("projectai-lab")]
    files = [path.name for path in place.iterdir() if path.name.startswith("projectai-lab")]
    commands = [child.cmdline() for child in psutil.Process().children(recursive=True)]
    # Python's own helper of its process pools ends with the interpreter.
    processes = [command for command in commands if "resource_tracker" not in str(command)]
    assert (threads, files, processes) == ([], [], []), "left behind"
