"""Virtual time on a real server: what passes at once, what stays real, and who can do it."""

from __future__ import annotations

import asyncio
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import CancelledError, TimeoutError
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from projectai_lab import (
    AIController,
    FaultPlan,
    Lab,
    LabConfig,
    RetrySettings,
    TimeoutSettings,
    WorkflowInput,
    capsule,
    histories,
    retries,
    tables,
)
from projectai_lab._connect import connect
from projectai_lab._time_skipping import MOST_SKIPS, _delete, _started, probe, skipping
from projectai_lab.devserver import Clock, DevServer
from projectai_lab.errors import NoTimeSkippingError, WorkflowTimeoutError
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.workflows import ExampleWorkflow
from tests import zoo
from tests.virtual_workflows import (
    ACTIVITIES,
    DAY,
    HOUR,
    WORKFLOWS,
    Approval,
    Days,
    Hours,
    Month,
    Parent,
)

PATIENCE_S = 60
CALL = "simulate_ai_call"


@pytest.fixture(scope="module")
def fast() -> Iterator[DevServer]:
    """Return a server that cannot skip."""
    with DevServer.start(clock="fast") as server:
        yield server


@pytest.fixture(scope="module")
def skips() -> Iterator[DevServer]:
    """Return a server that can skip, started by somebody else as far as a Lab knows."""
    with DevServer.start(clock="virtual") as server:
        yield server


