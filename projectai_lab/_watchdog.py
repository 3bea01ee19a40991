"""Run a server for as long as the parent lives: `_watchdog.py SCRATCH GRACE DATABASE COMMAND…`.

The parent holds the write end of our standard input. When that pipe speaks or ends (the parent
closed it, or died, even of kill −9) the server is stopped, and the scratch folder, which we made,
removed. It is started as a plain script and each Lab waits for it, so it imports little: subprocess
alone would take longer to load than Python itself.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator

_POLL_S = 0.5
_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> int:
    """Start the command, wait for its end or the parent's, clean up; return the exit code."""
    parent = os.getppid()
    scratch, grace_s, database, command = argv[0], float(argv[1]), argv[2], argv[3:]
    # The parent's interrupts are not ours: it tells us by the pipe. Who ends us ends the server.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.mkdir(scratch, mode=0o700)
    try:
        code = _serve_locked(command, scratch, grace_s, database, parent)
        # The parent may want to read the log of a server that ended by itself.
        _write(f"{scratch}/server.exit", str(code))
        while not _parent_is_gone(parent):
            pass
        return code
    finally:
        import shutil

        shutil.rmtree(scratch, ignore_errors=True)


def _serve_locked(
    command: list[str], scratch: str, grace_s: float, database: str, parent: int
) -> int:
    try:
        with _lock(database):
            return _serve(command, scratch, grace_s, parent)
    except OSError as error:
        _write(f"{scratch}/server.log", f"Error: {error}")
        return 1


@contextlib.contextmanager
def _lock(database: str) -> Iterator[None]:
    """Lock the database, if there is one, for our lifetime: one server a file."""
    if not database:
        yield
        return
    # Beside the database, not on it: on macOS that would lock its own server out too.
    path = f"{database}.lock"
    while not _is_locked(descriptor := os.open(path, os.O_RDWR | os.O_CREAT, 0o600), path):
        os.close(descriptor)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _is_locked(descriptor: int, path: str) -> bool:
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        database = path.removesuffix(".lock")
        raise OSError(f"database {database} is in use by another server") from None
    # The last owner may have removed the file between our open and our lock.
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    return False


def _serve(command: list[str], scratch: str, grace_s: float, parent: int) -> int:
    server = _start(command, f"{scratch}/server.log")
    code: int | None = None
    try:
        _write(f"{scratch}/server.pid", str(server))
        while (code := _ended(server)) is None:
            if _parent_is_gone(parent):
                return 0
        return code
    finally:
        if code is None:
            _stop(server, grace_s)


def _start(command: list[str], log: str) -> int:
    """Start the server with its output in the log; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        _die_with_us()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.execv(command[0], command)
    except OSError as error:
        os.write(2, f"Error: {error}: {command[0]}".encode())
    finally:
        os._exit(127)


def _die_with_us() -> None:
    """Let Linux kill the server should somebody kill us with −9."""
    if sys.platform == "linux":
        # Not every Python has ctypes; then this one guard is missing.
        with contextlib.suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _ended(server: int) -> int | None:
    """Return the exit code of a server that has ended, None while it runs."""
    pid, status = os.waitpid(server, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def _parent_is_gone(parent: int) -> bool:
    # A forked child of the parent may hold the pipe open after its death: so ask for both.
    readable, _, _ = select.select([sys.stdin], [], [], _POLL_S)
    return bool(readable) or os.getppid() != parent


def _stop(server: int, grace_s: float) -> None:
    """End the server, gently where it has a database to close."""
    code = None
    try:
        if grace_s:
            os.kill(server, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while time.monotonic() < deadline and (code := _ended(server)) is None:
            time.sleep(0.01)
    finally:
        # Also when somebody ends us meanwhile.
        if code is None:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
