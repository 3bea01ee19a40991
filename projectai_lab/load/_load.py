"""`Load`: the table of a load, whether it is valid, and its figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from projectai_lab import _html
from projectai_lab._words import many
from projectai_lab.errors import TableError
from projectai_lab.load._sender import Sender
from projectai_lab.tables import schema

if TYPE_CHECKING:
    from projectai_lab.load._report import Report

SLIPPED_S = 0.02
"""From this 99th percentile of the schedule error on a load is not valid."""
_TIMES = ("intended_s", "sent_s", "accepted_s", "done_s")
_OF_RUN = ("workflow_id", "run_id", "number", "client", *_TIMES, "status", "error")


@dataclass(frozen=True, eq=False)
class Load:
    """What a load measured: `table` has one row a run and says in `attrs` how it was made.

    `valid` is False where the client did not send as intended, and `why_invalid` says why in words;
    the figures of such a load are those of the client's trouble as well. All is in the table, so
    that `Load(pd.read_parquet("load.parquet"))` is the same load.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        if not isinstance(self.table, pd.DataFrame) or not {"kind", "invalid"} <= {
            *self.table.attrs
        }:
            raise TableError(
                "this is no table of a load: its attrs do not say how it was made; take the table "
                "of load.open_loop(…) or load.closed_loop(…), whole or from its Parquet file"
            )

    @property
    def name(self) -> str:
        """Name of the load, with which its Workflow Ids begin."""
        return str(self.table.attrs["name"])

    @property
    def why_invalid(self) -> tuple[str, ...]:
        """Why the load does not count, in words; empty when it does."""
        return tuple(self.table.attrs["invalid"])

    @property
    def valid(self) -> bool:
        """Whether the runs were sent as intended."""
        return not self.why_invalid

    def summary(self) -> Report:
        """Return `load.report` of this load alone."""
        from projectai_lab.load._report import report

        return report(self)

    def __repr__(self) -> str:
        state = "valid" if self.valid else f"INVALID: {'; '.join(self.why_invalid)}"
        return f"<Load {self.name!r}, {how(self.table)}, {counts(self.table)}, {state}>"

    def _repr_html_(self) -> str:
        attrs = self.table.attrs
        facts: dict[str, Any] = {
            "kind": how(self.table),
            "runs": counts(self.table),
            "valid": "yes" if self.valid else f"NO: {'; '.join(self.why_invalid)}",
            "schedule error": f"p99 {1000 * schedule_error(self.table):.3g} ms",
            "times": f"{attrs['timer']}; it began {attrs['began']}",
            "server's clock": attrs["clock"],
        }
        status = "COMPLETED" if self.valid else "FAILED"
        return _html.card(f"Load {self.name}", facts, status=status)


def how(table: pd.DataFrame) -> str:
    """Return in words how a load was made: "open loop, poisson, 20/s for 30 s"."""
    attrs = table.attrs
    if attrs["kind"] == "open":
        return (
            f"open loop, {attrs['arrivals']}, {attrs['rate']:g}/s for {attrs['duration_s']:g} s, "
            f"seed {attrs['seed']}"
        )
    return (
        f"closed loop, {many(attrs['clients'], 'client')}, {attrs['think_s']:g} s to think, "
        f"for {attrs['duration_s']:g} s"
    )


def counts(table: pd.DataFrame) -> str:
    """Return how many runs ended how: "600 runs: 598 COMPLETED, 2 RUNNING"."""
    found = table["status"].value_counts()
    told = ", ".join(f"{count:,} {status}" for status, count in found[found > 0].items())
    return f"{many(len(table), 'run')}: {told}" if told else many(len(table), "run")


def schedule_error(table: pd.DataFrame) -> float:
    """Return the 99th percentile of the schedule error, s: an observed value, without interval."""
    known = table["schedule_error_s"].dropna()
    return float(known.quantile(0.99, interpolation="higher")) if len(known) else 0.0


def measured(sender: Sender, facts: Mapping[str, Any], *, interrupted: bool) -> Load:
    """Return what a sender saw as a load."""
    facts, runs = dict(facts), sender.runs
    namespace, clock = facts.pop("namespace"), facts.pop("clock")
    data: dict[str, Any] = {column: [getattr(run, column) for run in runs] for column in _OF_RUN}
    for column in _TIMES:
        data[column] = np.array(data[column], dtype=np.float64)
    data |= {
        "namespace": [namespace] * len(runs),
        "schedule_error_s": data["sent_s"] - data["intended_s"],
        "latency_s": data["done_s"] - data["intended_s"],
        "service_s": data["done_s"] - data["sent_s"],
    }
    table = schema.frame("load", data, clock=clock)
    length = min(facts["duration_s"], sender.ended_s) if interrupted else facts["duration_s"]
    began = datetime.fromtimestamp(sender.began_at, UTC).isoformat(timespec="milliseconds")
    table.attrs |= {**facts, "measured_s": length, "ended_s": sender.ended_s, "began": began}
    # So that other moments of this process, taken by time.monotonic(), find their place in it.
    table.attrs["began_monotonic_s"] = sender.began
    table.attrs["timer"] = "seconds since the load began, client's monotonic clock"
    table.attrs["invalid"] = _judged(table, full_at_s=sender.full_at_s, interrupted=interrupted)
    return Load(table)


def _judged(table: pd.DataFrame, *, full_at_s: float | None, interrupted: bool) -> list[str]:
    """Return why a load does not count, from its table and what its sender saw."""
    why = []
    sent = table["sent_s"].notna()
    if interrupted:
        why.append(f"it was interrupted: {int(sent.sum()):,} of {len(table):,} runs were sent")
    if full_at_s is not None:
        why.append(
            f"from {full_at_s:.1f} s on runs were held back, because {table.attrs['max_in_flight']}"
            " were in flight (max_in_flight)"
        )
    slipped = schedule_error(table)
    if slipped >= SLIPPED_S:
        why.append(
            f"the schedule slipped: p99 of the schedule error is {1000 * slipped:.3g} ms, "
            f"{1000 * SLIPPED_S:g} ms or more; this process or machine was too busy to send in time"
        )
    return why
