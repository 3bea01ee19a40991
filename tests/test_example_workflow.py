"""`ExampleWorkflow` on a real server: results, per-run settings, faults, state, cancel, replay."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHistory
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import Replayer

from projectai_lab import histories
from projectai_lab.config import LabConfig
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.lab import Lab
from projectai_lab.models import (
    FaultPlan,
    Latency,
    RetrySettings,
    TimeoutSettings,
    WorkflowInput,
    WorkflowOutput,
    WorkflowState,
)
from projectai_lab.workflows import ExampleWorkflow
from projectai_lab.workflows.example import DEFAULT_RETRY, DEFAULT_TIMEOUTS

AI = "simulate_ai_call"
STEPS = ["validate_input", AI, "process_ai_task"]
PATIENCE_S = 30
GOLDEN = Path(__file__).parent / "data" / "example_workflow"
HEEDS_CANCEL = {AI: TimeoutSettings(start_to_close=20, heartbeat=0.5)}


class Gate:
    """An AI that says when it was asked and answers when it is told to."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.answer = threading.Event()

    def __call__(self, text: str) -> str:
        self.asked.set()
        assert self.answer.wait(PATIENCE_S)
        return f"answer to {text}"


def run(lab: Lab, request: WorkflowInput) -> WorkflowOutput:
    """Run a request to its end."""
    return lab.execute_workflow(ExampleWorkflow.run, request, timeout=PATIENCE_S)


def started(lab: Lab, request: WorkflowInput) -> LabWorkflowHandle[WorkflowOutput]:
    """Start a request."""
    return lab.start_workflow(ExampleWorkflow.run, request)


def scheduled(handle: LabWorkflowHandle[Any]) -> list[HistoryEvent]:
    """Return the Scheduled event of each activity, in order."""
    kind = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    return [event for event in handle.fetch_history().events if event.event_type == kind]


def scheduled_types(handle: LabWorkflowHandle[Any]) -> list[str]:
    """Return the activity types in the order of their scheduling."""
    events = scheduled(handle)
    return [e.activity_task_scheduled_event_attributes.activity_type.name for e in events]


def attempts(lab: Lab, handle: LabWorkflowHandle[Any], kind: str = AI) -> list[dict[str, Any]]:
    """Return what the recorder holds of one activity of the run."""
    ours = [record for record in lab.attempts or () if record["workflow_id"] == handle.id]
    return [record for record in ours if record["activity_type"] == kind]


def ends_canceled(handle: LabWorkflowHandle[Any]) -> bool:
    """Wait for the end and say whether it is CANCELED."""
    with pytest.raises(WorkflowFailureError) as caught:
        handle.result(timeout=PATIENCE_S)
    status = handle.describe().status
    return isinstance(caught.value.cause, CancelledError) and (
        status == WorkflowExecutionStatus.CANCELED
    )


def test_three_activities_in_order_make_the_result(lab: Lab) -> None:
    handle = started(lab, WorkflowInput("  summarise this ", "u-1"))
    output = handle.result(timeout=PATIENCE_S)
    assert (output.success, output.error) == (True, None)
    assert output.result is not None
    assert output.result["answer"] == "simulated answer to 14 characters"
    assert (output.result["user_id"], output.result["characters"]) == ("u-1", 14)
    assert output.result["timings"]["ai_call_s"] >= 0.02
    assert output.result["timings"]["process_s"] >= 0
    assert scheduled_types(handle) == STEPS


def test_a_run_without_settings_takes_the_defaults_of_each_activity(lab: Lab) -> None:
    handle = started(lab, WorkflowInput("text", "u-1"))
    handle.result(timeout=PATIENCE_S)
    for event in scheduled(handle):
        facts = event.activity_task_scheduled_event_attributes
        retry, limits = DEFAULT_RETRY[facts.activity_type.name], facts.start_to_close_timeout
        assert facts.retry_policy.maximum_attempts == retry.maximum_attempts
        assert facts.retry_policy.initial_interval.ToTimedelta() / timedelta(seconds=1) == (
            retry.initial_interval
        )
        assert limits.seconds == DEFAULT_TIMEOUTS[facts.activity_type.name].start_to_close


