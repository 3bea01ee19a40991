"""Exports: whole or continued, the same tables back, and a clear word when something is wrong."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import weakref
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

import projectai_lab
from projectai_lab import attempts, histories, tables
from projectai_lab.errors import ExportError, TableError
from projectai_lab.histories import _manifest
from projectai_lab.workflows import ExampleWorkflow
from tests.bench.decode import copies
from tests.data import HERE, attempt_records, golden, goldens

FILES_A_PART = 1 + len(tables.build([])) + 1
"""Histories, tables and the manifest after them."""


def files(folder: Path) -> dict[str, str]:
    """Return the checksum of each file except the manifest, whose times differ."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def manifest(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return found


def names(folder: Path) -> list[str]:
    return [part["name"] for part in manifest(folder)["parts"]]


def assert_tables(folder: Path, runs: list[Any], recorder: Any = None) -> None:
    """Hold what is read back against tables made directly."""
    back, direct = histories.read_export(folder), tables.build(runs, recorder)
    assert list(back) == list(direct)
    for name, frame in direct.items():
        pd.testing.assert_frame_equal(back[name], frame)
        assert back[name].attrs == frame.attrs


def test_what_is_exported_comes_back_equal_from_several_parts(tmp_path: Path) -> None:
    done = histories.export(goldens(), tmp_path, recorder=attempt_records(), part_events=60)
    assert names(tmp_path) == ["part-00000", "part-00001"]
    assert (done.added, done.runs, done.rows["events"], done.open) == (4, 4, 165, 0)
    assert_tables(tmp_path, goldens(), attempt_records())
    whole = pd.read_parquet(tmp_path / "events")
    assert len(whole) == 165
    exported = {run.run_id for run in goldens()}
    assert attempts.read(tmp_path / "attempt_log") == [
        record for record in attempt_records() if record["run_id"] in exported
    ]


def test_each_history_is_a_file_that_loads_and_replays(tmp_path: Path) -> None:
    saved = [histories.load(p) for p in sorted((HERE / "example_workflow").glob("*.json"))]
    histories.export(saved, tmp_path / "export")
    with zipfile.ZipFile(tmp_path / "export/histories/part-00000.zip") as archive:
        assert archive.namelist() == [f"{run.run_id}.json" for run in saved]
        archive.extractall(tmp_path / "out")
    back = [histories.load(tmp_path / "out" / f"{run.run_id}.json") for run in saved]
    assert back == saved
    assert {run.run_id for run in histories.load_all(tmp_path / "export")} == {
        run.run_id for run in saved
    }
    replayer = Replayer(workflows=[ExampleWorkflow])
    for run in back:
        asyncio.run(replayer.replay_workflow(run))


def test_every_format_holds_the_same_rows(tmp_path: Path) -> None:
    formats = ("jsonl", "csv", "arrow", "parquet")
    histories.export(goldens(), tmp_path, formats=formats, part_events=60)
    direct = tables.build(goldens())
    for name, frame in direct.items():
        text = [pd.read_csv(file) for file in sorted((tmp_path / "csv" / name).iterdir())]
        assert sum(map(len, text)) == len(frame)
        assert list(text[0].columns) == list(frame.columns)
        lines = (tmp_path / "jsonl" / name).glob("*.jsonl")
        assert sum(len(file.read_text().splitlines()) for file in lines) == len(frame)
    arrow = pd.read_feather(tmp_path / "arrow/attempts/part-00000.arrow")
    pd.testing.assert_frame_equal(
        tables.validate(arrow), histories.read_export(tmp_path)["attempts"].iloc[: len(arrow)]
    )
    first = json.loads((tmp_path / "jsonl/events/part-00000.jsonl").read_text().splitlines()[0])
    assert pd.Timestamp(first["event_time"]) == direct["events"].event_time[0]
    assert first["timer_id"] is None
    last = json.loads((tmp_path / "jsonl/executions/part-00001.jsonl").read_text().splitlines()[-1])
    assert last["duration_s"] == direct["executions"].duration_s.iloc[-1]
    text = pd.read_csv(tmp_path / "csv/events/part-00000.csv")
    assert pd.Timestamp(text.event_time[0]) == direct["events"].event_time[0]


def test_arrow_alone_is_read_back_too(tmp_path: Path) -> None:
    histories.export(goldens(), tmp_path, formats=["arrow"])
    assert_tables(tmp_path, goldens())


