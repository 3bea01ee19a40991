"""Run a server for as long as the parent lives: `_watchdog.py SCRATCH GRACE DATABASE COMMAND…`.

The parent holds the write end of our standard input. When that pipe ends (the parent closed it, or
died, even of kill −9) the server is stopped and the scratch folder removed. Standard library only:
it is started as a plain script, so that it is up in some 20 ms.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

_POLL_S = 0.5


def main(argv: list[str]) -> int:
    """Start the command, wait for its end or the parent's, clean up; return the exit code."""
    scratch, grace_s, database = Path(argv[0]), float(argv[1]), Path(argv[2])
    locked = _lock(database)
    if database.is_file() and not locked:
        message = f"Error: database {database} is in use by another server"
        (scratch / "server.log").write_text(message)
        return 1
    # The parent's interrupts are not ours: it tells us by the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with (scratch / "server.log").open("wb") as log:
        server = subprocess.Popen(
            argv[3:], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    (scratch / "server.pid").write_text(str(server.pid))
    parent = os.getppid()
    try:
        while server.poll() is None:
            locked = locked or _lock(database)
            if _parent_is_gone(parent):
                return _stop(server, scratch, grace_s)
    except BaseException:
        _stop(server, scratch, grace_s)
        raise
    return server.returncode


def _lock(database: Path) -> bool:
    """Lock the database file, once it is there, for our lifetime: one server a file."""
    if not database.is_file():
        return False
    descriptor = os.open(database, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return False
    return True


def _parent_is_gone(parent: int) -> bool:
    # A forked child of the parent may hold the pipe open after its death: so ask for both.
    readable, _, _ = select.select([sys.stdin], [], [], _POLL_S)
    return bool(readable and not os.read(sys.stdin.fileno(), 64)) or os.getppid() != parent


def _stop(server: subprocess.Popen[bytes], scratch: Path, grace_s: float) -> int:
    """End the server, gently where it has a database to close, and leave nothing behind."""
    try:
        if grace_s:
            server.terminate()
            server.wait(grace_s)
    except subprocess.TimeoutExpired:
        pass
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(scratch, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
