"""Parameters reach the workflow's arguments by their paths; those that lead nowhere are named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from projectai_lab import Fault, FaultPlan, Latency, RetrySettings, WorkflowInput
from projectai_lab.errors import DesignError
from projectai_lab.sweeps._arguments import Arguments
from projectai_lab.sweeps._checked import Planned
from projectai_lab.workflows import ExampleWorkflow
from projectai_lab.workflows.example import DEFAULT_RETRY, DEFAULT_TIMEOUTS
from tests.sweep_workflows import Inner, Outer, Plain, Structured

BASE = WorkflowInput("text", "u-1", faults=FaultPlan(fail_first={"simulate_ai_call": 2}))


def arguments(workflow: Any, base: Any, seed: int = 5, **parameters: Any) -> list[Any]:
    """Return the arguments of a run; `__` in a name is a dot."""
    given = {name.replace("__", "."): value for name, value in parameters.items()}
    return Arguments(workflow, base).of(Planned(3, 1, seed, given))


def request_of(**parameters: Any) -> WorkflowInput:
    [found] = arguments(ExampleWorkflow.run, BASE, **parameters)
    assert isinstance(found, WorkflowInput)
    return found


def test_a_path_reaches_a_field_of_the_input_and_leaves_the_rest() -> None:
    found = request_of(data="other")
    assert found == WorkflowInput("other", "u-1", faults=BASE.faults, seed=5)


def test_each_run_gets_its_seed() -> None:
    assert request_of(data="x").seed == 5
    assert arguments(Plain.run, {"text": "a"}, times=1) == ["a", 1, 5]


def test_a_policy_that_the_base_lacks_begins_with_the_workflows_default() -> None:
    found = request_of(retry__simulate_ai_call__initial_interval=0.1)
    default = DEFAULT_RETRY["simulate_ai_call"]
    assert found.retry == {
        "simulate_ai_call": RetrySettings(
            0.1, maximum_interval=default.maximum_interval, maximum_attempts=5
        )
    }
    timeouts = request_of(timeouts__validate_input__heartbeat=1).timeouts["validate_input"]
    assert timeouts.start_to_close == DEFAULT_TIMEOUTS["validate_input"].start_to_close


def test_a_policy_of_the_base_is_changed_and_others_stay() -> None:
    base = WorkflowInput("t", "u", retry={"simulate_ai_call": RetrySettings(3, maximum_attempts=9)})
    [found] = arguments(ExampleWorkflow.run, base, retry__simulate_ai_call__backoff_coefficient=1.5)
    assert found.retry == {"simulate_ai_call": RetrySettings(3, 1.5, maximum_attempts=9)}
    assert base.retry["simulate_ai_call"].backoff_coefficient == 2.0


def test_fields_that_depend_on_each_other_change_together() -> None:
    # One after the other, the first would be longer than the maximum of the default.
    found = request_of(
        retry__simulate_ai_call__initial_interval=20,
        retry__simulate_ai_call__maximum_interval=40,
    )
    assert found.retry["simulate_ai_call"].maximum_interval == 40


def test_a_key_of_a_dict_may_be_new_and_the_others_stay() -> None:
    found = request_of(faults__fail_probability__simulate_ai_call=0.2)
    assert found.faults.fail_probability == {"simulate_ai_call": 0.2}
    assert found.faults.fail_first == {"simulate_ai_call": 2}


def ruled(**parameters: Any) -> Any:
    rules = Fault("fail", probability=0.1), Fault("delay", delay=Latency(a=0.5))
    base = WorkflowInput("t", "u", faults=FaultPlan(rules=rules))
    return arguments(ExampleWorkflow.run, base, **parameters)[0]


def test_a_number_leads_into_a_tuple_as_of_the_rules_of_a_fault_plan() -> None:
    found = ruled(faults__rules__0__probability=0.7, faults__rules__1__delay__a=2.0)
    assert found.faults.rules == (
        Fault("fail", probability=0.7),
        Fault("delay", delay=Latency(a=2.0)),
    )
    [listed] = arguments("Other", {"a": [1, {"b": 2}]}, a__1__b=3)
    assert listed == {"a": [1, {"b": 3}]}


def test_records_of_the_users_own_input_are_made_where_there_are_none() -> None:
    [found] = arguments(
        Structured.run,
        Outer("t"),
        inner__factor=2.0,
        by_name__a__factor=3.0,
        weights__w=0.5,
        perhaps__tags=["x"],
    )
    assert found == Outer("t", Inner(2.0), {"a": Inner(3.0)}, {"w": 0.5}, Inner(tags=["x"]))  # type: ignore[arg-type]


def test_plain_arguments_are_named_and_defaults_fill_up() -> None:
    assert arguments(Plain.run, None, text="a") == ["a", 2, 5]
    assert arguments(Plain.run, {"times": 7}, text="b") == ["b", 7, 5]


def test_a_workflow_of_another_language_takes_its_base_as_it_is() -> None:
    [found] = arguments("Other", {"a": 1, "deep": {"b": 2}}, deep__b=3)
    assert found == {"a": 1, "deep": {"b": 3}}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: request_of(retry__simulate_ai_call__intial_interval=1),
            r"no 'retry\.simulate_ai_call\.intial_interval'; did you mean "
            r"'retry\.simulate_ai_call\.initial_interval'",
        ),
        (
            lambda: request_of(retry__simulate_ai_cal__initial_interval=1),
            r"no 'retry\.simulate_ai_cal'; did you mean 'retry\.simulate_ai_call'",
        ),
        (lambda: request_of(fault__seed=1), "input has no 'fault'; did you mean 'faults'"),
        (lambda: request_of(zzz=1), "no 'zzz'; it has data, user_id, faults, seed, retry, timeo"),
        (lambda: request_of(data__x=1), r"no 'data\.x'"),
        (
            lambda: request_of(faults__fail_probability__nonsense=0.5),
            r"row 3, replicate 1 \(faults.fail_probability.nonsense=0.5\): .*unknown activity",
        ),
        (
            lambda: request_of(retry__simulate_ai_call__initial_interval=-1),
            r"row 3, .*initial_interval=-1\): .*initial_interval must be more than 0 s, got -1",
        ),
        (
            lambda: request_of(retry__simulate_ai_call__initial_interval="x"),
            r"row 3, replicate 1 \(retry\.simulate_ai_call\.initial_interval='x'\): ",
        ),
        (
            lambda: request_of(faults__latency=1, faults__latency__a=2),
            r"'faults\.latency\.a' lies within 'latency', which is a parameter too",
        ),
        (
            lambda: request_of(faults__latency__a=2, faults__latency=1),
            r"'faults\.latency' is a parameter, and so is a part of it",
        ),
        (
            lambda: arguments(ExampleWorkflow.run, None, data="x"),
            r"input with base=WorkflowInput\(",
        ),
        (lambda: arguments("Other", None, data="x"), "give the input of 'Other' with base="),
        (lambda: arguments(Plain.run, None, times=3), "the run method needs text; name it in"),
        (lambda: arguments(Plain.run, {"txt": "a"}, times=3), "no 'txt'; did you mean 'text'"),
        (lambda: arguments(Plain.run, {"text": "a"}, tines=3), "no 'tines'; did you mean 'times'"),
        (lambda: arguments(Plain.run, "a", times=3), r"dict of the run method's arguments \(text"),
        (lambda: arguments("Other", {"a": 1}, b=3), "no 'b'; it has a"),
        (lambda: arguments("Other", "text", b=3), "no 'b'; it has no named parts"),
        (lambda: ruled(faults__rules__2__probability=1), r"no 'faults\.rules\.2'; did you mean"),
        (lambda: ruled(faults__rules__probability=1), r"no 'faults\.rules\.probability'; did"),
        (lambda: ruled(faults__rules__1__probability=2), r"row 3, .*probability must lie in 0 … 1"),
    ],
)
def test_what_leads_nowhere_is_named_with_what_is_near(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(DesignError, match=message):
        make()


def test_an_unknown_name_is_an_attribute_of_the_error_with_its_neighbours() -> None:
    with pytest.raises(DesignError) as caught:
        request_of(user="x")
    assert caught.value.parameter == "user"
    assert caught.value.near[0] == "user_id"
