"""The rules of a fault plan: what is refused in which words; the wire changes nothing."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from temporalio.converter import DataConverter

from projectai_lab.models import Fault, FaultPlan, Latency, WorkflowInput

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SLOW = Latency.lognormal(p50=0.4, p99=4)
RULES = (
    Fault("fail", "my_activity", attempts=(1, 2), error_type="Unavailable"),
    Fault("fail", window=(30, 90.5), retryable=False, next_retry_delay=timedelta(seconds=3)),
    Fault("fail", window=(NOON, NOON + timedelta(minutes=5)), probability=0.5, name="outage"),
    Fault("rate_limit", "my_activity", probability=0.2, next_retry_delay=2),
    Fault("hang", "simulate_ai_call", attempts=range(1, 4)),  # type: ignore[arg-type]
    Fault("delay", "*", delay=Latency.pareto(p50=0.1, p99=3)),
    Fault("drop_heartbeats", "my_activity", attempts=(1,)),
    Fault("kill_worker", "my_activity", attempts=(1,), point="end"),
)


def travelled(value: Any) -> Any:
    """Send a value through Temporal's default converter and back."""
    payloads = DataConverter.default.payload_converter.to_payloads([value])
    return DataConverter.default.payload_converter.from_payloads(payloads, [type(value)])[0]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.kind)
def test_a_rule_arrives_as_it_was_sent(rule: Fault) -> None:
    assert travelled(rule) == rule
    assert travelled(FaultPlan(rules=(rule, rule))) == FaultPlan(rules=(rule, rule))


def test_a_whole_request_arrives_with_its_rules() -> None:
    request = WorkflowInput("text", "u-1", faults=FaultPlan({"validate_input": 1}, rules=RULES))
    arrived = travelled(request)
    assert arrived == request
    assert [type(rule) for rule in arrived.faults.rules] == [Fault] * len(RULES)
    assert arrived.faults.rules[2].window == (NOON, NOON + timedelta(minutes=5))
    assert arrived.faults.rules[1].next_retry_delay == 3.0
    assert travelled(arrived) == request


def test_a_plan_without_rules_travels_and_reads_as_before_there_were_any() -> None:
    converter = DataConverter.default.payload_converter
    payload = converter.to_payload({"fail_first": {"simulate_ai_call": 2}, "retryable": False})
    (plan,) = converter.from_payloads([payload], [FaultPlan])
    assert plan == FaultPlan({"simulate_ai_call": 2}, retryable=False)


def test_rules_pickle_and_cannot_be_changed() -> None:
    assert pickle.loads(pickle.dumps(RULES)) == RULES
    with pytest.raises(FrozenInstanceError):
        RULES[0].kind = "hang"  # type: ignore[misc]
    assert len({*RULES, *RULES}) == len(RULES)


def test_a_failure_has_the_type_of_its_kind_unless_it_is_given_one() -> None:
    assert Fault("fail").error_type == "InjectedFault"
    assert Fault("rate_limit", next_retry_delay=1).error_type == "RateLimited"
    assert Fault("rate_limit", next_retry_delay=1, error_type="Busy").error_type == "Busy"
    assert Fault("hang").error_type == ""


def test_a_label_says_what_a_rule_strikes() -> None:
    labels = [rule.label for rule in RULES]
    assert labels[:2] == ["fail my_activity attempts 1,2", "fail * window 30…90.5"]
    assert labels[2] == "outage"
    assert labels[7] == "kill_worker my_activity at end attempts 1"
    assert len(set(labels)) == len(labels)


def test_times_in_another_zone_are_the_same_window() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5)))
    later = timedelta(hours=1)
    assert Fault("fail", window=(there, there + later)) == Fault(
        "fail", window=(NOON, NOON + later)
    )
    assert Fault("fail", window=(timedelta(0), timedelta(minutes=1))).window == (0.0, 60.0)


