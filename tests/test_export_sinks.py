"""What the files for other tools share: whole or not there, runs one by one, clear refusals."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory

from projectai_lab import histories
from projectai_lab.errors import ExportError, TableError
from projectai_lab.histories import _ocel, _trace, _xes
from tests.bench.decode import copies
from tests.data import golden, goldens

Sink = Callable[..., Path]
SINKS = [histories.to_xes, histories.to_ocel, histories.to_trace]
EXPORT = [*SINKS, histories.export]


@pytest.fixture(params=SINKS, ids=lambda sink: sink.__name__)
def sink(request: pytest.FixtureRequest) -> Sink:
    return request.param  # type: ignore[no-any-return]


def test_it_returns_the_path_and_makes_the_folder(sink: Sink, tmp_path: Path) -> None:
    path = sink(golden("clean"), str(tmp_path / "new" / "x"))
    assert path == tmp_path / "new" / "x"
    assert [one.name for one in path.parent.iterdir()] == ["x"]


def test_an_interrupt_leaves_no_half_and_the_old_file_as_it_was(sink: Sink, tmp_path: Path) -> None:
    def interrupted() -> Iterator[WorkflowHistory]:
        yield golden("clean")
        raise KeyboardInterrupt

    (tmp_path / "x").write_text("the one before")
    with pytest.raises(KeyboardInterrupt):
        sink(interrupted(), tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "the one before"


def test_in_batches_it_writes_the_same_and_holds_few_runs(
    sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[weakref.ref[WorkflowHistory]] = []
    most = 0

    def one_by_one() -> Iterator[WorkflowHistory]:
        nonlocal most
        for run in copies(1_000):
            own = histories.History(run.workflow_id, run.events, "default", "fast")
            given.append(weakref.ref(own))
            most = max(most, sum(one() is not None for one in given))
            yield own

    sink(one_by_one(), tmp_path / "at once")
    assert most == len(given) > 40
    given.clear()
    most = 0
    for module in (_xes, _ocel, _trace):
        monkeypatch.setattr(module, "_BATCH", 46)
    sink(one_by_one(), tmp_path / "in batches")
    assert most <= 2 * 2 + 2
    at_once = (tmp_path / "at once").read_text().splitlines()
    assert sorted(at_once) == sorted((tmp_path / "in batches").read_text().splitlines())


def test_a_path_that_cannot_be_written_is_named(sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ExportError, match=r"cannot write .*folder: Is a directory; .*call again"):
        sink(goldens(), tmp_path / "folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_what_is_no_history_is_refused(sink: Sink, tmp_path: Path) -> None:
    wrong: Any = [golden("clean"), "req-1.json"]
    with pytest.raises(TableError, match="expected histories, found str among them"):
        sink(wrong, tmp_path / "x")
    wrong = None
    with pytest.raises(TableError, match="expected histories, found NoneType among them"):
        sink(wrong, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("any_sink", EXPORT, ids=lambda sink: sink.__name__)
def test_a_history_that_names_no_run_is_refused(any_sink: Any, tmp_path: Path) -> None:
    cut_off = replace(golden("clean"), events=golden("clean").events[3:])
    nameless = golden("clean")
    started = nameless.events[0].workflow_execution_started_event_attributes
    started.original_execution_run_id = ""
    for run in (cut_off, nameless):
        with pytest.raises(TableError, match=r"Workflow Id 'clean' does not begin with"):
            any_sink([golden("mixed"), run], tmp_path / "x")


def test_a_run_given_twice_is_in_it_once(sink: Sink, tmp_path: Path) -> None:
    once = sink(golden("clean"), tmp_path / "once").read_text()
    assert sink([golden("clean")] * 2, tmp_path / "twice").read_text() == once


@pytest.mark.parametrize("with_recorder", SINKS[1:], ids=lambda sink: sink.__name__)
def test_what_is_no_recorder_is_refused(with_recorder: Sink, tmp_path: Path) -> None:
    with pytest.raises(TableError, match="recorder must yield attempt records, not str"):
        with_recorder(goldens(), tmp_path / "x", recorder=["attempts.jsonl"])


def test_a_misspelt_name_of_the_box_is_an_error_that_names_it() -> None:
    module: Any = histories
    with pytest.raises(
        AttributeError, match=r"'projectai_lab\.histories' has no attribute 'to_xess'"
    ):
        _ = module.to_xess
    assert {"to_xes", "to_ocel", "to_trace", "export"} <= set(dir(histories))
    assert all(getattr(histories, name) for name in histories.__all__)
