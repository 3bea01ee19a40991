"""Each verb of the client and of the handle does what the SDK's does, without `await`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
    WorkflowUpdateStage,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import (
    ApplicationError,
    CancelledError,
    TerminatedError,
    TimeoutError,
    WorkflowAlreadyStartedError,
)
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab.client import LabClient
from projectai_lab.config import LabConfig
from projectai_lab.errors import (
    LabClosedError,
    NamespaceNotFoundError,
    PayloadError,
    ServerUnreachableError,
)
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.histories import History
from projectai_lab.lab import Lab
from tests import zoo

NewId = Callable[[str], str]


@pytest.fixture(scope="module")
def lab(address: str) -> Iterator[Lab]:
    """Return an open Lab whose worker knows the zoo."""
    config = LabConfig(address=address, task_queue=f"tests-client-{uuid.uuid4().hex[:12]}")
    with Lab.connect(config, workflows=zoo.WORKFLOWS, activities=zoo.ACTIVITIES) as opened:
        opened.clock = "fast"
        yield opened


@pytest.fixture
def bare(lab: Lab) -> Iterator[LabClient]:
    """Return a client without a worker, on the same Task Queue."""
    with LabClient.connect(lab.config) as client:
        yield client


@pytest.fixture
def counter(lab: Lab) -> Iterator[LabWorkflowHandle[int]]:
    """Return a running `Counter`, ended after the test."""
    handle = lab.start_workflow(zoo.Counter.run)
    yield handle
    if handle.describe().status == WorkflowExecutionStatus.RUNNING:
        handle.terminate()


def test_a_started_workflow_has_the_given_id_and_gives_its_result(lab: Lab, new_id: NewId) -> None:
    name = new_id("greeting")
    handle = lab.start_workflow(zoo.Greeting.run, "greet", "you", id=name)
    assert handle.result(timeout=20) == "hello you"
    assert handle.id == name
    assert handle.run_id == handle.describe().run_id
    assert repr(handle) == f"<LabWorkflowHandle {name!r}, run {handle.run_id}>"


def test_without_an_id_each_start_gets_a_fresh_one_that_names_the_type(bare: LabClient) -> None:
    handles = [bare.start_workflow("Sleeper", 60.0) for _ in range(3)]
    assert len({handle.id for handle in handles}) == 3
    for handle in handles:
        assert handle.id.startswith("Sleeper-")
        handle.terminate()


def test_no_one_and_several_arguments_arrive(lab: Lab, counter: LabWorkflowHandle[int]) -> None:
    counter.signal("stop")
    assert counter.result(timeout=20) == 0
    assert lab.execute_workflow(zoo.Sleeper.run, 0.0, timeout=20) == "awake"
    assert lab.execute_workflow("Greeting", "greet", "all", timeout=20) == "hello all"


def test_a_child_workflow_gives_its_result_to_the_parent(lab: Lab) -> None:
    assert lab.execute_workflow(zoo.Parent.run, 0.01, timeout=timedelta(seconds=20)) == "awake"


def test_what_is_no_workflow_is_refused_with_an_example(lab: Lab) -> None:
    wrong: Any = 5
    with pytest.raises(TypeError, match=r"such as ExampleWorkflow\.run; got 5"):
        lab.start_workflow(wrong)


def test_an_option_of_the_sdk_passes_through(
    lab: Lab, counter: LabWorkflowHandle[int], new_id: NewId
) -> None:
    existing = lab.start_workflow(
        zoo.Counter.run, id=counter.id, id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING
    )
    assert existing.run_id == counter.run_id
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        lab.start_workflow(zoo.Counter.run, id=new_id("odd"), colour="red")


def test_signals_queries_and_updates_reach_the_workflow(counter: LabWorkflowHandle[int]) -> None:
    counter.signal(zoo.Counter.add, 2)
    counter.signal("add", 3, 10)
    assert counter.query(zoo.Counter.total) == 32
    assert counter.query("total_plus", 1, 2) == 34
    assert counter.execute_update(zoo.Counter.add_and_tell, 8) == 40
    counter.signal(zoo.Counter.stop)
    assert counter.result(timeout=20) == 40


def test_an_update_can_be_started_and_taken_up_later(counter: LabWorkflowHandle[int]) -> None:
    update = counter.start_update(
        zoo.Counter.add_and_tell, 5, wait_for_stage=WorkflowUpdateStage.ACCEPTED
    )
    assert asyncio.run(update.result()) == 5


def test_a_refused_update_and_a_failed_query_pass_through(counter: LabWorkflowHandle[int]) -> None:
    with pytest.raises(WorkflowUpdateFailedError) as caught:
        counter.execute_update(zoo.Counter.add_and_tell, -1)
    assert "only up" in str(caught.value.cause)
    with pytest.raises(WorkflowQueryFailedError, match="Query handler for 'colour' expected"):
        counter.query("colour")


def test_list_and_count_find_what_runs(lab: Lab, counter: LabWorkflowHandle[int]) -> None:
    query = f"WorkflowId = '{counter.id}'"
    found = zoo.until(lambda: lab.list_workflows(query))
    assert [run.run_id for run in found] == [counter.run_id]
    assert lab.count_workflows(query).count == 1
    assert lab.list_workflows("WorkflowId = 'nobody'") == []
    assert len(lab.list_workflows(limit=1)) == 1


def test_a_wrong_query_is_the_servers_own_error(lab: Lab) -> None:
    with pytest.raises(RPCError, match="invalid query"):
        lab.list_workflows("Colour ==== 'red'")


def test_describe_tells_the_status_and_the_card_shows_it(counter: LabWorkflowHandle[int]) -> None:
    assert "unknown (when last asked" in counter._repr_html_()
    description = counter.describe()
    assert isinstance(description, WorkflowExecutionDescription)
    assert description.status == WorkflowExecutionStatus.RUNNING
    assert "RUNNING (when last asked; ask with .describe())" in counter._repr_html_()
    counter.signal(zoo.Counter.stop)
    counter.result(timeout=20)
    assert "COMPLETED (when last asked" in counter._repr_html_()


def test_a_handle_of_an_existing_run_answers_like_the_one_that_started_it(
    lab: Lab, counter: LabWorkflowHandle[int]
) -> None:
    again = lab.get_workflow_handle(counter.id, run_id=counter.run_id)
    again.signal("add", 7)
    again.signal("stop")
    assert again.result(timeout=20) == 7
    assert again.run_id == counter.run_id


def test_histories_carry_where_they_were_made(lab: Lab, counter: LabWorkflowHandle[int]) -> None:
    history = counter.fetch_history()
    assert isinstance(history, History)
    assert (history.workflow_id, history.run_id) == (counter.id, counter.run_id)
    assert (history.namespace, history.clock) == ("default", "fast")
    assert [history.run_id for history in lab.fetch_histories([counter.id])] == [counter.run_id]


def ended(handle: LabWorkflowHandle[Any]) -> WorkflowFailureError:
    """Return the SDK's error of an unhappy end."""
    with pytest.raises(WorkflowFailureError) as caught:
        handle.result(timeout=20)
    return caught.value


