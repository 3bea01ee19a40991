"""`AttemptLog`: the folder of attempt rows, and how it is read."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from projectai_lab.errors import HistoryFileError

AttemptRecord = dict[str, Any]
"""One attempt: its start row and, once it has ended, its end row in one dict."""
FaultRecord = dict[str, Any]
"""One injected fault: its row."""

logger = logging.getLogger("projectai_lab")
FAULT = "fault"


class AttemptLog:
    """A folder of attempt rows; iterate it for one record an attempt, in order of their start.

    Without a folder it lives in a temporary one, made in `within`, and in memory after `close`.
    """

    def __init__(
        self, folder: str | Path | None = None, *, within: str | Path | None = None
    ) -> None:
        self._temporary = folder is None
        self._kept: tuple[list[AttemptRecord], list[FaultRecord]] | None = None
        if folder is None:
            folder = tempfile.mkdtemp(prefix="projectai-lab-attempts-", dir=within)
        self.folder = Path(folder).expanduser().resolve()
        self.folder.mkdir(parents=True, exist_ok=True)

    def records(self) -> list[AttemptRecord]:
        """Return all attempts so far, oldest start first."""
        return list(self._both()[0])

    def faults(self) -> list[FaultRecord]:
        """Return all injected faults so far, oldest first; `tables.faults` takes the log itself."""
        return list(self._both()[1])

    def _both(self) -> tuple[list[AttemptRecord], list[FaultRecord]]:
        return _read_both(self.folder) if self._kept is None else self._kept

    def __iter__(self) -> Iterator[AttemptRecord]:
        return iter(self.records())

    def save(self, path: str | Path) -> Path:
        """Write attempts and faults to one JSON-lines file that `read` takes; return its path."""
        records, faults = self._both()
        rows = [{"kind": "attempt", **record} for record in records]
        lines = map(json.dumps, [*rows, *faults])
        target = Path(path)
        target.write_text("".join(f"{line}\n" for line in lines))
        return target

    def close(self) -> None:
        """Keep the records in memory and remove a temporary folder; twice is harmless."""
        if self._temporary and self._kept is None:
            self._kept = _read_both(self.folder)
            shutil.rmtree(self.folder, ignore_errors=True)

    def __repr__(self) -> str:
        where = "in memory" if self._kept is not None else str(self.folder)
        return f"<AttemptLog {where}>"


def read(path: str | Path) -> list[AttemptRecord]:
    """Read an attempt log, a folder or one saved file, oldest start first.

    >>> read("attempts.jsonl")[0]["activity_type"]
    'validate_input'
    """
    return _read_both(path)[0]


def read_faults(path: str | Path) -> list[FaultRecord]:
    """Read the injected faults of an attempt log, a folder or one saved file, oldest first.

    >>> tables.faults(read_faults("attempts.jsonl"))                           # doctest: +SKIP
    """
    return _read_both(path)[1]


def _read_both(path: str | Path) -> tuple[list[AttemptRecord], list[FaultRecord]]:
    """Return attempts and faults, each in order; the files are read once."""
    attempts: dict[str, AttemptRecord] = {}
    faults: list[FaultRecord] = []
    for row in _rows_of(path):
        if row.get("kind") == FAULT:
            faults.append(row)
        else:
            attempts.setdefault(row["key"], {}).update(row)
    for record in attempts.values():
        record.pop("kind", None)
    whole = [record for record in attempts.values() if "attempt" in record]
    whole.sort(key=lambda record: int(record["worker_started_ns"]))
    return whole, sorted(faults, key=lambda row: int(row["injected_ns"]))


def _rows_of(path: str | Path) -> Iterator[dict[str, Any]]:
    source = Path(path)
    if not source.exists():
        raise HistoryFileError(f"there is no attempt log at {source}", path=source)
    for file in sorted(source.glob("*.jsonl")) if source.is_dir() else [source]:
        yield from _rows(file)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    skipped = []
    for number, line in enumerate(file.read_text("utf-8", errors="replace").splitlines(), 1):
        try:
            row = json.loads(line)
            row["key"]
        except (ValueError, KeyError, TypeError):
            # A process killed in the middle of a write leaves half a line.
            skipped.append(number)
            continue
        yield row
    if skipped:
        lines = f"line {skipped[0]}" + (f" and {len(skipped) - 1} more" if skipped[1:] else "")
        logger.warning("%s: %s not an attempt row; skipped", file.name, lines)
