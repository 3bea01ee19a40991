"""`handle.poll_attempts`: what the server says while a run is open, until it closes or we do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from projectai_lab import Lab, LabConfig, attempts, tables
from projectai_lab.devserver import DevServer
from projectai_lab.errors import LabClosedError
from tests import attempt_workflows as kinds
from tests import zoo


@pytest.fixture
def lab(config: LabConfig) -> Iterator[Lab]:
    """Return a Lab whose activities end in every way."""
    workflows, activities = (*zoo.WORKFLOWS, *kinds.WORKFLOWS), (*zoo.ACTIVITIES, *kinds.ACTIVITIES)
    with Lab.connect(config, workflows=workflows, activities=activities) as opened:
        yield opened


def test_a_poll_sees_every_attempt_and_when_the_server_closed_it(lab: Lab) -> None:
    asked = kinds.Asked("fail_before", 9, first_s=0.4)
    handle = lab.start_workflow(kinds.Configured.run, asked)
    poll = handle.poll_attempts(every=timedelta(milliseconds=20))
    assert poll.running
    assert handle.result(timeout=30) == [9]
    zoo.until(lambda: not poll.running)
    table = tables.validate(tables.attempts(handle.fetch_history(), seen=poll))
    assert table.attempt.tolist() == list(range(1, 10))
    assert table.source.str.contains("describe").all()
    assert (table.time_quality == "measured_server").all()
    assert (table.state == "ENDED").all()
    assert table.server_outcome.tolist() == ["FAILED"] * 8 + ["COMPLETED"]
    assert set(table.failure_type.dropna()) == {"TooEarly"}
    assert table.backoff_error_s.abs().max() < 0.005
    assert repr(poll).startswith(f"<AttemptPoll of {handle.id!r}, ")
    assert repr(poll).endswith(" looks, ended>")


def test_an_observation_is_plain_data_without_payloads_or_paths(lab: Lab) -> None:
    handle = lab.start_workflow(zoo.Persistent.run, "fail_with_delay", 60)
    seen = zoo.until(lambda: [one for one in look(lab, handle.id) if one["attempt"] == 2])
    handle.terminate()
    (one,) = json.loads(json.dumps(seen))
    assert [one] == seen
    assert one["state"] == "SCHEDULED"
    assert one["run_is_open"] is True
    assert (one["workflow_id"], one["run_id"]) == (handle.id, handle.run_id)
    assert one["attempt_scheduled_ns"] - one["last_closed_ns"] == pytest.approx(60e9, abs=5e6)
    assert one["started_ns"] is None
    assert one["last_identity"] == getattr(lab.worker, "identity", None)
    assert one["last_failure"]["message"] == "later"
    assert "stackTrace" not in json.dumps(one)


def look(lab: Lab, workflow_id: str) -> list[attempts.Observation]:
    """Return what describe says now."""
    return attempts.from_description(lab.get_workflow_handle(workflow_id).describe())


def test_an_observation_is_kept_once(lab: Lab, tmp_path: Path) -> None:
    handle = lab.start_workflow(zoo.Persistent.run, "wait_for_file", str(tmp_path / "go"))
    zoo.until(lambda: [one for one in look(lab, handle.id) if one["started_ns"]])
    with handle.poll_attempts(every=0.001) as poll:
        zoo.until(lambda: poll._looks > 20)
        assert len(poll.records()) == 1
        (tmp_path / "go").touch()
        handle.result(timeout=20)


def test_a_poll_of_a_closed_run_looks_once(lab: Lab) -> None:
    handle = lab.start_workflow(zoo.Greeting.run, "greet", "you")
    handle.result(timeout=20)
    poll = handle.poll_attempts()
    assert not poll.running
    assert poll.records() == []
    poll.close()


def test_closing_a_poll_twice_is_harmless_and_keeps_what_was_seen(lab: Lab, tmp_path: Path) -> None:
    handle = lab.start_workflow(zoo.Persistent.run, "wait_for_file", str(tmp_path / "go"))
    poll = handle.poll_attempts()
    zoo.until(poll.records)
    poll.close()
    poll.close()
    assert not poll.running
    assert [one["activity_type"] for one in poll][:1] == ["wait_for_file"]
    (tmp_path / "go").touch()
    handle.result(timeout=20)


def test_a_poll_ends_with_its_lab(config: LabConfig, tmp_path: Path) -> None:
    with Lab.connect(config, workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES) as lab:
        handle = lab.start_workflow(zoo.Persistent.run, "wait_for_file", str(tmp_path / "go"))
        poll = handle.poll_attempts()
        zoo.until(poll.records)
        (tmp_path / "go").touch()
    assert not poll.running
    assert poll.records()
    poll.close()
    with pytest.raises(LabClosedError):
        handle.poll_attempts()


def test_a_poll_of_nothing_is_the_servers_own_error(lab: Lab) -> None:
    with pytest.raises(RPCError, match="not found"):
        lab.get_workflow_handle("nobody").poll_attempts()


@pytest.mark.parametrize("every", [0, -1, float("nan")])
def test_a_poll_needs_a_pause(lab: Lab, every: float) -> None:
    with pytest.raises(ValueError, match="every must be above 0 s"):
        lab.get_workflow_handle("nobody").poll_attempts(every=every)


def test_a_poll_follows_continue_as_new(lab: Lab) -> None:
    handle = lab.start_workflow(kinds.Again.run, 1)
    poll = handle.poll_attempts()
    handle.result(timeout=20)
    zoo.until(lambda: not poll.running)
    assert len({one["run_id"] for one in poll}) == 2
    first = lab.get_workflow_handle(handle.id, run_id=handle.run_id).fetch_history()
    runs = [first, lab.get_workflow_handle(handle.id).fetch_history()]
    table = tables.attempts(runs, seen=poll)
    assert table.source.tolist() == ["history+describe"] * 4
    assert table.time_quality.tolist() == ["measured_server"] * 4


def test_a_poll_waits_for_a_server_that_is_away(tmp_path: Path) -> None:
    first = DevServer.start(db_filename=tmp_path / "lab.db")
    config, go = LabConfig(address=first.address), tmp_path / "go"
    with first, Lab.connect(config, workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES) as lab:
        handle = lab.start_workflow(zoo.Persistent.run, "wait_for_file", str(go))
        poll = handle.poll_attempts()
        zoo.until(poll.records)
        first.close()
        ports = [int(url.rpartition(":")[2]) for url in (first.address, first.ui_url)]
        missed = poll._looks
        database = first.db_filename
        with DevServer.start(port=ports[0], ui_port=ports[1], db_filename=database):
            zoo.until(lambda: poll._looks > missed + 5, within_s=30)
            assert poll.running
            go.touch()
            assert handle.result(timeout=30) >= 1
            zoo.until(lambda: not poll.running)


def test_a_failed_run_is_polled_to_its_end(lab: Lab) -> None:
    asked = kinds.Asked("fail_before", 9, most=3)
    handle = lab.start_workflow(kinds.Configured.run, asked)
    poll = handle.poll_attempts()
    with pytest.raises(WorkflowFailureError):
        handle.result(timeout=20)
    zoo.until(lambda: not poll.running)
    table = tables.attempts(handle.fetch_history(), seen=poll)
    assert table.server_outcome.tolist() == ["FAILED"] * 3
    assert table.is_last.tolist() == [False, False, True]
