"""Two runs, step by step."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

import pandas as pd

from projectai_lab import tables
from projectai_lab.compare._comparison import Comparison, clock_trouble, listed, named
from projectai_lab.tables import Histories

_STEP = ["kind", "name", "nth"]
_CHANGES = ("same", "outcome", "moved", "removed", "added")
_COLUMNS = [
    *(*_STEP, "change", "status_a", "status_b", "attempts_a", "attempts_b", "took_a_s"),
    *("took_b_s", "shift_s", "event_id_a", "event_id_b"),
]
_KINDS = {
    **{"kind": "str", "name": "str", "event_id": "Int64", "status": "str"},
    **{"took": "float64", "attempts": "Int64"},
}
# Table → kind, and its columns for name, Event, status and duration ("" for none).
_SOURCES = {
    "executions": ("workflow", "workflow_type", "", "status", "duration_s"),
    "activities": ("activity", "activity_type", "scheduled_event_id", "status", "total_s"),
    "timers": ("timer", "", "started_event_id", "status", "elapsed_s"),
    "child_workflows": (
        *("child", "child_workflow_type", "initiated_event_id", "status", "duration_s"),
    ),
    "events": ("signal", "signal_name", "event_id", "", ""),
}


def runs(a: Histories, b: Histories) -> Comparison:
    """Compare two histories: what b has more, less, elsewhere, with another end or at another pace.

    Steps are the run itself, its activities, timers, Child Workflows and Signals, in the order of
    the Events that opened them (Local Activities: of their Marker). They are aligned by kind, name
    and their how-many-th in the run, so that a second "fetch" is compared with a second "fetch".

    Table: kind, name, nth, change (added; removed; moved: outside of the longest common order;
    outcome: the status differs; same), status_a, status_b, attempts_a, attempts_b, took_a_s,
    took_b_s, shift_s (b − a; NA across clocks), event_id_a, event_id_b.

    >>> compare.runs(histories.load("a.json"), histories.load("b.json"))       # doctest: +SKIP
    """
    one, other = (tables.build(listed(run, name, 1)) for run, name in ((a, "a"), (b, "b")))
    trouble = clock_trouble(one["activities"], other["activities"])
    both = _steps(one).merge(
        _steps(other), on=_STEP, how="outer", suffixes=("_a", "_b"), validate="one_to_one"
    )
    both = both.rename(columns={"took_a": "took_a_s", "took_b": "took_b_s"})
    both["shift_s"] = float("nan") if trouble else both["took_b_s"] - both["took_a_s"]
    both = _in_order(both)
    both["change"] = _changes(both)
    table = both[_COLUMNS]
    return Comparison(_sentence(table, trouble), table)


def _steps(built: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the steps of one run, in the order of their Events; the run itself comes first."""
    found = pd.concat([_of_kind(built[table], *how) for table, how in _SOURCES.items()])
    found = found.sort_values("event_id", kind="stable", ignore_index=True)
    found["nth"] = (found.groupby(["kind", "name"], dropna=False).cumcount() + 1).astype("Int64")
    return found.assign(place=range(len(found)))


def _of_kind(frame: pd.DataFrame, kind: str, name: str, *columns: str) -> pd.DataFrame:
    if kind == "signal":
        frame = frame[frame["event_type"] == "WORKFLOW_EXECUTION_SIGNALED"]
    found = pd.DataFrame({"kind": kind, "name": frame[name] if name else ""}, index=frame.index)
    attempts = "attempts" if kind == "activity" else ""
    names = ("event_id", "status", "took", "attempts")
    for column, source in zip(names, (*columns, attempts), strict=True):
        found[column] = frame[source] if source else 0 if column == "event_id" else None
    return found.astype(_KINDS)


def _in_order(both: pd.DataFrame) -> pd.DataFrame:
    """Order the rows as in a; what b adds stands behind what it follows in b."""
    behind = both.sort_values("place_b", kind="stable")["place_a"].ffill()
    rows = both.assign(behind=behind, added=both["place_a"].isna())
    rows["behind"] = rows["place_a"].fillna(rows["behind"])
    order = ["behind", "added", "place_b"]
    return rows.sort_values(order, na_position="first", kind="stable", ignore_index=True)


def _changes(both: pd.DataFrame) -> pd.Series:
    """Return what happened to each step; `both` is in the order of a."""
    change = pd.Series("same", index=both.index)
    status = both[["status_a", "status_b"]].fillna("")
    change[status["status_a"] != status["status_b"]] = "outcome"
    shared = both[["place_a", "place_b"]].dropna()
    kept = _rising([int(place) for place in shared["place_b"]])
    change[shared.index.delete(kept)] = "moved"
    change[both["place_b"].isna()] = "removed"
    change[both["place_a"].isna()] = "added"
    return change.astype(pd.CategoricalDtype(pd.Index(_CHANGES, dtype="str")))


def _rising(places: Sequence[int]) -> list[int]:
    """Return the indices of a longest rising subsequence (patience sorting)."""
    tops: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for index, place in enumerate(places):
        pile = bisect_left(tops, place)
        tops[pile : pile + 1] = [place]
        ends[pile : pile + 1] = [index]
        before.append(ends[pile - 1] if pile else -1)
    found = []
    index = ends[-1] if ends else -1
    while index >= 0:
        found.append(index)
        index = before[index]
    return found[::-1]


def _sentence(table: pd.DataFrame, trouble: str) -> str:
    outcome = table[_shared(table) & (table["status_a"].fillna("") != table["status_b"].fillna(""))]
    tries = table[(table["attempts_a"] != table["attempts_b"]).fillna(False).astype(bool)]
    parts = [
        f"{len(part)} {word}: {named(_step(row) for row in part.itertuples())}"
        for word in ("added", "removed", "moved")
        if len(part := table[table["change"] == word])
    ]
    for words, part, column in (
        ("ended otherwise", outcome, "status"),
        ("took other attempts", tries, "attempts"),
    ):
        if len(part):
            told = (_step(row, column) for row in part.itertuples())
            parts.append(f"{len(part)} {words}: {named(told)}")
    same = f"b has the same {len(table)} steps as a, in the same order, ending alike"
    return f"{'b against a: ' + '; '.join(parts) if parts else same}; {trouble or _pace(table)}."


def _shared(table: pd.DataFrame) -> pd.Series:
    return ~table["change"].isin(["added", "removed"])


def _step(row: Any, column: str = "") -> str:
    """Return "fetch", "fetch #2", or with a column "fetch #2 (FAILED → COMPLETED)"."""
    name = row.kind if pd.isna(row.name) or not row.name else row.name
    words = f"{name} #{row.nth}" if row.nth > 1 else str(name)
    if not column:
        return words
    before, after = (getattr(row, f"{column}_{side}") for side in "ab")
    return f"{words} ({'–' if pd.isna(before) else before} → {'–' if pd.isna(after) else after})"


def _pace(table: pd.DataFrame) -> str:
    whole = table.loc[table["kind"] == "workflow", ["took_a_s", "took_b_s"]].max()
    if whole.isna().any():
        return "how long they took is not compared, since one is open"
    return (
        f"b took {whole['took_b_s']:.3g} s and a {whole['took_a_s']:.3g} s, "
        "which is one run each and no trend"
    )
