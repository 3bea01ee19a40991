"""One part of an export: some runs as replayable JSON, their attempt records, their tables."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pandas as pd
from temporalio.client import WorkflowHistory

from projectai_lab import tables
from projectai_lab.histories import _manifest
from projectai_lab.histories._files import _KEY, _parse
from projectai_lab.histories._history import History
from projectai_lab.histories._sink import Record, whole

Part = dict[str, Any]
HISTORIES, RECORDS = "histories", "attempt_log"
_OPEN = ("RUNNING", "PAUSED")


def _to_jsonl(table: pd.DataFrame, path: Path) -> None:
    if table.empty:
        # pandas would write an empty line, which is no JSON.
        path.touch()
        return
    # As text, because pandas' JSON cuts times off at the microsecond, whatever unit it is told.
    times = {name: table[name].astype("str") for name in table.select_dtypes("datetimetz")}
    table.assign(**times).to_json(path, orient="records", lines=True, double_precision=15)


FORMATS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "parquet": lambda table, path: table.to_parquet(path, index=False, compression="zstd"),
    "arrow": lambda table, path: table.to_feather(path, compression="zstd"),
    "csv": lambda table, path: table.to_csv(path, index=False),
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
    records: Sequence[Record] | None,
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
            with whole(folder / files[-1]) as half:
                FORMATS[form](frame, half)
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
    with whole(folder / file) as half, zipfile.ZipFile(half, "w") as archive:
        for run in runs:
            # Without the time of day, so that the same runs give the same bytes.
            member = zipfile.ZipInfo(f"{quote(run.run_id, safe='')}.json")
            member.external_attr = 0o644 << 16
            archive.writestr(member, _json(run), zipfile.ZIP_DEFLATED)
    return file


def _json(run: WorkflowHistory) -> str:
    origin = {
        "workflow_id": run.workflow_id,
        "run_id": run.run_id,
        "namespace": getattr(run, "namespace", None),
        "clock": getattr(run, "clock", None),
    }
    return json.dumps({_KEY: origin} | run.to_json_dict())


def _write_records(folder: Path, name: str, records: Sequence[Record]) -> str:
    file = f"{RECORDS}/{name}.jsonl"
    with whole(folder / file) as half, half.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps({"kind": "attempt", **one}) + "\n" for one in records)
    return file


def run_ids(folder: Path, part: Part) -> list[str]:
    """Return the Run Ids of a part."""
    with zipfile.ZipFile(folder / HISTORIES / f"{part['name']}.zip") as archive:
        return [unquote(member.removesuffix(".json")) for member in archive.namelist()]


def histories(folder: Path, part: Part) -> Iterator[History]:
    """Yield the histories of a part."""
    path = folder / HISTORIES / f"{part['name']}.zip"
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            parsed = _parse(path, archive.read(member).decode())
            events = WorkflowHistory.from_json("", parsed).events
            origin = parsed[_KEY]
            yield History(origin["workflow_id"], events, origin["namespace"], origin["clock"])


def records(folder: Path, part: Part) -> list[Record]:
    """Return the attempt records of a part."""
    path = folder / RECORDS / f"{part['name']}.jsonl"
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
