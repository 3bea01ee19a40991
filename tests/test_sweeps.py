"""A sweep runs what is missing and nothing twice, and tells one tidy row a planned run."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from temporalio.api.enums.v1 import EventType

from projectai_lab import (
    Fault,
    FaultPlan,
    Lab,
    LabConfig,
    Latency,
    RetrySettings,
    WorkflowInput,
    sweeps,
)
from projectai_lab.errors import (
    DesignError,
    LabClosedError,
    PayloadError,
    SweepError,
    WorkflowDefinitionError,
)
from projectai_lab.sweeps import Sweep
from projectai_lab.sweeps._results import results as results_of
from projectai_lab.workflows import ExampleWorkflow
from tests.sweep_workflows import Ends, Outer, Plain, Structured

CALL = "simulate_ai_call"
FAILING, FIRST = f"faults.fail_first.{CALL}", f"retry.{CALL}.initial_interval"
MISNAMED = WorkflowInput("text", "u-1", faults=FaultPlan(rules=(Fault("fail", CALL[:-1]),)))
BASE = WorkflowInput("text", "u-1", faults=FaultPlan(latency=Latency(a=0)))


@pytest.fixture
def name(new_id: Callable[[str], str]) -> str:
    """Return the name of a sweep of this test's own."""
    return new_id("sweep")


def small(lab: Lab, name: str, **options: Any) -> Sweep:
    design = sweeps.grid({FAILING: [0, 1], FIRST: [0.01]}, replicates=3, seed=7)
    return sweeps.run(
        lab, ExampleWorkflow.run, design, name=name, **{"base": BASE, "progress": False, **options}
    )


def starts(lab: Lab, sweep: Sweep) -> dict[str, list[str]]:
    """Return the Run Ids under each Workflow Id, by the server's listing."""
    found: dict[str, list[str]] = {}
    for run in lab.list_workflows(sweep.query):
        found.setdefault(run.id, []).append(run.run_id)
    return found


def test_every_planned_run_becomes_one_execution_under_an_id_of_its_place(
    lab: Lab, name: str
) -> None:
    sweep = small(lab, name)
    assert sorted(sweep.workflow_ids) == [
        f"{name}/r000{row}/n0{replicate}" for row in range(2) for replicate in range(3)
    ]
    results = sweep.results()
    assert results["workflow_id"].tolist() == sweep.workflow_ids
    assert set(results["status"]) == {"COMPLETED"}
    assert results["success"].all()
    assert (results["n_retries"] == results[FAILING]).all()
    assert (results["n_attempts"] == 3 + results[FAILING]).all()


def test_each_run_got_its_parameters_and_its_seed(lab: Lab, name: str) -> None:
    sweep = small(lab, name)
    for history, row in zip(sweep.histories(), sweep.design.to_dict("records"), strict=True):
        begun = history.events[0].workflow_execution_started_event_attributes
        request = json.loads(begun.input.payloads[0].data)
        assert request["seed"] == row["seed"]
        assert request["faults"]["fail_first"] == {CALL: row[FAILING]}
        assert request["retry"][CALL]["initial_interval"] == row[FIRST]


def test_running_it_again_starts_nothing_and_tells_the_same(lab: Lab, name: str) -> None:
    first = small(lab, name)
    before, results = starts(lab, first), first.results()
    again = small(lab, name)
    assert starts(lab, again) == before
    assert all(len(runs) == 1 for runs in before.values())
    pd.testing.assert_frame_equal(again.results(), results)


def test_only_what_is_missing_is_started_and_what_is_open_is_awaited(
    config: LabConfig, name: str
) -> None:
    with (
        Lab.connect(config, worker=False) as lab,
        Lab.connect(config, worker=False, attempts=False) as first,
        ThreadPoolExecutor(1) as other,
    ):
        # No worker: two runs open, and no more begin before these end.
        going = other.submit(small, first, name, concurrency=2)
        assert eventually(lambda: len(lab.list_workflows(f'WorkflowId STARTS_WITH "{name}/"')) == 2)
        first.close()
        with pytest.raises(LabClosedError):
            going.result()
        partial = sweeps.load(lab, name)
        assert partial.counts().to_dict() == {"NOT_STARTED": 4, "RUNNING": 2}
        results, before = partial.results(), starts(lab, partial)
        assert results["status"].tolist() == ["RUNNING"] * 2 + ["NOT_STARTED"] * 4
        assert results["success"].isna().all()
        lab.start_worker()
        after = starts(lab, small(lab, name))
        assert len(after) == 6
        assert before.items() <= after.items()
        assert set(partial.results()["status"]) == {"COMPLETED"}


