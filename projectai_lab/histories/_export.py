"""`histories.export`: any number of runs as replayable JSON and tables, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pandas as pd

from projectai_lab import tables
from projectai_lab._bar import Bar
from projectai_lab.errors import ExportError
from projectai_lab.histories import _manifest, _part
from projectai_lab.histories._part import FORMATS, READERS
from projectai_lab.histories._refs import Ids
from projectai_lab.histories._sink import BATCH_EVENTS, Histories, batches
from projectai_lab.histories._writer import Export, Writer


def export(
    histories: Histories,
    to: str | os.PathLike[str],
    *,
    recorder: Iterable[tables.Record] | None = None,
    query: str | None = None,
    gone: Collection[Ids] = (),
    server: str | None = None,
    formats: Sequence[str] = ("parquet",),
    part_events: int = BATCH_EVENTS,
    progress: bool = True,
) -> Export:
    """Write runs into a folder, part by part; call it again to go on or to add what is new.

    Each part of about `part_events` events is `histories/part-….zip` (one replayable JSON a run),
    `attempt_log/part-….jsonl` (where `recorder` is given) and `<table>/part-….parquet`; further
    formats (arrow, csv, jsonl) stand in folders of their own. A part counts once manifest.json
    names it. Runs may come from a generator: one part at a time is in memory, and `recorder`.
    `query`, `gone` (read as it grows) and `server` (its version) are kept in the manifest. A run
    that was open and has grown is written again. What cannot be written, a folder that holds
    something else or another export raises ExportError.

    >>> histories.export(runs, "study", recorder=lab.attempts)                 # doctest: +SKIP
    >>> pd.read_parquet("study/events")                                        # doctest: +SKIP
    """
    chosen = _chosen(formats)
    folder = Path(to)
    with _manifest.claimed(folder):
        writer = Writer(folder, query, chosen, recorder)
        with Bar(unit="run", delay=1.0, disable=not progress, leave=False) as bar:
            for batch in batches(histories, part_events, unless=writer.holds):
                writer.add(batch, gone)
                bar.update(len(batch))
        return writer.finish(gone, server)


def _chosen(formats: Sequence[str]) -> tuple[str, ...]:
    wanted = [formats] if isinstance(formats, str) else formats
    unknown = [form for form in wanted if form not in FORMATS]
    if unknown or not wanted:
        told = f"no format {', '.join(unknown)}" if unknown else "no format is given"
        raise ValueError(f"{told}; there are {', '.join(FORMATS)}")
    return tuple(form for form in FORMATS if form in wanted)


def exported(folder: str | os.PathLike[str]) -> set[str]:
    """Return the Run Ids of the closed runs in an export, which need no fetching again.

    >>> histories.exported("not there yet")
    set()
    """
    if not (Path(folder) / _manifest.NAME).exists():
        return set()
    parts = _manifest.read(Path(folder))["parts"]
    return {one for part in parts for one in _part.run_ids(Path(folder), part)} - {
        one for part in parts for one in part["open"]
    }


def read_export(folder: str | os.PathLike[str], *, verify: bool = True) -> dict[str, pd.DataFrame]:
    """Return the tables of an export by name, each validated; needs its Parquet or Arrow files.

    A file that is missing or, with `verify`, not the one written (sha256) raises ExportError.

    >>> histories.read_export("study")["attempts"]                             # doctest: +SKIP
    """
    path = Path(folder)
    manifest = _manifest.read(path)
    form = next((form for form in READERS if form in manifest["formats"]), None)
    if form is None:
        raise ExportError(
            f"{path} holds {', '.join(manifest['formats'])} alone, which keep no dtypes; "
            "read its histories/ and use tables.build",
            path=path,
        )
    _check(path, manifest, form, verify)
    return {name: _read(path, manifest, name, form) for name in manifest["schemas"]}


def _check(folder: Path, manifest: _manifest.Manifest, form: str, verify: bool) -> None:
    for part in manifest["parts"]:
        for file in (_part.table_file(part["name"], name, form) for name in manifest["schemas"]):
            there = (folder / file).is_file()
            if not there or (verify and _manifest.facts(folder / file) != part["files"][file]):
                raise ExportError(
                    f"{folder / file} is {'not as it was written' if there else 'missing'}; "
                    "export into another folder again",
                    path=folder / file,
                )


def _read(folder: Path, manifest: _manifest.Manifest, name: str, form: str) -> pd.DataFrame:
    files = [folder / _part.table_file(part["name"], name, form) for part in manifest["parts"]]
    frames = [tables.validate(READERS[form](file), name) for file in files]
    found = pd.concat(frames, ignore_index=True) if frames else tables.build([])[name]
    clock = ", ".join(manifest["clocks"]) or "unknown"
    found.attrs = {"schema": manifest["schemas"][name], "clock": clock}
    return tables.validate(found, name)
