"""Injected faults in the attempt log and as a table; logs from before there were any still load."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from projectai_lab import attempts, histories, tables
from projectai_lab.attempts import AttemptLog, AttemptRecorder, read, read_faults
from projectai_lab.errors import HistoryFileError, TableError
from projectai_lab.tables import schema
from tests.data import HERE, attempt_records, goldens

START = {
    "kind": "start",
    "key": "a",
    "namespace": "default",
    "workflow_id": "w-1",
    "run_id": "r-1",
    "activity_id": "1",
    "activity_type": "ask",
    "attempt": 1,
    "worker_started_ns": 10,
}
END = {"kind": "end", "key": "a", "worker_finished_ns": 30, "outcome": "FAILED"}
FAULT: dict[str, Any] = {
    **{"kind": "fault", "key": "f", "namespace": "default", "workflow_id": "w-1"},
    **{"run_id": "r-1", "activity_id": "1", "activity_type": "ask", "attempt": 1},
    **{"rule": "outage", "fault": "fail", "point": "start", "probability": 0.5},
    **{"error_type": "Busy", "retryable": True, "next_retry_delay_s": None, "delay_s": None},
    **{"identity": "me", "pid": 7, "host": "here", "injected_ns": 20},
}


def written(folder: Path, *rows: dict[str, Any], name: str = "1.jsonl") -> Path:
    """Write rows as one process's file of a log."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def test_fault_rows_do_not_disturb_the_attempts(tmp_path: Path) -> None:
    plain = read(written(tmp_path / "plain", START, END))
    assert read(written(tmp_path / "struck", START, FAULT, END)) == plain
    assert len(plain) == 1
    assert read_faults(tmp_path / "plain") == []
    assert read_faults(tmp_path / "struck") == [FAULT]


def test_faults_of_several_processes_come_in_the_order_of_their_injection(tmp_path: Path) -> None:
    later = {**FAULT, "key": "g", "injected_ns": 40}
    folder = written(tmp_path / "log", later)
    written(folder, FAULT, name="2.jsonl")
    assert [row["key"] for row in AttemptLog(folder).faults()] == ["f", "g"]


def test_half_a_row_of_a_killed_process_is_skipped(tmp_path: Path) -> None:
    folder = written(tmp_path / "log", START, FAULT)
    with (folder / "1.jsonl").open("a") as file:
        file.write('{"kind": "fault", "key": "h", "rul')
    assert [row["key"] for row in read_faults(folder)] == ["f"]
    assert len(read(folder)) == 1


def test_a_saved_log_is_read_as_the_folder_was(tmp_path: Path) -> None:
    log = AttemptLog(written(tmp_path / "log", START, FAULT, END))
    saved = log.save(tmp_path / "saved.jsonl")
    assert read(saved) == log.records()
    assert read_faults(saved) == log.faults() == [FAULT]


def test_a_closed_log_keeps_its_faults_in_memory(tmp_path: Path) -> None:
    log = AttemptLog(within=tmp_path)
    written(log.folder, START, FAULT)
    log.close()
    assert not log.folder.exists()
    assert log.faults() == [FAULT]
    assert len(log.records()) == 1
    assert len(read_faults(log.save(tmp_path / "saved.jsonl"))) == 1


def test_a_log_from_before_there_were_faults_has_none() -> None:
    table = tables.faults(read_faults(HERE / "attempts.jsonl"))
    assert table.empty
    assert len(attempt_records()) > 0


def test_a_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HistoryFileError, match=r"there is no attempt log at .*gone"):
        read_faults(tmp_path / "gone")


def test_the_table_keeps_its_schema_and_its_clock(tmp_path: Path) -> None:
    log = AttemptLog(written(tmp_path / "log", START, FAULT))
    table = tables.faults(log, clock="fast")
    described = schema.columns("faults").set_index("column")
    assert list(table.columns) == list(described.index)
    assert [str(dtype) for dtype in table.dtypes] == described["dtype"].tolist()
    assert described.clock["injected_time"] == "worker"
    assert table.attrs == {"schema": "projectai_lab/faults/1", "clock": "fast"}
    pd.testing.assert_frame_equal(tables.validate(table), table)
    (row,) = table.itertuples()
    assert (row.rule, row.kind, row.point, row.probability) == ("outage", "fail", "start", 0.5)
    assert row.injected_time == pd.Timestamp(20, tz="UTC")
    assert row.worker_identity == "me"


def test_an_empty_table_has_the_same_columns_and_dtypes(tmp_path: Path) -> None:
    empty = tables.faults(AttemptLog(tmp_path / "none"))
    full = tables.faults([FAULT])
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    pd.testing.assert_frame_equal(tables.validate(empty), empty)


def test_a_table_of_faults_survives_parquet(tmp_path: Path) -> None:
    table = tables.faults([FAULT])
    table.to_parquet(tmp_path / "faults.parquet")
    pd.testing.assert_frame_equal(
        tables.validate(pd.read_parquet(tmp_path / "faults.parquet"), "faults"), table
    )


@pytest.mark.parametrize("given", [[START], attempt_records(), ["x"]])
def test_what_holds_no_faults_is_refused_with_the_next_step(given: Any) -> None:
    with pytest.raises(TableError, match=r"tables\.faults\(lab\.attempts\), or attempts\.read_f"):
        tables.faults(given)


def test_a_lab_without_an_attempt_log_has_no_faults() -> None:
    with pytest.raises(TableError, match="open the Lab with attempts=True"):
        tables.faults(None)


def test_a_log_with_faults_goes_through_tables_and_exports(tmp_path: Path) -> None:
    source = (HERE / "attempts.jsonl").read_text()
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "1.jsonl").write_text(source + json.dumps(FAULT) + "\n")
    log = AttemptLog(folder)
    with_faults = tables.build(goldens(), recorder=log)
    without = tables.build(goldens(), recorder=attempt_records())
    for name, table in without.items():
        pd.testing.assert_frame_equal(with_faults[name], table)
    done = histories.export(goldens(), tmp_path / "study", recorder=log)
    assert done is not None


def test_a_full_disk_costs_the_row_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = AttemptRecorder(AttemptLog(tmp_path), "me")
    recorder.close()
    # A row after the end is dropped, as those of attempts are.
    recorder._write(FAULT)
    assert attempts.read_faults(tmp_path) == []
    assert not caplog.records
