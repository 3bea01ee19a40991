"""Seeded failure and latency laws: (plan, seed, activity type, attempt) → what happens."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from projectai_lab.models import FaultPlan, Latency, seconds


@dataclass(frozen=True)
class Fate:
    """What one attempt meets: how long it takes, then whether it hangs or fails, and why."""

    latency_s: float
    hangs: bool = False
    failure: str | None = None


def fate(plan: FaultPlan, seed: int, activity_type: str, attempt: int) -> Fate:
    """Return what the plan holds for this attempt; the same arguments give the same fate.

    The Workflow Id plays no part: runs with the same seed meet the same faults, so that policies
    can be compared under equal trouble. Give each replicate a seed of its own.

    >>> plan = FaultPlan(fail_first={"simulate_ai_call": 1})
    >>> fate(plan, seed=7, activity_type="simulate_ai_call", attempt=1).failure
    'planned failure of attempt 1'
    """
    # A text seed goes through SHA-512, so that the draw is equal in every process and Python.
    draw = random.Random(f"{seed}/{activity_type}/{attempt}")
    # Drawn first, always: another latency law must not change which attempts fail.
    luck = draw.random()
    latency_s = sample(plan.latency, draw)
    hangs = attempt <= plan.hang_first.get(activity_type, 0)
    if attempt <= plan.fail_first.get(activity_type, 0):
        return Fate(latency_s, hangs, f"planned failure of attempt {attempt}")
    probability = plan.fail_probability.get(activity_type, 0.0)
    if luck < probability:
        return Fate(latency_s, hangs, f"drawn failure (p={probability:g}) of attempt {attempt}")
    return Fate(latency_s, hangs)


def sample(latency: Latency, draw: random.Random) -> float:
    """Draw one latency in seconds from its law."""
    a, b = seconds(latency.a), seconds(latency.b)
    if latency.law == "uniform":
        return draw.uniform(a, b)
    if latency.law == "lognormal" and a > 0:
        return draw.lognormvariate(math.log(a), b)
    return a
