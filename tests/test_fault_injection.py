"""Fault plans strike the user's own activities, on a real server, and each fault is a row."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from temporalio import activity
from temporalio.client import (
    Client,
    OutboundInterceptor,
    StartWorkflowInput,
    WorkflowHandle,
)
from temporalio.client import Interceptor as ClientInterceptor
from temporalio.converter import DataConverter
from temporalio.worker import Replayer

from projectai_lab import (
    AIController,
    Fault,
    FaultPlan,
    Lab,
    LabConfig,
    Latency,
    RetrySettings,
    WorkflowInput,
    attempts,
    faults,
    tables,
)
from projectai_lab._replay import replay
from projectai_lab.fault_injection import HEADER, FaultInjector, carrying
from projectai_lab.handle import LabWorkflowHandle
from projectai_lab.workflows import ExampleWorkflow
from tests import fault_workflows as kinds

PATIENCE_S = 40
MODEL = "ask_model"


@pytest.fixture(scope="module")
def lab(address: str) -> Iterator[Lab]:
    """Return a Lab with workflows that know nothing of faults."""
    config = LabConfig(address=address, task_queue=f"tests-injury-{uuid.uuid4().hex[:12]}")
    with Lab.connect(config, workflows=kinds.WORKFLOWS, activities=kinds.ACTIVITIES) as opened:
        yield opened


def ask(
    lab: Lab,
    *rules: Fault,
    activity: str = MODEL,
    argument: Any = "hi",
    seed: int = 7,
    **limits: Any,
) -> LabWorkflowHandle[Any]:
    """Run one activity of the user's under a plan of these rules, to its end."""
    plan = FaultPlan(rules=rules)
    handle = lab.start_workflow(
        kinds.Asking.run, activity, argument, limits, faults=plan, seed=seed
    )
    handle.result(timeout=PATIENCE_S)
    return handle


def told(lab: Lab, handle: LabWorkflowHandle[Any]) -> pd.DataFrame:
    """Return the injected faults of a run."""
    found = tables.validate(tables.faults(lab.attempts))
    return found[found.workflow_id == handle.id].reset_index(drop=True)


def tried(lab: Lab, handle: LabWorkflowHandle[Any]) -> pd.DataFrame:
    """Return the attempts of a run."""
    return tables.attempts(handle.fetch_history(), recorder=lab.attempts)


def answer(handle: LabWorkflowHandle[Any]) -> Any:
    """Return the result of a run that has ended."""
    return handle.result(timeout=PATIENCE_S)


def test_each_call_of_an_activity_has_luck_of_its_own_and_the_same_under_the_same_seed(
    lab: Lab,
) -> None:
    half = FaultPlan(rules=(Fault("fail", MODEL, attempts=(1,), probability=0.5),))

    def struck(seed: int) -> list[int]:
        """Return which calls failed at first."""
        start = partial(lab.start_workflow, kinds.Waiting.run, [0.01] * 12)
        handle = start(faults=half, seed=seed)
        handle.result(timeout=PATIENCE_S)
        calls = tried(lab, handle).groupby("scheduled_event_id", sort=True)["attempt"].max()
        return [call for call, last in enumerate(calls, 1) if last > 1]

    first, again, other = struck(7), struck(7), struck(8)
    assert 0 < len(first) < 12
    assert first == again != other
    drawn = [faults.fate(half, 7, MODEL, 1, call=call).failure for call in range(1, 13)]
    assert first == [call for call, failure in enumerate(drawn, 1) if failure]


def test_the_users_own_activity_fails_as_the_rule_says_and_the_recorder_sees_it(lab: Lab) -> None:
    handle = ask(lab, Fault("fail", MODEL, attempts=(1, 3), error_type="Overloaded"))
    assert answer(handle) == "hi 2"
    rows = tried(lab, handle)
    assert rows.worker_outcome.tolist() == ["FAILED", "COMPLETED"]
    assert rows.failure_type.tolist()[0] == "Overloaded"
    (row,) = told(lab, handle).itertuples()
    assert (row.activity_type, row.attempt, row.kind, row.point) == (MODEL, 1, "fail", "start")
    assert (row.rule, row.probability) == ("fail ask_model attempts 1,3", 1.0)
    assert (row.error_type, row.retryable) == ("Overloaded", True)
    assert pd.isna(row.next_retry_delay_s)
    assert pd.isna(row.delay_s)
    assert (row.namespace, row.run_id) == ("default", handle.run_id)
    first = rows.iloc[0]
    # Both the worker's clock.
    assert first.worker_started_time <= row.injected_time <= first.worker_finished_time
    assert (row.activity_id, row.worker_identity) == (first.activity_id, first.worker_identity)


