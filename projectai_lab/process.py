"""The process view: which activity follows which, which sequences occur, which runs break an order.

Activities stand in the order of their scheduled event, also those that run at the same time; a
Local Activity stands where its Marker does, which is where it ended. One whose type the history
does not tell is "?".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import pandas as pd

from projectai_lab import tables
from projectai_lab._frames import clocks

_RUN = ["workflow_id", "run_id"]
_OPEN = ("RUNNING", "PAUSED")
_SIGNS = {"?": (0, 1), "*": (0, None), "+": (1, None)}


def directly_follows(histories: tables.Histories) -> pd.DataFrame:
    """Return how often an activity type came right after another: one row per pair that occurs.

    Columns: source (NA: the run began), target (NA: the run closed), count, share (of all that
    followed this source), concurrent (of count: target was scheduled before source had closed, so
    that their order says little), wait_s (median from source closed to target scheduled, of the
    others; server time; NA when the runs are of several clocks). A run without activities counts
    from NA to NA; the last activity of an open run has nothing after it.

    Source: the directly-follows graph; van der Aalst, Process Mining, 2nd ed. (2016), chapter 6.

    >>> from projectai_lab import process
    >>> process.directly_follows([]).columns.tolist()[:4]
    ['source', 'target', 'count', 'share']
    """
    runs, steps = _runs_and_steps(histories)
    pairs = _pairs(runs, steps)
    # pandas would drop the pairs of a run's begin and end with the NA that stands there.
    groups = pairs.groupby(["source", "target"], dropna=False, sort=False)
    edges = groups.agg(
        count=("concurrent", "size"), concurrent=("concurrent", "sum"), wait_s=("wait_s", "median")
    ).reset_index()
    totals = edges.groupby("source", dropna=False)["count"].transform("sum")
    edges.insert(3, "share", edges["count"] / totals)
    edges = edges.sort_values("count", ascending=False, kind="stable", ignore_index=True)
    kinds = {"source": "str", "target": "str", "count": "Int64", "concurrent": "Int64"}
    edges = edges.astype(kinds | {"share": "float64", "wait_s": "float64"})
    edges.attrs = {"clock": steps.attrs["clock"]}
    return edges


def variants(histories: tables.Histories) -> pd.DataFrame:
    """Return the sequences of activity types that occur: one row per variant, most frequent first.

    Columns: variant ("a → b ×3 → c"; "" for runs without activities), activities (how many), count
    of runs, share, workflow_id and run_id of the first such run, duration_s (median over its closed
    runs; NA when the runs are of several clocks).

    >>> from projectai_lab import process
    >>> process.variants([]).columns.tolist()[:3]
    ['variant', 'activities', 'count']
    """
    runs, steps = _runs_and_steps(histories)
    kinds = _by_run(steps, "activity_type")
    told = runs.assign(
        variant=[_words(kinds.get(run, [])) for run in runs["run_id"]],
        activities=[len(kinds.get(run, [])) for run in runs["run_id"]],
    )
    found = told.groupby(["variant", "activities"], sort=False).agg(
        count=("run_id", "size"),
        workflow_id=("workflow_id", "first"),
        run_id=("run_id", "first"),
        duration_s=("duration_s", "median"),
    )
    found = found.reset_index()
    found.insert(3, "share", found["count"] / max(len(runs), 1))
    found = found.sort_values("count", ascending=False, kind="stable", ignore_index=True)
    texts = dict.fromkeys(["variant", *_RUN], "str")
    found = found.astype({**texts, "activities": "Int64", "count": "Int64", "share": "float64"})
    found.attrs = {"clock": runs.attrs["clock"]}
    return found


def conformance(
    histories: tables.Histories, order: Sequence[str | Collection[str]]
) -> pd.DataFrame:
    """Return whether each run keeps to a declared order of activity types: one row per run.

    `order` lists activity types; "a?" may be left out, "a+" may repeat, "a*" may do both; a set or
    tuple holds types that may come in any order, as parallel ones do.

    Columns: workflow_id, run_id, workflow_type, status, fits (NA: open, and right so far), position
    (of the first deviation, 1 = the first activity), found (NA: the run closed there), expected,
    scheduled_event_id (of what was found).

    >>> from projectai_lab import process
    >>> order = ["validate_input", {"fetch+", "score"}, "store?"]
    >>> len(process.conformance([], order))
    0
    """
    groups = _groups(order)
    runs, steps = _runs_and_steps(histories)
    kinds, event_ids = _by_run(steps, "activity_type"), _by_run(steps, "scheduled_event_id")
    rows = [
        _verdict(groups, kinds.get(run, []), event_ids.get(run, []), status in _OPEN)
        for run, status in zip(runs["run_id"], runs["status"], strict=True)
    ]
    columns = ["fits", "position", "found", "expected", "scheduled_event_id"]
    verdicts = pd.DataFrame(rows, columns=columns).astype(
        {"fits": "boolean", "position": "Int64", "found": "str", "expected": "str"}
        | {"scheduled_event_id": "Int64"}
    )
    who = runs[[*_RUN, "workflow_type", "status"]].reset_index(drop=True)
    return pd.concat([who, verdicts], axis=1)


class _Atom(NamedTuple):
    """An activity type of the declared order, and how often it may come; `most` None: no limit."""

    name: str
    least: int
    most: int | None


_Group = tuple[_Atom, ...]
# Which group is being passed, and how often each of its atoms was seen, 2 standing for "again".
_State = tuple[int, tuple[int, ...]]


def _runs_and_steps(histories: tables.Histories) -> tuple[pd.DataFrame, pd.DataFrame]:
    built = tables.build(histories, only=["executions", "activities"])
    runs, steps = tables.validate(built["executions"]), built["activities"]
    # NA stands for where a run begins and ends.
    steps["activity_type"] = steps["activity_type"].fillna("?")
    if len(clocks(steps)) > 1:
        runs["duration_s"] = float("nan")
    return runs, steps


def _pairs(runs: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    """Return one row per pair of neighbours: source, target, concurrent, wait_s."""
    of_run = steps.groupby("run_id", sort=False)
    closed = runs.loc[~runs["status"].isin(_OPEN), "run_id"]
    later = of_run[["activity_type", "scheduled_time"]].shift(-1)
    wait = (later["scheduled_time"] - steps["closed_time"]).dt.total_seconds()
    still_open = steps["closed_time"].isna() & later["scheduled_time"].notna()
    overlap = (wait < 0) | (still_open & (steps["status"] == "PENDING"))
    after = pd.DataFrame(
        {
            "source": steps["activity_type"],
            "target": later["activity_type"],
            "concurrent": overlap,
            "wait_s": wait.mask(overlap) if len(clocks(steps)) == 1 else float("nan"),
        }
    )
    after = after[after["target"].notna() | steps["run_id"].isin(closed)]
    begun = pd.DataFrame({"target": steps.loc[of_run.cumcount() == 0, "activity_type"]})
    idle = pd.DataFrame(index=range((~closed.isin(steps["run_id"])).sum()))
    pairs = pd.concat([begun, after, idle], ignore_index=True)
    pairs["concurrent"] = pairs["concurrent"].astype("boolean").fillna(False).astype("int64")
    return pairs.astype({"source": "str", "target": "str", "wait_s": "float64"})


def _by_run(steps: pd.DataFrame, column: str) -> dict[str, list[Any]]:
    of_run = steps[column].groupby(steps["run_id"], sort=False)
    return {str(run): part.tolist() for run, part in of_run}


def _words(kinds: Iterable[str]) -> str:
    """Return "a → b ×3 → c" for a, b, b, b, c."""
    stretches = ((kind, len(list(same))) for kind, same in groupby(kinds))
    return " → ".join(kind if many == 1 else f"{kind} ×{many}" for kind, many in stretches)


def _groups(order: Sequence[str | Collection[str]]) -> list[_Group]:
    if isinstance(order, str) or not isinstance(order, Iterable):
        raise TypeError(f'order must be a list of activity types, as ["a", "b?"]; got {order!r}')
    return [tuple(map(_atom, [one] if isinstance(one, str) else _together(one))) for one in order]


def _together(types: Any) -> list[str]:
    if not isinstance(types, Collection) or not all(isinstance(one, str) for one in types):
        raise TypeError(f'a part of order must be a type or a set of types, as "a"; got {types!r}')
    return sorted(types)


def _atom(word: str) -> _Atom:
    least, most = _SIGNS.get(word[-1:], (1, 1))
    name = word[:-1] if word[-1:] in _SIGNS else word
    if not name:
        raise ValueError(f"{word!r} names no activity type; write the type, then ?, + or *")
    return _Atom(name, least, most)


def _verdict(
    groups: list[_Group], kinds: list[str], event_ids: list[int], is_open: bool
) -> tuple[Any, ...]:
    """Return fits, position, found, expected and scheduled_event_id of one run."""
    states = _passing(groups, {(0, _fresh(groups, 0))})
    for position, (kind, event_id) in enumerate(zip(kinds, event_ids, strict=True), start=1):
        after = {state for one in states for state in _after(groups, one, kind)}
        if not after:
            return False, position, kind, _expected(groups, states), event_id
        states = _passing(groups, after)
    if is_open or (len(groups), ()) in states:
        return pd.NA if is_open else True, pd.NA, None, None, pd.NA
    return False, len(kinds) + 1, None, _expected(groups, states), pd.NA


def _fresh(groups: list[_Group], place: int) -> tuple[int, ...]:
    return (0,) * len(groups[place]) if place < len(groups) else ()


def _passing(groups: list[_Group], states: set[_State]) -> set[_State]:
    """Add the states that are reached without an activity: those after a group that has enough."""
    found: set[_State] = set()
    waiting = list(states)
    while waiting:
        place, seen = state = waiting.pop()
        found.add(state)
        if place < len(groups) and all(
            n >= atom.least for n, atom in zip(seen, groups[place], strict=True)
        ):
            waiting.append((place + 1, _fresh(groups, place + 1)))
    return found


def _after(groups: list[_Group], state: _State, kind: str) -> Iterator[_State]:
    place, seen = state
    for index, atom in enumerate(groups[place] if place < len(groups) else ()):
        if atom.name == kind and (atom.most is None or seen[index] < atom.most):
            yield place, (*seen[:index], min(seen[index] + 1, 2), *seen[index + 1 :])


def _expected(groups: list[_Group], states: Iterable[_State]) -> str:
    """Return what could have come next, as in "fetch or store or the end"."""
    names = [
        atom.name
        for place, seen in sorted(states)
        for atom, many in zip(groups[place] if place < len(groups) else (), seen, strict=True)
        if atom.most is None or many < atom.most
    ]
    ends = ["the end"] if (len(groups), ()) in states else []
    return " or ".join(dict.fromkeys([*names, *ends]))
