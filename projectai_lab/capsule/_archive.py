"""The zip of a capsule: written whole or not at all, read only when every member is as it was."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from projectai_lab._atomic import replaced
from projectai_lab.errors import CapsuleError

FORMAT = "projectai_lab/capsule/1"
MANIFEST = "manifest.json"
# Nothing that could lead out of a folder, or mean another file on another system.
SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
# Fixed, so that the same members give the same bytes; a zip cannot hold an earlier date.
_DATE = (1980, 1, 1, 0, 0, 0)
_MOST_MANIFEST_BYTES = 64 * 1024**2
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def write(path: Path, folder: Path, facts: Mapping[str, Any]) -> Path:
    """Write the files of a folder and their manifest as one zip."""
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*.*")}
    members = {name: _entry(files[name].read_bytes()) for name in sorted(files)}
    manifest = {"format": FORMAT, **facts, "members": members}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as half, zipfile.ZipFile(half, "w") as archive:
        archive.writestr(_info(MANIFEST), json.dumps(manifest, indent=2) + "\n")
        for name in members:
            archive.writestr(_info(name), files[name].read_bytes())
    return path


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the capsule when the disk does not take it."""
    try:
        yield
    except OSError as error:
        raise CapsuleError(
            f"cannot write {path}: {error.strerror or error}; make room, or name a file in a "
            "folder that you may write to",
            path=path,
        ) from error


def read(path: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return manifest and members of a zip; CapsuleError unless all of it is as it was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = _manifest(path, archive)
            return manifest, _members(path, archive, manifest["members"])
    except FileNotFoundError as error:
        raise CapsuleError(
            f"there is no file {path}; capsule.save(path, histories) makes one", path=path
        ) from error
    except IsADirectoryError as error:
        raise unusable(path, "is a directory; name the zip in it") from error
    except _BROKEN as error:
        raise unusable(
            path, f"is no whole zip ({error}); it may be cut off or damaged: copy it again"
        ) from error


def unusable(path: Path, why: str) -> CapsuleError:
    """Return the error for a file that is no whole capsule."""
    return CapsuleError(f"{path} {why}", path=path)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _entry(data: bytes) -> dict[str, Any]:
    return {"bytes": len(data), "sha256": sha256(data)}


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3
    info.external_attr = 0o644 << 16
    return info


def _manifest(path: Path, archive: zipfile.ZipFile) -> dict[str, Any]:
    if MANIFEST not in archive.namelist():
        raise unusable(path, f"is a zip but no capsule: it has no {MANIFEST}")
    try:
        with archive.open(MANIFEST) as file:
            found = json.loads(file.read(_MOST_MANIFEST_BYTES))
        format, members = found["format"], found["members"]
        entries = {str(name): (int(e["bytes"]), str(e["sha256"])) for name, e in members.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise unusable(path, f"has a {MANIFEST} that is none of a capsule ({error!r})") from error
    if format != FORMAT:
        raise unusable(path, f"is of format {format!r}; this kit reads {FORMAT!r}")
    return {**found, "members": entries}


def _members(
    path: Path, archive: zipfile.ZipFile, entries: Mapping[str, tuple[int, str]]
) -> dict[str, bytes]:
    names = archive.namelist()
    for name in names:
        if not SAFE.fullmatch(name):
            raise unusable(path, f"holds {name!r}, a name that no capsule has: do not unpack it")
    if len(names) != len(set(names)):
        raise unusable(path, "holds a member twice; it was changed after it was written")
    missing, extra = sorted({*entries} - {*names}), sorted({*names} - {*entries, MANIFEST})
    if missing or extra:
        told = ", ".join([*(f"no {name}" for name in missing), *(f"also {name}" for name in extra)])
        raise unusable(path, f"was changed after it was written: {told}")
    return {name: _checked(path, archive, name, *entry) for name, entry in entries.items()}


def _checked(path: Path, archive: zipfile.ZipFile, name: str, size: int, digest: str) -> bytes:
    # One byte more than promised is enough to know, however much the zip would unpack to.
    with archive.open(name) as file:
        data = file.read(size + 1)
    if len(data) != size or sha256(data) != digest:
        raise unusable(
            path, f"was changed after it was written: {name} is not what the manifest says"
        )
    return data
