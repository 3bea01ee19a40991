"""`capsule.open`: read a study back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from projectai_lab import plots
from projectai_lab.capsule import _archive, _parts
from projectai_lab.capsule._capsule import Capsule
from projectai_lab.errors import LabError


def open(path: str | os.PathLike[str]) -> Capsule:
    """Read a capsule whole, with every checksum and table verified; nothing is unpacked to disk.

    Raises CapsuleError for a file that is damaged, changed, or no capsule.

    >>> study = capsule.open("study.zip")                                      # doctest: +SKIP
    >>> study.tables["attempts"], study.draw("retries")                        # doctest: +SKIP
    """
    path = Path(path)
    manifest, members = _archive.read(path)
    try:
        return _capsule(path, manifest, members)
    except (LabError, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        why = f"holds what this kit cannot read, though its checksums are right: {error!r}"
        raise _archive.unusable(path, why) from error


def _capsule(path: Path, manifest: dict[str, Any], members: dict[str, bytes]) -> Capsule:
    figures = manifest["figures"]
    foreign = sorted({made["plot"] for made in figures.values()} - {*plots.__all__})
    if foreign:
        raise ValueError(f"figures drawn by {', '.join(foreign)}")
    kept = _below("notebook/", members)
    lines = members.get("attempts.jsonl")
    return Capsule(
        path=path,
        manifest=manifest,
        histories=[_parts.read_history(data) for data in _below("histories/", members).values()],
        tables={
            name: _parts.read_table(members[f"tables/{name}.parquet"])
            for name in manifest["tables"]
        },
        figures={name: members[f"figures/{name}"] for name in figures},
        notebook=next(iter(kept.values())).decode() if kept else None,
        parameters=json.loads(members.get("parameters.json", b"{}")),
        recorder=None if lines is None else [json.loads(line) for line in lines.splitlines()],
        members=members,
    )


def _below(folder: str, members: dict[str, bytes]) -> dict[str, bytes]:
    return {name: members[name] for name in sorted(members) if name.startswith(folder)}