def at(server: DevServer) -> LabConfig:
    return LabConfig(address=server.address, task_queue=f"virtual-{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="module")
def day(skips: DevServer) -> Iterator[Lab]:
    """Return a Lab on virtual time."""
    options: dict[str, Any] = {"workflows": WORKFLOWS, "activities": ACTIVITIES}
    with Lab.connect(at(skips), clock="virtual", **options) as lab:
        yield lab


def execution(handle: LabWorkflowHandle[Any]) -> Any:
    return next(tables.executions(handle.fetch_history()).itertuples())


def lasted(handle: LabWorkflowHandle[Any]) -> timedelta:
    """Return the run's time by its own clock."""
    return timedelta(seconds=execution(handle).duration_s)


# --- who can do it --------------------------------------------------------------------------------


def test_a_server_without_the_feature_is_one_clear_error_before_anything_starts(
    fast: DevServer,
) -> None:
    threads = threading.active_count()
    with pytest.raises(NoTimeSkippingError, match="has no virtual clock") as caught:
        Lab.connect(at(fast), clock="virtual")
    told = str(caught.value)
    assert fast.address in told
    assert "not enabled for namespace" in told
    assert 'Lab.start_local(clock="virtual")' in told
    assert "frontend.WorkflowTimeSkippingEnabled=true" in told
    assert caught.value.address == fast.address
    assert threading.active_count() == threads
    with Lab.connect(at(fast), worker=False) as lab:
        assert lab.list_workflows() == []


def test_a_server_that_passes_over_the_request_in_silence_is_found_out(skips: DevServer) -> None:
    async def as_an_older_server_sees_it() -> None:
        # Without the request's field, which is what a server sees that does not know it.
        await probe(await connect(at(skips)))

    with pytest.raises(NoTimeSkippingError, match="takes the request and skips nothing"):
        asyncio.run(as_an_older_server_sees_it())


def test_a_server_of_somebody_else_that_can_skip_does(skips: DevServer) -> None:
    with Lab.connect(at(skips), clock="virtual", workflows=WORKFLOWS) as lab:
        assert (lab.server, lab.clock) == (None, "virtual")
        assert "idle time is skipped" in lab._repr_html_()
        assert "activities run in real time" in lab._repr_html_()
        handle = lab.start_workflow(Hours.run, 3)
        assert handle.result(timeout=PATIENCE_S) == 3
        assert execution(handle).clock == "virtual"
        assert execution(handle).skipped_s == pytest.approx(3 * 3600, abs=60)
    assert skips.alive


def test_open_asks_the_server_of_the_environment_for_virtual_time(
    fast: DevServer, skips: DevServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_HOST", skips.address)
    with Lab.open(clock="virtual", worker=False) as lab:
        assert lab.clock == "virtual"
    monkeypatch.setenv("TEMPORAL_HOST", fast.address)
    with pytest.raises(NoTimeSkippingError):
        Lab.open(clock="virtual", worker=False)


@pytest.mark.parametrize("clock", ["fast", "default", None])
def test_the_other_clocks_are_not_ours_to_choose_elsewhere(
    skips: DevServer, clock: Clock | None
) -> None:
    options: dict[str, Any] = {"clock": clock, "worker": False}
    with Lab.open(address=skips.address, **options) as lab:
        assert lab.clock is None
        handle = lab.start_workflow("Nobody", id=f"real-{clock}")
        info = handle.describe().raw_description.workflow_extended_info
        assert not info.HasField("time_skipping_info")
        handle.terminate()


def test_a_clock_that_there_is_not_is_named_with_the_known_ones(skips: DevServer) -> None:
    with pytest.raises(ValueError, match="one of 'fast', 'default', 'virtual', got 'quick'"):
        Lab.connect(at(skips), clock=cast(Clock, "quick"))


def test_the_probe_leaves_no_run_behind() -> None:
    with Lab.start_local(clock="virtual", worker=False) as lab:
        assert lab.count_workflows().count == 0
        assert lab.list_workflows() == []


def test_the_probe_of_a_run_that_is_gone_already_ends_in_peace(skips: DevServer) -> None:
    async def twice() -> None:
        client = await skipping(await connect(at(skips)))
        async with _started(client) as handle:
            await _delete(client, handle)
            await _delete(client, handle)

    asyncio.run(twice())


# --- what passes at once --------------------------------------------------------------------------


def test_more_skips_than_the_server_allows_by_itself(day: Lab) -> None:
    handle = day.start_workflow(Hours.run, 205)
    assert handle.result(timeout=3 * PATIENCE_S) == 205
    assert lasted(handle) > 205 * HOUR


def test_a_run_that_has_used_up_its_skips_says_so(day: Lab) -> None:
    few = TimeSkipper(day.client, config=TimeSkippingConfig(max_session_skip_count=2)).client
    start = few.start_workflow(Hours.run, 3, id="three-hours", task_queue=day.task_queue)
    asyncio.run(cast(Any, start))
    handle = day.get_workflow_handle("three-hours")

    def over() -> bool:
        info = handle.describe().raw_description.workflow_extended_info.time_skipping_info
        return not info.effective_config.enabled

    zoo.until(over, PATIENCE_S)
    with pytest.raises(WorkflowTimeoutError, match="used its 2 time skips and waits on in real"):
        handle.result(timeout=2)
    handle.terminate()


def test_the_limit_of_skips_is_that_of_the_lab(day: Lab) -> None:
    handle = day.start_workflow(Parent.run, 1, id="limit")
    handle.result(timeout=PATIENCE_S)
    for name in ("limit", "limit-child"):
        info = day.get_workflow_handle(name).describe().raw_description.workflow_extended_info
        assert info.time_skipping_info.effective_config.max_session_skip_count == MOST_SKIPS


def test_a_start_delay_passes_at_once(day: Lab) -> None:
    handle = day.start_workflow(Hours.run, 1, start_delay=2 * DAY)
    assert handle.result(timeout=PATIENCE_S) == 1
    run = execution(handle)
    assert run.execution_time - run.start_time >= 2 * DAY
    assert run.skipped_s >= (2 * DAY + HOUR).total_seconds() - 60


@pytest.mark.parametrize("limit", ["execution_timeout", "run_timeout"])
def test_a_timeout_of_the_workflow_passes_at_once(day: Lab, limit: str) -> None:
    options: dict[str, Any] = {limit: DAY}
    handle = day.start_workflow(Approval.run, True, **options)
    with pytest.raises(WorkflowFailureError) as caught:
        handle.result(timeout=PATIENCE_S)
    assert isinstance(caught.value.cause, TimeoutError)
    assert lasted(handle) >= DAY
    assert execution(handle).status == "TIMED_OUT"


def test_a_chain_of_runs_goes_on_from_where_the_last_one_was(day: Lab) -> None:
    handle = day.start_workflow(Days.run, 2, id="chain")
    assert handle.result(timeout=PATIENCE_S) == "over"
    runs = tables.executions(day.fetch_histories("WorkflowId = 'chain'", progress=False))
    runs = runs.sort_values("start_time")
    assert runs.status.tolist() == ["CONTINUED_AS_NEW"] * 2 + ["COMPLETED"]
    assert (runs.duration_s >= DAY.total_seconds()).all()
    assert runs.close_time.iloc[-1] - runs.start_time.iloc[0] >= 3 * DAY


def test_a_child_has_a_clock_of_its_own_and_its_parent_waits_by_his(day: Lab) -> None:
    handle = day.start_workflow(Parent.run, 5, id="family")
    assert handle.result(timeout=PATIENCE_S) == 5
    assert lasted(day.get_workflow_handle("family-child")) >= 5 * HOUR
    assert lasted(handle) < HOUR
    assert execution(handle).skipped_s == 0


# --- what a run waits for -------------------------------------------------------------------------


def test_a_wait_with_a_timeout_ends_before_a_later_signal(day: Lab) -> None:
    assert day.execute_workflow(Approval.run, False, timeout=PATIENCE_S) == "nobody"


def test_a_signal_that_comes_with_the_start_is_in_time(day: Lab) -> None:
    options: dict[str, Any] = {"start_signal": "approve", "start_signal_args": ["ann"]}
    assert day.execute_workflow(Approval.run, False, timeout=PATIENCE_S, **options) == "ann"


def test_a_wait_without_a_timeout_takes_signals_updates_and_a_cancellation(day: Lab) -> None:
    signaled, updated, canceled = (day.start_workflow(Approval.run, True) for _ in range(3))
    signaled.signal(Approval.approve, "ann")
    assert signaled.result(timeout=PATIENCE_S) == "ann"
    assert updated.execute_update(Approval.confirm, "bob") == "by bob"
    assert updated.result(timeout=PATIENCE_S) == "bob"
    canceled.cancel()
    with pytest.raises(WorkflowFailureError) as caught:
        canceled.result(timeout=PATIENCE_S)
    assert isinstance(caught.value.cause, CancelledError)
    assert [execution(one).skipped_s for one in (signaled, updated, canceled)] == [0, 0, 0]


# --- what stays real ------------------------------------------------------------------------------


def test_an_activity_and_its_timeout_take_real_time(day: Lab) -> None:
    faults = FaultPlan(hang_first={CALL: 1})
    limits = {CALL: TimeoutSettings(start_to_close=1.5)}
    began = time.monotonic()
    request = WorkflowInput("hello", "u-1", faults=faults, timeouts=limits)
    handle = day.start_workflow(ExampleWorkflow.run, request)
    assert handle.result(timeout=PATIENCE_S).success
    # A lower bound: no machine is so slow that it breaks.
    assert time.monotonic() - began > 1.5
    attempts = tables.attempts(handle.fetch_history(), recorder=day.attempts)
    hung = attempts[(attempts.activity_type == CALL) & (attempts.attempt == 1)]
    assert hung.timeout_type.tolist() == ["START_TO_CLOSE"]


def test_schedule_to_close_counts_the_waits_that_were_skipped(day: Lab) -> None:
    # Due at 0 h, 1 h and 3 h, of which the third would be too late.
    request = WorkflowInput(
        *("hello", "u-1"),
        FaultPlan(fail_first={CALL: 5}),
        retry={CALL: RetrySettings(HOUR, maximum_attempts=6)},
        timeouts={CALL: TimeoutSettings(start_to_close=10, schedule_to_close=3 * HOUR)},
    )
    handle = day.start_workflow(ExampleWorkflow.run, request)
    assert not handle.result(timeout=PATIENCE_S).success
    table = tables.activities(handle.fetch_history()).set_index("activity_type")
    assert table.attempts[CALL] == 2
    assert table.retry_state[CALL] == "TIMEOUT"
    assert table.total_s[CALL] > 3600


# --- other ways to start and to work --------------------------------------------------------------


def test_the_controller_starts_on_the_clock_of_its_lab(day: Lab) -> None:
    retry = {CALL: RetrySettings(HOUR, maximum_attempts=4)}
    output = AIController(day).process_ai_request_blocking(
        data="hello", user_id="u-1", faults=FaultPlan(fail_first={CALL: 3}), retry=retry
    )
    assert output.success


def test_a_worker_in_a_process_of_its_own_works_on_virtual_time(skips: DevServer) -> None:
    with Lab.connect(at(skips), clock="virtual", worker=False) as lab:
        lab.start_worker(process=True, workflows=WORKFLOWS, activities=ACTIVITIES)
        handle = lab.start_workflow(Month.run)
        assert handle.result(timeout=PATIENCE_S) == 7
        waits = retries.against_plan(tables.attempts(handle.fetch_history(), recorder=lab.attempts))
        assert waits.backoff_planned_s.tolist() == [3600.0 * 2**n for n in range(6)]
        assert waits.backoff_observed_s.tolist() == pytest.approx(
            waits.backoff_planned_s.tolist(), abs=60
        )


# --- the clock goes along -------------------------------------------------------------------------


def test_what_is_fetched_exported_and_kept_says_virtual(day: Lab, tmp_path: Path) -> None:
    handle = day.start_workflow(Hours.run, 2, id="kept")
    handle.result(timeout=PATIENCE_S)
    query = "WorkflowId = 'kept'"
    [history] = day.fetch_histories(query, progress=False)
    assert history.clock == handle.fetch_history().clock == "virtual"
    day.export_histories(query, tmp_path / "study", progress=False)
    exported = histories.read_export(tmp_path / "study")
    assert exported["executions"]["clock"].tolist() == ["virtual"]
    assert exported["timers"].attrs["clock"] == "virtual"
    capsule.save(tmp_path / "study.zip", [history])
    [back] = capsule.open(tmp_path / "study.zip").histories
    assert back.clock == "virtual"
    saved = histories.load(histories.save(history, tmp_path / "one.json"))
    pd.testing.assert_frame_equal(tables.executions(saved), tables.executions(history))


def test_the_closed_runs_of_the_future_are_described_and_listed_as_the_others(day: Lab) -> None:
    handle = day.start_workflow(Hours.run, 48, id="future")
    handle.result(timeout=PATIENCE_S)
    described = handle.describe()
    assert described.close_time is not None
    assert described.close_time - described.start_time >= 2 * DAY
    assert [run.id for run in day.list_workflows("WorkflowId = 'future'")] == ["future"]
