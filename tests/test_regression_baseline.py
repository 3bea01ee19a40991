"""Baselines: text that comes back as the table that it was, or a clear error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from projectai_lab import histories, regression, tables
from projectai_lab.errors import BaselineError, HistoryFileError, RegressionError
from projectai_lab.regression import _baseline
from projectai_lab.workflows import ExampleWorkflow
from tests.data import HERE, attempt_records, goldens


def table() -> pd.DataFrame:
    """Make a table with every dtype that a baseline holds."""
    times = pd.to_datetime(["2026-01-02T03:04:05.000000006Z", None], utc=True)
    frame = pd.DataFrame(
        {
            "text": pd.array(['a "b", ü', None], dtype="str"),
            "empty": pd.array(["", "x"], dtype="str"),
            "count": pd.array([1, None], dtype="Int64"),
            "number": [0.1 + 0.2, float("inf")],
            "gap": [None, 1.5],
            "flag": pd.array([True, None], dtype="boolean"),
            "plain": [True, False],
            "kind": pd.Categorical(["x", None]),
            "time": times.astype("datetime64[ns, UTC]"),
            "span": pd.to_timedelta(["1s", "2s"]).astype("timedelta64[ns]"),
        }
    )
    frame.attrs = {"schema": "mine/steps/1", "clock": "fast"}
    return frame


def test_a_baseline_comes_back_as_it_was(tmp_path: Path) -> None:
    path = regression.save(table(), tmp_path / "deep" / "a.json", reason="the first")
    found = regression.load(path)
    pd.testing.assert_frame_equal(found.frame, table(), check_categorical=False)
    assert found.columns == {name: str(dtype) for name, dtype in table().dtypes.items()}
    assert (found.schema, found.clock) == ("mine/steps/1", "fast")
    assert [path.name for path in tmp_path.rglob("*.*")] == ["a.json"]


def test_every_table_of_ours_comes_back(tmp_path: Path) -> None:
    for name, frame in tables.build(goldens(), attempt_records()).items():
        path = regression.save(frame, tmp_path / f"{name}.json", reason="x")
        rule = regression.exact(frame.columns)
        assert regression.check(frame, [rule, regression.columns()], baseline=path).ok


def test_a_baseline_is_text_with_a_row_a_line(tmp_path: Path) -> None:
    path = regression.save(table(), tmp_path / "a.json", reason="x", columns=["text", "count"])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[-3:] == ['["a \\"b\\", ü", 1],', "[null, null]", "]}"]
    assert ' "kept": [' in lines


def test_every_reason_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for reason in ("first", "the policy waits longer"):
        regression.save(table(), path, reason=reason)
    assert [one["reason"] for one in regression.load(path).reasons] == [
        "first",
        "the policy waits longer",
    ]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", o["date"]) for o in regression.load(path).reasons)


def test_a_baseline_keeps_what_is_asked_and_knows_all_columns(tmp_path: Path) -> None:
    path = regression.save(table(), tmp_path / "a.json", reason="x", columns=["text", "text"])
    assert list(regression.load(path).frame) == ["text"]
    assert len(regression.load(path).columns) == len(table().columns)
    now = table().drop(columns="gap")
    with pytest.raises(RegressionError, match="columns of gap: expected float64, seen no such"):
        regression.check(now, [regression.columns()], baseline=path)


def test_same_looks_at_content_and_not_at_reasons(tmp_path: Path) -> None:
    one = _baseline.of(table())
    assert one.same(regression.load(regression.save(table(), tmp_path / "a.json", reason="x")))
    assert not one.same(_baseline.of(table().assign(count=1)))
    assert not one.same(_baseline.of(table()[["text"]]))


Edit = Callable[[dict[str, Any]], Any]


def put(**values: Any) -> Edit:
    """Return an edit that sets keys."""
    return lambda found: found.update(values)


def cell(column: int, value: Any) -> Edit:
    """Return an edit of one value of the first row."""

    def edit(found: dict[str, Any]) -> None:
        found["rows"][0][column] = value

    return edit


NONSENSE: dict[str, tuple[Edit, str]] = {
    "another version": (put(format="projectai_lab/baseline/2"), "of format .*2'; this kit reads"),
    "no format": (lambda found: found.pop("format"), "is no baseline: it names no format"),
    "no rows": (lambda found: found.pop("rows"), r"KeyError\('rows'\)"),
    "rows that are none": (put(rows=7), "not iterable"),
    "a short row": (lambda found: found["rows"][1].pop(), "row 2 has not 10 values"),
    "a column of no dtype": (put(kept=["text", "nowhere"]), "row 1 has not 2 values"),
    "a dtype that is none": (lambda found: found["columns"].update(text="stuff"), "stuff"),
    "text for a number": (cell(3, "0.5"), "'0.5' in column 'number', whose dtype is float64"),
    "a number for text": (cell(0, 5), "5 in column 'text', whose dtype is str"),
    "a number for a flag": (cell(5, 1), "1 in column 'flag', whose dtype is boolean"),
    "a flag for a number": (cell(2, True), "True in column 'count', whose dtype is Int64"),
    "half a count": (cell(2, 1.5), "cannot safely cast"),
    "a list": (cell(2, [1]), r"\[1\] in column 'count'"),
    "no time": (cell(8, "yesterday?"), "yesterday"),
    "missing for a plain flag": (cell(6, None), "None in column 'plain'"),
    "no reasons": (put(reasons=[{"why": "?"}]), "KeyError"),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_what_was_edited_into_nonsense_is_refused(case: str, tmp_path: Path) -> None:
    edit, message = NONSENSE[case]
    path = regression.save(table(), tmp_path / "a.json", reason="x")
    found = json.loads(path.read_text(encoding="utf-8"))
    edit(found)
    path.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(BaselineError, match=message) as caught:
        regression.check(table(), [regression.exact("text")], baseline=path)
    assert str(caught.value).startswith(f"the baseline {path} ")
    assert "take it back from version control, or make it anew: regression.save(df" in str(
        caught.value
    )


def test_a_file_that_was_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = regression.save(table(), tmp_path / "a.json", reason="x")
    whole = path.read_bytes()
    for size in range(0, len(whole.rstrip()), 40):
        path.write_bytes(whole[:size])
        with pytest.raises(BaselineError, match="cannot be read"):
            regression.load(path)


def test_a_picture_and_a_list_are_no_baseline(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(BaselineError, match="cannot be read"):
        regression.load(path)
    path.write_text("[1]")
    with pytest.raises(BaselineError, match="is no baseline"):
        regression.load(path)


def test_a_missing_file_is_an_error_that_says_how_to_make_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(
        BaselineError, match=r"no baseline: there is no file .*a\.json; make it: "
    ) as e:
        regression.check(table(), [regression.exact("text")], baseline=path, name="x")
    assert str(e.value).endswith(f'regression.save(df, "{path}", reason="…")')


def test_the_baseline_of_a_notebook_is_made_by_the_command(tmp_path: Path) -> None:
    (tmp_path / "my study.ipynb").touch()
    path = tmp_path / "baselines" / "my study" / "a.json"
    with pytest.raises(BaselineError) as caught:
        regression.load(path)
    notebook = tmp_path / "my study.ipynb"
    assert str(caught.value).endswith(f"projectai-lab regress '{notebook}' --update --reason \"…\"")


def test_a_baseline_needs_a_reason_and_plain_values(tmp_path: Path) -> None:
    with pytest.raises(BaselineError, match="needs a reason"):
        regression.save(table(), tmp_path / "a.json", reason=" ")
    with pytest.raises(BaselineError, match="column 'x', where a value is of type list"):
        regression.save(pd.DataFrame({"x": [[1]]}), tmp_path / "a.json", reason="x")
    assert list(tmp_path.iterdir()) == []


def test_saved_histories_replay_against_the_code_of_today() -> None:
    found = regression.replay(HERE / "example_workflow", [ExampleWorkflow])
    assert found["ok"].tolist() == [True] * 3
    assert found[["event_id", "event_type", "message"]].isna().all(axis=None)
    assert found.dtypes.astype(str).to_dict() == {
        **{"workflow_id": "str", "run_id": "str", "ok": "boolean"},
        **{"event_id": "Int64", "event_type": "str", "message": "str"},
    }


def edited(folder: Path, edit: Callable[[list[dict[str, Any]]], Any]) -> pd.Series:
    """Replay the history of a success after an edit of its events; return the row."""
    history = json.loads((HERE / "example_workflow" / "success.json").read_text())
    edit(history["events"])
    (folder / "edited.json").write_text(json.dumps(history))
    return regression.replay(folder, [ExampleWorkflow]).iloc[0]


@pytest.mark.parametrize("event_id", [5, 11, 17])
def test_the_first_event_where_code_and_history_part_is_named(
    event_id: int, tmp_path: Path
) -> None:
    def rename(events: list[dict[str, Any]]) -> None:
        attributes = events[event_id - 1]["activityTaskScheduledEventAttributes"]
        attributes["activityType"]["name"] = "renamed"

    row = edited(tmp_path, rename)
    assert (row["ok"], row["event_id"], row["event_type"]) == (
        *(False, event_id),
        "ACTIVITY_TASK_SCHEDULED",
    )
    assert re.match(
        r"\[TMPRL1100\] Nondeterminism error: .*'renamed' does not match", row["message"]
    )


def test_code_of_another_type_parts_at_its_first_task(tmp_path: Path) -> None:
    for run in goldens():
        histories.save(run, tmp_path / f"{run.workflow_id}.json")
    found = regression.replay(tmp_path, [ExampleWorkflow])
    assert set(found["event_type"]) == {"WORKFLOW_TASK_COMPLETED"}
    assert found["message"].str.contains("is not registered on this worker").all()


def test_a_run_whose_first_task_has_not_started_is_no_verdict_and_no_wait(tmp_path: Path) -> None:
    row = edited(tmp_path, lambda events: events.__delitem__(slice(2, None)))
    assert row["ok"] is pd.NA
    assert row["message"].startswith("no Workflow Task has started")


def test_each_of_many_runs_has_its_own_verdict(tmp_path: Path) -> None:
    good = json.loads((HERE / "example_workflow" / "success.json").read_text())
    parted, begun = (json.loads(json.dumps(good)) for _ in range(2))
    parted["events"][4]["activityTaskScheduledEventAttributes"]["activityType"]["name"] = "renamed"
    del begun["events"][2:]
    started = good["events"][0]["workflowExecutionStartedEventAttributes"]
    run_id = started["originalExecutionRunId"]
    # One that parts is not to spoil those after it.
    for n, history in enumerate([good, parted, good, begun, parted, good]):
        text = json.dumps(history).replace(run_id, f"{run_id[:-1]}{n}")
        (tmp_path / f"{n}.json").write_text(text)
    found = regression.replay(tmp_path, [ExampleWorkflow])
    assert found["ok"].tolist() == [True, False, True, pd.NA, False, True]
    assert found["event_id"].tolist() == [pd.NA, 5, pd.NA, pd.NA, 5, pd.NA]


def test_a_run_that_is_not_over_replays_as_far_as_it_came(tmp_path: Path) -> None:
    assert edited(tmp_path, lambda events: events.__delitem__(slice(12, None)))["ok"]


def test_a_folder_without_histories_would_promise_too_much(tmp_path: Path) -> None:
    with pytest.raises(HistoryFileError, match="there is no file in the folder"):
        regression.replay(tmp_path, [ExampleWorkflow])
