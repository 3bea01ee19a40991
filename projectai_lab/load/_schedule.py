"""When runs are to start: drawn before anything starts, and checked."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from itertools import count, takewhile
from numbers import Integral, Real
from typing import Literal

from projectai_lab.models import Duration, seconds

Arrivals = Literal["poisson", "constant"]
MOST_RUNS = 1_000_000


def schedule(
    *, rate: float, duration: Duration, arrivals: Arrivals = "poisson", seed: int = 0
) -> list[float]:
    """Return the intended start times of an open loop, in seconds since it begins, ascending.

    `rate` is starts a second, `duration` a timedelta or seconds. "constant" starts every 1/rate
    seconds from 0 on; "poisson" draws exponential gaps with mean 1/rate, as many independent users
    make them. The same arguments give the same times, on any machine. Raises ValueError for what
    is no rate or duration, and for a schedule without a single run.

    >>> from projectai_lab import load
    >>> load.schedule(rate=2, duration=2, arrivals="constant")
    [0.0, 0.5, 1.0, 1.5]
    """
    rate, length = positive("rate", rate, "starts a second"), positive_s("duration", duration)
    if arrivals not in ("poisson", "constant"):
        raise ValueError(f'arrivals must be "poisson" or "constant", got {arrivals!r}')
    if not isinstance(seed, Integral):
        raise ValueError(f"seed must be a whole number; got {seed!r}")
    if rate * length > MOST_RUNS:
        raise ValueError(
            f"{rate:g} starts a second for {length:g} s are {rate * length:,.0f} runs, and one "
            f"client does not send more than {MOST_RUNS:,}: take less, or several processes"
        )
    coming = (n / rate for n in count()) if arrivals == "constant" else _poisson(rate, seed)
    times = list(takewhile(lambda time: time < length, coming))
    if not times:
        raise ValueError(
            f"{rate:g} starts a second for {length:g} s give no run with seed {seed} (on average "
            f"{rate * length:.2g}): take a longer duration or a higher rate"
        )
    return times


def _poisson(rate: float, seed: int) -> Iterator[float]:
    # Python keeps random() the same from version to version, as numpy's generators do not promise.
    draw = random.Random(f"projectai_lab.load {seed}").random
    time = 0.0
    while True:
        time += -math.log(1 - draw()) / rate
        yield time


def positive(name: str, value: float, what: str) -> float:
    """Return a number more than 0; ValueError names it."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be {what}, more than 0; got {value!r}")
    return float(value)


def positive_s(name: str, value: Duration) -> float:
    """Return a duration of more than 0 s in seconds; ValueError names it."""
    return positive(name, _in_seconds(name, value), "a timedelta or seconds")


def not_negative_s(name: str, value: Duration) -> float:
    """Return a duration of 0 s or more in seconds; ValueError names it."""
    length = _in_seconds(name, value)
    if not 0 <= length < math.inf:
        raise ValueError(f"{name} must be a timedelta or seconds, 0 or more; got {value!r}")
    return length


def _in_seconds(name: str, value: Duration) -> float:
    try:
        return seconds(value)
    except ValueError:
        raise ValueError(f"{name} must be a timedelta or seconds; got {value!r}") from None
