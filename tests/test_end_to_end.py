"""The promise of the kit in one place: every attempt of a mixed run, planned beside observed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pandas as pd
import pytest
from google.protobuf.json_format import MessageToDict

from projectai_lab import attempts as attempt_logs
from projectai_lab import histories, plots, retries, tables
from projectai_lab.config import LabConfig
from projectai_lab.controller import AIController
from projectai_lab.lab import Lab
from projectai_lab.models import RetrySettings, TimeoutSettings, WorkflowInput
from projectai_lab.workflows import ExampleWorkflow
from tests import data_workflows

ATTEMPTS = [1, 1, 1, 2, 3, 4]
"""One activity succeeds at attempt 4, one exhausts 3, one times out then succeeds, three clean."""


@pytest.fixture
def mixed(lab: Lab, new_id: Callable[[str], str]) -> histories.History:
    lab.start_worker(workflows=data_workflows.WORKFLOWS, activities=data_workflows.ACTIVITIES)
    handle = lab.start_workflow(data_workflows.MixedWorkflow.run, id=new_id("mixed"))
    handle.result(timeout=60)
    return handle.fetch_history()


@pytest.fixture
def attempts(mixed: histories.History, lab: Lab) -> pd.DataFrame:
    return tables.validate(tables.attempts(mixed, recorder=lab.attempts))


def test_twelve_of_twelve_attempts_are_in_the_table(attempts: pd.DataFrame) -> None:
    assert len(attempts) == 12
    activities = attempts.groupby("scheduled_event_id")
    assert sorted(activities.size()) == ATTEMPTS
    for _, one in activities:
        assert one["attempt"].tolist() == list(range(1, len(one) + 1))


def test_every_retry_has_a_planned_and_an_observed_backoff(attempts: pd.DataFrame) -> None:
    again = attempts[attempts["attempt"] > 1]
    assert len(again) == 6
    assert again["backoff_planned_s"].notna().all()
    assert again["backoff_observed_s"].notna().all()
    assert (again["backoff_error_s"] > -0.05).all(), "no retry begins before its plan"
    assert (again["dispatch_lag_s"] >= 0).all()
    first = attempts[attempts["attempt"] == 1]
    assert first["backoff_planned_s"].isna().all()
    assert first["backoff_observed_s"].isna().all()


def test_the_recorder_saw_what_the_server_counted(
    mixed: histories.History, attempts: pd.DataFrame
) -> None:
    """Check against an independent walk over the raw protobuf."""
    last = {}
    for event in mixed.events:
        started = MessageToDict(event).get("activityTaskStartedEventAttributes")
        if started:
            last[int(started["scheduledEventId"])] = started["attempt"]
    assert attempts.groupby("scheduled_event_id")["attempt"].max().to_dict() == last


def test_history_alone_knows_the_number_but_not_the_times(
    mixed: histories.History, attempts: pd.DataFrame
) -> None:
    alone = tables.attempts(mixed)
    assert len(alone) == len(attempts) == 12
    assert alone["started_time"].notna().sum() < attempts["started_time"].notna().sum() == 12


def test_the_same_tables_come_from_files(
    mixed: histories.History, attempts: pd.DataFrame, lab: Lab, tmp_path: Path
) -> None:
    assert lab.attempts
    saved = histories.save(mixed, tmp_path / "mixed.json")
    log = lab.attempts.save(tmp_path / "attempts.jsonl")
    again = tables.attempts(histories.load(saved), recorder=attempt_logs.read(log))
    pd.testing.assert_frame_equal(again, attempts)


def test_the_figures_show_all_of_it(attempts: pd.DataFrame) -> None:
    ladder = plots.retries(attempts)
    assert "6 retries of 3 activities" in ladder.get_title(loc="left") + ladder.get_title()
    timeline = plots.timeline(attempts)
    assert "12 attempts" in timeline.get_title(loc="left") + timeline.get_title()
    for ax in (ladder, timeline):
        figure = ax.get_figure()
        assert figure
        figure.clear()


def test_the_summary_counts_what_happened(attempts: pd.DataFrame) -> None:
    summary = retries.summary(attempts).set_index("activity_type")
    assert summary.loc["fail_until", ["completed", "failed"]].tolist() == [1, 1]
    assert summary["retries"].sum() == 6


def test_a_result_that_cannot_be_sent_is_no_timeout_and_gives_no_negative_wait(
    lab: Lab, new_id: Callable[[str], str]
) -> None:
    lab.start_worker(ai=lambda text: object())
    request = WorkflowInput(
        "hello",
        "u-1",
        retry={"simulate_ai_call": RetrySettings(initial_interval=0.2, maximum_attempts=3)},
        timeouts={"simulate_ai_call": TimeoutSettings(start_to_close=5)},
    )
    handle = lab.start_workflow(ExampleWorkflow.run, request, id=new_id("unsendable"))
    assert not handle.result(timeout=30).success
    history = handle.fetch_history()
    calls = tables.attempts(history, recorder=lab.attempts).query("attempt > 1")
    assert (calls["backoff_observed_s"] >= calls["backoff_planned_s"] - 0.05).all()
    assert calls["timeout_type"].isna().all()
    whole = tables.activities(history, recorder=lab.attempts)
    assert (whole[["exec_s", "backoff_s", "queue_s"]].fillna(0) >= 0).all(axis=None)


def test_a_controller_refuses_what_it_would_otherwise_ignore() -> None:
    with pytest.raises(TypeError, match="a Lab, a LabConfig or nothing, not 'prod:7233'"):
        AIController(cast(LabConfig, "prod:7233"))