def test_an_activity_in_a_thread_is_struck_too(lab: Lab) -> None:
    handle = ask(lab, Fault("fail", attempts=(1,)), activity="ask_in_thread")
    assert answer(handle) == "hi 2 True"
    assert told(lab, handle).rule.tolist() == ["fail * attempts 1"]


def test_a_failure_that_may_not_be_retried_ends_the_activity(lab: Lab) -> None:
    handle = ask(lab, Fault("fail", MODEL, retryable=False, error_type="Forbidden"))
    assert answer(handle).startswith("Forbidden: Forbidden: injected fail (rule 'fail ask_model')")
    assert told(lab, handle).retryable.tolist() == [False]


def test_a_rate_limited_answer_brings_its_own_wait(lab: Lab) -> None:
    handle = ask(lab, Fault("rate_limit", MODEL, attempts=(1,), next_retry_delay=0.6))
    rows = tried(lab, handle)
    assert rows.failure_type.tolist()[0] == "RateLimited"
    assert rows.failure_message.tolist()[0].startswith("429 Too Many Requests, retry after 0.6 s")
    # The policy's own wait is 0.05 s; what the server really waited is measured.
    assert rows.backoff_planned_s.tolist()[1] == pytest.approx(0.6)
    due = rows.attempt_scheduled_time.iloc[1] - rows.attempt_scheduled_time.iloc[0]
    assert due >= pd.Timedelta(seconds=0.6)
    (row,) = told(lab, handle).itertuples()
    assert (row.kind, row.next_retry_delay_s, row.error_type) == ("rate_limit", 0.6, "RateLimited")


def test_a_hang_outlives_the_timeout_of_its_attempt(lab: Lab) -> None:
    handle = ask(lab, Fault("hang", MODEL, attempts=(1,)), start_to_close=2)
    assert answer(handle) == "hi 2"
    rows = tried(lab, handle)
    assert rows.timeout_type.tolist()[0] == "START_TO_CLOSE"
    assert told(lab, handle).kind.tolist() == ["hang"]


def test_a_hang_heartbeats_so_that_no_other_timeout_strikes_first(lab: Lab) -> None:
    handle = ask(lab, Fault("hang", MODEL, attempts=(1,)), start_to_close=6, heartbeat=4)
    assert tried(lab, handle).timeout_type.tolist()[0] == "START_TO_CLOSE"


def test_a_hang_does_not_erase_what_the_activity_told_in_its_heartbeats(lab: Lab) -> None:
    handle = ask(
        lab,
        Fault("hang", "resume", attempts=(2,)),
        activity="resume",
        argument=41,
        start_to_close=3,
        heartbeat=20,
    )
    assert answer(handle) == [41]
    assert tried(lab, handle).timeout_type.iloc[1] == "START_TO_CLOSE"


@pytest.mark.parametrize("kind", ["beat_for", "beat_in_thread_for"])
def test_dropped_heartbeats_bring_the_heartbeat_timeout(lab: Lab, kind: str) -> None:
    rule = Fault("drop_heartbeats", kind, attempts=(1,))
    handle = ask(lab, rule, activity=kind, argument=4.5, heartbeat=3)
    assert answer(handle) == 2
    rows = tried(lab, handle)
    assert rows.timeout_type.iloc[0] == "HEARTBEAT"
    assert rows.server_outcome.tolist() == ["TIMED_OUT", "COMPLETED"]
    # The function itself ran to its end, unheard.
    assert rows.worker_outcome.tolist() == ["COMPLETED", "COMPLETED"]
    assert told(lab, handle).kind.tolist() == ["drop_heartbeats"]


def test_a_delay_adds_its_drawn_length(lab: Lab) -> None:
    rule = Fault("delay", MODEL, delay=Latency("uniform", 0.2, 0.4))
    handle = ask(lab, rule)
    assert answer(handle) == "hi 1"
    (row,) = told(lab, handle).itertuples()
    assert 0.2 <= row.delay_s <= 0.4
    # The worker's monotonic clock measured the attempt, sleep and all.
    assert tried(lab, handle).worker_exec_s.iloc[0] >= row.delay_s


def test_several_faults_of_one_attempt_are_a_row_each_in_their_order(lab: Lab) -> None:
    handle = ask(
        lab,
        Fault("fail", MODEL, attempts=(1,), point="end"),
        Fault("delay", MODEL, attempts=(1,), delay=Latency(a=0.01)),
        Fault("fail", MODEL, attempts=(2,), name="second"),
        Fault("fail", MODEL, attempts=(2,), name="never reached"),
    )
    assert answer(handle) == "hi 3"
    rows = told(lab, handle)
    assert rows.kind.tolist() == ["delay", "fail", "fail"]
    assert rows.point.tolist() == ["start", "end", "start"]
    assert rows.rule.tolist()[2] == "second"