def eventually(condition: Callable[[], Any]) -> Any:
    """Return what a condition comes to, once it is true; after some minutes whatever it is."""
    deadline = time.monotonic() + 240
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def test_two_kernels_may_share_a_sweep(lab: Lab, config: LabConfig, name: str) -> None:
    with (
        Lab.connect(config, worker=False, attempts=False) as other,
        ThreadPoolExecutor(2) as kernels,
    ):
        both = list(kernels.map(lambda each: small(each, name, concurrency=2), (lab, other)))
        ours, theirs = ([one.run_id for one in sweep.histories()] for sweep in both)
    assert ours == theirs
    found = starts(lab, both[0])
    assert sorted(found) == sorted(both[0].workflow_ids)
    assert all(len(runs) == 1 for runs in found.values())


def test_a_run_that_the_listing_does_not_show_yet_is_not_started_again(
    lab: Lab, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = starts(lab, small(lab, name))
    # As just after a start: the listing is behind the truth.
    monkeypatch.setattr("projectai_lab.sweeps._listing.query_of", lambda _: 'WorkflowId = "none"')
    assert starts(lab, small(lab, name)) == before


def test_a_sweep_is_picked_up_by_its_name_with_its_design(lab: Lab, name: str) -> None:
    sweep = small(lab, name)
    loaded = sweeps.load(lab, name)
    pd.testing.assert_frame_equal(loaded.design, sweep.design)
    assert loaded.design.attrs == sweep.design.attrs
    assert (loaded.base, loaded.workflow_type) == (sweep.base, "ExampleWorkflow")
    assert loaded.base["data"] == "text"
    assert loaded.parameters == [FAILING, FIRST]
    assert loaded.clock == lab.clock
    pd.testing.assert_frame_equal(loaded.results(), sweep.results())


def test_the_results_say_clock_schema_and_origin(lab: Lab, name: str) -> None:
    results = small(lab, name).results()
    assert results.attrs["clock"] == (lab.clock or "unknown")
    assert results.attrs["schema"] == "projectai_lab/results/1"
    assert results.attrs["sweep"] == name
    assert results.attrs["made"].startswith("sweeps.grid(")


def test_the_results_have_the_same_columns_when_nothing_has_run(lab: Lab, name: str) -> None:
    sweep = small(lab, name)
    full, empty = sweep.results(), results_of(sweep, [])
    assert list(empty.columns) == list(full.columns)
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert set(empty["status"]) == {"NOT_STARTED"}
    assert empty["success"].isna().all()


def test_closed_histories_are_fetched_once(
    lab: Lab, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = small(lab, name)
    first = sweep.histories()

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("fetched again")

    monkeypatch.setattr("projectai_lab.histories.fetch", refuse)
    assert [one.run_id for one in sweep.histories()] == [one.run_id for one in first]


def test_a_folder_keeps_the_histories_for_other_kernels(
    lab: Lab, name: str, tmp_path: Path
) -> None:
    first = small(lab, name).histories(cache=tmp_path)
    assert len(list(tmp_path.glob("*.history"))) == 6
    again = sweeps.load(lab, name).histories(cache=tmp_path)
    assert [one.run_id for one in again] == [one.run_id for one in first]
    assert [one.clock for one in again] == [lab.clock] * 6


def test_the_tables_are_joined_with_the_attempt_log(lab: Lab, name: str) -> None:
    made = small(lab, name).tables(only=["attempts", "executions"])
    assert set(made) == {"attempts", "executions"}
    calls = made["attempts"].query("activity_type == @CALL")
    assert len(calls) == 9
    assert calls["worker_outcome"].notna().all()


def test_plain_arguments_and_inputs_of_ones_own_are_swept_too(lab: Lab, name: str) -> None:
    lab.start_worker(workflows=[Plain, Structured])
    design = sweeps.grid({"text": ["a", "b"]}, replicates=2, seed=1)
    plain = sweeps.run(lab, Plain.run, design, name=name, base={"times": 3}, progress=False)
    results = plain.results()
    wanted = [f'"{text * 3}/{seed}"' for text, seed in zip(design.text, design.seed, strict=True)]
    assert results["result"].tolist() == wanted
    design = sweeps.grid({"inner.factor": [2.0], "by_name.a.factor": [3.0]})
    own = sweeps.run(lab, Structured.run, design, name=f"{name}-2", base=Outer("x"), progress=False)
    assert own.results()["result"].tolist() == ["6.0"]


def test_every_end_of_a_run_counts_as_an_end_and_is_told(lab: Lab, name: str) -> None:
    lab.start_worker(workflows=[Ends])
    design = sweeps.grid({"how": ["done", "fail", "again"]})
    sweep = sweeps.run(lab, Ends.run, design, name=name, progress=False)
    results = sweep.results().set_index("how")
    assert results["status"].to_dict() == {
        **{"done": "COMPLETED", "fail": "FAILED", "again": "COMPLETED"},
    }
    assert results["success"].to_dict() == {"done": True, "fail": False, "again": True}
    assert results.loc["fail", "error"] == "as told"
    assert results.loc["fail", "failure_type"] == "Told"
    assert pd.isna(results.loc["fail", "result"])
    before = len(lab.list_workflows(sweep.query))
    sweeps.run(lab, Ends.run, design, name=name, progress=False)
    assert len(lab.list_workflows(sweep.query)) == before


def test_runs_that_time_out_or_are_terminated_have_ended(lab: Lab, name: str) -> None:
    lab.start_worker(workflows=[Ends])
    design = sweeps.grid({"how": ["hour", "wait"]})
    with ThreadPoolExecutor(1) as other:
        going = other.submit(
            sweeps.run,
            lab,
            Ends.run,
            design,
            name=name,
            progress=False,
            execution_timeout=timedelta(seconds=4),
        )
        waiting = f"{name}/r0001/n00"
        assert eventually(lambda: lab.list_workflows(f'WorkflowId = "{waiting}"'))
        lab.get_workflow_handle(waiting).terminate()
        sweep = going.result()
    results = sweep.results().set_index("how")
    assert results["status"].to_dict() == {"hour": "TIMED_OUT", "wait": "TERMINATED"}
    assert not results["success"].any()


def test_the_memo_of_each_run_says_what_it_is(lab: Lab, name: str) -> None:
    small(lab, name, memo={"mine": 5})
    run = lab.get_workflow_handle(f"{name}/r0001/n02").describe()
    whole = lab.within(run.memo)
    assert (set(whole), whole["mine"]) == ({"mine", "sweep"}, 5)
    memo = whole["sweep"]
    assert (memo["name"], memo["row"], memo["replicate"]) == (name, 1, 2)
    assert memo["parameters"] == {FAILING: 1, FIRST: 0.01}
    assert memo["summary"].startswith("ExampleWorkflow: 2 points, 3 replicates, 6 runs, seed 7; ")


def test_a_long_value_is_cut_in_the_memo_and_whole_in_the_design(lab: Lab, name: str) -> None:
    design = sweeps.grid({"data": ["x" * 5000, "y" * 5000]})
    sweeps.run(lab, ExampleWorkflow.run, design, name=name, base=BASE, progress=False)
    loaded = sweeps.load(lab, name)
    assert sorted(loaded.design["data"].str.len()) == [5000, 5000]
    run = lab.get_workflow_handle(loaded.workflow_ids[0]).describe()
    assert len(lab.within(run.memo)["sweep"]["parameters"]["data"]) == 200
    assert len(loaded.summary) < 300


def test_a_design_that_no_server_would_keep_is_refused_before_anything_starts(
    lab: Lab, name: str
) -> None:
    draw = random.Random(3)
    texts = [draw.randbytes(2000).hex() for _ in range(1200)]
    with pytest.raises(DesignError, match=r"take \d\.\d MB compressed, .* keeps 2 MB with a run"):
        sweeps.run(lab, ExampleWorkflow.run, sweeps.grid({"data": texts}), name=name, base=BASE)
    assert lab.list_workflows(f'WorkflowId STARTS_WITH "{name}"') == []


def test_runs_start_in_the_designs_order(lab: Lab, name: str) -> None:
    sweep = small(lab, name, concurrency=1)
    begun = [history.events[0].event_time.ToNanoseconds() for history in sweep.histories()]
    assert begun == sorted(begun)
    closes = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
    assert all(history.events[-1].event_type == closes for history in sweep.histories())


def test_the_bar_counts_by_status_and_is_silent_on_request(
    lab: Lab, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    small(lab, name)
    assert capfd.readouterr() == ("", "")
    small(lab, f"{name}-2", progress=True)
    assert "6/6" in (told := capfd.readouterr().err)
    assert "COMPLETED 6" in told


def test_a_sweep_shows_itself_without_asking_the_server(lab: Lab, name: str) -> None:
    sweep = small(lab, name)
    lab.close()
    assert repr(sweep).startswith(f"<Sweep '{name}': ExampleWorkflow: 2 points")
    assert f"Sweep {name}" in sweep._repr_html_()


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"design": sweeps.grid({FAILING: [0, 2], FIRST: [0.01]}, replicates=3, seed=7)}, "design"),
        ({"base": WorkflowInput("other", "u-1")}, "the base input"),
    ],
)
def test_a_name_in_use_is_refused_with_both_shown_and_nothing_started(
    lab: Lab, name: str, changes: dict[str, Any], differs: str
) -> None:
    sweep = small(lab, name)
    design, base = changes.get("design", sweep.design), changes.get("base", BASE)
    with pytest.raises(SweepError, match=differs) as caught:
        sweeps.run(lab, ExampleWorkflow.run, design, name=name, base=base, progress=False)
    assert caught.value.there == sweep.summary
    assert caught.value.here in str(caught.value)
    assert caught.value.there in str(caught.value)
    assert len(lab.list_workflows(sweep.query)) == 6


