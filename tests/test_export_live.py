"""Exports from a real server: what is new is fetched, what is gone is told, from a terminal too."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from projectai_lab import histories, tables
from projectai_lab.cli import main
from projectai_lab.errors import ServerUnreachableError
from projectai_lab.lab import Lab
from projectai_lab.models import WorkflowInput
from projectai_lab.workflows import ExampleWorkflow
from tests import zoo
from tests.zoo import until


def run(lab: Lab, count: int) -> list[str]:
    """Run some executions to their end, find them listed as closed and return their ids."""
    handles = [
        lab.start_workflow(ExampleWorkflow.run, WorkflowInput(f"{number}", "u-1"))
        for number in range(count)
    ]
    for handle in handles:
        handle.result(timeout=60)
    ids = [handle.id for handle in handles]
    until(lambda: len(closed(lab, ids)) == count)
    return ids


def closed(lab: Lab, ids: list[str]) -> list[Any]:
    query = f"TaskQueue = '{lab.task_queue}' AND ExecutionStatus = 'Completed'"
    return [one for one in lab.list_workflows(query) if one.id in ids]


def query_of(lab: Lab) -> str:
    return f"TaskQueue = '{lab.task_queue}'"


def test_what_a_query_finds_is_exported_and_later_only_what_is_new(
    lab: Lab, tmp_path: Path
) -> None:
    first = run(lab, 3)
    done = lab.export_histories(query_of(lab), tmp_path, progress=False)
    assert (done.added, done.runs, done.open, done.gone) == (3, 3, 0, [])
    runs = lab.fetch_histories(query_of(lab))
    back = histories.read_export(tmp_path)
    for name, frame in tables.build(runs, lab.attempts).items():
        pd.testing.assert_frame_equal(back[name], frame)
    assert set(back["executions"].workflow_id) == set(first)
    # The Lab's attempt log went along.
    assert set(back["attempts"].source) == {"history+recorder"}
    assert lab.export_histories(query_of(lab), tmp_path).added == 0
    run(lab, 2)
    assert lab.export_histories(query_of(lab), tmp_path).added == 2
    assert histories.exported(tmp_path) == {one.run_id for one in lab.list_workflows(query_of(lab))}
    told = json.loads((tmp_path / "manifest.json").read_text())
    assert told["query"] == query_of(lab)
    assert told["server"][0].isdigit()
    assert told["clocks"] == [lab.clock or "unknown"]


def test_an_open_run_is_exported_as_it_is_and_renewed_once_it_has_closed(
    lab: Lab, tmp_path: Path
) -> None:
    lab.start_worker(workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES)
    handle = lab.start_workflow(zoo.Counter.run)
    done = lab.export_histories([handle.id], tmp_path)
    assert (done.added, done.open) == (1, 1)
    handle.signal(zoo.Counter.stop)
    handle.result(timeout=30)
    done = lab.export_histories([handle.id], tmp_path)
    assert (done.added, done.renewed, done.runs, done.open) == (0, 1, 1, 0)
    assert histories.read_export(tmp_path)["executions"].status.tolist() == ["COMPLETED"]


def test_a_run_that_is_gone_when_it_is_fetched_stands_in_the_manifest(
    lab: Lab, tmp_path: Path
) -> None:
    (kept,) = closed(lab, run(lab, 1))
    gone = (kept.id, str(uuid.uuid4()))
    listed = [(kept.id, kept.run_id), gone]
    done = lab.export_histories(listed, tmp_path)
    assert (done.added, done.gone) == (1, [gone])
    assert "1 gone before they could be fetched" in str(done)
    assert json.loads((tmp_path / "manifest.json").read_text())["gone"] == [list(gone)]
    before = (tmp_path / "manifest.json").read_bytes()
    assert lab.export_histories(listed, tmp_path).gone == [gone]
    assert (tmp_path / "manifest.json").read_bytes() == before


def test_the_command_exports_and_says_what_is_there(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(lab, 2)
    here = ["--address", lab.address, "--to", str(tmp_path / "study")]
    capsys.readouterr()
    assert main(["export", query_of(lab), *here]) == 0
    assert capsys.readouterr().out.startswith("2 runs added: ")
    assert lab.attempts
    log = ["--attempts", str(lab.attempts.folder), "--format", "csv", "--format", "parquet"]
    with_log = ["--address", lab.address, "--to", str(tmp_path / "x"), "--json", *log]
    assert main(["export", query_of(lab), *with_log]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["added"], told["rows"]["executions"]) == (2, 2)
    assert (tmp_path / "x/attempt_log/part-00000.jsonl").exists()
    assert main(["export", "WorkflowId = 'x'", *here]) == 3
    assert "holds an export with query" in capsys.readouterr().err
    assert main(["export", "no filter at all", "--address", lab.address, "--to", "/x"]) == 3
    assert main(["export", ""]) == 2
    assert main(["export", "", *here, "--format", "xlsx"]) == 2


def test_a_command_killed_in_the_middle_goes_on_when_called_again(lab: Lab, tmp_path: Path) -> None:
    ids = run(lab, 6)
    code = f"""
import os, signal, sys
from projectai_lab.cli import main
renames = []
def watch(event, _):
    if event == "os.rename":
        renames.append(event)
        if len(renames) == 5:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(watch)
main(["export", {query_of(lab)!r}, "--to", {str(tmp_path)!r}, "--address", {lab.address!r}])
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert list(tmp_path.rglob(".part*"))
    done = lab.export_histories(query_of(lab), tmp_path)
    assert done.runs == 6
    assert not list(tmp_path.rglob(".part*"))
    assert set(histories.read_export(tmp_path)["executions"].workflow_id) == set(ids)


def test_an_interrupt_leaves_lab_and_export_usable(lab: Lab, tmp_path: Path) -> None:
    ids = run(lab, 3)
    code = """
import signal, sys
def watch(event, _):
    if event == "os.rename":
        watch.count += 1
        if watch.count == 4:
            signal.raise_signal(signal.SIGINT)
watch.count = 0
sys.addaudithook(watch)
from projectai_lab.cli import run
sys.argv = ["projectai-lab", *sys.argv[1:]]
run()
"""
    words = ["export", query_of(lab), "--to", str(tmp_path), "--address", lab.address]
    command = [sys.executable, "-c", code, *words]
    interrupted = subprocess.run(command, capture_output=True, check=False, text=True)
    assert interrupted.returncode == 130, interrupted.stderr
    assert interrupted.stderr.endswith("interrupted\n")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["manifest.json"]
    assert lab.export_histories(query_of(lab), tmp_path).runs == len(ids)


def test_a_server_that_has_gone_is_named_and_leaves_what_is_there(
    lab: Lab, tmp_path: Path, new_id: Callable[[str], str]
) -> None:
    run(lab, 1)
    lab.export_histories(query_of(lab), tmp_path)
    lab.close()
    with Lab.start_local(worker=False, attempts=False) as other:
        assert other.server
        other.server.close()
        with pytest.raises(ServerUnreachableError, match="no Temporal server answers at"):
            other.export_histories([new_id(str(uuid.uuid4()))], tmp_path)
    assert len(histories.read_export(tmp_path)["executions"]) == 1
