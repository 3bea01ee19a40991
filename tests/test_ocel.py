"""OCEL 2.0: objects, events and how they relate, each kept to what it declares."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from projectai_lab import histories, tables
from tests import raw
from tests.data import attempt_records, golden, goldens

TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "float": float,
    "boolean": bool,
}


def read(path: Path) -> dict[str, Any]:
    """Return a log whose parts fit each other."""
    log: dict[str, Any] = json.loads(path.read_text())
    assert set(log) == {"events", "objects", "eventTypes", "objectTypes"}
    objects = {one["id"]: one for one in log["objects"]}
    assert len(objects) == len(log["objects"])
    assert len({one["id"] for one in log["events"]}) == len(log["events"])
    for kind, declared in (("events", "eventTypes"), ("objects", "objectTypes")):
        known = {
            one["name"]: {part["name"]: part["type"] for part in one["attributes"]}
            for one in log[declared]
        }
        assert len(known) == len(log[declared])
        for one in log[kind]:
            for part in one["attributes"]:
                assert type(part["value"]) is TYPES[known[one["type"]][part["name"]]], part
            for related in one["relationships"]:
                assert related["objectId"] in objects
                assert related["qualifier"]
    return log


def related(log: dict[str, Any], one: dict[str, Any], qualifier: str) -> list[str]:
    return [r["objectId"] for r in one["relationships"] if r["qualifier"] == qualifier]


def test_events_are_those_of_history_and_the_starts_that_only_the_recorder_knows(
    tmp_path: Path,
) -> None:
    path = histories.to_ocel(goldens(), tmp_path / "x.json", recorder=attempt_records())
    log = read(path)
    steps = [step for run in goldens() for step in raw.steps(run)]
    starts = raw.recorded_starts(goldens(), attempt_records())
    ends = [step for run in goldens() for step in raw.run_steps(run)]
    wanted = [f"{step.what} {step.word}" for step in (*steps, *starts)]
    assert Counter(one["type"] for one in log["events"]) == Counter(
        [*wanted, *(step.what for step in ends)]
    )
    assert len(starts) > 5
    times = sorted(pd.Timestamp(one["time"]).value for one in log["events"])
    assert times == sorted(step.time_ns // 1000 * 1000 for step in (*steps, *starts, *ends))


def test_without_a_recorder_no_start_is_made_up(tmp_path: Path) -> None:
    log = read(histories.to_ocel(goldens(), tmp_path / "x.json"))
    steps = sum(len(raw.steps(run)) + len(raw.run_steps(run)) for run in goldens())
    assert len(log["events"]) == steps


def test_each_object_is_a_row_of_a_table(tmp_path: Path) -> None:
    log = read(histories.to_ocel(goldens(), tmp_path / "x.json", recorder=attempt_records()))
    count = Counter(one["type"] for one in log["objects"])
    built = tables.build(goldens(), attempt_records())
    assert count["run"] == count["workflow"] == len(built["executions"])
    assert count["activity"] == len(built["activities"])
    assert count["attempt"] == len(built["attempts"])
    assert (count["worker"], count["task queue"]) == (1, 1)
    assert set(count) == {one["name"] for one in log["objectTypes"]}


def test_an_event_names_run_activity_attempt_and_worker(tmp_path: Path) -> None:
    log = read(histories.to_ocel(golden("clean"), tmp_path / "x.json"))
    run, first = golden("clean").run_id, "activity:" + golden("clean").run_id + "/5"
    by_type = {one["id"]: one for one in log["events"]}
    started = by_type[f"{run}/6"]
    assert started["type"] == "echo STARTED"
    assert related(log, started, "run") == [f"run:{run}"]
    assert related(log, started, "activity") == [first]
    assert related(log, started, "attempt") == [f"attempt:{run}/5/1"]
    assert related(log, started, "worker") == ["worker:worker@lab"]
    scheduled = by_type[f"{run}/5"]
    assert related(log, scheduled, "attempt") == related(log, scheduled, "worker") == []
    assert related(log, scheduled, "task queue") == ["task queue:data-tasks"]
    objects = {one["id"]: one for one in log["objects"]}
    assert related(log, objects[f"attempt:{run}/5/1"], "attempt of") == [first]
    assert related(log, objects[first], "part of") == [f"run:{run}"]
    assert related(log, objects[f"run:{run}"], "execution of") == ["workflow:default/clean"]


def test_a_parent_that_is_not_in_the_log_is_an_object_all_the_same(tmp_path: Path) -> None:
    child = golden("clean")
    started = child.events[0].workflow_execution_started_event_attributes
    started.parent_workflow_execution.run_id = "run-of-parent"
    started.first_execution_run_id = "run-before"
    log = read(histories.to_ocel(child, tmp_path / "x.json"))
    objects = {one["id"]: one for one in log["objects"]}
    assert related(log, objects[f"run:{child.run_id}"], "child of") == ["run:run-of-parent"]
    assert related(log, objects[f"run:{child.run_id}"], "continues") == ["run:run-before"]
    assert objects["run:run-before"]["relationships"] == []


def test_one_workflow_with_two_runs_is_one_object(tmp_path: Path) -> None:
    second = replace(golden("mixed"), workflow_id="clean")
    second.events[0].workflow_execution_started_event_attributes.workflow_id = "clean"
    log = read(histories.to_ocel([golden("clean"), second], tmp_path / "x.json"))
    count = Counter(one["type"] for one in log["objects"])
    assert (count["workflow"], count["run"]) == (1, 2)


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    log = read(histories.to_ocel(goldens(), tmp_path / "x.json"))
    attempts = {one["id"]: one for one in log["objects"] if one["type"] == "attempt"}
    lost = attempts[f"attempt:{golden('mixed').run_id}/5/1"]
    assert {part["name"]: part["value"] for part in lost["attributes"]} == {
        "attempt": 1,
        "time_quality": "unknown",
        "source": "history",
    }


def test_ids_may_hold_anything(tmp_path: Path) -> None:
    odd = replace(golden("clean"), workflow_id='"}<\\\u2028\0')
    log = read(histories.to_ocel(odd, tmp_path / "x.json"))
    assert f"workflow:default/{odd.workflow_id}" in {one["id"] for one in log["objects"]}


def test_nothing_is_a_log_too(tmp_path: Path) -> None:
    log = read(histories.to_ocel([], tmp_path / "x.json"))
    assert log["events"] == log["objects"] == log["eventTypes"] == []
    assert len(log["objectTypes"]) == 6
