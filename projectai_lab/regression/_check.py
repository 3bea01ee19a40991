"""`check`: hold a table to rules and to its baseline."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from projectai_lab._frames import clocks
from projectai_lab.errors import BaselineError, LabError, RegressionError, TableError
from projectai_lab.regression import _baseline
from projectai_lab.regression._baseline import Baseline
from projectai_lab.regression._match import match
from projectai_lab.regression._place import Place, here
from projectai_lab.regression._sides import Finding, Rule, Sides, no_column
from projectai_lab.regression._verdict import Verdict, verdict

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def check(
    df: pd.DataFrame,
    rules: Iterable[Rule],
    *,
    key: str | Iterable[str] = (),
    name: str | None = None,
    baseline: pd.DataFrame | str | os.PathLike[str] | None = None,
) -> Verdict:
    """Hold a table to rules and to its baseline; RegressionError says which rule was broken how.

    `key` names the columns by which rows match, such as workflow_id, activity_type and attempt;
    without it they match by position. `name` is the baseline's, unique in the notebook, by default
    that of the table ("attempts"). In a notebook the baseline is the file
    `baselines/<notebook>/<name>.json` beside it, which `projectai-lab regress NOTEBOOK --update
    --reason "…"` makes; elsewhere `baseline` is a table or a file of `regression.save`.

    Under `projectai-lab regress` and `pytest --nbregress` a broken check is reported and the
    notebook goes on, so that one run tells all that is broken and the Lab is closed in the end.

    Raises TableError for a column that neither side has and for two rows of one key, BaselineError
    for a baseline that is missing, damaged, of another schema version or of another clock.

    >>> regression.check(attempts, [regression.columns(), regression.exact("worker_outcome")],
    ...                  key=["workflow_id", "activity_type", "attempt"])      # doctest: +SKIP
    """
    place = here()
    listed = _listed(rules)
    keys = (key,) if isinstance(key, str) else tuple(key)
    name = _named(name, df, baseline)
    if place is None or place.log is None:
        found = _judged(df, listed, keys, name, baseline, place)
        if not found.ok:
            raise RegressionError(found.message, verdict=found)
        return found
    try:
        if place.reason and baseline is None:
            return _renew(df, listed, keys, name, place, place.reason)
        found = _judged(df, listed, keys, name, baseline, place)
    except LabError as error:
        place.write({"check": name, "ok": False, "error": str(error), "rows": []})
        return Verdict(name, False, verdict(name, [], place.cell).table, str(error))
    _report(place, found, named=baseline is None)
    return found


def judge(
    df: pd.DataFrame, then: Baseline, rules: Sequence[Rule], key: Sequence[str]
) -> list[Finding]:
    """Return the findings of all rules."""
    now = df.reset_index(drop=True)
    findings: list[Finding] = []
    pairs: list[tuple[int, int]] = []
    matched = True
    if any(rule.by_row for rule in rules):
        pairs, findings = match(now, then.frame, key, then.columns)
        matched = bool(pairs) or not findings
    sides = Sides(now, then.frame, then.columns, tuple(key), pairs)
    for rule in rules:
        if matched or not rule.by_row:
            findings += rule.judge(sides)
    return findings


def _judged(
    df: pd.DataFrame,
    rules: Sequence[Rule],
    key: Sequence[str],
    name: str,
    baseline: Any,
    place: Place | None,
) -> Verdict:
    cell = place.cell if place else None
    if all(rule.planned for rule in rules):
        return verdict(name, judge(df, _baseline.of(df), rules, key), cell)
    then = _then(name, baseline, place)
    _comparable(df, then, rules, name)
    return verdict(name, judge(df, then, rules, key), cell)


def _then(name: str, baseline: Any, place: Place | None) -> Baseline:
    if isinstance(baseline, pd.DataFrame):
        return _baseline.of(baseline)
    if baseline is None and place is None:
        raise BaselineError(
            f"check {name!r} does not know its notebook, so not its baseline: give "
            "baseline=, a table or a file of regression.save",
            check=name,
        )
    path = Path(baseline) if baseline is not None else place.baseline(name) if place else Path()
    if path.is_file():
        return _baseline.load(path)
    raise BaselineError(
        f"check {name!r} has no baseline: there is no file {path}; make it: "
        f"{_baseline.how_to_make(path)}",
        path=path,
    )


def _comparable(df: pd.DataFrame, then: Baseline, rules: Sequence[Rule], name: str) -> None:
    """Raise BaselineError for another schema, and where times of two clocks would be compared."""
    schema = str(df.attrs.get("schema", ""))
    if then.schema and schema and then.schema != schema:
        raise BaselineError(
            f"the baseline of check {name!r} is of schema {then.schema}, the table of {schema}; "
            "make it anew with --update",
            check=name,
        )
    clock = ", ".join(clocks(df))
    spans = [c for rule in rules for c in rule.columns if c.endswith(("_s", "_time"))]
    spans = [column for column in spans if not column.startswith("worker_")]
    if spans and clock != then.clock:
        raise BaselineError(
            f"the baseline of check {name!r} was made on the clock {then.clock}, the table on "
            f"{clock}, and {', '.join(spans)} of two clocks do not compare: make it anew with "
            "--update, or run on the clock of the baseline",
            check=name,
        )


def _renew(
    df: pd.DataFrame,
    rules: Sequence[Rule],
    key: Sequence[str],
    name: str,
    place: Place,
    reason: str,
) -> Verdict:
    """Leave a new baseline for the runner, unless a rule is broken already on the table itself."""
    kept = [*key, *(column for rule in rules for column in rule.columns)]
    for column in kept:
        if column not in df.columns:
            raise no_column("the check", df, column)
    made = _baseline.of(df, kept)
    found = verdict(name, judge(df, made, rules, key), place.cell)
    if not found.ok:
        raise BaselineError(f"this table cannot be a baseline: {found.message}", check=name)
    record: dict[str, Any] = {"check": name, "ok": True, "rows": []}
    if not all(rule.planned for rule in rules):
        path, staged = place.baseline(name), place.staged(name)
        old = _old(path)
        changed = old is None or not old.same(made)
        if changed:
            _baseline.write(made, staged, reason, old.reasons if old else ())
        record |= {"baseline": str(path), "staged": str(staged) if changed else None}
    place.write(record)
    return Verdict(name, True, found.table, "its baseline is made anew")


def _old(path: Path) -> Baseline | None:
    try:
        return _baseline.load(path)
    except BaselineError:
        # Missing or damaged: an update mends it.
        return None


def _report(place: Place, found: Verdict, *, named: bool) -> None:
    rows = found.table[~found.table["ok"]].drop(columns="cell").to_dict("records")
    path = str(place.baseline(found.name)) if named else None
    place.write({"check": found.name, "ok": found.ok, "rows": rows, "baseline": path})


def _listed(rules: Iterable[Rule]) -> list[Rule]:
    found: list[Rule] = list(rules)
    wrong = [one for one in found if not isinstance(one, Rule)]
    if wrong:
        raise TypeError(f"{wrong[0]!r} is no rule; call one, as in regression.exact('status')")
    if not found:
        raise ValueError(
            "check() was given no rules, so it would hold whatever happens; "
            "give some: [regression.columns(), regression.exact('status')]"
        )
    return found


def _named(name: str | None, df: Any, baseline: Any) -> str:
    if not isinstance(df, pd.DataFrame):
        raise TableError(f"check() takes a DataFrame, got {type(df).__name__}")
    twice = df.columns[df.columns.duplicated()]
    if len(twice):
        raise TableError(f"the table has two columns of one name: {twice[0]}")
    schema = str(df.attrs.get("schema", "")).split("/")
    found = name or (schema[1] if len(schema) == 3 else "" if baseline is None else "table")
    if not _NAME.fullmatch(found):
        raise ValueError(
            f"check() needs a name for its baseline's file, of letters, digits, _, - and .: "
            f'name="attempts"; got {found!r}'
        )
    return found
