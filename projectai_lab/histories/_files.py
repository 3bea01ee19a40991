"""Histories as files: written as the JSON of the Web UI and the CLI, read in any form there is."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from temporalio.client import WorkflowHistory

from projectai_lab._atomic import replaced
from projectai_lab.errors import HistoryFileError
from projectai_lab.histories._formats import KEY, UnusableError, histories_in
from projectai_lab.histories._history import History

if TYPE_CHECKING:
    import pandas as pd

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_NAMED = 20
_MANIFEST, _BELOW = "manifest.json", "histories"


class Scan(NamedTuple):
    """What was found: the histories in order, and a table (path, reason) of what is none."""

    histories: list[History]
    bad: pd.DataFrame


def save(history: WorkflowHistory, path: str | os.PathLike[str]) -> Path:
    """Write a history as the JSON that Web UI, CLI and Replayer read; whole or not at all.

    >>> histories.save(history, "req-1.json")                                  # doctest: +SKIP
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as file:
        file.write(f"{as_json(history, indent=2)}\n".encode())
    return path


def as_json(history: WorkflowHistory, indent: int | None = None) -> str:
    """Return the JSON that `save` writes."""
    origin = {
        "workflow_id": history.workflow_id,
        "run_id": history.run_id,
        "namespace": getattr(history, "namespace", None),
        "clock": getattr(history, "clock", None),
    }
    return json.dumps({KEY: origin} | history.to_json_dict(), indent=indent)


def load(path: str | os.PathLike[str], workflow_id: str | None = None) -> History:
    """Read the one history of a file; its content tells the form, not its name.

    The forms are the JSON of this kit, the SDK, the CLI (`-o json` or `jsonl`) and the Web UI
    (payloads encoded, decoded or readable), and Temporal Cloud's export (protobuf). The Workflow
    Id is the one in the history, else `workflow_id`, else the file's stem. Raises HistoryFileError
    when the file is no whole history, or holds several.

    >>> histories.load("req-1.json")                                           # doctest: +SKIP
    """
    path = Path(path)
    content = _read(path)
    if content.startswith(_ZIP):
        raise _file_error(path, "is a zip; histories.load_all(path) reads all in it")
    try:
        found = list(histories_in(content, workflow_id or path.stem))
    except UnusableError as error:
        raise _file_error(path, str(error)) from error
    if len(found) > 1:
        raise _file_error(path, f"holds {len(found)} histories; histories.load_all(path) reads all")
    if isinstance(found[0], UnusableError):
        raise _file_error(path, str(found[0])) from found[0]
    return found[0]


def load_all(path: str | os.PathLike[str]) -> list[History]:
    """Read every history of a folder with all in it, of a zip, or of one file, by name.

    Of an export or a capsule, which hold tables too, what is in their `histories/` is read.
    Raises HistoryFileError, which lists the bad ones, unless all are good; see `scan`.

    >>> histories.load_all("saved/")                                           # doctest: +SKIP
    """
    found: list[History] = []
    bad: list[str] = []
    for where, one in _distinct(Path(path)):
        if isinstance(one, History):
            found.append(one)
        else:
            bad.append(f"{where} {one}")
    if bad:
        lines = bad[:_NAMED] + [f"and {len(bad) - _NAMED} more"] * (len(bad) > _NAMED)
        raise HistoryFileError(
            f"{len(bad)} of {len(bad) + len(found)} in {path} cannot be used; histories.scan(path) "
            "loads the others:\n  " + "\n  ".join(lines),
            path=Path(path),
        )
    return found


def scan(path: str | os.PathLike[str]) -> Scan:
    """Read what `load_all` reads, good and bad: the histories, and why the others are none.

    >>> found, bad = histories.scan("downloads/")                              # doctest: +SKIP
    """
    import pandas as pd

    each = list(_distinct(Path(path)))
    rows = [(where, str(one)) for where, one in each if not isinstance(one, History)]
    bad = pd.DataFrame(rows, columns=["path", "reason"], dtype="str")
    return Scan([one for _, one in each if isinstance(one, History)], bad)


def _each(path: Path) -> Iterator[tuple[str, History | UnusableError]]:
    """Yield where something was found, and the history or why it is none."""
    if not path.is_dir():
        yield from _in_file(str(path), _read(path))
        return
    files = [
        one
        for one in sorted(_place(path).rglob("*"))
        if one.is_file() and not _hidden(one.relative_to(path))
    ]
    if not files:
        raise HistoryFileError(f"there is no file in the folder {path}", path=path)
    for file in files:
        try:
            content = file.read_bytes()
        except OSError as error:
            yield str(file), UnusableError(f"cannot be read ({error.strerror})")
        else:
            yield from _in_file(str(file), content)


def _distinct(path: Path) -> Iterator[tuple[str, History | UnusableError]]:
    """Leave out a history that came before: Temporal Cloud exports each at least once."""
    seen: dict[str, tuple[str, History]] = {}
    for where, one in _each(path):
        if not isinstance(one, History) or not one.run_id:
            yield where, one
            continue
        before, same = seen.setdefault(one.run_id, (where, one))
        if same is one:
            yield where, one
        elif list(same.events) != list(one.events):
            why = f"holds another state of run {one.run_id}, which is in {before}; keep one of them"
            yield where, UnusableError(why)


def _in_file(where: str, content: bytes) -> Iterator[tuple[str, History | UnusableError]]:
    if content.startswith(_ZIP):
        yield from _in_zip(where, content)
        return
    try:
        for one in histories_in(content, Path(where).stem):
            yield where, one
    except UnusableError as error:
        yield where, error


def _in_zip(where: str, content: bytes) -> Iterator[tuple[str, History | UnusableError]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as whole:
            names = sorted(one.filename for one in whole.infolist() if not one.is_dir())
            if not names:
                yield where, UnusableError("is a zip with no file in it")
            for name in _below(whole, names):
                if not _hidden(Path(name)):
                    yield from _in_file(f"{where}/{name}", whole.read(name))
    except (zipfile.BadZipFile, EOFError, RuntimeError, NotImplementedError, zlib.error) as error:
        yield where, UnusableError(f"is no whole zip ({error}); it may be cut off: get it again")


def _place(folder: Path) -> Path:
    """Return where the histories of a folder stand: an export holds tables too."""
    below = folder / _BELOW
    manifest = folder / _MANIFEST
    ours = below.is_dir() and manifest.is_file() and _is_ours(manifest.read_bytes())
    return below if ours else folder


def _below(archive: zipfile.ZipFile, names: list[str]) -> list[str]:
    """Return the names of the files that may be histories; a capsule holds others too."""
    below = [name for name in names if name.startswith(f"{_BELOW}/")]
    ours = below and _MANIFEST in names and _is_ours(archive.read(_MANIFEST))
    return below if ours else names


def _is_ours(manifest: bytes) -> bool:
    """Tell the manifest of an export or a capsule from somebody else's file of that name."""
    return b'"projectai_lab' in manifest[:200]


def _hidden(path: Path) -> bool:
    # Jupyter keeps older states of the same files in .ipynb_checkpoints.
    return any(part[0] == "." and part != ".." for part in path.parts)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise HistoryFileError(
            f"there is no file {path}; histories.save(history, path) makes one", path=path
        ) from error
    except IsADirectoryError as error:
        raise _file_error(
            path, "is a directory; histories.load_all(path) reads all in it"
        ) from error
    except (OSError, ValueError) as error:
        raise _file_error(path, f"cannot be read ({error}); name a file you may read") from error


def _file_error(path: Path, why: str) -> HistoryFileError:
    return HistoryFileError(f"{path} {why}", path=path)
