"""A suite's outcome in words: per notebook a line, per broken rule what was expected and seen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from projectai_lab.regression._suite import Check, Outcome
from projectai_lab.regression._verdict import some

_MOST_ROWS, _WIDTH = 20, 60


def digest(outcome: Outcome) -> str:
    """Return a notebook's outcome: state, checks, time, page; then what is broken.

    >>> print(regression.digest(outcome))                                      # doctest: +SKIP
    """
    return "\n".join([_headline(outcome), *(f"  {line}" for line in _lines(outcome))])


def told_check(check: Check) -> list[str]:
    """Return a check that does not hold as lines: cell, rule, expected, seen, workflow ids."""
    line = textwrap.shorten(check.line, _WIDTH, placeholder="…")
    cell = f"cell {check.cell} `{line}`" if check.cell else "a cell"
    lines = [f"{cell}, check {check.name!r}:"]
    if check.error:
        return [*lines, *(f"  {line}" for line in check.error.splitlines())]
    for row in check.rows[:_MOST_ROWS]:
        lines += [f"  {line}" for line in _row(row)]
    if len(check.rows) > _MOST_ROWS:
        lines.append(f"  and {len(check.rows) - _MOST_ROWS} more")
    return lines


def _row(row: dict[str, str]) -> Iterator[str]:
    column = f" of {row['column']}" if row["column"] else ""
    yield f"rule      {row['rule']}{column}"
    if row["where"]:
        yield f"where     {row['where']}"
    yield f"expected  {row['expected']}"
    yield f"seen      {row['seen']}"
    if row["workflow_ids"]:
        yield f"workflows {some(row['workflow_ids'])}"


def _headline(outcome: Outcome) -> str:
    broken = sum(not check.ok for check in outcome.checks)
    checks = f"{broken} of {len(outcome.checks)} checks broken" if broken else _holding(outcome)
    page = f"  {outcome.page}" if outcome.page else ""
    return f"{outcome.state:<7} {outcome.notebook}  {checks}  {outcome.seconds:.1f} s{page}"


def _holding(outcome: Outcome) -> str:
    return f"{len(outcome.checks)} check{'' if len(outcome.checks) == 1 else 's'}"


def _lines(outcome: Outcome) -> Iterator[str]:
    for check in outcome.checks:
        if not check.ok:
            yield from told_check(check)
    if outcome.error:
        yield from str(outcome.error).splitlines()
    yield from (f"note: {note}" for note in outcome.notes)
