"""`capsule.save`: write a study."""

from __future__ import annotations

import json
import os
import platform
import re
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from projectai_lab import _secrets
from projectai_lab import histories as histories_of
from projectai_lab import tables as tables_of
from projectai_lab.capsule import _archive, _parts
from projectai_lab.errors import CapsuleError

_PACKAGES = ("projectai_lab", "temporalio", "pandas", "numpy", "pyarrow", "matplotlib")

_UNSAFE = r"[^A-Za-z0-9_.-]"


def save(
    path: str | os.PathLike[str],
    histories: tables_of.Histories,
    *,
    tables: Mapping[str, pd.DataFrame] | None = None,
    figures: Mapping[str, _parts.Recipe] | None = None,
    notebook: str | os.PathLike[str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    recorder: Iterable[tables_of.Record] | None = None,
    server: str | None = None,
    accept_secrets: bool = False,
) -> Path:
    """Write a study into one zip that `capsule.open` needs nothing else for; return its path.

    `tables` are those of `tables.build(histories, recorder)` unless given. A figure is a recipe,
    the name of a function of `plots`, that of a table, and options if any: it is drawn from that
    table now and can be drawn again later, which a mere picture could not. `notebook` is a file,
    `server` the server's version, which no history tells. The recorder is kept as the attempt log.

    Raises CapsuleError, and writes nothing, for a table that would not come back equal, a figure
    that cannot be drawn, and where something looks like a secret: a value of this environment's
    keys and tokens, of the Temporal profile's API key or gRPC metadata, a private key, a token.
    `accept_secrets=True` writes it all the same, and the manifest says so.

    >>> capsule.save("study.zip", runs, recorder=lab.attempts,
    ...              figures={"retries": ("retries", "attempts")})         # doctest: +SKIP
    """
    path = Path(path)
    records = None if recorder is None else list(recorder)
    runs = _runs(histories)
    frames = dict(tables) if tables is not None else tables_of.build(runs, records)
    recipes = {
        f"{name.removesuffix('.png')}.png": _parts.recipe(name, made, frames)
        for name, made in (figures or {}).items()
    }
    with (
        _archive.writing(path),
        tempfile.TemporaryDirectory(prefix="projectai-lab-capsule-") as scratch,
    ):
        folder = Path(scratch)
        _write_runs(folder, runs, records)
        _write_tables(folder, frames)
        _write_figures(folder, recipes, frames)
        _write_study(folder, notebook, parameters)
        secrets = _secrets.scan(folder, runs, frames)
        if secrets and not accept_secrets:
            raise _refusal(path, secrets)
        facts = {**_facts(runs, server), "tables": list(frames), "figures": recipes}
        return _archive.write(path, folder, {**facts, "accepted_secrets": secrets})


def _runs(histories: tables_of.Histories) -> list[Any]:
    found: list[Any] = list(histories) if isinstance(histories, Iterable) else [histories]
    whole = tables_of.validate(tables_of.executions(found))
    if len(whole) != len(found) or not found:
        raise CapsuleError(
            f"{len(found) - len(whole)} of {len(found)} histories have no events: leave them out"
            if found
            else "there are no histories to save; histories.fetch or histories.load gives some"
        )
    return found


def _write_runs(folder: Path, runs: list[Any], records: list[tables_of.Record] | None) -> None:
    for number, run in enumerate(runs, start=1):
        histories_of.save(run, folder / "histories" / f"{number:06}.json")
    if records is not None:
        lines = (json.dumps(_parts.as_json("recorder", dict(record))) + "\n" for record in records)
        (folder / "attempts.jsonl").write_text("".join(lines), encoding="utf-8")


def _write_tables(folder: Path, frames: Mapping[str, pd.DataFrame]) -> None:
    for name, frame in frames.items():
        if not isinstance(frame, pd.DataFrame):
            raise CapsuleError(f"table {name!r} is a {type(frame).__name__}, not a DataFrame")
        _put(folder, f"tables/{name}.parquet", _parts.table_bytes(name, frame))


def _write_figures(
    folder: Path, recipes: Mapping[str, Mapping[str, Any]], frames: Mapping[str, pd.DataFrame]
) -> None:
    for name, made in recipes.items():
        _put(folder, f"figures/{name}", _parts.png(made, frames))


def _write_study(
    folder: Path,
    notebook: str | os.PathLike[str] | None,
    parameters: Mapping[str, Any] | None,
) -> None:
    if notebook is not None:
        try:
            data = Path(notebook).read_bytes()
        except OSError as error:
            raise CapsuleError(f"the notebook {notebook} cannot be read: {error}") from error
        _put(folder, f"notebook/{re.sub(_UNSAFE, '_', Path(notebook).name)}", data)
    if parameters is not None:
        kept = _parts.as_json("parameters", dict(parameters))
        _put(folder, "parameters.json", (json.dumps(kept, indent=2) + "\n").encode())


def _put(folder: Path, name: str, data: bytes) -> None:
    if not _archive.SAFE.fullmatch(name) or "." not in name:
        raise CapsuleError(
            f"{name!r} cannot be a member of a capsule: letters, digits, _, - and . only, please"
        )
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)


def _facts(runs: list[Any], server: str | None) -> dict[str, Any]:
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(server),
        "clock": ", ".join(sorted({getattr(run, "clock", None) or "unknown" for run in runs})),
        "runs": len(runs),
    }


def _versions(server: str | None) -> dict[str, str]:
    found = {"python": platform.python_version()}
    found |= {package: version(package) for package in _PACKAGES}
    return found | ({"server": server} if server else {})


def _refusal(path: Path, secrets: list[str]) -> CapsuleError:
    shown = "; ".join(secrets[:5]) + (f"; and {len(secrets) - 5} more" if secrets[5:] else "")
    return CapsuleError(
        f"{path} was not written, since it would hold what looks like a secret: {shown}. Take it "
        "out; or, if it is none: capsule.save(…, accept_secrets=True)",
        path=path,
        secrets=secrets,
    )