def test_retry_and_timeouts_of_one_run_reach_the_server(lab: Lab) -> None:
    retry = RetrySettings(0.25, 3, 40, 7, ("Hopeless", "InvalidInput"))
    timeouts = TimeoutSettings(11, 12, 13, 1.5)
    handle = started(lab, WorkflowInput("x", "u", retry={AI: retry}, timeouts={AI: timeouts}))
    handle.result(timeout=PATIENCE_S)
    facts = scheduled(handle)[1].activity_task_scheduled_event_attributes
    policy = facts.retry_policy
    assert policy.initial_interval.ToTimedelta() == timedelta(seconds=0.25)
    assert policy.maximum_interval.ToTimedelta() == timedelta(seconds=40)
    assert (policy.backoff_coefficient, policy.maximum_attempts) == (3, 7)
    assert list(policy.non_retryable_error_types) == ["Hopeless", "InvalidInput"]
    assert (facts.start_to_close_timeout.seconds, facts.schedule_to_close_timeout.seconds) == (
        11,
        12,
    )
    assert facts.heartbeat_timeout.ToTimedelta() == timedelta(seconds=1.5)


def test_the_state_query_tells_which_activity_runs_since_when_and_what_is_done(lab: Lab) -> None:
    gate = Gate()
    lab.start_worker(ai=gate)
    before = datetime.now(UTC) - timedelta(seconds=1)
    handle = started(lab, WorkflowInput("text", "u-1"))
    assert gate.asked.wait(PATIENCE_S)
    state: WorkflowState = handle.query(ExampleWorkflow.state)
    assert (state.activity, state.done, state.status) == (AI, ("validate_input",), "running")
    assert state.since is not None
    assert before < state.since < datetime.now(UTC) + timedelta(seconds=1)
    gate.answer.set()
    handle.result(timeout=PATIENCE_S)
    ended = handle.query(ExampleWorkflow.state)
    assert (ended.activity, ended.done, ended.status) == (None, tuple(STEPS), "completed")


def test_planned_failures_are_retried_until_success(lab: Lab) -> None:
    faults = FaultPlan(fail_first={AI: 2})
    retry = {AI: RetrySettings(0.05, 1, maximum_attempts=5)}
    handle = started(lab, WorkflowInput("text", "u-1", faults, retry=retry))
    assert handle.result(timeout=PATIENCE_S).success
    outcomes = [record["outcome"] for record in attempts(lab, handle)]
    assert outcomes == ["FAILED", "FAILED", "COMPLETED"]


@pytest.mark.parametrize("kind", STEPS)
def test_an_activity_that_fails_for_good_ends_in_success_false_not_in_failed(
    lab: Lab, kind: str
) -> None:
    faults = FaultPlan(fail_first={kind: 9}, error_type="Overloaded")
    retry = {kind: RetrySettings(0.05, 1, maximum_attempts=2)}
    handle = started(lab, WorkflowInput("text", "u-1", faults, retry=retry))
    assert handle.result(timeout=PATIENCE_S) == WorkflowOutput(
        success=False,
        error=f"{kind} failed for good (MAXIMUM_ATTEMPTS_REACHED): Overloaded: "
        "planned failure of attempt 2",
    )
    assert handle.describe().status == WorkflowExecutionStatus.COMPLETED
    assert scheduled_types(handle) == STEPS[: STEPS.index(kind) + 1]
    state = handle.query(ExampleWorkflow.state)
    assert (state.activity, state.status) == (None, "failed")


def test_a_planned_error_that_is_not_retryable_has_one_attempt(lab: Lab) -> None:
    faults = FaultPlan(fail_first={AI: 9}, error_type="Refused", retryable=False)
    handle = started(lab, WorkflowInput("text", "u-1", faults))
    error = handle.result(timeout=PATIENCE_S).error
    assert error == (
        "simulate_ai_call failed for good (NON_RETRYABLE_FAILURE): Refused: "
        "planned failure of attempt 1"
    )
    assert len(attempts(lab, handle)) == 1


def test_an_error_type_that_the_run_names_is_not_retried(lab: Lab) -> None:
    retry = {AI: RetrySettings(non_retryable_error_types=("InjectedFault",))}
    handle = started(lab, WorkflowInput("x", "u", FaultPlan({}, {AI: 1.0}), retry=retry))
    assert "drawn failure (p=1) of attempt 1" in str(handle.result(timeout=PATIENCE_S).error)
    assert len(attempts(lab, handle)) == 1


