"""Attempts that end in every way on a real server, told by all who know something of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
import pytest
from temporalio.client import WorkflowFailureError

from projectai_lab import Lab, LabConfig, attempts, tables
from projectai_lab.attempts import Observation
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.worker_process import WorkerProcess
from tests import attempt_workflows as kinds
from tests import data_workflows, zoo

Handle = LabWorkflowHandle[Any]
WORKFLOWS = (*kinds.WORKFLOWS, *zoo.WORKFLOWS, *data_workflows.WORKFLOWS)
ACTIVITIES = (*kinds.ACTIVITIES, *zoo.ACTIVITIES, *data_workflows.ACTIVITIES)


@pytest.fixture
def lab(config: LabConfig) -> Iterator[Lab]:
    """Return a Lab whose activities end in every way."""
    with Lab.connect(config, workflows=WORKFLOWS, activities=ACTIVITIES) as opened:
        yield opened


def of(lab: Lab, handle: Handle, seen: Iterable[Observation] = ()) -> pd.DataFrame:
    """Return the checked table of all sources, by attempt."""
    table = tables.attempts(handle.fetch_history(), recorder=lab.attempts, seen=seen)
    assert table.doubt.isna().all()
    return tables.validate(table).set_index("attempt")


def look(handle: Handle) -> list[Observation]:
    """Return what describe says now."""
    return attempts.from_description(handle.describe())


def recorded(lab: Lab, handle: Handle) -> list[dict[str, Any]]:
    """Return the attempts that workers of the Lab wrote down of a run."""
    return [one for one in lab.attempts or () if one["run_id"] == handle.run_id]


def test_the_mixed_run_by_all_sources(lab: Lab) -> None:
    handle: Handle = lab.start_workflow(data_workflows.MixedWorkflow.run)
    poll = handle.poll_attempts()
    handle.result(timeout=30)
    table = tables.attempts(handle.fetch_history(), recorder=lab.attempts, seen=poll)
    assert len(tables.validate(table)) == 12
    assert (table.state == "ENDED").all()
    assert table.doubt.isna().all()
    timed_out = table[table.timeout_type.notna()].iloc[0]
    assert (timed_out.server_outcome, timed_out.worker_outcome) == ("TIMED_OUT", "COMPLETED")
    assert (timed_out.source, bool(timed_out.late_report)) == ("history+recorder+describe", True)
    # The server does not keep when its timer fired: that end is a lower bound.
    quality = table.time_quality.astype(str).value_counts().to_dict()
    assert quality == {"measured_server": 11, "inferred": 1}
    retries = table[table.attempt > 1]
    assert retries.backoff_planned_s.tolist() == pytest.approx([0.2, 0.3, 0.45, 0.2, 0.4, 0.2])
    assert retries.backoff_error_s.tolist()[:5] == pytest.approx([0] * 5, abs=0.005)
    assert retries.backoff_error_s.tolist()[5] > 0


def test_timeouts_of_both_kinds_and_a_delay_of_the_failures_own(lab: Lab) -> None:
    handle: Handle = lab.start_workflow(data_workflows.TimeoutsWorkflow.run)
    poll = handle.poll_attempts()
    handle.result(timeout=30)
    table = tables.attempts(handle.fetch_history(), recorder=lab.attempts, seen=poll)
    middle = table[~table.is_last.astype(bool)].set_index(["activity_type", "activity_id"])
    assert middle.server_outcome.tolist() == ["TIMED_OUT"] * 4 + ["FAILED"]
    assert middle.timeout_type.tolist()[:4] == ["START_TO_CLOSE"] * 2 + ["HEARTBEAT"] * 2
    assert middle.late_report.tolist() == [True] * 4 + [False]
    assert middle.time_quality.tolist() == [
        *("inferred", "inferred", "unknown", "unknown", "measured_server"),
    ]
    delayed = table[table.activity_type == "fail_with_delay"].iloc[1]
    assert delayed.backoff_planned_s == pytest.approx(0.6)
    assert delayed.backoff_error_s == pytest.approx(0, abs=0.005)


def test_a_timeout_after_a_failure_does_not_take_the_end_of_the_failure(lab: Lab) -> None:
    asked = kinds.Asked("fail_then_sleep", first_s=0.4, start_to_close_s=1)
    handle = lab.start_workflow(kinds.Configured.run, asked)
    poll = handle.poll_attempts()
    assert handle.result(timeout=30) == [3]
    for table in (of(lab, handle, poll), tables.attempts(handle.fetch_history(), seen=poll)):
        assert table.server_outcome.tolist() == ["FAILED", "TIMED_OUT", "COMPLETED"]
        assert table.time_quality.tolist() == ["measured_server", "inferred", "measured_server"]
        assert table.closed_time.is_monotonic_increasing
        assert (table.closed_time > table.started_time)[table.started_time.notna()].all()
        assert table.doubt.isna().all()


def test_a_heartbeat_timeout_above_start_to_close_leaves_one_timeout_only(lab: Lab) -> None:
    asked = kinds.Asked("sleep_first", 2, start_to_close_s=1, heartbeat_s=20)
    handle = lab.start_workflow(kinds.Configured.run, asked)
    handle.result(timeout=30)
    zoo.until(lambda: all("outcome" in one for one in recorded(lab, handle)))
    table = of(lab, handle)
    assert table.timeout_type.tolist()[:2] == ["START_TO_CLOSE"] * 2
    assert table.time_quality.tolist() == ["inferred", "inferred", "measured_server"]
    assert table.late_report.tolist() == [True, True, False]


def test_an_activity_in_its_backoff_is_told_by_describe_alone(lab: Lab) -> None:
    asked = kinds.Asked("fail_before", 9, first_s=60)
    handle = lab.start_workflow(kinds.Configured.run, asked)
    seen = zoo.until(lambda: [one for one in look(handle) if one["attempt"] == 2])
    alone = tables.attempts(handle.fetch_history(), seen=seen).set_index("attempt")
    # The second is due, but has not begun.
    assert alone.index.tolist() == [1]
    assert (alone.state[1], alone.source[1]) == ("ENDED", "describe")
    assert (alone.server_outcome[1], alone.failure_type[1]) == ("FAILED", "TooEarly")
    assert pd.isna(alone.is_last[1])
    assert alone.time_quality[1] == "measured_server"
    assert pd.isna(alone.exec_s[1])
    both = of(lab, handle, seen)
    assert both.source[1] == "recorder+describe"
    assert both.exec_s[1] >= both.worker_exec_s[1]
    handle.terminate()
    # The run is closed, and describe still tells of what it cut off.
    (left,) = look(handle)
    assert left["run_is_open"] is False
    after = of(lab, handle, [left])
    assert after.state.tolist() == ["ENDED"]
    assert after.time_quality.tolist() == ["measured_server"]


def test_an_activity_canceled_in_its_backoff_keeps_what_describe_told(lab: Lab) -> None:
    asked = kinds.Asked("fail_before", 9, first_s=60)
    handle = lab.start_workflow(kinds.Configured.run, asked)
    seen = zoo.until(lambda: [one for one in look(handle) if one["attempt"] == 2])
    handle.cancel()
    with pytest.raises(WorkflowFailureError):
        handle.result(timeout=20)
    assert look(handle) == []
    table = of(lab, handle, seen)
    assert table.state.tolist() == ["ENDED"]
    assert table.server_outcome.tolist() == ["FAILED"]
    assert pd.isna(table.is_last[1])


def test_an_activity_canceled_while_it_runs_ends_as_canceled(lab: Lab) -> None:
    asked = kinds.Asked("beat_for_ever", heartbeat_s=2)
    handle = lab.start_workflow(kinds.Configured.run, asked)
    zoo.until(lambda: recorded(lab, handle))
    handle.cancel()
    with pytest.raises(WorkflowFailureError):
        handle.result(timeout=20)
    zoo.until(lambda: "outcome" in recorded(lab, handle)[0])
    row = of(lab, handle).loc[1]
    assert (row.state, row.server_outcome, row.worker_outcome) == ("ENDED", "CANCELED", "CANCELED")


def test_a_run_terminated_while_an_attempt_runs_abandons_it(lab: Lab, tmp_path: Any) -> None:
    go = tmp_path / "go"
    handle: Handle = lab.start_workflow(zoo.Persistent.run, "wait_for_file", str(go))
    zoo.until(lambda: recorded(lab, handle))
    open_ = of(lab, handle, look(handle)).loc[1]
    assert (open_.state, open_.source) == ("RUNNING", "recorder+describe")
    handle.terminate()
    closed = of(lab, handle, look(handle)).loc[1]
    assert (closed.state, closed.time_quality) == ("ABANDONED", "unknown")
    assert closed[["server_outcome", "worker_outcome", "closed_time"]].isna().all()
    # Without the recorder, describe alone tells as much, and history nothing.
    history = handle.fetch_history()
    alone = tables.attempts(history, seen=look(handle)).iloc[0]
    assert (alone.state, alone.source) == ("ABANDONED", "describe")
    assert len(tables.attempts(history)) == 0
    go.touch()
    zoo.until(lambda: "outcome" in recorded(lab, handle)[0])
    # Its worker went on: that is how the function ended, and the server never heard of it.
    later = of(lab, handle, look(handle)).loc[1]
    assert (later.state, later.worker_outcome) == ("ENDED", "COMPLETED")
    assert pd.isna(later.server_outcome)
    assert pd.isna(later.late_report)


def test_a_killed_worker_leaves_an_abandoned_attempt(config: LabConfig) -> None:
    with Lab.connect(config, worker=False) as lab:
        worker = lab.start_worker(workflows=WORKFLOWS, activities=ACTIVITIES, process=True)
        assert isinstance(worker, WorkerProcess)
        handle: Handle = lab.start_workflow(zoo.Persistent.run, "hold", 0.3)
        poll = handle.poll_attempts()
        zoo.until(lambda: recorded(lab, handle))
        worker.kill()
        lab.start_worker(workflows=WORKFLOWS, activities=ACTIVITIES)
        assert handle.result(timeout=30) == "held"
        first = of(lab, handle).loc[1]
        assert (first.state, first.timeout_type) == ("ABANDONED", "HEARTBEAT")
        assert (first.server_outcome, first.time_quality) == ("TIMED_OUT", "unknown")
        assert first[["worker_outcome", "late_report", "closed_time"]].isna().all()
        # The poll knows as much and no more: the server does not keep when it gave up.
        polled = of(lab, handle, poll).loc[1]
        assert (polled.state, polled.source) == ("ABANDONED", "history+recorder+describe")
        assert (polled.time_quality, pd.isna(polled.closed_time)) == ("unknown", True)


def test_local_activities_keep_their_records_beyond_the_threshold(lab: Lab) -> None:
    handle: Handle = lab.start_workflow(kinds.Locally.run, 5)
    assert handle.result(timeout=30) == [5, 5]
    history = handle.fetch_history()
    table = tables.validate(tables.attempts(history, recorder=lab.attempts))
    assert table.groupby("scheduled_event_id").attempt.agg(list).tolist() == [[1, 2, 3, 4, 5]] * 2
    assert table.worker_outcome.tolist() == (["FAILED"] * 4 + ["COMPLETED"]) * 2
    assert table.source.str.contains("recorder").all()
    assert (table.time_quality == "measured_worker").all()
    assert (table.state == "ENDED").all()
    assert set(table.failure_type.dropna()) == {"ApplicationFailure"}
    # Markers tell of the attempts that ended in a long backoff, also without a recorder.
    alone = tables.attempts(history)
    told = alone[alone.server_outcome == "FAILED"]
    assert len(told) >= 2
    assert set(told.failure_message) == {"no type"}


def test_gap_less_dispatch_lag_is_the_planned_backoff_where_the_server_measured(lab: Lab) -> None:
    """Planned: the policy's arithmetic. Observed: the server's own times, seen while it ran."""
    asked = kinds.Asked("fail_before", 6, times=60, first_s=0.3, coefficient=1.3)
    handle = lab.start_workflow(kinds.Configured.run, asked)
    poll = handle.poll_attempts()
    handle.result(timeout=60)
    table = tables.attempts(handle.fetch_history(), recorder=lab.attempts, seen=poll)
    before = table.groupby("scheduled_event_id").time_quality.shift()
    retries = table[(table.attempt > 1) & (before == "measured_server")]
    error = (retries.gap_s - retries.dispatch_lag_s - retries.backoff_planned_s).abs().dropna()
    assert len(error) >= 200
    assert (error <= 0.005).mean() >= 0.99


def test_on_the_virtual_clock_hours_of_backoff_are_measured_in_seconds() -> None:
    with Lab.start_local(clock="virtual", workflows=WORKFLOWS, activities=ACTIVITIES) as lab:
        asked = kinds.Asked("fail_before", 5, first_s=3600, coefficient=2)
        handle = lab.start_workflow(kinds.Configured.run, asked)
        poll = handle.poll_attempts(every=0.002)
        handle.result(timeout=30)
        table = of(lab, handle, poll)
        assert table.backoff_planned_s.tolist()[1:] == [3600, 7200, 14400, 28800]
        assert table.backoff_observed_s.tolist()[1:] == pytest.approx(
            [3600, 7200, 14400, 28800], abs=1
        )
        history = handle.fetch_history()
        alone = tables.attempts(history).set_index("attempt")
        apart = (alone.attempt_scheduled_time - table.attempt_scheduled_time).abs()
        assert apart.max() < pd.Timedelta(microseconds=1)
        assert alone.source.tolist() == ["time_skip"] * 3 + ["history"] * 2
        assert alone.backoff_observed_s.isna().all()


def test_skips_are_not_shared_out_among_activities_that_wait_together() -> None:
    with Lab.start_local(clock="virtual", workflows=WORKFLOWS, activities=ACTIVITIES) as lab:
        asked = kinds.Asked("fail_before", 3, first_s=3600, times=2)
        handle = lab.start_workflow(kinds.Configured.run, asked)
        handle.result(timeout=30)
        alone = tables.attempts(handle.fetch_history())
        due = alone[alone.attempt > 1].attempt_scheduled_time
        assert due.isna().all()
        assert of(lab, handle).attempt_scheduled_time.notna().all()


def test_what_two_loops_of_looks_see_is_one_truth(lab: Lab) -> None:
    asked = kinds.Asked("fail_before", 4, first_s=0.4)
    handle = lab.start_workflow(kinds.Configured.run, asked)
    polls = [handle.poll_attempts(every=0.02), handle.poll_attempts(every=0.03)]
    handle.result(timeout=20)
    one, both = (of(lab, handle, seen) for seen in (polls[0], [*polls[1], *polls[0], *polls[0]]))
    pd.testing.assert_frame_equal(one, both)


async def describe_in(lab: Lab, workflow_id: str) -> list[Observation]:
    """Look as one who uses the SDK's client."""
    return attempts.from_description(await lab.client.get_workflow_handle(workflow_id).describe())


def test_the_sdks_own_description_is_as_good(lab: Lab, tmp_path: Any) -> None:
    go = tmp_path / "go"
    handle: Handle = lab.start_workflow(zoo.Persistent.run, "wait_for_file", str(go))
    zoo.until(lambda: [one for one in look(handle) if one["started_ns"]])
    assert asyncio.run(describe_in(lab, handle.id)) == look(handle)
    go.touch()
    handle.result(timeout=20)
