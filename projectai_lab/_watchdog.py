"""Run a server for as long as the parent lives: `_watchdog.py SCRATCH GRACE DATABASE COMMAND…`.

The parent holds the write end of our standard input. When that pipe speaks or ends (the parent
closed it, or died, even of kill −9) the server is stopped, and the scratch folder, which we made,
removed. Standard library only: it is started as a plain script, so that it is up in some 20 ms.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_POLL_S = 0.5
_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> int:
    """Start the command, wait for its end or the parent's, clean up; return the exit code."""
    parent = os.getppid()
    scratch, grace_s, database, command = Path(argv[0]), float(argv[1]), argv[2], argv[3:]
    # The parent's interrupts are not ours: it tells us by the pipe. Who ends us ends the server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    scratch.mkdir(mode=0o700)
    try:
        code = _serve_locked(command, scratch, grace_s, database, parent)
        # The parent may want to read the log of a server that ended by itself.
        (scratch / "server.exit").write_text(str(code))
        while not _parent_is_gone(parent):
            pass
        return code
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _serve_locked(
    command: list[str], scratch: Path, grace_s: float, database: str, parent: int
) -> int:
    try:
        with _lock(database):
            return _serve(command, scratch, grace_s, parent)
    except OSError as error:
        (scratch / "server.log").write_text(f"Error: {error}")
        return 1


@contextlib.contextmanager
def _lock(database: str) -> Iterator[None]:
    """Lock the database, if there is one, for our lifetime: one server a file."""
    if not database:
        yield
        return
    # Beside the database, not on it: on macOS that would lock its own server out too.
    path = Path(f"{database}.lock")
    while not _is_locked(descriptor := os.open(path, os.O_RDWR | os.O_CREAT, 0o600), path):
        os.close(descriptor)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _is_locked(descriptor: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        database = path.with_suffix("")
        raise OSError(f"database {database} is in use by another server") from None
    # The last owner may have removed the file between our open and our lock.
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def _serve(command: list[str], scratch: Path, grace_s: float, parent: int) -> int:
    with (scratch / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_us,
        )
    try:
        (scratch / "server.pid").write_text(str(server.pid))
        while server.poll() is None:
            if _parent_is_gone(parent):
                return 0
        return server.returncode
    finally:
        if server.returncode is None:
            _stop(server, grace_s)


def _die_with_us() -> None:
    """Let Linux kill the server should somebody kill us with −9."""
    if sys.platform == "linux":
        # Not every Python has ctypes; then this one guard is missing.
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _parent_is_gone(parent: int) -> bool:
    # A forked child of the parent may hold the pipe open after its death: so ask for both.
    readable, _, _ = select.select([sys.stdin], [], [], _POLL_S)
    return bool(readable) or os.getppid() != parent


def _stop(server: subprocess.Popen[bytes], grace_s: float) -> None:
    """End the server, gently where it has a database to close."""
    try:
        if grace_s:
            server.terminate()
            server.wait(grace_s)
    except subprocess.TimeoutExpired:
        pass
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