@pytest.mark.parametrize(
    ("data", "user_id", "reason"),
    [
        ("", "u-1", "data is empty"),
        (" \n", "u-1", "data is empty"),
        ("x" * 10_001, "u-1", "data has 10,001 characters, the limit is 10,000"),
        (None, "u-1", "data must be text, got NoneType"),
        (["text"], "u-1", "data must be text, got list"),
        ("text", 7, "user_id must be text, got int"),
        ("text", "", "user_id is empty"),
    ],
)
def test_an_invalid_request_is_refused_with_a_reason_and_never_retried(
    lab: Lab, data: Any, user_id: Any, reason: str
) -> None:
    handle = started(lab, WorkflowInput(data, user_id))
    output = handle.result(timeout=PATIENCE_S)
    assert (output.success, output.result) == (False, None)
    assert output.error == (
        f"validate_input failed for good (NON_RETRYABLE_FAILURE): InvalidInput: {reason}"
    )
    assert len(attempts(lab, handle, "validate_input")) == 1


def test_an_attempt_that_hangs_past_its_timeout_is_followed_by_one_that_succeeds(lab: Lab) -> None:
    faults = FaultPlan(hang_first={AI: 1})
    limits = {AI: TimeoutSettings(start_to_close=1)}
    retry = {AI: RetrySettings(0.05)}
    handle = started(lab, WorkflowInput("text", "u-1", faults, retry=retry, timeouts=limits))
    assert handle.result(timeout=PATIENCE_S).success
    assert [record["attempt"] for record in attempts(lab, handle)] == [1, 2]


def test_a_call_that_only_hangs_ends_as_a_timeout_by_name(lab: Lab) -> None:
    faults = FaultPlan(hang_first={AI: 9})
    limits = {AI: TimeoutSettings(start_to_close=0.3)}
    retry = {AI: RetrySettings(maximum_attempts=1)}
    output = run(lab, WorkflowInput("text", "u-1", faults, retry=retry, timeouts=limits))
    assert output.error == (
        "simulate_ai_call failed for good (MAXIMUM_ATTEMPTS_REACHED): START_TO_CLOSE: "
        "activity StartToClose timeout"
    )


def test_cancel_reaches_the_ai_call_and_nothing_runs_on_behind_it(lab: Lab) -> None:
    asked, ended = threading.Event(), threading.Event()

    async def slow(_: str) -> None:
        asked.set()
        try:
            await asyncio.sleep(PATIENCE_S)
        finally:
            ended.set()

    lab.start_worker(ai=slow)
    handle = started(lab, WorkflowInput("text", "u-1", timeouts=HEEDS_CANCEL))
    assert asked.wait(PATIENCE_S)
    handle.cancel()
    assert ends_canceled(handle)
    assert ended.is_set()
    assert scheduled_types(handle) == STEPS[:2]
    state = handle.query(ExampleWorkflow.state)
    assert (state.activity, state.done, state.status) == (None, ("validate_input",), "cancelled")


def test_cancel_waits_for_a_plain_ai_call_because_a_thread_cannot_be_stopped(lab: Lab) -> None:
    asked, ended = threading.Event(), threading.Event()

    def slow(_: str) -> None:
        asked.set()
        time.sleep(1.5)
        ended.set()

    lab.start_worker(ai=slow)
    handle = started(lab, WorkflowInput("text", "u-1", timeouts=HEEDS_CANCEL))
    assert asked.wait(PATIENCE_S)
    handle.cancel()
    assert ends_canceled(handle)
    assert ended.is_set()


