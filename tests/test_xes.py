"""XES: a trace a run, an event a transition, well-formed whatever the ids hold."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from projectai_lab import histories
from tests import raw
from tests.data import golden, goldens

NS = "{http://www.xes-standard.org/}"


def read(path: Path) -> list[tuple[dict[str, str], list[dict[str, str]]]]:
    """Return the attributes of each trace and of its events."""
    log = ET.parse(path).getroot()
    assert log.tag == f"{NS}log"
    return [
        (values(trace), [values(event) for event in trace.findall(f"{NS}event")])
        for trace in log.findall(f"{NS}trace")
    ]


def values(node: ET.Element) -> dict[str, str]:
    return {one.attrib["key"]: one.attrib["value"] for one in node if "key" in one.attrib}


def test_a_trace_is_a_run_and_an_event_a_transition_of_the_history(tmp_path: Path) -> None:
    traces = read(histories.to_xes(goldens(), tmp_path / "x.xes"))
    assert [trace["concept:name"] for trace, _ in traces] == [run.run_id for run in goldens()]
    for run, (trace, events) in zip(goldens(), traces, strict=True):
        assert trace["workflow_id"] == run.workflow_id
        told = [(int(one["event_id"]), one["concept:name"], one["status"]) for one in events]
        assert told == [(step.event_id, step.what, step.word) for step in raw.steps(run)]
        times = [pd.Timestamp(one["time:timestamp"]).value for one in events]
        assert times == [step.time_ns // 1000 * 1000 for step in raw.steps(run)]
        assert times == sorted(times)


def test_transitions_are_those_of_the_standard_lifecycle(tmp_path: Path) -> None:
    traces = read(histories.to_xes(goldens(), tmp_path / "x.xes"))
    events = [event for _, found in traces for event in found]
    known = Counter((one["status"], one["lifecycle:transition"]) for one in events)
    assert set(known) == {
        ("SCHEDULED", "schedule"),
        ("STARTED", "start"),
        ("COMPLETED", "complete"),
        ("FAILED", "ate_abort"),
        ("CANCELED", "ate_abort"),
        ("CANCELED", "withdraw"),
    }
    assert all("org:resource" not in one for one in events if one["status"] == "SCHEDULED")
    started = [one for one in events if one["status"] == "STARTED"]
    assert {one["org:resource"] for one in started} == {"worker@lab"}
    assert all("failure_type" not in one for one in started)
    (outlived,) = [o for o in started if o["concept:name"] == "outlive" and o["attempt"] == "2"]
    assert outlived["concept:instance"] == "3"


def test_the_head_declares_what_the_log_uses(tmp_path: Path) -> None:
    log = ET.parse(histories.to_xes(goldens(), tmp_path / "x.xes")).getroot()
    assert log.attrib["xes.version"] == "1849-2016"
    declared = {one.attrib["prefix"] for one in log.findall(f"{NS}extension")}
    used = {one.attrib["key"].partition(":")[0] for one in log.iter() if ":" in one.get("key", "")}
    assert used == declared == {"concept", "time", "lifecycle", "org"}
    scopes = [one.attrib["scope"] for one in log.findall(f"{NS}global")]
    assert scopes == ["trace", "event"]
    everywhere = {one.attrib["key"] for one in log.findall(f"{NS}global")[1]}
    for _, events in read(tmp_path / "x.xes"):
        assert all(everywhere <= set(event) for event in events)
    assert values(log)["lifecycle:model"] == "standard"


@pytest.mark.parametrize("odd", ["<&>\"' é ✓ 𝄞", "]]>-->", "tab\tline\nend"])
def test_ids_may_hold_anything_that_xml_can(odd: str, tmp_path: Path) -> None:
    ((trace, events),) = read(histories.to_xes(named(odd), tmp_path / "x.xes"))
    assert trace["workflow_id"] == odd
    assert {event["concept:name"] for event in events} == {odd}


def test_what_xml_cannot_hold_is_replaced(tmp_path: Path) -> None:
    ((trace, _),) = read(histories.to_xes(named("a\0b\x1b\ufffe"), tmp_path / "x.xes"))
    assert trace["workflow_id"] == "a\ufffdb\ufffd\ufffd"


def named(odd: str) -> Any:
    """Return a history with an odd Workflow Id and Activity Types."""
    run = golden("clean")
    for event in run.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            event.activity_task_scheduled_event_attributes.activity_type.name = odd
    return replace(run, workflow_id=odd)


def test_an_open_run_and_one_without_activities_are_traces_too(tmp_path: Path) -> None:
    runs = [golden("mixed", events=12), golden("timeouts", events=2)]
    (_, first), (trace, second) = read(histories.to_xes(runs, tmp_path / "x.xes"))
    assert len(first) == len(raw.steps(runs[0])) > 0
    assert (trace["status"], second) == ("RUNNING", [])


def test_nothing_is_a_log_too(tmp_path: Path) -> None:
    assert read(histories.to_xes([], tmp_path / "x.xes")) == []
