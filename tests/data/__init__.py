"""Golden histories, recorded from a real server by `record`, and the attempts beside them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from projectai_lab import attempts, histories

HERE = Path(__file__).parent
NAMES = ("clean", "mixed", "timeouts", "everything")


def attempt_records() -> list[attempts.AttemptRecord]:
    """Return the attempts of all golden histories."""
    return attempts.read(HERE / "attempts.jsonl")


def golden(
    name: str, *, clock: str | None = "fast", events: int | None = None
) -> histories.History:
    """Return a golden history, or how it stood after so many events."""
    whole = histories.load(HERE / f"{name}.json")
    return replace(whole, clock=clock, events=whole.events[:events])


def goldens() -> list[histories.History]:
    """Return all golden histories."""
    return [golden(name) for name in NAMES]