def test_cancel_during_an_activity_that_cannot_hear_it_starts_no_further_activity(
    lab: Lab,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @activity.defn(name="validate_input")
    def deaf(request: WorkflowInput) -> str:
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return str(request.data)

    lab.start_worker(activities=[deaf])
    handle = started(lab, WorkflowInput("text", "u-1"))
    assert begun.wait(PATIENCE_S)
    handle.cancel()
    go_on.set()
    assert ends_canceled(handle)
    assert scheduled_types(handle) == STEPS[:1]


def test_cancel_wins_over_a_failure_that_it_brings_about(lab: Lab) -> None:
    asked = threading.Event()

    async def sulks(_: str) -> None:
        asked.set()
        try:
            await asyncio.sleep(PATIENCE_S)
        except asyncio.CancelledError:
            raise ApplicationError("interrupted") from None

    lab.start_worker(ai=sulks)
    handle = started(lab, WorkflowInput("text", "u-1", timeouts=HEEDS_CANCEL))
    assert asked.wait(PATIENCE_S)
    handle.cancel()
    assert ends_canceled(handle)
    assert handle.query(ExampleWorkflow.state).status == "cancelled"


def test_cancel_between_two_attempts_does_not_wait_for_the_next(lab: Lab) -> None:
    retry = {AI: RetrySettings(initial_interval=3600)}
    faults = FaultPlan(fail_first={AI: 1})
    handle = started(lab, WorkflowInput("text", "u-1", faults, retry=retry))
    deadline = time.monotonic() + PATIENCE_S
    while not any(record.get("outcome") for record in attempts(lab, handle)):
        assert time.monotonic() < deadline
    handle.cancel()
    assert ends_canceled(handle)
    assert len(attempts(lab, handle)) == 1


def test_a_run_canceled_before_it_began_calls_no_activity(config: LabConfig) -> None:
    with Lab.connect(config, worker=False) as lab:
        handle = started(lab, WorkflowInput("text", "u-1"))
        handle.cancel()
        lab.start_worker()
        assert ends_canceled(handle)
        assert scheduled_types(handle) == []


def test_runs_with_the_same_seed_meet_the_same_faults_whatever_their_id(lab: Lab) -> None:
    faults = FaultPlan({}, {AI: 0.5}, latency=Latency("uniform", 0, 0.01))
    retry = {AI: RetrySettings(0.02, 1)}
    request = WorkflowInput("text", "u-1", faults, seed=11, retry=retry)
    counts = []
    for _ in range(2):
        handle = lab.start_workflow(ExampleWorkflow.run, request)
        handle.result(timeout=PATIENCE_S)
        mine = [r for r in attempts(lab, handle) if r["run_id"] == handle.run_id]
        counts.append([record["outcome"] for record in mine])
    assert counts[0] == counts[1]


def replay(history: WorkflowHistory) -> None:
    """Replay a history against today's workflow code; raises where the two part."""
    replayer = Replayer(workflows=[ExampleWorkflow])
    asyncio.run(replayer.replay_workflow(history))


@pytest.mark.parametrize("name", ["success", "failure", "canceled"])
def test_a_history_saved_earlier_still_replays(name: str) -> None:
    replay(histories.load(GOLDEN / f"{name}.json"))


def test_a_history_of_another_workflow_code_does_not_replay() -> None:
    text = (GOLDEN / "success.json").read_text().replace('"validate_input"', '"check_input"')
    other = WorkflowHistory.from_json("other", text)
    with pytest.raises(workflow.NondeterminismError, match="check_input"):
        replay(other)


def test_a_run_with_every_fault_replays(lab: Lab) -> None:
    faults = FaultPlan(
        {AI: 1}, {"process_ai_task": 0.5}, {"validate_input": 1}, latency=Latency("lognormal", 0.01)
    )
    quick = dict.fromkeys(STEPS, RetrySettings(0.02, 1, maximum_attempts=9))
    limits = {"validate_input": TimeoutSettings(start_to_close=0.2)}
    handle = started(lab, WorkflowInput("text", "u-1", faults, retry=quick, timeouts=limits))
    assert handle.result(timeout=PATIENCE_S).success
    replay(handle.fetch_history())


def without_machine(path: Path) -> str:
    """Return a saved history without stack traces and host names."""

    def without_trace(node: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in node.items() if name != "stackTrace"}

    text = json.dumps(json.loads(path.read_text(), object_hook=without_trace), indent=1)
    return re.sub(r'"[0-9]+[-0-9a-f]*@[^"]+"', '"lab"', text) + "\n"


def record() -> None:
    """Write the golden histories anew: python -m tests.test_example_workflow."""
    slow, hopeless = Latency(a=PATIENCE_S), FaultPlan(fail_first={AI: 9}, retryable=False)
    with Lab.start_local() as lab:
        ends = {
            "success": started(lab, WorkflowInput("text", "u-1", FaultPlan(fail_first={AI: 1}))),
            "failure": started(lab, WorkflowInput("text", "u-1", hopeless)),
            "canceled": started(lab, WorkflowInput("text", "u-1", FaultPlan(latency=slow))),
        }
        while not attempts(lab, ends["canceled"]):
            time.sleep(0.05)
        ends["canceled"].cancel()
        ends_canceled(ends["canceled"])
        for name, handle in ends.items():
            path = histories.save(handle.fetch_history(), GOLDEN / f"{name}.json")
            path.write_text(without_machine(path))


if __name__ == "__main__":
    record()
