"""`faults=` and `seed=` of a start: which plan a Workflow Execution gets, and whether it can."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from temporalio.client import Client

from projectai_lab._checks import check_type, did_you_mean
from projectai_lab.fault_injection._carry import carrying
from projectai_lab.models import EVERY_ACTIVITY, FaultPlan, Latency


def planned(
    client: Client, args: Sequence[Any], options: dict[str, Any]
) -> tuple[Client, FaultPlan | None]:
    """Take `faults` and `seed` out of the options; return the client to start with, and the plan.

    The plan of a `WorkflowInput` is found too; it travels in the argument.
    """
    plan, seed = options.pop("faults", None), options.pop("seed", None)
    within = getattr(args[0], "faults", None) if args else None
    if isinstance(within, FaultPlan):
        if plan is not None or seed is not None:
            raise ValueError(
                f"the workflow's argument has faults and a seed of its own: give them there, "
                f"{type(args[0]).__name__}(…, faults=…, seed=…)"
            )
        return client, within
    if plan is None:
        if seed is not None:
            raise ValueError("seed=… is that of a fault plan: give faults=FaultPlan(…) with it")
        return client, None
    check_type("faults", plan, FaultPlan)
    check_type("seed", seed or 0, int)
    if plan.latency != Latency():
        raise ValueError(
            "FaultPlan.latency is that of simulate_ai_call in a WorkflowInput; of any activity: "
            "rules=(Fault('delay', 'my_activity', delay=Latency(…)),)"
        )
    return (client if plan.harmless else carrying(client, plan, seed or 0)), plan


def plans_of(inputs: Iterable[Any]) -> list[FaultPlan | None]:
    """Return the plans that travel in inputs, one of those with equal rules; None for none."""
    found = (getattr(one, "faults", None) for one in inputs)
    plans = (one if isinstance(one, FaultPlan) else None for one in found)
    return list({one and one.rules: one for one in plans}.values())


def check_names(plan: FaultPlan | None, known: Collection[str], task_queue: str) -> None:
    """Raise ValueError for a rule whose activity none of the known workers has."""
    for rule in plan.rules if plan else ():
        if rule.activity in known or rule.activity == EVERY_ACTIVITY:
            continue
        hint = did_you_mean(rule.activity, known) or f"they have {', '.join(known)}."
        raise ValueError(
            f"the fault plan names activity {rule.activity!r}, which no worker of this Lab on "
            f"Task Queue {task_queue!r} has; {hint} Register it: lab.start_worker(activities=[…])"
        )
