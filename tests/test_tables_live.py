"""The tables on histories that a real server makes now, on the fast and on the virtual clock."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from temporalio.testing import TimeSkipper

from projectai_lab import histories, tables
from projectai_lab.attempts import AttemptLog
from projectai_lab.histories import History
from tests.data import record
from tests.data_workflows import HourWorkflow

Recorded = tuple[dict[str, History], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Run every data workflow on a server of this module's own."""

    async def scenario() -> Recorded:
        log = AttemptLog(tmp_path_factory.mktemp("attempts"))
        async with record.server() as client, record.worker(client, log):
            found = await record.run_all(client)
            skipper = TimeSkipper(client).client
            await skipper.execute_workflow(
                HourWorkflow.run, id="hour", task_queue=record.TASK_QUEUE
            )
            found += await histories.fetch(client, ["hour"], clock="virtual")
        return {history.workflow_id: history for history in found}, log.records()

    return asyncio.run(scenario())


def test_twelve_of_twelve_attempts_with_planned_and_observed_backoff(recorded: Recorded) -> None:
    runs, records = recorded
    table = tables.validate(tables.attempts(runs["mixed"], recorder=records))
    assert len(table) == 12
    retries = table[table.attempt > 1]
    assert len(retries) == 6
    known = ["backoff_planned_s", "backoff_observed_s", "dispatch_lag_s"]
    assert retries[known].notna().all(axis=None)
    assert (retries.backoff_error_s > -1e-6).all()


def test_parts_and_unattributed_sum_to_the_total(recorded: Recorded) -> None:
    runs, records = recorded
    for recorder in (None, records):
        table = tables.activities(runs.values(), recorder=recorder)
        closed = table[table.total_s.notna()]
        parts = closed[["exec_s", "backoff_s", "queue_s", "unattributed_s"]]
        assert (parts.sum(axis=1) - closed.total_s).abs().max() < 1e-6
        assert (parts.fillna(0) >= 0).all(axis=None)


def test_every_recorded_attempt_is_in_the_table(recorded: Recorded) -> None:
    runs, records = recorded
    table = tables.validate(tables.attempts(runs.values(), recorder=records))
    seen = {(one["run_id"], one["activity_id"], one["attempt"]) for one in records}
    fetched = {history.run_id for history in runs.values()}
    told = set(zip(table.run_id, table.activity_id, table.attempt, strict=True))
    assert {one for one in seen if one[0] in fetched} == told


def test_the_virtual_clock_shows_the_backoffs_that_were_skipped(recorded: Recorded) -> None:
    runs, records = recorded
    run = tables.executions(runs["hour"]).iloc[0]
    assert run.clock == "virtual"
    assert run.skipped_s > 3600 + 3000 - 1
    assert run.duration_s > run.skipped_s
    table = tables.attempts(runs["hour"], recorder=records).set_index("attempt")
    assert table.backoff_planned_s.tolist()[1:] == [1000, 2000]
    assert table.backoff_observed_s.tolist()[1:] == pytest.approx([1000, 2000], abs=1)
    assert table.attrs["clock"] == "virtual"
    assert tables.activities(runs["hour"], recorder=records).unattributed_s.tolist() == [0]


def test_time_skips_alone_tell_when_each_attempt_was_due(recorded: Recorded) -> None:
    runs, records = recorded
    told = tables.attempts(runs["hour"])
    assert told.source.tolist() == ["time_skip", "history", "history"]
    by_record = tables.attempts(runs["hour"], recorder=records)
    apart = told.attempt_scheduled_time - by_record.attempt_scheduled_time
    assert apart.abs().max() < pd.Timedelta(microseconds=1)
    assert told.dispatch_lag_s.notna().tolist() == [False, False, True]
    assert by_record.doubt.isna().all()


def test_tables_of_a_saved_history_are_those_of_the_fetched_one(
    recorded: Recorded, tmp_path: Path
) -> None:
    runs, _ = recorded
    for name, history in runs.items():
        back = histories.load(histories.save(history, tmp_path / f"{name}.json"))
        for make in (tables.events, tables.executions, tables.activities, tables.timers):
            pd.testing.assert_frame_equal(make(back), make(history))
            assert make(back).attrs == make(history).attrs