def test_a_name_taken_between_the_listing_and_the_start_is_refused_too(
    lab: Lab, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(lab, name)
    monkeypatch.setattr("projectai_lab.sweeps._listing.query_of", lambda _: 'WorkflowId = "none"')
    with pytest.raises(SweepError, match="the base input"):
        small(lab, name, base=WorkflowInput("other", "u-1"))


def test_another_clock_does_not_go_on_with_a_sweep(lab: Lab, name: str) -> None:
    if lab.clock is None:
        pytest.skip("the clock of a server elsewhere is not known")
    small(lab, name)
    lab.clock = "virtual"
    with pytest.raises(SweepError, match=r"the server's clock \(fast, now virtual\)"):
        small(lab, name)


def test_ids_that_look_like_a_sweep_but_are_none_are_left_alone(lab: Lab, name: str) -> None:
    lab.execute_workflow(ExampleWorkflow.run, BASE, id=f"{name}/r0000/n00", timeout=60)
    assert eventually(lambda: lab.list_workflows(f'WorkflowId = "{name}/r0000/n00"'))
    with pytest.raises(SweepError, match="was not started by a sweep; choose another name="):
        small(lab, name)


@pytest.mark.parametrize(
    "bad", ["", 'a"b', "a/b", "a\\b", "a b", "-a", "ä", "a'b", "x" * 101, 5, None]
)
def test_a_name_that_would_break_ids_or_queries_is_refused(lab: Lab, bad: Any) -> None:
    with pytest.raises(DesignError, match=r"the sweep's name .* must begin with a letter or digit"):
        small(lab, bad)
    with pytest.raises(DesignError, match="the sweep's name"):
        sweeps.load(lab, bad)


def test_names_that_begin_alike_are_two_sweeps(lab: Lab, name: str) -> None:
    one, other = small(lab, name), small(lab, f"{name}_1", base=WorkflowInput("other", "u-1"))
    upper = small(lab, name.upper(), base=WorkflowInput("third", "u-1"))
    assert one.base["data"] == sweeps.load(lab, name).base["data"] == "text"
    assert sweeps.load(lab, f"{name}_1").base["data"] == other.base["data"] == "other"
    assert sweeps.load(lab, name.upper()).base["data"] == upper.base["data"] == "third"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"concurrency": 0}, DesignError, "concurrency must be a whole number, 1 or more; got 0"),
        ({"id": "x"}, DesignError, "id= follows from the design"),
        ({"id_reuse_policy": 1}, DesignError, "id_reuse_policy= follows from the design"),
        ({"base": None}, DesignError, r"base=WorkflowInput\(…\)"),
        ({"base": WorkflowInput({1}, object())}, DesignError, "base=.* cannot be serialised"),
        ({"faults": FaultPlan()}, DesignError, r"faults= stands in the input of a sweep's runs"),
        ({"seed": 3}, DesignError, "seed= stands in the input"),
        ({"tsk_queue": "x"}, TypeError, "no.* option 'tsk_queue'; did you mean 'task_queue'"),
        ({"base": MISNAMED}, ValueError, "names activity 'simulate_ai_cal', which no worker"),
        ({"patience": -1}, DesignError, "patience must be a timedelta or seconds, 0 or more; got"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_starts(
    lab: Lab, name: str, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        small(lab, name, **options)
    assert lab.list_workflows(f'WorkflowId STARTS_WITH "{name}"') == []


def test_rules_of_a_fault_plan_are_swept_and_strike_as_each_run_says(lab: Lab, name: str) -> None:
    rules = (Fault("fail", CALL, attempts=(1,), probability=0.0),)
    base = WorkflowInput("text", "u-1", faults=FaultPlan(rules=rules, latency=Latency(a=0)))
    design = sweeps.grid({"faults.rules.0.probability": [0.0, 1.0], FIRST: [0.01]}, replicates=2)
    options: dict[str, Any] = {"base": base, "progress": False, "memo": None}
    found = sweeps.run(lab, ExampleWorkflow.run, design, name=name, **options).results()
    retries = found.groupby("faults.rules.0.probability")["n_retries"].agg(list).to_dict()
    assert retries == {0.0: [0, 0], 1.0: [1, 1]}


def test_one_bad_row_is_named_and_no_other_starts(lab: Lab, name: str) -> None:
    design = sweeps.grid({FIRST: [0.1, -1.0]}, replicates=3)
    with pytest.raises(DesignError, match=r"row 1, replicate 0 .*must be more than 0 s, got -1"):
        sweeps.run(lab, ExampleWorkflow.run, design, name=name, base=BASE)
    design = sweeps.grid({"data": [1, 2]}).astype({"data": object})
    design.at[1, "data"] = {1, 2}
    with pytest.raises(DesignError, match=r"row \d, replicate 0: the value \{1, 2\} of 'data'"):
        sweeps.run(lab, ExampleWorkflow.run, design, name=name, base=BASE)
    assert lab.list_workflows(f'WorkflowId STARTS_WITH "{name}"') == []


def test_a_workflow_type_that_the_worker_does_not_know_is_refused(lab: Lab, name: str) -> None:
    design = sweeps.grid({"text": ["a"]})
    with pytest.raises(WorkflowDefinitionError, match="has no Workflow Type 'Plain'"):
        sweeps.run(lab, Plain.run, design, name=name)


def test_an_argument_over_the_servers_limit_is_named_by_its_run(lab: Lab, name: str) -> None:
    design = sweeps.grid({"data": ["x" * 3_000_000]})
    with pytest.raises(PayloadError, match="the server refused the size") as caught:
        sweeps.run(lab, ExampleWorkflow.run, design, name=name, base=BASE, progress=False)
    assert f"{name}/r0000/n00" in str(caught.value.__cause__.__notes__)  # type: ignore[union-attr]


def test_a_sweep_that_is_not_there_is_an_error_that_says_where_it_looked(
    lab: Lab, name: str
) -> None:
    with pytest.raises(SweepError, match=f"at {lab.address} has no runs of a sweep '{name}'"):
        sweeps.load(lab, name)


def test_a_sweep_whose_design_is_gone_from_the_server_says_so(
    lab: Lab, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("projectai_lab.sweeps._listing.MEMO_DESIGN", "another key")
    small(lab, name)
    assert eventually(lambda: len(lab.list_workflows(f'WorkflowId STARTS_WITH "{name}/"')) == 6)
    with pytest.raises(SweepError, match=r"has 6 runs of the sweep .* but not the first"):
        sweeps.load(lab, name)
    assert len(small(lab, name).results()) == 6


def test_a_sweep_nobody_works_on_says_so_while_it_waits(
    config: LabConfig,
    name: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.WARNING, "projectai_lab")
    design = sweeps.grid({"data": ["a"]}, replicates=12)
    with Lab.connect(config, worker=False) as lab, ThreadPoolExecutor(1) as other:
        going = other.submit(sweeps.run, lab, ExampleWorkflow.run, design, name=name, base=BASE)
        assert eventually(lambda: "no worker polls Task Queue" in caplog.text)
        # Only the ten that are open longest are asked about: it may be more than these.
        assert eventually(lambda: "open 12, no worker 10+" in capfd.readouterr().err)
        lab.start_worker()
        assert set(going.result().results()["status"]) == {"COMPLETED"}
    assert "0 of 12 runs have ended, 12 are open, 0 missing" in caplog.text


def test_the_bar_counts_open_runs_in_retry(
    lab: Lab, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    base = WorkflowInput("t", "u", BASE.faults, retry={CALL: RetrySettings(60.0)})
    design = sweeps.grid({FAILING: [1]}, replicates=2)
    with ThreadPoolExecutor(1) as other:
        going = other.submit(sweeps.run, lab, ExampleWorkflow.run, design, name=name, base=base)
        assert eventually(lambda: "open 2, retrying 2" in capfd.readouterr().err)
        for replicate in range(2):
            lab.get_workflow_handle(f"{name}/r0000/n0{replicate}").terminate()
        sweep = going.result()
    assert "TERMINATED 2" in capfd.readouterr().err
    assert sweep.counts().sum() == 2