def test_what_fails_at_its_end_has_done_its_work(lab: Lab) -> None:
    done: list[int] = []

    @activity.defn(name=MODEL)
    async def counted(text: str) -> str:
        done.append(activity.info().attempt)
        return text

    queue = f"{lab.task_queue}-counted"
    lab.start_worker(workflows=kinds.WORKFLOWS, activities=[counted], task_queue=queue)
    plan = FaultPlan(rules=(Fault("fail", MODEL, attempts=(1,), point="end"),))
    plan_start = FaultPlan(rules=(Fault("fail", MODEL, attempts=(1,), point="start"),))
    for each, expected in ((plan, [1, 2]), (plan_start, [2])):
        done.clear()
        lab.execute_workflow(
            *(kinds.Asking.run, MODEL, "hi", {}), faults=each, task_queue=queue, timeout=PATIENCE_S
        )
        assert done == expected


def test_an_outage_strikes_what_starts_within_it_and_nothing_else(lab: Lab) -> None:
    # Every attempt that begins in the first 3 s of the run fails; the policy rides it out.
    plan = FaultPlan(rules=(Fault("fail", window=(0, 3), next_retry_delay=0.8),))
    handle = lab.start_workflow(kinds.Waiting.run, [0.0, 1.0], faults=plan)
    handle.result(timeout=PATIENCE_S)
    rows = tried(lab, handle)
    begun = handle.fetch_history().events[2].event_time.ToDatetime(tzinfo=UTC)
    within = rows.started_time < pd.Timestamp(begun + timedelta(seconds=3))
    assert (rows.worker_outcome == "FAILED").tolist() == within.tolist()
    assert len(told(lab, handle)) == within.sum() > 0


def test_an_outage_may_be_given_in_times_of_the_servers_clock(lab: Lab) -> None:
    now = datetime.now(UTC)
    past = Fault("fail", window=(now - timedelta(days=2), now - timedelta(days=1)))
    present = Fault("fail", attempts=(1,), window=(now - timedelta(days=1), now + timedelta(1)))
    assert answer(ask(lab, past)) == "hi 1"
    assert answer(ask(lab, present)) == "hi 2"


def test_under_virtual_time_a_window_is_on_the_clock_of_the_execution() -> None:
    rule = Fault("fail", window=(3600, 7200), error_type="Unavailable", next_retry_delay=600)
    plan = FaultPlan(rules=(rule,))
    with Lab.start_local(
        clock="virtual", workflows=kinds.WORKFLOWS, activities=kinds.ACTIVITIES
    ) as lab:
        handle = lab.start_workflow(kinds.Waiting.run, [0.0, 4000.0, 9000.0], faults=plan)
        answers = handle.result(timeout=PATIENCE_S)
        # Struck from 4,000 s on every 600 s, until 7,200 s are over: six times.
        assert answers == ["after a wait 1", "after a wait 7", "after a wait 1"]
        assert tables.faults(lab.attempts).attempt.tolist() == [1, 2, 3, 4, 5, 6]
        local = lab.start_workflow(kinds.AskingLocally.run, 4000.0, faults=_once_in(3600, 7200))
        assert local.result(timeout=PATIENCE_S) == "local 2"
        missed = lab.start_workflow(kinds.AskingLocally.run, 1.0, faults=_once_in(3600, 7200))
        assert missed.result(timeout=PATIENCE_S) == "local 1"


def _once_in(low: float, high: float) -> FaultPlan:
    return FaultPlan(rules=(Fault("fail", attempts=(1,), window=(low, high)),))


def test_a_plan_reaches_local_activities_children_the_next_run_and_handlers(lab: Lab) -> None:
    plan = FaultPlan(rules=(Fault("fail", MODEL, attempts=(1,)),))
    local = lab.execute_workflow(kinds.AskingLocally.run, 0.01, faults=plan, timeout=PATIENCE_S)
    assert local == "local 2"
    family = lab.execute_workflow(kinds.Family.run, True, faults=plan, timeout=PATIENCE_S)
    assert family == ["after a wait 2", "parent 2"]
    early = lab.start_workflow(kinds.Early.run, faults=plan, start_signal="ask")
    assert early.result(timeout=PATIENCE_S) == "signal 2"


