"""`Verdict`: what a check found, rule by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from projectai_lab.regression._sides import Finding

_MOST_TOLD, _MOST_IDS = 6, 3
_COLUMNS = ["rule", "column", "expected", "seen", "ok", "where", "workflow_ids", "cell"]


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a check found; `table` has a row per rule and column, or per value that breaks it.

    Columns of the table: rule, column, expected, seen, ok, where (the row, by its key),
    workflow_ids, cell (the `In [n]` of the check; NA outside a notebook).
    """

    name: str
    ok: bool
    table: pd.DataFrame
    note: str = ""

    def __repr__(self) -> str:
        return f"<Verdict {self.headline}>"

    @property
    def headline(self) -> str:
        """One line: which check, and how it stands."""
        if self.note:
            return f"check {self.name!r}: {self.note}"
        broken = int((~self.table["ok"]).sum())
        if not broken:
            return f"check {self.name!r} holds: {len(self.table)} findings, all as expected"
        return f"check {self.name!r} is broken: {broken} of {len(self.table)} findings"

    def _repr_html_(self) -> str:
        shown = self.table.to_html(escape=True, na_rep="", index=False)
        return f"<p>{escape(self.headline)}</p>{shown}"

    @property
    def message(self) -> str:
        """The headline, and each broken rule with what was expected and seen."""
        broken = self.table[~self.table["ok"]]
        lines = [told(row._asdict()) for row in broken.head(_MOST_TOLD).itertuples(index=False)]
        rest = len(broken) - _MOST_TOLD
        more = [f"and {rest} more: the verdict's table has them all"] if rest > 0 else []
        return "\n".join([self.headline, *(f"  {line}" for line in [*lines, *more])])


def verdict(name: str, findings: Sequence[Finding], cell: int | None, note: str = "") -> Verdict:
    """Return findings as a verdict, the broken ones first."""
    rows = [
        (f.rule, f.column, f.expected, f.seen, f.ok, f.where, ", ".join(f.workflow_ids), cell)
        for f in sorted(findings, key=lambda one: one.ok)
    ]
    kinds = {**dict.fromkeys(_COLUMNS, "str"), "ok": "bool", "cell": "Int64"}
    table = pd.DataFrame(rows, columns=_COLUMNS).astype(kinds)
    return Verdict(name, all(f.ok for f in findings), table, note)


def told(row: dict[str, object]) -> str:
    """Return a broken rule as one line."""
    where = f" at {row['where']}" if row["where"] else ""
    runs = f" (workflows: {some(row['workflow_ids'])})" if row["workflow_ids"] else ""
    column = f" of {row['column']}" if row["column"] else ""
    return f"{row['rule']}{column}{where}: expected {row['expected']}, seen {row['seen']}{runs}"


def some(workflow_ids: object) -> str:
    """Return the first of "a, b, c, …" and how many there are more."""
    ids = str(workflow_ids).split(", ")
    rest = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
    return ", ".join(ids[:_MOST_IDS]) + rest
