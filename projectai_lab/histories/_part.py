"""One part of an export: some runs as replayable JSON, their attempt records, their tables."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, unquote

import pandas as pd
from temporalio.client import WorkflowHistory

from projectai_lab import tables
from projectai_lab.errors import ExportError
from projectai_lab.histories import _manifest
from projectai_lab.histories._files import as_json
from projectai_lab.histories._formats import UnusableError, histories_in
from projectai_lab.histories._sink import whole, whole_text

Part = dict[str, Any]
HISTORIES, RECORDS = "histories", "attempt_log"
_OPEN = ("RUNNING", "PAUSED")


def _to_jsonl(table: pd.DataFrame, file: BinaryIO) -> None:
    if table.empty:
        # pandas would write an empty line, which is no JSON.
        return
    # As text, because pandas' JSON cuts times off at the microsecond, whatever unit it is told.
    times = {name: table[name].astype("str") for name in table.select_dtypes("datetimetz")}
    as_text = table.assign(**times).to_json(orient="records", lines=True, double_precision=15)
    file.write(as_text.encode())


FORMATS: dict[str, Callable[[pd.DataFrame, BinaryIO], None]] = {
    "parquet": lambda table, file: table.to_parquet(file, index=False, compression="zstd"),
    "arrow": lambda table, file: table.to_feather(file, compression="zstd"),
    "csv": lambda table, file: table.to_csv(file, index=False),
    "jsonl": _to_jsonl,
}
"""How a table is written in each format."""
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    "parquet": pd.read_parquet,
    "arrow": pd.read_feather,
}
"""How a table is read again, for the formats that keep every dtype."""


def table_file(name: str, table: str, form: str) -> str:
    """Return where a table of a part stands; Parquet, the first choice, has the short way."""
    return f"{'' if form == 'parquet' else f'{form}/'}{table}/{name}.{form}"


def write(
    folder: Path,
    name: str,
    runs: Sequence[WorkflowHistory],
    records: Sequence[tables.Record] | None,
    formats: Sequence[str],
) -> Part:
    """Write a part and return its entry in the manifest; each file is whole or not there."""
    built = tables.build(runs, recorder=records)
    executions = built["executions"]
    still_open = executions[executions.status.isin(_OPEN)]
    files = [_write_histories(folder, name, runs)]
    files += [_write_records(folder, name, records)] if records is not None else []
    for table, frame in built.items():
        for form in formats:
            files.append(table_file(name, table, form))
            with whole(folder / files[-1]) as opened:
                FORMATS[form](frame, opened)
    return {
        "name": name,
        "runs": len(runs),
        "open": dict(zip(still_open.run_id, map(int, still_open.history_length), strict=True)),
        "rows": {table: len(frame) for table, frame in built.items()},
        "clocks": sorted(executions.clock.fillna("unknown").unique()),
        "namespaces": sorted(executions.namespace.dropna().unique()),
        "files": {file: _manifest.facts(folder / file) for file in files},
    }


def _write_histories(folder: Path, name: str, runs: Sequence[WorkflowHistory]) -> str:
    # One file a run would take an inode each; one archive a part opens with any tool, and each
    # member is what the Replayer, the Web UI and `histories.load` read.
    file = f"{HISTORIES}/{name}.zip"
    with whole(folder / file) as opened, zipfile.ZipFile(opened, "w") as archive:
        for run in runs:
            # Without the time of day, so that the same runs give the same bytes.
            member = zipfile.ZipInfo(f"{quote(run.run_id, safe='')}.json")
            member.external_attr = 0o644 << 16
            archive.writestr(member, as_json(run), zipfile.ZIP_DEFLATED)
    return file


def _write_records(folder: Path, name: str, records: Sequence[tables.Record]) -> str:
    file = f"{RECORDS}/{name}.jsonl"
    with whole_text(folder / file) as lines:
        lines.writelines(json.dumps({"kind": "attempt", **one}) + "\n" for one in records)
    return file


def refuse_without_records(folder: Path, parts: Sequence[Part]) -> None:
    """Raise ExportError where runs were exported without records: they would not get them now."""
    bare = [p for p in parts if f"{RECORDS}/{p['name']}.jsonl" not in p["files"]]
    if bare:
        raise ExportError(
            f"{folder} holds {sum(p['runs'] for p in bare)} runs that were exported without "
            "recorder; choose another folder, or leave recorder out",
            path=folder,
        )


def run_ids(folder: Path, part: Part) -> list[str]:
    """Return the Run Ids of a part."""
    with _archive(folder, part) as archive:
        return [unquote(member.removesuffix(".json")) for member in archive.namelist()]


def histories(folder: Path, part: Part) -> Iterator[WorkflowHistory]:
    """Yield the histories of a part."""
    with _archive(folder, part) as archive:
        for member in archive.namelist():
            for one in histories_in(archive.read(member), member):
                if isinstance(one, UnusableError):
                    raise one
                yield one


@contextmanager
def _archive(folder: Path, part: Part) -> Iterator[zipfile.ZipFile]:
    path = folder / HISTORIES / f"{part['name']}.zip"
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (FileNotFoundError, zipfile.BadZipFile, UnusableError) as error:
        raise ExportError(
            f"{path} is missing or not as it was written ({error}); export into another folder",
            path=path,
        ) from error


def records(folder: Path, part: Part) -> list[tables.Record]:
    """Return the attempt records of a part."""
    path = folder / RECORDS / f"{part['name']}.jsonl"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
