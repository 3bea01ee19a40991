"""A file that remembers the end of a listing: the runs that had closed by a certain instant."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from temporalio.api.workflow.v1 import WorkflowExecutionInfo

from projectai_lab._atomic import replaced

_NS = 1_000_000_000
# The server lists what has closed a little later; what comes later still makes its count differ.
_MARGIN_S = 1
_HEAD = "{:012d} {:012d} {:010d}\n"


class Remembered:
    """The end of an earlier listing: the runs that had closed by the cut, one a line, in order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.cut_s, self.count, crc32 = map(int, file.readline().split())
        body = file.tell()
        if crc32 != zlib.crc32(file.read()):
            raise ValueError("the file is damaged")
        file.seek(body)
        cut = datetime.fromtimestamp(self.cut_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.until = f"CloseTime <= '{cut}'"
        self.after = f"(CloseTime > '{cut}' OR CloseTime IS NULL)"

    @classmethod
    def open(cls, path: Path, stack: ExitStack) -> Remembered | None:
        """Return what a file remembers; None when there is none, or a damaged one."""
        try:
            return cls(stack.enter_context(path.open("rb")))
        except (FileNotFoundError, ValueError):
            return None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)


class Remembering:
    """Writes the next `Remembered` while a listing goes by, if its cut is a later one."""

    def __init__(self, path: Path | None, stack: ExitStack, old_cut_s: int | None) -> None:
        self._path, self._stack, self._old_cut_s = path, stack, old_cut_s
        self._file: BinaryIO | None = None
        self._cut_s = self._count = self._crc32 = 0

    def add(self, run: WorkflowExecutionInfo) -> None:
        """Remember a run that had closed by the cut."""
        if self._path is None or not run.HasField("close_time"):
            return
        closed = run.close_time.ToNanoseconds()
        self._begin(self._path, closed)
        if closed <= self._cut_s * _NS:
            self.write(
                json.dumps([run.execution.workflow_id, run.execution.run_id]).encode() + b"\n"
            )

    def _begin(self, path: Path, closed_ns: int) -> None:
        """Take the cut from the run that closed last, which is listed first of the closed ones.

        Not later than now: on a virtual clock runs close in the future.
        """
        if self._cut_s:
            return
        self._cut_s = min(closed_ns // _NS, int(time.time())) - _MARGIN_S
        if self._old_cut_s is None or self._cut_s > self._old_cut_s:
            self._file = self._stack.enter_context(replaced(path))
            self._file.write(_HEAD.format(0, 0, 0).encode())

    def write(self, line: bytes) -> None:
        """Append a line as it is."""
        if self._file:
            self._file.write(line)
            self._count, self._crc32 = self._count + 1, zlib.crc32(line, self._crc32)

    def finish(self) -> None:
        """Write the head, without which the file counts for nothing."""
        if self._file:
            self._file.seek(0)
            self._file.write(_HEAD.format(self._cut_s, self._count, self._crc32).encode())
