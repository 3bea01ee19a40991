"""Loads made by hand: what a sender would have written down, without a server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from projectai_lab.load import Load
from projectai_lab.load._load import measured
from projectai_lab.load._sender import Run, Sender

OPEN: dict[str, Any] = {
    "kind": "open", "name": "users", "rate": 20.0, "arrivals": "constant", "seed": 0,
    "clients": None, "think_s": None, "duration_s": 30.0, "max_in_flight": 2000,
}  # fmt: skip
CLOSED = {
    **OPEN, "kind": "closed", "name": "clients", "rate": None, "arrivals": None, "seed": None,
    "clients": 2, "think_s": 0.05, "max_in_flight": 2,
}  # fmt: skip


def run(
    number: int,
    intended_s: float,
    latency_s: float | None,
    *,
    late_s: float = 0.0,
    status: str = "COMPLETED",
) -> Run:
    """Return one run; without latency its end was not seen."""
    sent_s = intended_s + late_s
    done_s = None if latency_s is None else intended_s + latency_s
    made = Run(number, f"users-{number:05d}", intended_s)
    made.sent_s, made.accepted_s, made.done_s, made.status = sent_s, sent_s, done_s, status
    return made


def made(
    runs: Iterable[Run],
    facts: dict[str, Any] = OPEN,
    *,
    clock: str = "fast",
    ended_s: float = 60.0,
    interrupted: bool = False,
    **seen: Any,
) -> Load:
    """Return the load of such runs."""
    sender = Sender(cast(Any, None), None, {}, str(facts["name"]), lambda number: number, 30, 2000)
    sender.runs, sender.ended_s, sender.began_at = list(runs), ended_s, 1_700_000_000.0
    vars(sender).update(seen)
    facts = {**facts, "namespace": "default", "clock": clock, "workflow_type": "Ask"}
    return measured(sender, facts, interrupted=interrupted)


def stalled(*, clients: int = 0, stall_s: float = 2.0, quick_s: float = 0.05) -> Load:
    """Return a load of 30 s whose worker stood still from 15 s on; open, or of some clients."""
    began, over = 15.0, 15.0 + stall_s
    runs: list[Run] = []

    def latency_s(intended_s: float) -> float:
        return quick_s + max(0.0, over - intended_s if intended_s >= began else 0.0)

    if not clients:
        runs = [run(n, n / 20, latency_s(n / 20)) for n in range(600)]
        return made(runs)
    for number in range(clients):
        time = 0.05 * number / clients
        while time < 30:
            runs.append(run(len(runs), time, latency_s(time)))
            time += latency_s(time) + 0.05
    return made(runs, {**CLOSED, "clients": clients})
