"""A folder that keeps the histories of closed runs, so that each is fetched once."""

from __future__ import annotations

import os
import zlib
from hashlib import sha256
from pathlib import Path

from temporalio.api.history.v1 import History as Events

from projectai_lab._atomic import replaced
from projectai_lab.errors import HistoryFileError
from projectai_lab.histories._history import History, Later


class Cache:
    """One file a closed run: checksum and clock as a line of text, then the history as protobuf.

    The file's name follows from Namespace, Workflow Id and Run Id, and the checksum covers them: a
    file that is cut off, changed or under a wrong name counts as not there. Several processes may
    share the folder.
    """

    def __init__(self, folder: str | os.PathLike[str], namespace: str) -> None:
        self._folder, self._namespace = os.fspath(folder), namespace
        try:
            os.makedirs(folder, exist_ok=True)
        except FileExistsError:
            raise HistoryFileError(
                f"the cache of histories is a folder, and {self._folder} is a file: name another",
                path=Path(folder),
            ) from None

    def path(self, key: bytes, kind: str) -> str:
        """Return the file for what goes by a key."""
        return f"{self._folder}/{sha256(key).hexdigest()[:40]}.{kind}"

    def get(self, workflow_id: str, run_id: str, clock: str | None) -> History | None:
        """Return the history kept of a run; `clock` where none was known when it was kept."""
        key = self._key(workflow_id, run_id)
        try:
            with open(self.path(key, "history"), "rb", buffering=0) as file:
                head, _, body = file.readall().partition(b"\n")
        except FileNotFoundError:
            return None
        checksum, _, kept = head.partition(b" ")
        if checksum != _checksum(key, kept, body):
            return None
        return History(workflow_id, Later(body), self._namespace, kept.decode() or clock)

    def put(self, history: History, run_id: str | None) -> None:
        """Keep a history when its run is closed, so that it cannot change any more."""
        if not history.is_closed:
            return
        key = self._key(history.workflow_id, run_id or history.run_id)
        body = Events(events=history.events).SerializeToString()
        clock = (history.clock or "").encode()
        with replaced(Path(self.path(key, "history"))) as file:
            file.write(b"%b %b\n%b" % (_checksum(key, clock, body), clock, body))

    def _key(self, workflow_id: str, run_id: str) -> bytes:
        return "\0".join((self._namespace, workflow_id, run_id)).encode()


def _checksum(*parts: bytes) -> bytes:
    crc32 = 0
    for part in parts:
        crc32 = zlib.crc32(part, crc32)
    return b"%08x" % crc32