def test_the_manifest_says_what_is_in_it_and_from_what(tmp_path: Path) -> None:
    gone = [("lost", "run-1"), ("lost-too", None)]
    histories.export(goldens(), tmp_path, query="X = 1", gone=gone, server="1.2.3", part_events=60)
    told = manifest(tmp_path)
    assert (told["kit"], told["server"]) == (projectai_lab.__version__, "1.2.3")
    assert told["sdk"]
    assert (told["query"], told["formats"], told["clocks"]) == ("X = 1", ["parquet"], ["fast"])
    assert (told["namespaces"], told["runs"], told["open"]) == (["default"], 4, 0)
    assert told["gone"] == [["lost", "run-1"], ["lost-too", None]]
    assert told["schemas"]["events"] == "projectai_lab/events/1"
    assert told["rows"] == {name: len(df) for name, df in tables.build(goldens()).items()}
    assert told["started"] <= told["finished"]
    listed = {file: facts for part in told["parts"] for file, facts in part["files"].items()}
    assert {file: facts["sha256"] for file, facts in listed.items()} == files(tmp_path)
    assert all((tmp_path / file).stat().st_size == one["bytes"] for file, one in listed.items())


def test_called_again_it_says_that_nothing_is_new_and_touches_nothing(tmp_path: Path) -> None:
    histories.export(goldens(), tmp_path)
    before = (tmp_path / "manifest.json").read_bytes(), files(tmp_path)
    done = histories.export(goldens(), tmp_path)
    assert str(done) == f"nothing new: {tmp_path} holds 4 runs with 165 events"
    assert ((tmp_path / "manifest.json").read_bytes(), files(tmp_path)) == before


def test_called_again_it_adds_only_the_runs_that_are_not_in_it(tmp_path: Path) -> None:
    histories.export(goldens()[:2], tmp_path)
    old = files(tmp_path)
    done = histories.export([*goldens(), golden("clean")], tmp_path)
    assert str(done).startswith("2 runs added: ")
    assert files(tmp_path).items() > old.items()
    assert_tables(tmp_path, goldens())


def test_a_run_given_twice_is_in_it_once(tmp_path: Path) -> None:
    assert histories.export([golden("clean"), golden("clean")], tmp_path).runs == 1
    assert histories.export(golden("clean"), tmp_path).added == 0


def test_nothing_is_an_export_too(tmp_path: Path) -> None:
    empty = golden("clean", events=0)
    assert histories.export([empty], tmp_path / "x").runs == 0
    assert manifest(tmp_path / "x")["finished"]
    assert all(frame.empty for frame in histories.read_export(tmp_path / "x").values())


def test_an_open_run_that_has_grown_is_written_again(tmp_path: Path) -> None:
    records = attempt_records()
    early = [golden("clean"), golden("mixed", events=12), golden("timeouts", events=9)]
    done = histories.export(early, tmp_path, recorder=records)
    assert (done.open, histories.exported(tmp_path)) == (2, {golden("clean").run_id})
    later = [golden("mixed"), golden("timeouts", events=9)]
    done = histories.export(later, tmp_path, recorder=[])
    assert str(done).startswith("1 run renewed: ")
    assert str(done).endswith("3 runs with 78 events, 1 still open")
    assert names(tmp_path) == ["part-00001"]
    assert not [file for file in files(tmp_path) if "part-00000" in file]
    assert_tables(tmp_path, [early[0], golden("mixed"), early[2]], records)


SCRIPT = """
import os, signal, sys
from projectai_lab import histories
from tests.test_export import SOURCES

folder, source, event, number = sys.argv[1:]
runs, happened = SOURCES[source](), 0

def watch(name, _):
    global happened
    if name == event:
        happened += 1
        if happened == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
histories.export(runs, folder, part_events=40)
"""


