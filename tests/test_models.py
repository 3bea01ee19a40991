"""What goes into and comes out of the workflow: checked when made, unchanged by the wire."""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.converter import DataConverter

from projectai_lab import models
from projectai_lab.models import (
    AIResponse,
    AITask,
    FaultPlan,
    Latency,
    RetrySettings,
    TimeoutSettings,
    WorkflowInput,
    WorkflowOutput,
    WorkflowState,
    seconds,
)

FULL = WorkflowInput(
    data="summarise this",
    user_id="u-1",
    faults=FaultPlan(
        fail_first={"simulate_ai_call": 3},
        fail_probability={"process_ai_task": 0.25},
        hang_first={"validate_input": 1},
        error_type="Overloaded",
        retryable=False,
        latency=Latency("lognormal", 0.2, 0.5),
    ),
    seed=7,
    retry={"simulate_ai_call": RetrySettings(timedelta(seconds=2), 3.0, 60, 4, ("InvalidInput",))},
    timeouts={"process_ai_task": TimeoutSettings(None, timedelta(minutes=1), 5, 2)},
)


def travelled(value: Any) -> Any:
    """Send a value through Temporal's default converter and back."""
    payloads = DataConverter.default.payload_converter.to_payloads([value])
    return DataConverter.default.payload_converter.from_payloads(payloads, [type(value)])[0]


@pytest.mark.parametrize(
    "value",
    [
        FULL,
        WorkflowInput("text", "u-1"),
        AITask(FULL, AIResponse({"answer": [1, 2]}, 0.5)),
        WorkflowOutput(success=True, result={"answer": "yes"}),
        WorkflowOutput(success=False, error="no"),
        WorkflowState("simulate_ai_call", datetime(2026, 1, 2, tzinfo=UTC), ("validate_input",)),
        WorkflowState(None, None),
    ],
)
def test_a_model_arrives_as_it_was_sent(value: Any) -> None:
    assert travelled(value) == value


@pytest.mark.parametrize("data", [None, 3, ["a"], {"a": 1}])
def test_wrongly_typed_data_arrives_to_be_rejected_with_a_reason(data: Any) -> None:
    assert travelled(WorkflowInput(data, user_id=None)) == WorkflowInput(data, user_id=None)


@pytest.mark.parametrize(
    ("duration", "expected"), [(timedelta(minutes=1.5), 90.0), (3, 3.0), (0.25, 0.25)]
)
def test_a_duration_is_a_timedelta_or_seconds(duration: models.Duration, expected: float) -> None:
    assert seconds(duration) == expected


def test_durations_are_kept_as_seconds() -> None:
    retry = RetrySettings(timedelta(milliseconds=200), maximum_interval=timedelta(minutes=1))
    assert (retry.initial_interval, retry.maximum_interval) == (0.2, 60.0)
    timeouts = TimeoutSettings(timedelta(seconds=3), heartbeat=timedelta(seconds=1))
    assert (timeouts.start_to_close, timeouts.heartbeat) == (3.0, 1.0)
    assert Latency("uniform", timedelta(seconds=1), 2) == Latency("uniform", 1.0, 2.0)


def test_retry_settings_begin_as_temporal_does() -> None:
    assert RetrySettings() == RetrySettings(1.0, 2.0, None, 0, ())


@pytest.mark.parametrize("one", [RetrySettings, TimeoutSettings, Latency, FaultPlan])
def test_models_cannot_be_changed(one: type) -> None:
    made = one()
    with pytest.raises(FrozenInstanceError):
        setattr(made, fields(one)[0].name, None)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RetrySettings(0), "RetrySettings.initial_interval must be more than 0 s, got 0"),
        (lambda: RetrySettings(-1), "initial_interval must be more than 0 s, got -1"),
        (lambda: RetrySettings(math.nan), "initial_interval must be more than 0 s, got nan"),
        (lambda: RetrySettings(math.inf), "initial_interval must be more than 0 s, got inf"),
        (lambda: RetrySettings(30, 2, 10), "maximum_interval 10.0 is less than initial_interval"),
        (lambda: RetrySettings(1, 0.5), "backoff_coefficient must be >= 1, got 0.5"),
        (lambda: RetrySettings(1, math.nan), "backoff_coefficient must be >= 1, got nan"),
        (lambda: RetrySettings(maximum_attempts=-1), "maximum_attempts must be 0, 1, 2 …, got -1"),
        (lambda: TimeoutSettings(None), "needs start_to_close or schedule_to_close"),
        (lambda: TimeoutSettings(0), "TimeoutSettings.start_to_close must be more than 0 s, got"),
        (lambda: TimeoutSettings(heartbeat=timedelta(0)), "heartbeat must be more than 0 s"),
        (lambda: Latency(a=-0.1), "Latency.a must be 0 or more s, got -0.1"),
        (lambda: Latency("uniform", 2, 1), "uniform latency needs a <= b, got 2.0 and 1.0"),
        (lambda: FaultPlan({"simulate_ai_call": -1}), "fail_first['simulate_ai_call'] is out of"),
        (lambda: FaultPlan({}, {"process_ai_task": 1.1}), "is out of range: 1.1"),
        (lambda: FaultPlan({}, {"process_ai_task": math.nan}), "is out of range: nan"),
        (lambda: FaultPlan(hang_first={"ai": 1}), "hang_first names an unknown activity 'ai'; kn"),
        (lambda: WorkflowInput("x", "u", retry={"ai": RetrySettings()}), "known: validate_input,"),
        (lambda: WorkflowInput("x", "u", timeouts={"ai": TimeoutSettings()}), "timeouts names an"),
    ],
)
def test_a_setting_out_of_range_is_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (RetrySettings, {"non_retryable_error_types": "Invalid"}, 'takes several: ("InvalidInp'),
        (RetrySettings, {"maximum_attempts": 1.5}, "maximum_attempts must be 0, 1, 2 …, got 1.5"),
        (Latency, {"law": "normal"}, "law must be constant, uniform, lognormal or pareto, got"),
        (FaultPlan, {"latency": 0.5}, "latency must be a Latency, got float: 0.5"),
        (WorkflowInput, {"data": "x", "user_id": "u", "faults": {}}, "must be a FaultPlan, got d"),
        (
            WorkflowInput,
            {"data": "x", "user_id": "u", "retry": {"simulate_ai_call": 3}},
            "retry['simulate_ai_call'] must be a RetrySettings, got int: 3",
        ),
    ],
)
def test_a_setting_of_another_type_is_named(
    kind: Callable[..., object], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        kind(**settings)
    assert message in str(caught.value)


def test_zero_latency_and_the_ends_of_a_probability_are_allowed() -> None:
    plan = FaultPlan({}, {"simulate_ai_call": 1, "process_ai_task": 0}, latency=Latency(a=0))
    assert (plan.latency.a, plan.fail_probability["simulate_ai_call"]) == (0.0, 1)


def test_models_stand_on_the_standard_library_alone() -> None:
    ours = {"projectai_lab.models", "projectai_lab.fault_plan", "projectai_lab._checks"}
    for name in ours:
        tree = ast.parse(Path(str(sys.modules[name].__file__)).read_text())
        imported = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        imported += [
            a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names
        ]
        others = {str(one).partition(".")[0] for one in imported if one not in ours}
        assert others <= sys.stdlib_module_names, name
