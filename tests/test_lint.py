"""Each rule fires where it should and nowhere else, once per type over many runs."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any

import pandas as pd
import pytest
from temporalio import activity, workflow
from temporalio.common import RetryPolicy

from projectai_lab import lint
from projectai_lab.errors import TableError
from projectai_lab.histories import History
from projectai_lab.lab import Lab
from tests.data import attempt_records, golden, goldens
from tests.made import Event, Signal, Step, history

BOUND = {"maximumAttempts": 3}
LIMITS = {"startToClose": 5.0, "scheduleToClose": 60.0}
QUIET = {"policy": BOUND, "timeouts": LIMITS}
"""Policy and timeouts in which no rule finds anything."""


def failure(kind: str, message: str = "no", **more: Any) -> dict[str, Any]:
    """Make an application failure."""
    return {"message": message, "applicationFailureInfo": {"type": kind}, **more}


def timeout(kind: str) -> dict[str, Any]:
    """Make a timeout failure."""
    return {"message": "late", "timeoutFailureInfo": {"timeoutType": f"TIMEOUT_TYPE_{kind}"}}


def step(kind: str = "f", **more: Any) -> Step:
    """Make an activity that is quiet but for what is given."""
    return Step(kind, **{**QUIET, **more})


def task_failed(message: str, kind: str = "RuntimeError") -> Event:
    """Make a failed Workflow Task."""
    return Event("WORKFLOW_TASK_FAILED", {"failure": failure(kind, message)})


def task_timed_out(kind: str) -> Event:
    """Make a Workflow Task that timed out."""
    return Event("WORKFLOW_TASK_TIMED_OUT", {"timeoutType": f"TIMEOUT_TYPE_{kind}"})


def large(size: int) -> Event:
    """Make a Signal with a payload of so many bytes."""
    payload = {"data": b64encode(bytes(size)).decode()}
    return Event("WORKFLOW_EXECUTION_SIGNALED", {"input": {"payloads": [payload]}})


def run(*parts: Any, **more: Any) -> History:
    """Make a run."""
    return history("r", *parts, **more)


def later(*parts: Any, **more: Any) -> Callable[[], History]:
    """Make a run when it is asked for, and only once: some are long."""
    return cache(lambda: run(*parts, **more))


def rules_of(*runs: History, **options: Any) -> set[str]:
    """Return the names of the rules that found something."""
    return set(lint.findings(list(runs), **options)["rule"])


# Rule → what makes it fire, and the nearest that does not.
FIRES: dict[str, tuple[Callable[[], History], Callable[[], History]]] = {
    "retries-never-fit": (
        # Waits of 10, 20 and 40 s: 70 s in all.
        later(step(policy={"maximumAttempts": 4, "initialInterval": "10s"})),
        later(step(policy={"maximumAttempts": 3, "initialInterval": "10s"})),
    ),
    "retries-may-not-fit": (
        # 3 × 20 s + 1 s + 2 s are 63 s.
        later(step(timeouts={**LIMITS, "startToClose": 20.0})),
        later(step(timeouts={**LIMITS, "startToClose": 19.0})),
    ),
    "start-to-close-fills-schedule-to-close": (
        later(step(timeouts={"startToClose": 60.0, "scheduleToClose": 60.0})),
        later(
            step(
                timeouts={"startToClose": 60.0, "scheduleToClose": 60.0},
                policy={"maximumAttempts": 1},
            )
        ),
    ),
    "heartbeat-over-start-to-close": (
        later(step(timeouts={**LIMITS, "heartbeat": 5.0})),
        later(step(timeouts={**LIMITS, "heartbeat": 4.9})),
    ),
    "late-notice-of-a-dead-worker": (
        later(step(policy={"maximumAttempts": 1}, timeouts={"startToClose": 600.0})),
        later(
            step(policy={"maximumAttempts": 1}, timeouts={"startToClose": 600.0, "heartbeat": 30.0})
        ),
    ),
    "backoff-below-timer-floor": (
        later(step(policy={**BOUND, "initialInterval": "0.5s"}), clock="default"),
        later(step(policy={**BOUND, "initialInterval": "0.5s"}), clock="fast"),
    ),
    "unlimited-retries": (
        later(step(policy={}, timeouts={"startToClose": 5.0})),
        later(step(policy={}, timeouts=LIMITS)),
    ),
    "schedule-to-start-timeout": (
        later(step(status="TIMED_OUT", failure=timeout("SCHEDULE_TO_START"))),
        later(step(status="TIMED_OUT", failure=timeout("SCHEDULE_TO_CLOSE"))),
    ),
    "no-heartbeat": (
        later(step(took=60.0, timeouts={"startToClose": 99.0}, policy={"maximumAttempts": 1})),
        later(step(took=59.0, timeouts={"startToClose": 99.0}, policy={"maximumAttempts": 1})),
    ),
    "retried-a-defect": (
        later(
            step(status="FAILED", attempts=3, failure=failure("java.lang.IllegalStateException"))
        ),
        later(step(status="FAILED", attempts=1, failure=failure("ValueError"))),
    ),
    "many-attempts": (
        later(step(attempts=10, policy={"maximumAttempts": 10}, timeouts={"startToClose": 5.0})),
        later(step(attempts=9, policy={"maximumAttempts": 10}, timeouts={"startToClose": 5.0})),
    ),
    "start-to-close-timeouts": (
        later(step(status="TIMED_OUT", failure=timeout("START_TO_CLOSE"))),
        later(step(status="FAILED", failure=failure("Busy"))),
    ),
    "heartbeat-timeouts": (
        later(step(status="TIMED_OUT", failure=timeout("HEARTBEAT"))),
        later(step(status="FAILED", failure=failure("Busy"))),
    ),
    "nondeterminism": (
        later(task_failed("[TMPRL1100] Nondeterminism error: activity 2")),
        later(task_failed("any other")),
    ),
    "workflow-task-failed": (
        later(task_failed("division by zero")),
        later(
            task_failed("UnhandledCommand"),
            Event(
                "WORKFLOW_TASK_FAILED",
                {
                    "cause": "WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW",
                    "failure": {"message": "again", "resetWorkflowFailureInfo": {}},
                },
            ),
        ),
    ),
    "workflow-task-timed-out": (
        later(task_timed_out("START_TO_CLOSE")),
        later(task_timed_out("SCHEDULE_TO_START")),
    ),
    "payload-large": (later(large(512 * 1024)), later(large(511 * 1024))),
    "messages-near-limit": (later(*[Signal("s")] * 8000), later(*[Signal("s")] * 7999)),
    "history-long": (later(*[Signal("s")] * 10_238), later(*[Signal("s")] * 10_237)),
    "history-near-limit": (later(*[Signal("s")] * 40_958), later(*[Signal("s")] * 40_957)),
}


def test_a_quiet_run_has_no_findings() -> None:
    found = lint.findings([run(step(), step("g")), history("s")])
    assert len(found) == 0


@pytest.mark.parametrize("rule", FIRES)
def test_a_rule_fires_where_it_should_and_not_just_beside(rule: str) -> None:
    fires, quiet = FIRES[rule]
    assert rule in rules_of(fires())
    assert rule not in rules_of(quiet())


def test_the_non_idempotent_rule_needs_a_declaration() -> None:
    twice, once = run(step()), run(step(policy={"maximumAttempts": 1}))
    rule = "non-idempotent-retried"
    assert rule in rules_of(twice, non_idempotent=["f"])
    assert rule not in rules_of(once, non_idempotent=["f"])
    assert rule not in rules_of(twice, non_idempotent=["g"])
    assert rule not in rules_of(twice)


def test_unlimited_attempts_of_a_non_idempotent_activity_are_an_error_and_no_hint() -> None:
    table = lint.findings(run(step(policy={}, timeouts={"startToClose": 5})), non_idempotent={"f"})
    assert table["rule"].tolist() == ["non-idempotent-retried"]
    assert table["severity"].tolist() == ["error"]
    assert table["evidence"].tolist() == ["attempts without limit"]


def test_every_rule_is_tested_here_and_says_its_threshold_source_and_fix() -> None:
    rules = lint.rules()
    assert set(rules["rule"]) == {*FIRES, "non-idempotent-retried"}
    assert rules.notna().all(axis=None)
    assert rules.map(lambda words: len(str(words)) >= 3).all(axis=None)


def test_one_finding_stands_for_many_runs_and_shows_the_worst() -> None:
    runs = [
        history(f"r{n}", step(took=60.0 + n, timeouts={"startToClose": 99.0}, policy=BOUND))
        for n in range(5)
    ]
    (row,) = lint.findings(runs).query("rule == 'no-heartbeat'").itertuples()
    assert (row.n, row.n_runs) == (5, 5)
    assert (row.workflow_type, row.activity_type) == ("Made", "f")
    assert (row.workflow_id, row.run_id) == ("r4", "run-r4")
    assert row.evidence == "ran 64 s"


def test_types_of_activities_and_of_workflows_are_kept_apart() -> None:
    endless = {"policy": {}, "timeouts": {"startToClose": 5.0}}
    runs = [
        history("1", step("f", **endless), step("f", **endless), step("g", **endless)),
        history("2", step("f", **endless), workflow_type="Other"),
    ]
    table = lint.findings(runs).set_index(["workflow_type", "activity_type"])
    assert table["n"].to_dict() == {("Made", "f"): 2, ("Made", "g"): 1, ("Other", "f"): 1}


def test_errors_come_first_and_then_what_is_in_more_runs() -> None:
    endless = {"policy": {}, "timeouts": {"startToClose": 5.0}}
    runs = [history(str(n), step("often", **endless)) for n in range(3)]
    runs.append(history("x", step("once", **endless), task_failed("a"), task_failed("TMPRL1100")))
    table = lint.findings(runs)
    assert table["severity"].tolist() == ["error", "warning", "hint", "hint"]
    assert table["activity_type"].tolist()[2:] == ["often", "once"]
    assert table["severity"].min() == "error"


def test_the_length_that_counts_as_long_may_be_given() -> None:
    (fires, quiet) = FIRES["no-heartbeat"]
    assert "no-heartbeat" in rules_of(quiet(), long_s=59)
    assert "no-heartbeat" not in rules_of(fires(), long_s=61)


def test_a_clock_that_is_not_known_counts_as_that_of_production() -> None:
    table = lint.findings(run(step(policy={**BOUND, "initialInterval": "0.5s"}), clock=None))
    assert table["rule"].tolist() == ["backoff-below-timer-floor"]
    assert table["evidence"].tolist() == ["first backoff 0.5 s, floor 1 s (clock not known)"]


def test_the_virtual_clock_keeps_waits_as_short_as_the_fast_one() -> None:
    for wait, rules in (("0.2s", []), ("0.05s", ["backoff-below-timer-floor"])):
        made = run(step(policy={**BOUND, "initialInterval": wait}), clock="virtual")
        assert lint.findings(made)["rule"].tolist() == rules


def test_the_evidence_holds_the_figures() -> None:
    said = {
        rule: lint.findings(fires()).query("rule == @rule")["evidence"].iloc[0]
        for rule, (fires, _) in FIRES.items()
    }
    assert said["retries-never-fit"] == "4 attempts wait 70 s in all, schedule-to-close 60 s"
    assert "make 63 s, schedule-to-close 60 s" in said["retries-may-not-fit"]
    assert said["retried-a-defect"] == "java.lang.IllegalStateException after 3 attempts"
    assert said["payload-large"] == "0.50 MiB in WORKFLOW_EXECUTION_SIGNALED"
    assert said["history-near-limit"].startswith("40,960 of 51,200 events")
    assert all(re.search(r"\d|limit|:", words) for words in said.values()), said


def test_the_recorder_knows_how_many_failures_were_the_same() -> None:
    log = [
        {
            **{"namespace": "default", "workflow_id": "r", "run_id": "run-r", "activity_id": "1"},
            **{"activity_type": "f", "attempt": number, "is_local": False, "key": str(number)},
            **{"worker_started_ns": number, "worker_finished_ns": number, "worker_exec_s": 0.1},
            **{"scheduled_ns": 1, "attempt_scheduled_ns": number, "started_ns": number},
            **{"identity": "w", "outcome": "FAILED", "failure_message": "no"},
            "failure_type": "Busy" if number > 2 else "Other",
        }
        for number in range(1, 12)
    ]
    fires = run(step(attempts=12, policy={"maximumAttempts": 12}))
    (row,) = lint.findings(fires, recorder=log).query("rule == 'many-attempts'").itertuples()
    assert row.evidence == "12 attempts; 9 of 11 known failures: Busy"


def test_the_golden_histories_have_the_findings_that_they_were_made_for() -> None:
    table = lint.findings(goldens(), recorder=attempt_records())
    worst = table[table["severity"] != "hint"]
    assert list(zip(worst["rule"], worst["workflow_id"], worst["evidence"], strict=True)) == [
        ("start-to-close-timeouts", "mixed", "1 cut off at 1 s"),
        ("start-to-close-timeouts", "timeouts", "2 cut off at 1 s"),
        ("heartbeat-timeouts", "timeouts", "2 silent for 1 s"),
    ]


def test_local_activities_have_no_timeouts_to_find_fault_with() -> None:
    table = lint.findings(golden("everything"))
    local = table[table["activity_type"] == "fail_until"]
    # The other fail_until of that run is a remote one without a limit.
    assert local[["rule", "n"]].to_numpy().tolist() == [["unlimited-retries", 1]]


def test_no_runs_give_no_rows_but_the_same_columns() -> None:
    empty, full = lint.findings([]), lint.findings(goldens())
    assert len(empty) == 0
    pd.testing.assert_series_equal(empty.dtypes, full.dtypes)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match=r"non_idempotent=\['pay'\]"):
        lint.findings([], non_idempotent="pay")
    with pytest.raises(TableError, match="give each run once"):
        lint.findings([golden("clean"), golden("clean")])
    with pytest.raises(TableError, match="expected histories"):
        lint.findings(["clean"])  # type: ignore[list-item]


@activity.defn
async def answer() -> int:
    """Answer at once."""
    return 1


@workflow.defn(sandboxed=False)
class CarelessWorkflow:
    """Asks for timeouts that make no sense."""

    @workflow.run
    async def run(self) -> None:
        """Run an activity whose timeouts are longer than its whole time."""
        await workflow.execute_activity(
            answer,
            start_to_close_timeout=timedelta(seconds=20),
            schedule_to_close_timeout=timedelta(seconds=5),
            heartbeat_timeout=timedelta(seconds=60),
            retry_policy=RetryPolicy(maximum_attempts=3),
        )


def test_what_a_real_server_cuts_to_equal_is_found(lab: Lab, new_id: Callable[[str], str]) -> None:
    lab.start_worker(workflows=[CarelessWorkflow], activities=[answer])
    handle = lab.start_workflow(CarelessWorkflow.run, id=new_id("careless"))
    handle.result(timeout=30)
    table = lint.findings(handle.fetch_history())
    assert table["rule"].tolist() == [
        "start-to-close-fills-schedule-to-close",
        "heartbeat-over-start-to-close",
    ]
    assert table["evidence"].tolist() == [
        "start-to-close 5 s, schedule-to-close 5 s",
        "heartbeat 5 s, start-to-close 5 s",
    ]
