"""Seeded failure and latency laws: (plan, seed, activity type, attempt) → what happens."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from projectai_lab.models import EVERY_ACTIVITY, Fault, FaultPlan, Latency, seconds

ORDER = ("drop_heartbeats", "delay", "hang", "kill_worker", "fail", "rate_limit")
"""Kinds at one point of one attempt: what takes time, then what ends it."""


@dataclass(frozen=True)
class Strike:
    """One fault that strikes one attempt; `rule` is its label, or the field of a plan's own law."""

    rule: str
    fault: Fault
    message: str
    delay_s: float | None = None
    of_plan: bool = False
    """Whether it comes of `fail_first`, `fail_probability` or `hang_first`."""


@dataclass(frozen=True)
class Fate:
    """What one attempt meets: how long it takes, then whether it hangs or fails, and why.

    `strikes` tells the same in full, in the order in which they would strike: those at its start,
    then those at its end; the first that ends the attempt leaves the rest undone.
    """

    latency_s: float
    hangs: bool = False
    failure: str | None = None
    strikes: tuple[Strike, ...] = ()


def fate(
    plan: FaultPlan,
    seed: int,
    activity_type: str,
    attempt: int,
    *,
    call: int = 1,
    since_start_s: float | None = None,
    at: datetime | None = None,
) -> Fate:
    """Return what the plan holds for this attempt; the same arguments give the same fate.

    The Workflow Id plays no part: runs with the same seed meet the same faults, so that policies
    can be compared under equal trouble. Give each replicate a seed of its own. Where an execution
    calls an activity several times, `call` counts them, and rules have luck anew in each; a plan's
    own laws are those of `ExampleWorkflow`, which calls each activity once. A plan with windows
    asks when the attempt started: seconds since its Workflow Execution did, or the time.

    >>> plan = FaultPlan(fail_first={"simulate_ai_call": 1})
    >>> fate(plan, seed=7, activity_type="simulate_ai_call", attempt=1).failure
    'planned failure of attempt 1'
    """
    # A text seed goes through SHA-512, so that the draw is equal in every process and Python.
    draw = random.Random(f"{seed}/{activity_type}/{attempt}")
    # Drawn first, always: another latency law must not change which attempts fail.
    luck = draw.random()
    latency_s = sample(plan.latency, draw)
    strikes = [*_of_own_laws(plan, luck, activity_type, attempt)]
    for name, rule in labelled(plan):
        if _may_strike(rule, activity_type, attempt, since_start_s, at):
            again = f"/{call}" if call > 1 else ""
            luck_of = random.Random(f"{seed}/{activity_type}/{attempt}/{name}{again}")
            strikes += _drawn(name, rule, luck_of)
    strikes.sort(key=lambda one: (one.fault.point == "end", ORDER.index(one.fault.kind)))
    failures = [one.message for one in strikes if one.fault.kind in ("fail", "rate_limit")]
    hangs = any(one.fault.kind == "hang" for one in strikes)
    return Fate(latency_s, hangs, failures[0] if failures else None, tuple(strikes))


def labelled(plan: FaultPlan) -> Iterator[tuple[str, Fault]]:
    """Yield each rule with a name that no other rule of the plan has; draws are made by it."""
    seen: Counter[str] = Counter()
    for rule in plan.rules:
        seen[rule.label] += 1
        number = seen[rule.label]
        yield (rule.label if number == 1 else f"{rule.label} #{number}"), rule


def sample(latency: Latency, draw: random.Random) -> float:
    """Draw one latency in seconds from its law."""
    a, b = seconds(latency.a), seconds(latency.b)
    if latency.law == "uniform":
        return draw.uniform(a, b)
    if latency.law == "lognormal" and a > 0:
        return draw.lognormvariate(math.log(a), b)
    if latency.law == "pareto":
        return a * draw.paretovariate(b)
    return a


def _of_own_laws(plan: FaultPlan, luck: float, kind: str, attempt: int) -> Iterator[Strike]:
    """Yield what `hang_first`, `fail_first` and `fail_probability` come to."""
    if attempt <= plan.hang_first.get(kind, 0):
        told = f"planned hang of attempt {attempt}"
        yield Strike("hang_first", Fault("hang", kind), told, of_plan=True)
    probability = plan.fail_probability.get(kind, 0.0)
    if attempt <= plan.fail_first.get(kind, 0):
        rule, probability, told = "fail_first", 1.0, "planned failure"
    elif luck < probability:
        rule, told = "fail_probability", f"drawn failure (p={probability:g})"
    else:
        return
    fault = Fault(
        "fail",
        kind,
        probability=probability,
        error_type=plan.error_type,
        retryable=plan.retryable,
    )
    yield Strike(rule, fault, f"{told} of attempt {attempt}", of_plan=True)


def _may_strike(
    rule: Fault, kind: str, attempt: int, since_start_s: float | None, at: datetime | None
) -> bool:
    if rule.activity not in (EVERY_ACTIVITY, kind):
        return False
    if rule.attempts is not None and attempt not in rule.attempts:
        return False
    if rule.window is None:
        return True
    low, high = rule.window
    if isinstance(low, datetime) or isinstance(high, datetime):
        if at is None:
            raise ValueError(f"{rule.label!r} is bound to a time: say when, fate(…, at=…)")
        return bool(low <= at < high)  # type: ignore[operator]
    if since_start_s is None:
        raise ValueError(f"{rule.label!r} is bound to a time: fate(…, since_start_s=…)")
    return seconds(low) <= since_start_s < seconds(high)


def _drawn(name: str, rule: Fault, draw: random.Random) -> Iterator[Strike]:
    if draw.random() >= rule.probability:
        return
    told = "injected " + rule.kind.replace("_", " ")
    if rule.kind == "rate_limit" and rule.next_retry_delay is not None:
        told = f"429 Too Many Requests, retry after {seconds(rule.next_retry_delay):g} s"
    delay_s = sample(rule.delay, draw) if rule.delay else None
    yield Strike(name, rule, f"{told} (rule {name!r})", delay_s)
