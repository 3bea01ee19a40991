"""A million simulated requests, against the two seconds they may take and a loop over requests."""

from __future__ import annotations

import random
from functools import partial

from projectai_lab import faults, retries
from projectai_lab.models import FaultPlan, Latency, RetrySettings
from tests.bench.rounds import Row, in_turns, timed

CALL = "simulate_ai_call"
POLICY = RetrySettings(0.5, maximum_attempts=5)
PLAN = FaultPlan(fail_probability={CALL: 0.3}, latency=Latency("lognormal", 0.4, 0.5))
LIMIT_S = 2.0
SAMPLE = 2_000
METHOD = (
    "retries.simulate of lognormal latencies, three attempts in ten failing, five attempts at "
    f"most, start-to-close 2 s; the other is the {LIMIT_S:g} s that a million may take. Then the "
    f"rate of a plain loop that draws each attempt by random, over {SAMPLE:,} requests. Shortest "
    "times, in turns. The last row adds retries.measures."
)


def measure(n: int = 1_000_000, rounds: int = 5) -> list[Row]:
    """Return seconds for n requests against the limit, and the rates of both ways."""
    ours = partial(retries.simulate, POLICY, PLAN, n, start_to_close=LIMIT_S)
    works = {
        "simulate": timed(ours),
        "loop": timed(partial(loop, SAMPLE)),
        "measures": timed(lambda: retries.measures(ours())),
    }
    seconds = in_turns("simulate", works, rounds)
    best = {name: min(taken) for name, taken in seconds.items()}
    rates = n / best["simulate"], SAMPLE / best["loop"]
    return [
        _limited(f"simulate: {n:,} requests to the limit", best["simulate"]),
        Row("simulate: to a loop over requests", *rates, "requests/s", rates[0] / rates[1]),
        _limited("simulate: with its figures to the limit", best["measures"]),
    ]


def _limited(what: str, seconds: float) -> Row:
    return Row(what, seconds, LIMIT_S, "s", seconds / LIMIT_S, at_most=1.0)


def loop(n: int) -> list[float]:
    """Simulate one request after the other."""
    draw = random.Random(0)
    chance = PLAN.fail_probability[CALL]
    waits = [0.0, *retries.planned(POLICY)["backoff_s"][1:]]
    times = []
    for _ in range(n):
        time = 0.0
        for wait in waits:
            latency = faults.sample(PLAN.latency, draw)
            time += wait + min(latency, LIMIT_S)
            if latency < LIMIT_S and draw.random() >= chance:
                break
        times.append(time)
    return times
