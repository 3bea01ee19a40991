"""What a fault plan comes to as a law of independent attempts, or why it comes to none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from projectai_lab.errors import PolicyError
from projectai_lab.models import EVERY_ACTIVITY, Duration, Fault, FaultPlan, Latency
from projectai_lab.retries._planned import MOST_ATTEMPTS

CALL = "simulate_ai_call"
_SAID = "so it cannot be simulated; say what it comes to: retries.FaultLaw(fail=…, hang=…)"
_NOT_OF_ATTEMPTS = {
    "delay": "adds to a latency",
    "drop_heartbeats": "ends an attempt by its heartbeat timeout",
    "kill_worker": "ends an attempt by a timeout, and others with it",
}


class Source(NamedTuple):
    """One cause of failures or hangs: its probability for attempts 1, 2, …, the last for all on."""

    name: str
    chances: list[float]
    point: str
    effect: tuple[str, bool, Duration | None]
    """Error type, whether it is retryable, next_retry_delay."""


def law_fields(plan: FaultPlan, activity_type: str) -> dict[str, Any]:
    """Return the fields of the `FaultLaw` that this activity type meets under the plan."""
    rules = [one for one in plan.rules if one.activity in (EVERY_ACTIVITY, activity_type)]
    for rule in rules:
        _refuse_unlike_law(rule)
    fails, hangs = ([*_of(kind, plan, rules, activity_type)] for kind in ("fail", "hang"))
    effect = _only("failures", fails, "effect", (plan.error_type, plan.retryable, None))
    point = _only("failures", fails, "point", "start")
    late = [one.name for one in hangs if one.point == "end"]
    if fails and late and point == "start":
        raise PolicyError(
            f"{fails[0].name!r} fails attempts before {late[0]!r} can let them hang, {_SAID}"
        )
    # The other activities of the system under study do not wait.
    waits = activity_type == CALL
    return {
        "fail": _combined(fails),
        "hang": _combined(hangs),
        "latency": plan.latency if waits else Latency(a=0.0),
        "failing_latency": Latency(a=0.0) if waits and fails and point == "start" else None,
        "non_retryable": 0.0 if effect[1] else 1.0,
        "error_type": effect[0],
        "next_retry_delay": effect[2],
    }


def _refuse_unlike_law(rule: Fault) -> None:
    why = _NOT_OF_ATTEMPTS.get(rule.kind)
    if rule.window is not None:
        why = "is bound to a time"
    if why:
        raise PolicyError(f"the rule {rule.label!r} {why}, {_SAID}", rule=rule.label)


def _of(kind: str, plan: FaultPlan, rules: Sequence[Fault], activity_type: str) -> Iterator[Source]:
    """Yield what makes attempts fail, or hang: the plan's own laws, then its rules."""
    first = plan.fail_first if kind == "fail" else plan.hang_first
    chance = plan.fail_probability.get(activity_type, 0.0) if kind == "fail" else 0.0
    # More attempts than that are never simulated.
    sure = int(min(first.get(activity_type, 0), MOST_ATTEMPTS + 1))
    if sure or chance:
        point = "end" if activity_type == CALL else "start"
        effect = (plan.error_type, plan.retryable, None)
        yield Source(f"{kind}_first", [*[1.0] * sure, chance], point, effect)
    for rule in rules:
        if (rule.kind == "hang") == (kind == "hang") and rule.probability:
            effect_ = (rule.error_type, rule.retryable, rule.next_retry_delay)
            yield Source(rule.label, _chances(rule), rule.point, effect_)


def _chances(rule: Fault) -> list[float]:
    if rule.attempts is None:
        return [rule.probability]
    last = min(max(rule.attempts), MOST_ATTEMPTS + 1)
    return [*(rule.probability * (n in rule.attempts) for n in range(1, last + 1)), 0.0]


def _combined(sources: Sequence[Source]) -> list[float]:
    """Return the probability that at least one of independent causes strikes, by attempt."""
    if len(sources) == 1:
        # As it was given: 1 − (1 − p) is not p in floating point.
        return sources[0].chances
    spared = [1.0]
    for one in sources:
        pairs = zip_longest(spared, one.chances)
        spared = [
            (spared[-1] if left is None else left) * (1 - (one.chances[-1] if p is None else p))
            for left, p in pairs
        ]
    return [1 - chance for chance in spared]


def _only(what: str, sources: Sequence[Source], name: str, usual: Any) -> Any:
    """Return what all sources have in common."""
    found = {getattr(one, name): one.name for one in sources}
    if len(found) > 1:
        one, other = [*found.values()][:2]
        raise PolicyError(f"{what} by {one!r} and by {other!r} differ in their {name}, {_SAID}")
    return next(iter(found), usual)
