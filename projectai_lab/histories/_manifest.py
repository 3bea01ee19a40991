"""The manifest of an export: what is in it, made by what, with a checksum of each file."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from projectai_lab.errors import ExportError
from projectai_lab.histories._sink import unwritable, whole_text

NAME = "manifest.json"
VERSION = 1
_KIND = "projectai_lab_export"
_OURS = re.compile(r"(part-\d{5,}\.\w+|\.(part-\d{5,}\.\w+|manifest\.json)\.[0-9a-f]{32})")

Manifest = dict[str, Any]


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder for one export; the claim ends with the process, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise ExportError(
            f"another export writes into {folder} now; wait for it or choose another folder",
            path=folder,
        ) from error
    finally:
        os.close(handle)


def opened(
    folder: Path, query: str | None, formats: Sequence[str], schemas: dict[str, str]
) -> Manifest:
    """Return the manifest of a folder, or a new one for an empty folder; ExportError for others."""
    wanted = {"query": query, "formats": list(formats), "schemas": schemas}
    if not (folder / NAME).exists():
        found = [path.name for path in folder.iterdir() if not _OURS.fullmatch(path.name)]
        if found:
            raise ExportError(
                f"{folder} is not empty ({found[0]}) and holds no {NAME}; choose an empty folder",
                path=folder,
            )
        return _begun(folder, wanted)
    manifest = read(folder)
    for name, value in wanted.items():
        if manifest.get(name) == value:
            continue
        if not manifest["parts"]:
            # A query with a slip in it left nothing that a right one could mix with.
            return _begun(folder, wanted)
        raise ExportError(
            f"{folder} holds an export with {name} {manifest.get(name)!r}, not {value!r}; "
            "choose another folder",
            path=folder,
        )
    return manifest


def _begun(folder: Path, wanted: dict[str, Any]) -> Manifest:
    made = {_KIND: VERSION, **wanted, "started": now(), "finished": None}
    # Written before anything else: what a killed export left is then known for ours.
    return write(folder, {**made, "server": None, "gone": [], "parts": []})


def read(folder: Path) -> Manifest:
    """Return the manifest in a folder; ExportError when it is missing or none of ours."""
    path = folder / NAME
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ExportError(
            f"there is no export at {folder}: it has no {NAME}; histories.export(runs, folder) "
            "makes one",
            path=folder,
        ) from error
    except ValueError as error:
        raise ExportError(f"{path} cannot be read ({error}); export again", path=path) from error
    if not isinstance(manifest, dict) or manifest.get(_KIND) != VERSION:
        raise ExportError(
            f"{path} is no manifest of version {VERSION} of this kit's exports; choose another "
            "folder",
            path=path,
        )
    return manifest


def write(folder: Path, manifest: Manifest) -> Manifest:
    """Put the manifest into the folder, with the sums of its parts; return it."""
    parts = manifest["parts"]
    told = {
        **manifest,
        "kit": version("projectai_lab"),
        "sdk": version("temporalio"),
        "clocks": sorted({clock for part in parts for clock in part["clocks"]}),
        "namespaces": sorted({name for part in parts for name in part["namespaces"]}),
        "runs": sum(part["runs"] for part in parts),
        "open": sum(len(part["open"]) for part in parts),
        "rows": {
            table: sum(part["rows"][table] for part in parts) for table in manifest["schemas"]
        },
    }
    told["parts"] = told.pop("parts")
    with whole_text(folder / NAME) as file:
        file.write(json.dumps(told, indent=1) + "\n")
    return told


def sweep(folder: Path, manifest: Manifest) -> None:
    """Remove what a killed export left: halves of files, and parts that no manifest names."""
    named = {file for part in manifest["parts"] for file in part["files"]}
    for path in list(folder.rglob("*")):
        ours = path.is_file() and _OURS.fullmatch(path.name)
        if ours and path.relative_to(folder).as_posix() not in named:
            path.unlink(missing_ok=True)


def facts(path: Path) -> dict[str, Any]:
    """Return size and checksum of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def now() -> str:
    """Return the time of this machine."""
    return datetime.now(UTC).isoformat(timespec="seconds")
