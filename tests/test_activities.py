"""The three activities on a real worker: real AI callables, heartbeats, limits, faults."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from temporalio import activity
from temporalio.activity import _Definition

from projectai_lab import activities
from projectai_lab.activities import MAX_DATA_CHARS
from projectai_lab.lab import Lab
from projectai_lab.models import (
    FaultPlan,
    Latency,
    RetrySettings,
    TimeoutSettings,
    WorkflowInput,
    WorkflowOutput,
)
from projectai_lab.workflows import ExampleWorkflow

AI = "simulate_ai_call"
ONCE = {AI: RetrySettings(maximum_attempts=1)}
PATIENCE_S = 30


def ask(lab: Lab, data: str = "text", **settings: Any) -> WorkflowOutput:
    """Run one request to its end."""
    request = WorkflowInput(data, "u-1", **settings)
    return lab.execute_workflow(ExampleWorkflow.run, request, timeout=PATIENCE_S)


def answer(lab: Lab, **settings: Any) -> Any:
    """Run one request and return the AI's answer."""
    output = ask(lab, **settings)
    assert output.result is not None, output.error
    return output.result["answer"]


@pytest.mark.parametrize("name", ["validate_input", "simulate_ai_call", "process_ai_task"])
def test_each_activity_carries_its_name(name: str) -> None:
    definition = _Definition.from_callable(getattr(activities, name))
    assert definition is not None
    assert definition.name == name


def test_the_simulation_answers_without_any_ai(lab: Lab) -> None:
    assert answer(lab) == "simulated answer to 4 characters"


def test_a_plain_ai_callable_may_block_and_runs_in_a_thread_of_its_own(lab: Lab) -> None:
    def ai(text: str) -> str:
        time.sleep(0.05)
        return f"{text}, attempt {activity.info().attempt}, {threading.current_thread().name}"

    lab.start_worker(ai=ai)
    text, attempt, thread = answer(lab).split(", ")
    assert (text, attempt) == ("text", "attempt 1")
    assert thread != "projectai-lab"


def test_an_async_ai_callable_is_awaited_on_the_loop(lab: Lab) -> None:
    async def ai(text: str) -> dict[str, Any]:
        return {"text": text, "thread": threading.current_thread().name}

    lab.start_worker(ai=ai)
    assert answer(lab) == {"text": "text", "thread": "projectai-lab"}


def test_an_object_with_an_async_call_is_an_ai_callable_too(lab: Lab) -> None:
    class Model:
        async def __call__(self, text: str) -> list[str]:
            return [text, "answer"]

    lab.start_worker(ai=Model())
    assert answer(lab) == ["text", "answer"]


def test_an_ai_callable_that_raises_is_retried_and_then_named(lab: Lab) -> None:
    def ai(_: str) -> str:
        raise ConnectionError(f"model overloaded, attempt {activity.info().attempt}")

    lab.start_worker(ai=ai)
    output = ask(lab, retry={AI: RetrySettings(0.02, maximum_attempts=2)})
    assert not output.success
    assert output.error == (
        "simulate_ai_call failed for good (MAXIMUM_ATTEMPTS_REACHED): ConnectionError: "
        "model overloaded, attempt 2"
    )


def test_an_answer_that_does_not_serialise_is_a_failure_with_a_reason(lab: Lab) -> None:
    lab.start_worker(ai=lambda _: object())
    output = ask(lab, retry=ONCE)
    assert not output.success
    assert "not JSON serializable" in str(output.error)


def test_the_plan_fails_a_real_ai_callable_too(lab: Lab) -> None:
    asked: list[int] = []

    def ai(_: str) -> int:
        asked.append(activity.info().attempt)
        return asked[-1]

    lab.start_worker(ai=ai)
    plan = FaultPlan(fail_first={AI: 2})
    assert answer(lab, faults=plan, retry={AI: RetrySettings(0.02)}) == 3
    assert asked == [3], "a planned failure costs no call"


def test_the_latency_law_leaves_a_real_ai_callable_alone(lab: Lab) -> None:
    lab.start_worker(ai=lambda text: text.upper())
    limits = {AI: TimeoutSettings(start_to_close=5)}
    plan = FaultPlan(latency=Latency(a=3600))
    assert answer(lab, faults=plan, timeouts=limits) == "TEXT"


def test_the_simulated_call_takes_as_long_as_its_law_says(lab: Lab) -> None:
    output = ask(lab, faults=FaultPlan(latency=Latency(a=0.3)))
    assert output.result is not None
    assert output.result["timings"]["ai_call_s"] >= 0.3


def test_a_long_call_heartbeats_so_that_it_outlives_its_heartbeat_timeout(lab: Lab) -> None:
    limits = {AI: TimeoutSettings(start_to_close=60, heartbeat=2)}
    output = ask(lab, faults=FaultPlan(latency=Latency(a=3)), timeouts=limits, retry=ONCE)
    assert output.success, output.error


def test_a_call_in_a_thread_heartbeats_too(lab: Lab) -> None:
    lab.start_worker(ai=lambda _: time.sleep(3))
    limits = {AI: TimeoutSettings(start_to_close=60, heartbeat=2)}
    output = ask(lab, timeouts=limits, retry=ONCE)
    assert output.success, output.error


@pytest.mark.parametrize("kind", ["validate_input", "process_ai_task"])
def test_the_plan_reaches_the_other_two_activities(lab: Lab, kind: str) -> None:
    retry = {kind: RetrySettings(0.02, maximum_attempts=3)}
    assert ask(lab, faults=FaultPlan(fail_first={kind: 2}), retry=retry).success
    output = ask(lab, faults=FaultPlan(fail_first={kind: 3}), retry=retry)
    assert output.error is not None
    assert f"{kind} failed for good" in output.error


def test_data_of_exactly_the_limit_passes(lab: Lab) -> None:
    output = ask(lab, "x" * MAX_DATA_CHARS)
    assert output.result is not None
    assert output.result["characters"] == MAX_DATA_CHARS == 10_000


def test_an_activity_registered_under_the_same_name_takes_the_place_of_ours(lab: Lab) -> None:
    @activity.defn(name="process_ai_task")
    async def other(_: Any) -> dict[str, Any]:
        return {"answer": "from another"}

    lab.start_worker(activities=[other])
    assert ask(lab).result == {"answer": "from another"}