@pytest.mark.parametrize("kind", ["delay", "hang"])
def test_a_local_activity_takes_its_time_as_well(lab: Lab, kind: Any) -> None:
    delay = Latency(a=0.3) if kind == "delay" else None
    plan = FaultPlan(rules=(Fault(kind, MODEL, attempts=(1,), delay=delay),))
    answered = lab.execute_workflow(kinds.AskingLocally.run, 0.01, faults=plan, timeout=PATIENCE_S)
    assert answered == ("local 1" if kind == "delay" else "local 2")


def test_the_plan_of_a_workflow_input_reaches_activities_by_rules_too(lab: Lab) -> None:
    rules = (Fault("fail", "process_ai_task", attempts=(1,)), Fault("fail", attempts=(2,)))
    request = WorkflowInput("text", "u-1", faults=FaultPlan(rules=rules))
    handle = lab.start_workflow(ExampleWorkflow.run, request)
    assert handle.result(timeout=PATIENCE_S).success
    rows = told(lab, handle)
    assert rows.activity_type.tolist() == ["process_ai_task", "process_ai_task"]
    assert rows.attempt.tolist() == [1, 2]


def test_the_shorthand_leaves_rows_as_well(lab: Lab) -> None:
    plan = FaultPlan(fail_first={"simulate_ai_call": 1}, fail_probability={"validate_input": 1.0})
    retry = {"validate_input": RetrySettings(0.05, maximum_attempts=1)}
    refused = WorkflowInput("text", "u-1", faults=plan, retry=retry)
    handle = lab.start_workflow(ExampleWorkflow.run, refused)
    assert not handle.result(timeout=PATIENCE_S).success
    assert told(lab, handle).rule.tolist() == ["fail_probability"]
    first = WorkflowInput("text", "u-1", faults=FaultPlan(fail_first={"simulate_ai_call": 1}))
    handle = lab.start_workflow(ExampleWorkflow.run, first)
    assert handle.result(timeout=PATIENCE_S).success
    # The simulated call takes its time before it fails.
    assert told(lab, handle)[["rule", "point"]].to_numpy().tolist() == [["fail_first", "end"]]


def headers_of(handle: LabWorkflowHandle[Any]) -> list[str]:
    """Return the names of all headers in a run's history, start and activities."""
    found: list[str] = []
    for event in handle.fetch_history().events:
        started = event.workflow_execution_started_event_attributes.header.fields
        asked = event.activity_task_scheduled_event_attributes.header.fields
        found += [*started, *asked]
    return found


def test_a_run_without_a_plan_has_no_header_and_one_with_a_plan_has(lab: Lab) -> None:
    plain = lab.start_workflow(ExampleWorkflow.run, WorkflowInput("text", "u-1"))
    harmless = lab.start_workflow(kinds.Asking.run, MODEL, "hi", {}, faults=FaultPlan())
    for handle in (plain, harmless):
        handle.result(timeout=PATIENCE_S)
        assert headers_of(handle) == []
    assert headers_of(ask(lab, Fault("fail", MODEL, attempts=(1,)))) == [HEADER, HEADER]


class _Damaged(ClientInterceptor):
    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _DamagedOut(next)


