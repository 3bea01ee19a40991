"""What a rule is, and what it reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

SEVERITIES = ("error", "warning", "hint")
OURS = "our choice"
TIMEOUTS = "Temporal documentation, Detecting Activity failures"
ACTIVITY = ["run_id", "scheduled_event_id"]
"""The columns that together name an activity."""


@dataclass(frozen=True)
class Facts:
    """The tables that rules read, and what the caller declared.

    `activities` and `events` carry workflow_type; `activities` also the clock, and as end_type and
    end_timeout the failure and the timeout that closed them.
    """

    executions: pd.DataFrame
    activities: pd.DataFrame
    events: pd.DataFrame
    attempts: pd.DataFrame
    non_idempotent: frozenset[str]
    long_s: float


@dataclass(frozen=True)
class Rule:
    """One rule: `find` returns the rows that break it, `say` puts the figures of one into words.

    The row with the largest `worst` becomes the example. `threshold` says where the rule begins,
    and `source` who says so.
    """

    name: str
    severity: str
    what: str
    fix: str
    threshold: str
    source: str
    find: Callable[[Facts], pd.DataFrame]
    say: Callable[[Any], str]
    worst: str


def seconds(value: float) -> str:
    """Return "0.2 s", "1,200 s"."""
    return f"{value:,.3g} s" if value < 1000 else f"{value:,.0f} s"


def rows(frame: pd.DataFrame, mask: pd.Series) -> pd.DataFrame:
    """Return the rows where a mask holds; NA counts as no."""
    return frame[mask.astype("boolean").fillna(False).astype(bool)]
