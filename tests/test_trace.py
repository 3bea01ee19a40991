"""A trace for a viewer: slices nest, nothing is drawn longer than it is known to be."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from projectai_lab import histories, tables
from tests.data import attempt_records, golden, goldens

Event = dict[str, Any]


def read(path: Path) -> list[Event]:
    """Return the events of a trace that keeps the format, with their process and track by name."""
    trace = json.loads(path.read_text())
    assert set(trace) == {"traceEvents", "displayTimeUnit", "otherData"}
    events = trace["traceEvents"]
    names: dict[tuple[int, int, str], str] = {}
    for event in events:
        assert {"ph", "name", "pid", "tid"} <= set(event)
        if event["ph"] == "M" and "name" in event["args"]:
            key = event["pid"], event["tid"], event["name"]
            assert key not in names
            names[key] = event["args"]["name"]
    found = []
    for event in events:
        if event["ph"] != "M":
            check(event)
            process = names[event["pid"], 0, "process_name"]
            track = names[event["pid"], event["tid"], "thread_name"]
            found.append({**event, "process": process, "track": track})
    return found


def check(event: Event) -> None:
    assert event["ph"] in ("X", "i")
    assert isinstance(event["ts"], int)
    if event["ph"] == "X":
        assert isinstance(event["dur"], int)
        assert event["dur"] >= 0
    else:
        assert event["s"] == "t"
        assert "dur" not in event


def tracks(events: list[Event]) -> Iterator[list[Event]]:
    """Yield the slices of each track in the order in which a viewer stacks them."""
    by_track: dict[tuple[int, int], list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            by_track[event["pid"], event["tid"]].append(event)
    for found in by_track.values():
        yield sorted(found, key=lambda one: (one["ts"], -one["dur"]))


@pytest.fixture
def drawn(tmp_path: Path) -> list[Event]:
    return read(histories.to_trace(goldens(), tmp_path / "x.json", recorder=attempt_records()))


def test_slices_of_a_track_nest(drawn: list[Event]) -> None:
    for track in tracks(drawn):
        above: list[int] = []
        for one in track:
            end = one["ts"] + one["dur"]
            while above and above[-1] <= one["ts"]:
                above.pop()
            assert not above or end <= above[-1], one
            above.append(end)


def test_a_process_is_a_run_from_its_start_to_its_close(drawn: list[Event]) -> None:
    runs = [event for event in drawn if event["track"] == "workflow"]
    table = tables.executions(goldens())
    assert [one["process"] for one in runs] == [
        f"{kind} {name}" for kind, name in zip(table.workflow_type, table.workflow_id, strict=True)
    ]
    for one, row in zip(runs, table.itertuples(), strict=True):
        assert one["ts"] == row.start_time.value // 1000
        assert one["ts"] + one["dur"] == row.close_time.value // 1000
        assert one["args"]["status"] == row.status


def test_attempts_are_slices_where_their_end_is_known_and_instants_where_not(
    drawn: list[Event],
) -> None:
    table = tables.attempts(goldens(), attempt_records())
    begun = table[table.started_time.notna()]
    told = [one for one in drawn if one["name"].startswith("attempt ")]
    assert len(told) == len(begun)
    unknown = 0
    for one, row in zip(told, begun.itertuples(), strict=True):
        assert one["name"] == f"attempt {row.attempt}"
        assert one["args"]["time_quality"] == row.time_quality
        assert one["ts"] == row.started_time.value // 1000
        unknown += one["ph"] == "i"
        assert (one["ph"] == "i") == (row.time_quality == "unknown")
        if row.time_quality == "measured_worker":
            assert one["dur"] / 1e6 == pytest.approx(row.worker_exec_s, abs=2e-6)
        elif one["ph"] == "X":
            assert one["ts"] + one["dur"] == row.closed_time.value // 1000
    assert 0 < unknown < len(told)


def test_backoffs_are_the_observed_ones(drawn: list[Event]) -> None:
    table = tables.attempts(goldens(), attempt_records())
    observed = sorted(table.backoff_observed_s.dropna()[table.backoff_observed_s > 0])
    told = sorted(one["dur"] / 1e6 for one in drawn if one["name"] == "backoff")
    assert told == pytest.approx(observed, abs=2e-6)
    waits = sorted(
        one["dur"] / 1e6
        for one in drawn
        if one["name"] == "waiting for a worker" and one["track"].startswith("activities")
    )
    assert waits == pytest.approx(sorted(table.dispatch_lag_s.dropna()), abs=2e-6)


def test_without_a_recorder_lost_attempts_are_not_drawn(tmp_path: Path) -> None:
    drawn = read(histories.to_trace(golden("mixed"), tmp_path / "x.json"))
    told = [one["name"] for one in drawn if one["name"].startswith("attempt ")]
    assert sorted(told) == ["attempt 1"] * 3 + ["attempt 2", "attempt 3", "attempt 4"]
    assert not [one for one in drawn if one["name"] == "backoff"]
    (four,) = [one for one in drawn if one["args"].get("attempts") == 4]
    assert (four["name"], four["ph"]) == ("fail_until", "X")


def test_what_is_open_has_no_length(tmp_path: Path) -> None:
    early = golden("mixed", events=11)
    drawn = read(histories.to_trace(early, tmp_path / "x.json"))
    (run,) = [one for one in drawn if one["track"] == "workflow"]
    assert (run["ph"], run["args"]["status"]) == ("i", "RUNNING")
    activities = tables.activities(early)
    assert activities.closed_time.isna().all()
    pending = [one for one in drawn if one["args"].get("status") == "PENDING"]
    assert len(pending) == len(activities) == 6
    assert {one["ph"] for one in pending} == {"i"}
    assert len({one["track"] for one in pending}) == 6


def test_timers_children_messages_and_local_activities_have_tracks(drawn: list[Event]) -> None:
    mine = [one for one in drawn if one["process"].startswith("Everything")]
    of_track: dict[str, list[Event]] = defaultdict(list)
    for one in mine:
        of_track[one["track"].rstrip(" 0123456789")].append(one)
    run = golden("everything")
    assert len(of_track["timers"]) == len(tables.timers(run))
    assert len(of_track["child workflows"]) == len(tables.child_workflows(run))
    assert {one["name"] for one in of_track["messages"]} == {"tell", "ask"}
    assert [one["ph"] for one in of_track["local activities"]] == ["i"]
    tasks = [one for one in of_track["workflow tasks"] if one["name"] == "workflow task"]
    assert len(tasks) == tables.executions(run).n_workflow_tasks[0]


def test_things_at_one_time_have_tracks_of_their_own(drawn: list[Event]) -> None:
    mine = [one for one in drawn if one["process"].startswith("Mixed")]
    used = {one["track"] for one in mine if one["track"].startswith("activities")}
    assert used == {f"activities {number}" for number in range(1, 7)}
    clean = [one for one in drawn if one["process"].startswith("Clean")]
    assert {one["track"] for one in clean if one["track"].startswith("act")} == {"activities 1"}


def test_the_clock_is_named(tmp_path: Path) -> None:
    histories.to_trace([golden("clean"), golden("mixed", clock=None)], tmp_path / "x.json")
    about = json.loads((tmp_path / "x.json").read_text())["otherData"]
    assert about["clock"] == "fast, unknown"
    assert about["times"].startswith("the server's clock, microseconds since 1970")
    assert about["runs"] == 2


def test_nothing_is_a_trace_too(tmp_path: Path) -> None:
    assert read(histories.to_trace([], tmp_path / "x.json")) == []