class _DamagedOut(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:
        header = DataConverter.default.payload_converter.to_payload(
            {"plan": {"rules": [{"kind": "meteor"}]}, "seed": 1}
        )
        input.headers = {**input.headers, HEADER: header}
        return await super().start_workflow(input)


def test_a_plan_of_another_version_ends_the_activity_and_says_so(lab: Lab) -> None:
    config = lab.client.config()
    config["interceptors"] = [*config["interceptors"], _Damaged()]
    client = Client(**config)

    async def run() -> Any:
        return await client.execute_workflow(
            kinds.Asking.run,
            args=[MODEL, "hi", {}],
            id=f"damaged-{uuid.uuid4().hex}",
            task_queue=lab.task_queue,
        )

    reason = lab._loop.run(run)
    assert reason.startswith("FaultPlanUnreadable: ")
    assert "start the run with the same version of projectai_lab as the worker has" in reason


def test_a_controller_refuses_a_name_that_no_worker_has(lab: Lab) -> None:
    plan = FaultPlan(rules=(Fault("fail", "simulate_ai_cal"),))
    with AIController(lab) as controller, pytest.raises(ValueError, match="'simulate_ai_call'"):
        controller.process_ai_request_blocking(data="x", user_id="u", faults=plan)


def test_a_history_with_faults_replays(lab: Lab) -> None:
    plan = FaultPlan(rules=(Fault("fail", MODEL, attempts=(1,)),))
    runs = [
        ask(lab, Fault("fail", MODEL, attempts=(1,))).fetch_history(),
        _ended(lab, kinds.AskingLocally.run, 0.01, faults=plan).fetch_history(),
    ]
    assert replay(runs, kinds.WORKFLOWS)["ok"].all()
    # And with the carrier in the replaying worker, as a worker after a restart has it.
    replayer = Replayer(workflows=kinds.WORKFLOWS, interceptors=[FaultInjector()])
    for run in runs:
        result = lab._loop.run(partial(replayer.replay_workflow, run))
        assert result.replay_failure is None


def _ended(lab: Lab, *args: Any, **options: Any) -> LabWorkflowHandle[Any]:
    handle = lab.start_workflow(*args, **options)
    handle.result(timeout=PATIENCE_S)
    return handle


def test_the_async_client_carries_a_plan_as_well(lab: Lab) -> None:
    plan = FaultPlan(rules=(Fault("fail", MODEL, attempts=(1,)),))

    async def run() -> Any:
        faulty = carrying(lab.client, plan, seed=7)
        return await faulty.execute_workflow(
            kinds.Asking.run,
            args=[MODEL, "hi", {}],
            id=f"async-{uuid.uuid4().hex}",
            task_queue=lab.task_queue,
        )

    assert lab._loop.run(run) == "hi 2"


def test_the_same_seed_meets_the_same_faults_whatever_the_id(lab: Lab) -> None:
    rule = Fault("fail", MODEL, probability=0.5)
    same = [answer(ask(lab, rule, seed=3)) for _ in range(2)]
    assert same[0] == same[1]
    assert len({answer(ask(lab, rule, seed=seed)) for seed in range(6)}) > 1


def test_a_kill_is_refused_where_the_worker_is_a_thread_of_the_kernel(lab: Lab) -> None:
    handle = ask(lab, Fault("kill_worker", MODEL))
    reason = answer(handle)
    assert reason.startswith("KillRefused: KillRefused: the fault plan kills the worker")
    assert "lab.start_worker(process=True, restarts=3)" in reason
    assert len(tried(lab, handle)) == 1, "it is not retried"
    assert told(lab, handle).empty, "what was not done has no row"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 3}, "seed=… is that of a fault plan: give faults=FaultPlan(…) with it"),
        ({"faults": {"fail": 1}}, "faults must be a FaultPlan, got dict: {'fail': 1}"),
        ({"faults": FaultPlan(), "seed": "x"}, "seed must be a int, got str: 'x'"),
        ({"faults": FaultPlan(latency=Latency(a=1))}, "rules=(Fault('delay', 'my_activity', de"),
        (
            {"faults": FaultPlan(rules=(Fault("fail", "ask_modell"),))},
            "names activity 'ask_modell', which no worker of this Lab on Task Queue",
        ),
        (
            {"faults": FaultPlan(rules=(Fault("fail", "ask_modell"),))},
            "did you mean 'ask_model'? Register it: lab.start_worker(activities=[…])",
        ),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_the_start(
    lab: Lab, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        lab.start_workflow(kinds.Asking.run, MODEL, "hi", {}, **options)
    assert message in str(caught.value)


def test_a_workflow_input_has_its_plan_within_and_its_names_are_checked(lab: Lab) -> None:
    request = WorkflowInput("text", "u-1")
    with pytest.raises(ValueError, match=r"give them there, WorkflowInput\(…, faults=…, seed=…\)"):
        lab.start_workflow(ExampleWorkflow.run, request, faults=FaultPlan())
    wrong = WorkflowInput("t", "u", faults=FaultPlan(rules=(Fault("hang", "validate_imput"),)))
    with pytest.raises(ValueError, match="did you mean 'validate_input'"):
        lab.start_workflow(ExampleWorkflow.run, wrong)


def test_a_saved_log_holds_attempts_and_faults_and_each_is_read_apart(
    address: str, tmp_path: Path
) -> None:
    config = LabConfig(address=address, task_queue=f"tests-saved-{uuid.uuid4().hex[:12]}")
    with Lab.connect(config, workflows=kinds.WORKFLOWS, activities=kinds.ACTIVITIES) as lab:
        assert lab.attempts is not None
        ask(lab, Fault("fail", MODEL, attempts=(1,)))
        live, rows = tables.faults(lab.attempts), lab.attempts.records()
        saved = lab.attempts.save(tmp_path / "attempts.jsonl")
    assert len(rows) == 2
    assert attempts.read(saved) == rows
    pd.testing.assert_frame_equal(tables.faults(attempts.read_faults(saved)), live)
    # After close the log lives in memory.
    assert lab.attempts is not None
    pd.testing.assert_frame_equal(tables.faults(lab.attempts), live)
    assert lab.attempts.records() == rows