def notes(error: BaseException) -> str:
    """Return the notes that we added."""
    return "\n".join(error.__notes__)


def test_the_result_of_a_failed_run_is_the_sdks_error_with_the_root_cause(lab: Lab) -> None:
    handle = lab.start_workflow(zoo.Doomed.run, "no way")
    error = ended(handle)
    assert isinstance(error.cause, ApplicationError)
    assert f"Workflow Execution {handle.id!r} ended: ApplicationError: Doom: no way" in notes(error)
    assert f"Next step: handle.fetch_history(), or {handle.url}" in notes(error)


def test_the_cause_of_a_failed_activity_is_named_too(lab: Lab) -> None:
    handle = lab.start_workflow(zoo.Greeting.run, "fail_always", "broken")
    assert "ended: ApplicationError: Unlucky: broken" in notes(ended(handle))


def test_the_result_of_a_cancelled_run_says_so(lab: Lab) -> None:
    handle = lab.start_workflow(zoo.Sleeper.run, 60.0)
    handle.cancel()
    error = ended(handle)
    assert isinstance(error.cause, CancelledError)
    assert f"{handle.id!r} ended: CancelledError" in notes(error)


def test_the_result_of_a_terminated_run_gives_the_reason(lab: Lab) -> None:
    handle = lab.start_workflow(zoo.Sleeper.run, 60.0)
    handle.terminate(reason="seen enough")
    error = ended(handle)
    assert isinstance(error.cause, TerminatedError)
    assert f"{handle.id!r} ended: TerminatedError: seen enough" in notes(error)