def killed(folder: Path, source: str, event: str, number: int) -> None:
    """Export in a process that kills itself the moment before it does something."""
    command = [sys.executable, "-c", SCRIPT, str(folder), source, event, str(number)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert done.returncode == -9, done.stderr


def runs() -> list[WorkflowHistory]:
    """Return runs for three parts of two and one of one."""
    return copies(150)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    histories.export(runs(), folder, part_events=40)
    assert len(names(folder)) == 4
    return folder


@pytest.mark.parametrize(
    "rename",
    [1, 2, 3, FILES_A_PART + 1, FILES_A_PART + 4, 2 * FILES_A_PART + 2, 3 * FILES_A_PART + 2],
)
def test_killed_at_any_file_and_called_again_it_equals_an_undisturbed_one(
    rename: int, undisturbed: Path, tmp_path: Path
) -> None:
    killed(tmp_path, "runs", "os.rename", rename)
    halves = [path.name for path in tmp_path.rglob(".*")]
    assert halves, "it was killed before a rename, so the half of a file is there"
    histories.export(runs(), tmp_path, part_events=40)
    assert files(tmp_path) == files(undisturbed)
    assert manifest(tmp_path)["parts"] == manifest(undisturbed)["parts"]
    assert [path for path in tmp_path.rglob("*") if path.name.startswith(".")] == []


def early() -> list[WorkflowHistory]:
    """Return two runs that are open, for one part."""
    return [golden("timeouts", events=9), golden("mixed", events=31)]


def later() -> list[WorkflowHistory]:
    """Return one of them, closed."""
    return [golden("mixed")]


SOURCES = {"runs": runs, "later": later}


@pytest.mark.parametrize(
    ("event", "number"),
    [
        ("os.rename", 1),
        ("os.rename", 4),
        ("os.rename", FILES_A_PART),
        ("os.remove", FILES_A_PART + 1),
        ("os.remove", FILES_A_PART + 3),
    ],
)
def test_killed_while_it_renews_and_called_again_it_equals_an_undisturbed_one(
    event: str, number: int, tmp_path: Path
) -> None:
    for folder in (tmp_path / "undisturbed", tmp_path / "killed"):
        histories.export(early(), folder)
    histories.export(later(), tmp_path / "undisturbed")
    killed(tmp_path / "killed", "later", event, number)
    histories.export(later(), tmp_path / "killed")
    assert files(tmp_path / "killed") == files(tmp_path / "undisturbed")
    told = [manifest(tmp_path / name)["parts"] for name in ("killed", "undisturbed")]
    assert told[0] == told[1]
    assert_tables(tmp_path / "killed", [golden("timeouts", events=9), golden("mixed")])


def test_an_interrupt_leaves_whole_parts_and_it_goes_on(undisturbed: Path, tmp_path: Path) -> None:
    def interrupted() -> Iterator[WorkflowHistory]:
        yield from runs()[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        histories.export(interrupted(), tmp_path, part_events=40)
    assert names(tmp_path) == ["part-00000"]
    assert manifest(tmp_path)["finished"] is None
    assert len(pd.read_parquet(tmp_path / "executions")) == manifest(tmp_path)["runs"] == 2
    histories.export(runs(), tmp_path, part_events=40)
    assert files(tmp_path) == files(undisturbed)


FULL = """
import resource, sys
from projectai_lab import histories
from projectai_lab.errors import ExportError
from tests.bench.decode import copies

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    form, events = sys.argv[2:]
    histories.export(copies(3_000), sys.argv[1], formats=[form], part_events=int(events))
except ExportError as error:
    print(error)
    sys.exit(5)
"""


@pytest.mark.parametrize(("form", "events"), [("parquet", 2_990), ("csv", 900)])
def test_a_full_disk_is_named_and_it_goes_on_later(form: str, events: int, tmp_path: Path) -> None:
    histories.export(copies(20), tmp_path, formats=[form])
    before = files(tmp_path)
    command = [sys.executable, "-c", FULL, str(tmp_path), form, str(events)]
    full = subprocess.run(command, capture_output=True, check=False, timeout=120, text=True)
    assert full.returncode == 5, full.stderr
    assert f"cannot write {tmp_path}" in full.stdout
    assert "File too large" in full.stdout
    assert "what was written before is whole" in full.stdout
    assert files(tmp_path) == before
    assert histories.export(copies(3_000), tmp_path, formats=[form]).runs == len(copies(3_000))


@pytest.fixture
def forbidden(tmp_path: Path) -> Iterator[Path]:
    """Be somebody who may not write into a folder, also where the tests run as root."""
    folder = tmp_path / "forbidden"
    folder.mkdir()
    for sink in (histories.export, histories.to_xes, histories.to_ocel, histories.to_trace):
        # Loads what it needs, which may be where only root can read.
        sink([], tmp_path / f"before-{sink.__name__}")
    user = os.geteuid()
    folder.chmod(0o500 if user else 0o555)
    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:2]:
        parent.chmod(0o755)
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    folder.chmod(0o700)


def test_permission_denied_is_named(forbidden: Path) -> None:
    for export in (
        lambda path: histories.export(golden("clean"), path),
        lambda path: histories.to_xes(golden("clean"), path),
        lambda path: histories.to_ocel(golden("clean"), path),
        lambda path: histories.to_trace(golden("clean"), path),
    ):
        with pytest.raises(ExportError, match=r"cannot write .*forbidden.*: Permission denied"):
            export(forbidden / "new")


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    with pytest.raises(ExportError, match=r"cannot write .*taken: File exists"):
        histories.export(goldens(), tmp_path / "taken")
    with pytest.raises(ExportError, match=r"cannot write .*below: Not a directory"):
        histories.export(goldens(), tmp_path / "taken" / "below")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"query": "Y = 2"}, "holds an export with query 'X = 1', not 'Y = 2'"),
        ({"query": "X = 1", "formats": ["csv"]}, r"with formats \['parquet'\], not \['csv'\]"),
    ],
)
def test_a_folder_with_another_export_is_refused(
    options: dict[str, Any], why: str, tmp_path: Path
) -> None:
    histories.export(goldens(), tmp_path, query="X = 1")
    before = files(tmp_path)
    with pytest.raises(ExportError, match=f"{why}; choose another folder"):
        histories.export(goldens(), tmp_path, **options)
    assert files(tmp_path) == before


