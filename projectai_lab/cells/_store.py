"""Where the cells' modules lie: one folder a user, named by content, kept for later readers.

The text of a cell that was run is part of the record of what it ran: a history names the worker's
build id, and the build's file here says which modules that worker had.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from projectai_lab._atomic import replaced
from projectai_lab.errors import CellError

PREFIX = "lab_cell_"


def folder() -> Path:
    """Return the folder: `projectai-lab/cells` in XDG_DATA_HOME, by default ~/.local/share."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "projectai-lab" / "cells"


def keep(name: str, text: str) -> str:
    """Write a cell as a module, unless it is there; return the module's name, which it can import.

    Raises `CellError` where the folder cannot be written.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    module, home = f"{PREFIX}{name}_{digest}", folder()
    _write(home / f"{module}.py", text)
    if str(home) not in sys.path:
        sys.path.append(str(home))
    return module


def keep_build(build_id: str, modules: Mapping[str, str]) -> None:
    """Keep which module each Workflow Type and activity of a worker's build came from."""
    _write(folder() / "builds" / f"{build_id}.json", json.dumps(dict(modules)))


def modules_of(build_id: str) -> dict[str, str] | None:
    """Return what `keep_build` kept; None where nothing is known of the build."""
    try:
        kept: dict[str, str] = json.loads((folder() / "builds" / f"{build_id}.json").read_text())
    except (OSError, ValueError):
        return None
    return kept


def text_of(module: str) -> str | None:
    """Return the text of a kept module."""
    try:
        return (folder() / f"{module}.py").read_text(encoding="utf-8")
    except OSError:
        return None


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            with replaced(file) as new:
                new.write(text.encode())
    except OSError as error:
        raise CellError(
            f"the cell's module cannot be kept in {file.parent}: {error.strerror}; name another "
            "place with XDG_DATA_HOME"
        ) from error