def test_the_result_of_a_timed_out_run_says_so(bare: LabClient) -> None:
    limit = timedelta(milliseconds=300)
    handle = bare.start_workflow("Sleeper", 60.0, execution_timeout=limit)
    error = ended(handle)
    assert isinstance(error.cause, TimeoutError)
    assert f"{handle.id!r} ended: TimeoutError" in notes(error)


def test_an_unknown_id_is_not_found_with_a_note(lab: Lab) -> None:
    handle = lab.get_workflow_handle("nobody-started-this")
    for ask in (handle.result, handle.fetch_history):
        with pytest.raises(RPCError) as caught:
            ask()
        assert caught.value.status == RPCStatusCode.NOT_FOUND
        assert "no Workflow Execution 'nobody-started-this' in this Namespace" in notes(
            caught.value
        )


def test_a_running_id_is_refused_with_the_next_step(
    lab: Lab, counter: LabWorkflowHandle[int]
) -> None:
    with pytest.raises(WorkflowAlreadyStartedError) as caught:
        lab.start_workflow(zoo.Counter.run, id=counter.id)
    assert notes(caught.value) == (
        f"Workflow Id {counter.id!r} is in use: take the running execution with "
        f"get_workflow_handle({counter.id!r}), or choose another id or id_conflict_policy"
    )


def circular() -> list[Any]:
    """Return a list that holds itself."""
    itself: list[Any] = []
    itself.append(itself)
    return itself


@pytest.mark.parametrize(
    ("argument", "why"),
    [
        (object(), "an argument of type object cannot be serialised to JSON (Object of type"),
        (circular(), "an argument of type list cannot be serialised to JSON (Circular"),
        (Decimal("0.1"), "an argument of type Decimal cannot be serialised to JSON"),
    ],
    ids=["object", "circular list", "decimal"],
)
def test_an_argument_that_cannot_be_serialised_is_named(
    lab: Lab, counter: LabWorkflowHandle[int], argument: Any, why: str
) -> None:
    for send in (
        lambda: lab.start_workflow("Greeting", "greet", argument),
        lambda: lab.start_workflow("Sleeper", argument),
        lambda: counter.signal("add", argument),
        lambda: counter.query("total_plus", 1, argument),
        lambda: counter.execute_update("add_and_tell", argument),
    ):
        with pytest.raises(PayloadError) as caught:
            send()
        assert why in str(caught.value)
        assert "pass text, numbers, lists, dicts or dataclasses of these" in str(caught.value)


@pytest.mark.parametrize("size", [2_200_000, 5_000_000])
def test_a_payload_over_two_megabytes_is_refused_with_a_way_out(
    lab: Lab, counter: LabWorkflowHandle[int], size: int
) -> None:
    for send in (
        lambda: lab.start_workflow("Greeting", "greet", "x" * size),
        lambda: counter.signal("add", "x" * size),
    ):
        with pytest.raises(PayloadError) as caught:
            send()
        assert "the server refused the size of an argument" in str(caught.value)
        assert "2 MiB a payload and 4 MiB a request; pass a reference" in str(caught.value)


