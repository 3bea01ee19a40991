"""`FaultPlan` and its `Fault` rules: which attempts meet what trouble, as frozen dataclasses."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from projectai_lab._checks import Duration, check_type, near, seconds, store_seconds

ACTIVITY_TYPES = ("validate_input", "simulate_ai_call", "process_ai_task")
EVERY_ACTIVITY = "*"

Kind = Literal["fail", "rate_limit", "hang", "delay", "drop_heartbeats", "kill_worker"]
Point = Literal["start", "end"]
KINDS: tuple[Kind, ...] = get_args(Kind)
POINTS: tuple[Point, ...] = get_args(Point)

_LAWS = ("constant", "uniform", "lognormal", "pareto")
# Quantile 0.99 of the standard normal law: statistics.NormalDist().inv_cdf(0.99).
_Z99 = 2.3263478740408408
_FAILURE = frozenset({"error_type", "retryable", "next_retry_delay"})
_EFFECTS: dict[str, frozenset[str]] = {
    "fail": _FAILURE,
    "rate_limit": _FAILURE,
    "delay": frozenset({"delay"}),
}


@dataclass(frozen=True)
class Latency:
    """How long a simulated call takes, by a law with parameters in seconds.

    constant: always `a`. uniform: between `a` and `b`. lognormal: median `a`, and `b` is the
    standard deviation of the logarithm (0 = constant). pareto: never less than `a`, and longer than
    t with probability (a/t)^b; the smaller `b`, the heavier the tail, without a mean for b <= 1.

    >>> Latency.lognormal(p50=0.4, p99=4).law, Latency.pareto(p50=0.4, p99=4).law
    ('lognormal', 'pareto')
    """

    law: Literal["constant", "uniform", "lognormal", "pareto"] = "constant"
    a: Duration = 0.02
    b: Duration = 0.0

    def __post_init__(self) -> None:
        store_seconds(self, "a", "b", zero=True)
        if self.law not in _LAWS:
            known = f"{', '.join(_LAWS[:-1])} or {_LAWS[-1]}"
            raise ValueError(f"law must be {known}, got {self.law!r}")
        if self.law == "uniform" and seconds(self.b) < seconds(self.a):
            raise ValueError(f"uniform latency needs a <= b, got {self.a} and {self.b}")
        if self.law == "pareto" and not (seconds(self.a) > 0 and seconds(self.b) > 0):
            raise ValueError(f"pareto latency needs a > 0 and b > 0, got {self.a} and {self.b}")

    @classmethod
    def lognormal(cls, *, p50: Duration, p99: Duration) -> Latency:
        """Return the lognormal law with this median and 99th percentile."""
        median, ratio = _percentiles("lognormal", p50, p99)
        return cls("lognormal", median, math.log(ratio) / _Z99)

    @classmethod
    def pareto(cls, *, p50: Duration, p99: Duration) -> Latency:
        """Return the Pareto law with this median and 99th percentile."""
        median, ratio = _percentiles("pareto", p50, p99)
        # The quantile p of the law is a · (1 − p)^(−1/b).
        tail = math.log(50) / math.log(ratio)
        return cls("pareto", median / 2 ** (1 / tail), tail)


def _percentiles(law: str, p50: Duration, p99: Duration) -> tuple[float, float]:
    low, high = seconds(p50), seconds(p99)
    if not 0 < low < high < math.inf:
        raise ValueError(f"Latency.{law} needs 0 < p50 < p99, got {p50} and {p99}")
    return low, high / low


@dataclass(frozen=True)
class Fault:
    """One rule of a fault plan: what befalls which attempts of an activity type, or of all ("*").

    Kinds: `fail` raises `error_type`; `rate_limit` does so as an HTTP 429 with a retry-after
    would, `next_retry_delay`; `hang` outlives the attempt's timeout; `delay` adds a drawn time to
    it; `drop_heartbeats` lets it run on unheard; `kill_worker` ends the worker's process at once
    (kill −9), before the activity's function (point "start") or before its result is reported
    ("end").

    `attempts` None means all. A `window` (from, to) is in seconds since the first Workflow Task of
    the Workflow Execution was started, or two UTC datetimes; an attempt is in it that the server
    started within it. All of it is the server's clock: under virtual time, that of the execution.

    `probability` is drawn from seed, activity, which call of it in its Workflow Execution this is
    (first, second, …), attempt and `name`; rules without a name are told apart by what they strike,
    so that another probability or effect keeps the luck, and rules that are alike by their order.

    >>> outage = Fault("fail", "*", window=(30, 90), error_type="Unavailable")
    >>> busy = Fault("rate_limit", "call_model", probability=0.2, next_retry_delay=2)
    >>> crash = Fault("kill_worker", "call_model", attempts=(1,), point="end")
    """

    kind: Kind
    activity: str = EVERY_ACTIVITY
    attempts: tuple[int, ...] | None = None
    probability: float = 1.0
    window: tuple[Duration, Duration] | tuple[datetime, datetime] | None = None
    point: Point = "start"
    error_type: str = ""
    retryable: bool = True
    next_retry_delay: Duration | None = None
    delay: Latency | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Fault.kind {self.kind!r} is unknown; {near(str(self.kind), KINDS)}")
        if not isinstance(self.activity, str) or not self.activity:
            raise ValueError(f'Fault.activity must name one, or "*" for all; got {self.activity!r}')
        _check_number("Fault.probability", self.probability)
        if not 0 <= self.probability <= 1:
            raise ValueError(f"Fault.probability must lie in 0 … 1, got {self.probability}")
        if self.point not in POINTS:
            raise ValueError(f'Fault.point must be "start" or "end", got {self.point!r}')
        object.__setattr__(self, "attempts", _attempts(self.attempts))
        object.__setattr__(self, "window", _window(self.window))
        _check_effects(self)
        if self.kind in ("fail", "rate_limit") and not self.error_type:
            usual = "RateLimited" if self.kind == "rate_limit" else "InjectedFault"
            object.__setattr__(self, "error_type", usual)

    @property
    def label(self) -> str:
        """Its name or, without one, what it strikes."""
        if self.name:
            return self.name
        told = [self.kind, self.activity, *(["at end"] if self.point == "end" else [])]
        if self.attempts is not None:
            told.append(f"attempts {','.join(map(str, self.attempts))}")
        if self.window is not None:
            told.append("window " + "…".join(_instant(one) for one in self.window))
        return " ".join(told)


def _instant(one: Duration | datetime) -> str:
    return one.isoformat() if isinstance(one, datetime) else f"{seconds(one):g}"


def _check_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError(f"{name} must be a number, got {value!r}")


def _attempts(given: Any) -> tuple[int, ...] | None:
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ValueError(f"Fault.attempts takes several, as attempts=(1, 2); got {given!r}")
    found = tuple(given)
    wrong = [one for one in found if isinstance(one, bool) or not isinstance(one, int) or one < 1]
    if wrong or not found:
        what = f"got {wrong[0]!r}" if wrong else "got none; leave it out for all"
        raise ValueError(f"Fault.attempts must be 1, 2, 3 …, {what}")
    return found


def _window(given: Any) -> tuple[Any, Any] | None:
    if given is None:
        return None
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise ValueError(f"Fault.window must be (from, to), got {given!r}")
    if all(isinstance(one, datetime) for one in given):
        if any(one.tzinfo is None for one in given):
            raise ValueError(f"Fault.window needs a time zone: datetime(…, tzinfo=UTC); {given!r}")
        low, high = (one.astimezone(UTC) for one in given)
        fine = low < high
    else:
        if any(isinstance(one, datetime | str | None) for one in given):
            raise ValueError(f"Fault.window takes two numbers of seconds or two times: {given!r}")
        low, high = (seconds(one) for one in given)
        fine = 0 <= low < high < math.inf
    if not fine:
        raise ValueError(f"Fault.window must be 0 <= from < to, got {given[0]} and {given[1]}")
    return low, high


def _check_effects(fault: Fault) -> None:
    """Refuse a setting that this kind of fault has no use for, and a kind without its own."""
    for one in fields(fault):
        used = one.name not in _FAILURE | {"delay"} or one.name in _EFFECTS.get(fault.kind, ())
        if not used and getattr(fault, one.name) != one.default:
            takes = [kind for kind, names in _EFFECTS.items() if one.name in names]
            raise ValueError(
                f"Fault.{one.name} says nothing of kind {fault.kind!r}; it is for "
                f"{' and '.join(takes)}"
            )
    store_seconds(fault, "next_retry_delay")
    if fault.kind == "rate_limit" and fault.next_retry_delay is None:
        raise ValueError("Fault('rate_limit', …) needs next_retry_delay, the answer's retry-after")
    if fault.kind == "delay":
        if fault.delay is None:
            raise ValueError("Fault('delay', …) needs delay, as delay=Latency(a=0.5)")
        check_type("Fault.delay", fault.delay, Latency)
    if fault.kind == "drop_heartbeats" and fault.point == "end":
        raise ValueError("Fault('drop_heartbeats', …) begins at the start; leave point out")


@dataclass(frozen=True)
class FaultPlan:
    """Which attempts fail, how, and how long a call takes; keys are activity types.

    `fail_first={"simulate_ai_call": 3}` fails attempts 1–3; `hang_first` lets the first attempts
    outlive their timeout; `fail_probability` fails any other attempt with that probability, drawn
    from the seed, the activity type and the attempt. `rules` say all that these cannot, and of the
    user's own activities too. Delays come before hangs, hangs before kills, kills before failures.
    """

    fail_first: dict[str, int] = field(default_factory=dict)
    fail_probability: dict[str, float] = field(default_factory=dict)
    hang_first: dict[str, int] = field(default_factory=dict)
    error_type: str = "InjectedFault"
    retryable: bool = True
    latency: Latency = Latency()
    rules: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        check_type("latency", self.latency, Latency)
        for name in ("fail_first", "fail_probability", "hang_first"):
            for activity, value in getattr(self, name).items():
                check_activity_type(name, activity)
                _check_number(f"{name}[{activity!r}]", value)
                if not 0 <= value <= (1 if name == "fail_probability" else math.inf):
                    raise ValueError(f"{name}[{activity!r}] is out of range: {value}")
        if isinstance(self.rules, Fault | str) or not isinstance(self.rules, Iterable):
            raise ValueError(f"FaultPlan.rules takes several: rules=(Fault(…),); got {self.rules}")
        object.__setattr__(self, "rules", tuple(self.rules))
        for number, rule in enumerate(self.rules):
            check_type(f"FaultPlan.rules[{number}]", rule, Fault)

    @property
    def harmless(self) -> bool:
        """Whether no attempt can meet a fault; latency is none."""
        return not (self.fail_first or self.fail_probability or self.hang_first or self.rules)


def check_activity_type(field_name: str, activity: str) -> None:
    """Raise ValueError for an activity type that the system under study does not have."""
    if activity not in ACTIVITY_TYPES:
        hint = near(activity, ACTIVITY_TYPES)
        raise ValueError(f"{field_name} names an unknown activity {activity!r}; {hint}")