def test_harmless_is_a_plan_that_can_strike_nothing() -> None:
    assert FaultPlan(latency=Latency(a=9)).harmless
    assert not FaultPlan(rules=RULES[:1]).harmless
    assert not FaultPlan({"validate_input": 1}).harmless


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: Fault("fial"), "Fault.kind 'fial' is unknown; known: fail, rate_limit, hang"),  # type: ignore[arg-type]
    (lambda: Fault("fial"), "did you mean 'fail'?"),  # type: ignore[arg-type]
    (lambda: Fault("fail", ""), "Fault.activity must name one, or \"*\" for all; got ''"),
    (lambda: Fault("fail", attempts=1), "takes several, as attempts=(1, 2); got 1"),  # type: ignore[arg-type]
    (lambda: Fault("fail", attempts=()), "must be 1, 2, 3 …, got none; leave it out for all"),
    (lambda: Fault("fail", attempts=(0,)), "Fault.attempts must be 1, 2, 3 …, got 0"),
    (lambda: Fault("fail", attempts=(-1,)), "Fault.attempts must be 1, 2, 3 …, got -1"),
    (lambda: Fault("fail", attempts=(1.5,)), "must be 1, 2, 3 …, got 1.5"),  # type: ignore[arg-type]
    (lambda: Fault("fail", attempts="12"), "takes several, as attempts=(1, 2); got '12'"),  # type: ignore[arg-type]
    (lambda: Fault("fail", probability=1.2), "Fault.probability must lie in 0 … 1, got 1.2"),
    (lambda: Fault("fail", probability=-0.1), "must lie in 0 … 1, got -0.1"),
    (lambda: Fault("fail", probability=math.nan), "must lie in 0 … 1, got nan"),
    (lambda: Fault("fail", probability="half"), "Fault.probability must be a number, got 'half'"),  # type: ignore[arg-type]
    (lambda: Fault("fail", window=30), "Fault.window must be (from, to), got 30"),  # type: ignore[arg-type]
    (lambda: Fault("fail", window=(5, 5)), "must be 0 <= from < to, got 5 and 5"),
    (lambda: Fault("fail", window=(-1, 5)), "must be 0 <= from < to, got -1 and 5"),
    (lambda: Fault("fail", window=(0, math.inf)), "must be 0 <= from < to, got 0 and inf"),
    (lambda: Fault("fail", window=(math.nan, 1)), "must be 0 <= from < to, got nan and 1"),
    (lambda: Fault("fail", window=(NOON, NOON)), "must be 0 <= from < to"),
    (lambda: Fault("fail", window=(0, NOON)), "two numbers of seconds or two times"),  # type: ignore[arg-type]
    (
        lambda: Fault("fail", window=(NOON.replace(tzinfo=None), NOON.replace(tzinfo=None))),
        "Fault.window needs a time zone: datetime(…, tzinfo=UTC)",
    ),
    (lambda: Fault("fail", point="middle"), 'must be "start" or "end", got \'middle\''),  # type: ignore[arg-type]
    (lambda: Fault("fail", next_retry_delay=0), "next_retry_delay must be more than 0 s, got 0"),
    (lambda: Fault("fail", next_retry_delay=-2), "next_retry_delay must be more than 0 s, got -2"),
    (lambda: Fault("fail", next_retry_delay=math.nan), "must be more than 0 s, got nan"),
    (lambda: Fault("rate_limit"), "needs next_retry_delay, the answer's retry-after"),
    (lambda: Fault("delay"), "Fault('delay', …) needs delay, as delay=Latency(a=0.5)"),
    (lambda: Fault("delay", delay=3), "Fault.delay must be a Latency, got int: 3"),  # type: ignore[arg-type]
    (lambda: Fault("hang", error_type="X"), "says nothing of kind 'hang'; it is for fail and rat"),
    (lambda: Fault("kill_worker", retryable=False), "retryable says nothing of kind 'kill_worker'"),
    (lambda: Fault("fail", delay=SLOW), "Fault.delay says nothing of kind 'fail'; it is for delay"),
    (lambda: Fault("drop_heartbeats", point="end"), "begins at the start; leave point out"),
    (lambda: FaultPlan(rules=Fault("fail")), "FaultPlan.rules takes several: rules=(Fault(…),)"),  # type: ignore[arg-type]
    (lambda: FaultPlan(rules=("fail",)), "FaultPlan.rules[0] must be a Fault, got str: 'fail'"),  # type: ignore[arg-type]
    (lambda: FaultPlan({"simulate_ai": 1}), "did you mean 'simulate_ai_call'?"),
    (lambda: Latency("pareto", 0, 2), "pareto latency needs a > 0 and b > 0, got 0.0 and 2.0"),
    (lambda: Latency("pareto", 1), "pareto latency needs a > 0 and b > 0, got 1.0 and 0.0"),
    (lambda: Latency.lognormal(p50=2, p99=1), "Latency.lognormal needs 0 < p50 < p99, got 2 and 1"),
    (lambda: Latency.pareto(p50=0, p99=1), "Latency.pareto needs 0 < p50 < p99, got 0 and 1"),
    (lambda: Latency.pareto(p50=1, p99=math.nan), "needs 0 < p50 < p99, got 1 and nan"),
    (lambda: Latency.lognormal(p50=1, p99=math.inf), "needs 0 < p50 < p99, got 1 and inf"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message for _, message in BAD])
def test_a_rule_that_makes_no_sense_is_refused_in_words(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        make()
    assert message in str(caught.value)


def test_the_names_are_at_home_in_models_wherever_their_code_stands() -> None:
    # The converter looks types up there, and the sandbox has only what was imported by name.
    assert {one.__module__ for one in (Fault, FaultPlan, Latency)} == {"projectai_lab.models"}


def test_the_plan_needs_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; import projectai_lab.faults; print([name for name in "
        "('temporalio', 'numpy', 'pandas', 'asyncio') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
