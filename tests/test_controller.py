"""`AIController`: the same request from any caller, once, with a clear answer or a named error."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import TerminatedError
from temporalio.worker import Worker

from projectai_lab import (
    AIController,
    FaultPlan,
    Lab,
    LabConfig,
    RetrySettings,
    WorkflowInput,
    WorkflowOutput,
)
from projectai_lab.controller import _workflow_id
from projectai_lab.errors import (
    LabClosedError,
    NamespaceNotFoundError,
    NoWorkerError,
    PayloadError,
    ServerUnreachableError,
    WorkflowStuckError,
)
from tests import zoo


def fresh(address: str) -> LabConfig:
    """Return a configuration with a Task Queue of its own."""
    return LabConfig(address=address, task_queue=f"tests-controller-{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="module")
def lab(address: str) -> Iterator[Lab]:
    """Return a Lab with a worker."""
    with Lab.connect(fresh(address)) as opened:
        yield opened


@pytest.fixture
def deserted(address: str) -> Iterator[Lab]:
    """Return a Lab without a worker."""
    with Lab.connect(fresh(address), worker=False) as opened:
        yield opened


def ask(controller: AIController, **request: Any) -> WorkflowOutput:
    """Send a request from an event loop of our own."""
    return asyncio.run(controller.process_ai_request(**{"user_id": "u-1", **request}))


def test_a_request_comes_back_with_its_result(lab: Lab) -> None:
    output = ask(AIController(lab), data="summarise this")
    assert (output.success, output.error) == (True, None)
    assert output.result is not None
    assert output.result["answer"] == "simulated answer to 14 characters"
    assert output.result["user_id"] == "u-1"


def test_it_can_be_awaited_on_the_labs_own_loop(lab: Lab) -> None:
    controller = AIController(lab)
    output = lab._loop.run(lambda: controller.process_ai_request(data="a", user_id="u"))
    assert output.success


def test_it_can_be_awaited_on_loops_of_several_threads_at_once(lab: Lab) -> None:
    controller = AIController(lab)
    with ThreadPoolExecutor(4) as threads:
        outputs = list(threads.map(lambda n: ask(controller, data=f"request {n}"), range(8)))
    assert all(output.success for output in outputs)


def test_the_blocking_twin_needs_no_loop(lab: Lab) -> None:
    output = AIController(lab).process_ai_request_blocking(data="a", user_id="u")
    assert output.success


def test_the_blocking_twin_works_inside_a_running_loop(lab: Lab) -> None:
    async def handler() -> WorkflowOutput:
        return AIController(lab).process_ai_request_blocking(data="a", user_id="u")

    assert asyncio.run(handler()).success


def test_a_configuration_is_enough_and_close_ends_its_thread(lab: Lab) -> None:
    with AIController(lab.config) as controller:
        assert controller.process_ai_request_blocking(data="a", user_id="u").success
        assert ask(controller, data="b").success
    names = [thread.name for thread in threading.enumerate()]
    assert "projectai-lab-controller" not in names
    controller.close()
    # The thread is made again when it is needed again.
    assert controller.process_ai_request_blocking(data="c", user_id="u").success
    controller.close()


def test_many_threads_share_one_loop_thread(lab: Lab) -> None:
    with AIController(lab.config) as controller, ThreadPoolExecutor(20) as threads:
        asked = [
            threads.submit(controller.process_ai_request_blocking, data=f"{n}", user_id="u")
            for n in range(20)
        ]
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("projectai-lab-controller") <= 1
        assert all(one.result(30).success for one in asked)
        names = [thread.name for thread in threading.enumerate()]
        assert names.count("projectai-lab-controller") == 1


def test_without_arguments_the_environment_says_where(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_HOST", lab.address)
    monkeypatch.setenv("TEMPORAL_TASK_QUEUE", lab.task_queue)
    assert ask(AIController(), data="a").success


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"data": ""}, "validate_input failed for good (NON_RETRYABLE_FAILURE): InvalidInput: "),
        ({"data": 5}, "InvalidInput: data must be text, got int"),
        ({"data": "x" * 10_001}, "data has 10,001 characters, the limit is 10,000"),
        ({"data": "a", "user_id": None}, "user_id must be text, got NoneType"),
    ],
)
def test_a_business_failure_is_an_answer(lab: Lab, request_: dict[str, Any], reason: str) -> None:
    output = ask(AIController(lab), **request_)
    assert (output.success, output.result) == (False, None)
    assert output.error is not None
    assert reason in output.error


def test_an_ai_call_that_fails_for_good_is_an_answer_too(lab: Lab) -> None:
    output = ask(
        AIController(lab),
        data="a",
        faults=FaultPlan(fail_first={"simulate_ai_call": 9}),
        retry={"simulate_ai_call": RetrySettings(initial_interval=0.01, maximum_attempts=2)},
    )
    assert output.error == (
        "simulate_ai_call failed for good (MAXIMUM_ATTEMPTS_REACHED): InjectedFault: "
        "planned failure of attempt 2"
    )


def test_twenty_sends_of_one_request_at_once_are_one_execution(lab: Lab) -> None:
    controller, key = AIController(lab), uuid.uuid4().hex

    async def send_all() -> list[WorkflowOutput]:
        same = {"data": "a", "user_id": "u-1", "idempotency_key": key}
        return await asyncio.gather(*(controller.process_ai_request(**same) for _ in range(20)))

    outputs = asyncio.run(send_all())
    assert outputs == [outputs[0]] * 20
    assert outputs[0].success
    assert len(runs(lab, key)) == 1


def request_id(key: str) -> str:
    """Return the Workflow Id of the request "a" of u-1 with this key."""
    return _workflow_id(WorkflowInput("a", "u-1"), key)


def runs(lab: Lab, key: str) -> list[str]:
    """Return the runs of that request, newest first."""
    query = f"WorkflowId = '{request_id(key)}'"
    return [run.run_id for run in zoo.until(lambda: lab.list_workflows(query))]


def test_an_ended_request_is_answered_from_its_run(lab: Lab) -> None:
    controller, key = AIController(lab), uuid.uuid4().hex
    first = ask(controller, data="a", idempotency_key=key)
    # Another controller in another process would do the same: the id follows from the request.
    second = ask(AIController(lab.config), data="a", idempotency_key=key)
    assert first == second
    assert len(runs(lab, key)) == 1


def test_the_key_holds_for_one_user_and_one_text(lab: Lab) -> None:
    controller, key = AIController(lab), uuid.uuid4().hex
    assert ask(controller, data="a", idempotency_key=key).success
    other = ask(controller, data="longer", idempotency_key=key)
    assert other.result is not None
    assert other.result["characters"] == 6
    theirs = ask(controller, data="a", user_id="u-2", idempotency_key=key)
    assert theirs.result is not None
    assert theirs.result["user_id"] == "u-2"


def test_without_a_key_each_request_is_its_own(lab: Lab) -> None:
    first, second = (ask(AIController(lab), data="a") for _ in range(2))
    assert first.result is not None
    assert second.result is not None
    assert first.result["timings"] != second.result["timings"]


def test_a_run_that_was_ended_by_force_is_an_error_and_the_next_send_tries_again(
    deserted: Lab,
) -> None:
    key = uuid.uuid4().hex
    with ThreadPoolExecutor(1) as thread:
        sending = thread.submit(ask, AIController(deserted), data="a", idempotency_key=key)
        (first,) = runs(deserted, key)
        deserted.get_workflow_handle(request_id(key), run_id=first).terminate(reason="by hand")
        with pytest.raises(WorkflowFailureError) as caught:
            sending.result(20)
    assert isinstance(caught.value.cause, TerminatedError)
    assert caught.value.__notes__[0].endswith("ended: TerminatedError: by hand")
    deserted.start_worker()
    assert ask(AIController(deserted), data="a", idempotency_key=key).success
    assert zoo.until(lambda: len(runs(deserted, key)) == 2)


def test_without_a_worker_it_is_a_named_error_in_five_seconds_and_nothing_is_lost(
    deserted: Lab,
) -> None:
    controller, key = AIController(deserted), uuid.uuid4().hex
    began = time.monotonic()
    with ThreadPoolExecutor(2) as threads:
        sends = [
            threads.submit(ask, controller, data="a", idempotency_key=key),
            threads.submit(blocking, controller, data="b"),
        ]
    assert time.monotonic() - began < zoo.SOON_S
    with_key, without_key = (sending.exception() for sending in sends)
    for error in (with_key, without_key):
        assert isinstance(error, NoWorkerError)
        name = vars(error)["workflow_id"]
        why = f"its Workflow Task waits and no worker polls Task Queue {deserted.task_queue!r}: "
        assert str(error).startswith(f"request {name!r} cannot progress: {why}")
        handle = deserted.get_workflow_handle(name)
        assert handle.describe().status == WorkflowExecutionStatus.RUNNING
    assert "It is not lost: send it again with the same idempotency_key" in str(with_key)
    resume = f"lab.get_workflow_handle({name!r}).result()"
    assert f"It is not lost: {resume} waits for it again" in str(without_key)

    deserted.start_worker()
    assert ask(controller, data="a", idempotency_key=key).success
    assert len(runs(deserted, key)) == 1
    assert handle.result(timeout=20)["success"] is True


@pytest.mark.parametrize(
    ("config", "error", "text"),
    [
        (LabConfig(address="127.0.0.1:1"), ServerUnreachableError, "answers at 127.0.0.1:1 "),
        (LabConfig(address="nowhere.invalid:7233"), ServerUnreachableError, "nowhere.invalid"),
    ],
)
def test_without_a_server_it_is_a_named_error(
    config: LabConfig, error: type[Exception], text: str
) -> None:
    for send in (ask, blocking):
        began = time.monotonic()
        with AIController(config) as controller, pytest.raises(error) as caught:
            send(controller, data="a")
        assert time.monotonic() - began < zoo.SOON_S
        assert text in str(caught.value)


def blocking(controller: AIController, **request: Any) -> WorkflowOutput:
    """Send a request and wait in this thread."""
    return controller.process_ai_request_blocking(**{"user_id": "u-1", **request})


def test_an_unknown_namespace_is_a_named_error(lab: Lab) -> None:
    controller = AIController(LabConfig(address=lab.address, namespace="none"))
    with pytest.raises(NamespaceNotFoundError, match="has no Namespace 'none'"):
        ask(controller, data="a")


def test_a_worker_that_does_not_know_the_workflow_is_a_named_error(deserted: Lab) -> None:
    async def with_foreign_worker() -> None:
        worker = Worker(deserted.client, task_queue=deserted.task_queue, workflows=[zoo.Sleeper])
        async with worker:
            await AIController(deserted).process_ai_request(data="a", user_id="u")

    with pytest.raises(WorkflowStuckError) as caught:
        asyncio.run(with_foreign_worker())
    assert "Workflow class ExampleWorkflow is not registered" in str(caught.value)


@pytest.mark.parametrize("send", [ask, blocking])
def test_what_cannot_be_sent_is_a_named_error(
    lab: Lab, send: Callable[..., WorkflowOutput]
) -> None:
    with pytest.raises(PayloadError, match="cannot be serialised"):
        send(AIController(lab), data=object())
    with pytest.raises(PayloadError, match="the server refused the size"):
        send(AIController(lab), data="x" * 3_000_000)


@pytest.mark.parametrize("send", [ask, blocking])
def test_use_after_close_of_the_lab_is_named(
    address: str, send: Callable[..., WorkflowOutput]
) -> None:
    with Lab.connect(fresh(address), worker=False) as lab:
        controller = AIController(lab)
    with pytest.raises(LabClosedError, match=r"Lab\.open\(\)"):
        send(controller, data="a")


def test_a_retrying_activity_is_told_and_waited_for(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    for send in (ask, blocking):
        caplog.clear()
        output = send(
            AIController(lab),
            data="a",
            faults=FaultPlan(fail_first={"simulate_ai_call": 1}),
            retry={"simulate_ai_call": RetrySettings(initial_interval=4)},
        )
        assert output.success
        (record,) = (record for record in caplog.records if record.name == "projectai_lab")
        assert record.levelno == logging.WARNING
        assert "activity simulate_ai_call is retrying (attempt 2, no limit)" in record.getMessage()
        # In a notebook the note belongs under the cell that waits.
        assert record.thread == threading.get_ident()