def test_a_memo_over_the_limit_is_refused_too(bare: LabClient) -> None:
    with pytest.raises(PayloadError, match="refused the size"):
        bare.start_workflow("Sleeper", 1.0, memo={"notes": "x" * 2_200_000})


def test_cards_escape_hostile_ids_and_never_ask_the_server(lab: Lab) -> None:
    hostile = "<script>alert('x')</script>&\"/../.."
    with LabClient.connect(lab.config) as client:
        handle = client.get_workflow_handle(hostile, run_id="<b>run</b>")
    # Closed: a card that asked the server would raise here.
    for card in (handle._repr_html_(), handle._repr_html_()):
        assert "<script" not in card
        assert "<b>" not in card
        assert "&lt;script&gt;alert(&#x27;x&#x27;)" in card
    assert handle.url is not None
    assert handle.url.endswith(
        "/namespaces/default/workflows/%3Cscript%3Ealert%28%27x%27%29%3C%2Fscript%3E%26%22%2F..%2F.."
        "/%3Cb%3Erun%3C%2Fb%3E/history"
    )


def test_a_hostile_id_works_like_any_other(lab: Lab) -> None:
    hostile = f"<img src=x onerror=alert(1)> ' \" ; DROP {uuid.uuid4().hex}"
    handle = lab.start_workflow(zoo.Greeting.run, "greet", "you", id=hostile)
    assert handle.result(timeout=20) == "hello you"
    assert handle.fetch_history().workflow_id == hostile


@pytest.mark.parametrize(
    ("where", "url"),
    [
        ("localhost:7233", "http://localhost:8233"),
        ("127.0.0.1:65000", None),
        ("temporal.example.org:7233", None),
    ],
)
def test_the_web_ui_is_guessed_only_for_a_dev_server_on_this_machine(
    lab: Lab, where: str, url: str | None
) -> None:
    client = LabClient(lab._loop, lab.client, LabConfig(address=where))
    assert client.ui_url == url
    assert (client.url("req-1") is None) is (url is None)


def test_closing_twice_is_harmless_and_use_after_close_is_named(lab: Lab) -> None:
    client = LabClient.connect(lab.config)
    handle = client.get_workflow_handle("any")
    client.close()
    client.close()
    assert repr(client).endswith(", closed>")
    for use in (
        client.list_workflows,
        client.count_workflows,
        handle.result,
        handle.describe,
        handle.fetch_history,
        handle.cancel,
        lambda: handle.signal("stop"),
        lambda: handle.query("total"),
        lambda: handle.execute_update("add_and_tell", 1),
        lambda: client.start_workflow("Sleeper", 1.0),
        lambda: client.fetch_histories(["any"]),
    ):
        with pytest.raises(LabClosedError, match="closed"):
            use()


def test_the_sdks_client_is_there_for_await_on_any_loop(
    lab: Lab, counter: LabWorkflowHandle[int]
) -> None:
    description = asyncio.run(lab.client.get_workflow_handle(counter.id).describe())
    assert description.run_id == counter.run_id
    assert asyncio.run(counter.handle.query(zoo.Counter.total)) == 0


def test_a_failed_connect_is_a_named_error(lab: Lab) -> None:
    with pytest.raises(NamespaceNotFoundError, match="has no Namespace 'none'"):
        LabClient.connect(LabConfig(address=lab.address, namespace="none"))
    with pytest.raises(ServerUnreachableError, match=r"nowhere\.invalid"):
        LabClient.connect(LabConfig(address="nowhere.invalid:7233"))


def test_connect_takes_its_settings_from_the_environment(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_HOST", lab.address)
    monkeypatch.setenv("TEMPORAL_TASK_QUEUE", "from-outside")
    with LabClient.connect() as client:
        assert (client.address, client.task_queue) == (lab.address, "from-outside")
        assert repr(client) == (
            f"<LabClient {lab.address}, namespace 'default', task queue 'from-outside'>"
        )