def test_records_that_come_after_their_runs_are_refused_not_dropped(tmp_path: Path) -> None:
    histories.export(goldens(), tmp_path)
    before = files(tmp_path)
    why = r"holds 4 runs that were exported without recorder; choose another folder, or leave"
    with pytest.raises(ExportError, match=why):
        histories.export(goldens(), tmp_path, recorder=attempt_records())
    assert files(tmp_path) == before
    assert not histories.export(goldens(), tmp_path).added


def test_a_slip_in_the_query_does_not_spoil_the_folder(tmp_path: Path) -> None:
    def refused() -> Iterator[WorkflowHistory]:
        raise ConnectionError("malformed query")
        yield

    with pytest.raises(ConnectionError, match="malformed"):
        histories.export(refused(), tmp_path, query="X == 1")
    assert histories.export(goldens(), tmp_path, query="X = 1").added == len(goldens())
    assert manifest(tmp_path)["query"] == "X = 1"


def test_a_folder_of_another_schema_version_is_refused(tmp_path: Path) -> None:
    histories.export(goldens(), tmp_path)
    told = manifest(tmp_path)
    told["schemas"]["events"] = "projectai_lab/events/0"
    (tmp_path / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(ExportError, match=r"holds an export with schemas .*events/0"):
        histories.export(goldens(), tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({**told, "projectai_lab_export": 99}))
    with pytest.raises(ExportError, match=r"is no manifest of version 1"):
        histories.export(goldens(), tmp_path)


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ExportError, match=r"is not empty \(thesis.tex\) and holds no manifest"):
        histories.export(goldens(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_is_not_ours_in_an_export_is_left_alone(tmp_path: Path) -> None:
    histories.export(goldens()[:1], tmp_path)
    (tmp_path / "events" / "notes.txt").write_text("mine")
    (tmp_path / "events" / "part-00009.parquet").write_text("left by a kill")
    histories.export(goldens(), tmp_path)
    assert (tmp_path / "events" / "notes.txt").read_text() == "mine"
    assert not (tmp_path / "events" / "part-00009.parquet").exists()


def test_a_manifest_that_is_broken_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"projectai_lab_export": 1, "par')
    for call in (histories.read_export, histories.exported):
        with pytest.raises(ExportError, match=r"manifest.json cannot be read"):
            call(tmp_path)


@pytest.mark.parametrize("damage", [b"PK\x03\x04 cut off", None])
def test_a_damaged_archive_is_named_before_anything_is_written(
    damage: bytes | None, tmp_path: Path
) -> None:
    histories.export(golden("mixed", events=12), tmp_path)
    archive = tmp_path / "histories/part-00000.zip"
    archive.write_bytes(damage) if damage else archive.unlink()
    before = files(tmp_path)
    with pytest.raises(ExportError, match=r"part-00000.zip is missing or not as it was written"):
        histories.export(golden("mixed"), tmp_path)
    assert files(tmp_path) == before


def test_two_exports_into_one_folder_at_once_are_refused(tmp_path: Path) -> None:
    with (
        _manifest.claimed(tmp_path),
        pytest.raises(ExportError, match="another export writes into"),
    ):
        histories.export(goldens(), tmp_path)
    assert histories.export(goldens(), tmp_path).added == 4


def test_reading_says_what_is_missing_changed_or_not_to_be_had(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="there is no export at"):
        histories.read_export(tmp_path)
    histories.export(goldens(), tmp_path / "csv", formats=["csv"])
    with pytest.raises(ExportError, match=r"holds csv alone, which keep no dtypes"):
        histories.read_export(tmp_path / "csv")
    histories.export(goldens(), tmp_path / "x")
    file = tmp_path / "x/events/part-00000.parquet"
    shorter = tables.events(goldens()).iloc[:-1]
    shorter.to_parquet(file, index=False)
    with pytest.raises(ExportError, match=r"part-00000.parquet is not as it was written"):
        histories.read_export(tmp_path / "x")
    assert len(histories.read_export(tmp_path / "x", verify=False)["events"]) == len(shorter)
    file.unlink()
    with pytest.raises(ExportError, match=r"part-00000.parquet is missing"):
        histories.read_export(tmp_path / "x", verify=False)


@pytest.mark.parametrize("formats", [["xlsx"], "xlsx", []])
def test_an_unknown_format_is_refused_with_the_known_ones(formats: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"format .*; there are parquet, arrow, csv, jsonl"):
        histories.export(goldens(), tmp_path / "x", formats=formats)
    assert not (tmp_path / "x").exists()


def test_what_is_no_history_and_no_record_is_refused(tmp_path: Path) -> None:
    wrong: Any = ["req-1.json"]
    with pytest.raises(TableError, match="expected histories, found str among them"):
        histories.export(wrong, tmp_path)
    with pytest.raises(TableError, match="recorder must yield attempt records, not str"):
        histories.export(goldens(), tmp_path, recorder=wrong)
    with pytest.raises(TableError, match="recorder holds a record without run_id; pass recorder="):
        histories.export(goldens(), tmp_path, recorder=[{"attempt": 1}])


def test_a_source_s_own_error_passes_and_earlier_parts_stay(tmp_path: Path) -> None:
    def failing() -> Iterator[WorkflowHistory]:
        yield from runs()[:3]
        raise ConnectionResetError("the server has gone")

    with pytest.raises(ConnectionResetError, match="the server has gone"):
        histories.export(failing(), tmp_path, part_events=40)
    assert names(tmp_path) == ["part-00000"]
    with pytest.raises(ConnectionResetError, match="the server has gone"):
        histories.to_xes(failing(), tmp_path / "x.xes")
    assert not list(tmp_path.glob("*.xes*"))


def test_ids_may_hold_anything(tmp_path: Path) -> None:
    odd = golden("clean")
    started = odd.events[0].workflow_execution_started_event_attributes
    started.original_execution_run_id = started.workflow_id = "../../<run> %2F\u00e9"
    histories.export(replace(odd, workflow_id="../../<run> %2F\u00e9"), tmp_path)
    assert histories.exported(tmp_path) == {"../../<run> %2F\u00e9"}
    with zipfile.ZipFile(tmp_path / "histories/part-00000.zip") as archive:
        assert all("/" not in name for name in archive.namelist())
    assert histories.export(replace(odd, workflow_id="x"), tmp_path).added == 0


def test_no_more_than_two_parts_of_runs_are_alive_at_a_time(tmp_path: Path) -> None:
    given: list[weakref.ref[WorkflowHistory]] = []
    most = 0

    def one_by_one() -> Iterator[WorkflowHistory]:
        nonlocal most
        for number, run in enumerate(copies(1_000)):
            own = histories.History(run.workflow_id, run.events, str(number))
            given.append(weakref.ref(own))
            most = max(most, sum(one() is not None for one in given))
            yield own

    assert histories.export(one_by_one(), tmp_path, part_events=46).runs == len(copies(1_000))
    assert most <= 2 * 2 + 2
