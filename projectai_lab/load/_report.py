"""`report`: what a load says, which percentile is valid, and which loop a user would feel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from projectai_lab import latency
from projectai_lab._frames import same_clock
from projectai_lab._words import duration, many, percentile
from projectai_lab.load._load import Load, schedule_error

LEVELS = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)
_FEW_TIMES = 1.5
_THREE = "{:.3g}".format
_FEEL = "Users who come on their own, whether or not others were answered, feel the open loop"


@dataclass(frozen=True, eq=False)
class Report:
    """The figures of some loads, a row each, and what they say in words: a line each, and both."""

    sentence: str
    table: pd.DataFrame

    def __repr__(self) -> str:
        return f"{self.sentence}\n\n{self.table!r}"

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{escape(line)}</p>" for line in self.sentence.splitlines())
        figures = self.table.set_index("name").T
        return f"{said}{figures.to_html(escape=True, na_rep='', float_format=_THREE)}"


def report(*loads: Load) -> Report:
    """Return the figures of loads and what they say; open beside closed, which one a user feels.

    Columns: name, kind, valid, schedule_p99_s; n (runs intended), answered (COMPLETED),
    asked_per_s (NA in a closed loop, which has no rate of its own), sent_per_s and reached_per_s
    (COMPLETED within the duration); most_in_flight (sent and not ended, at most); highest (the
    highest percentile that is valid); min_s, p50_s to p99.9_s and max_s of the latency from the
    intended start, as `latency.summary` gives them; service_highest_s, the percentile `highest`
    from the sending instead, for contrast.

    A run without an answer, because it failed, was refused or had not ended, counts as one that
    took longer than all others; and a percentile above the time that an unfinished run has been
    waited for is not known (it is right-censored there) and NA, as one that n cannot support is.

    Percentiles hold for independent runs; those that met one stall are not, so that their intervals
    say how well this load is known, not how the next stall will be.

    Of several loops of one kind the first is compared. A closed loop's clients wait while the
    system stands still, and what they would have sent then is missing: coordinated omission.
    Source: G. Tene, "How NOT to Measure Latency" (2013), who named it and measures from the
    intended start; Schroeder, Wierman & Harchol-Balter, "Open Versus Closed: A Cautionary Tale",
    NSDI (2006).

    >>> load.report(open_, closed).sentence                                    # doctest: +SKIP
    """
    if not loads or not all(isinstance(one, Load) for one in loads):
        raise TypeError("report() takes loads, as in load.report(load.open_loop(…)); got others")
    same_clock(*(one.table for one in loads))
    frame = pd.DataFrame([_row(one) for one in loads])
    frame = frame.astype(
        {"n": "Int64", "answered": "Int64", "most_in_flight": "Int64", "valid": "boolean"}
    )
    sentences = [_alone(one, row) for one, row in zip(loads, _rows(frame), strict=True)]
    return Report("\n".join([*sentences, *_beside(loads, frame)]), frame)


def answers(table: pd.DataFrame, since: str = "intended_s") -> tuple[Any, float]:
    """Return each run's time to its answer, infinite without one, and up to where they are known.

    An unfinished run's time is only known to be longer than it has been waited for.
    """
    answered = table["status"] == "COMPLETED"
    times = (table["done_s"] - table[since]).where(answered, math.inf)
    open_ = table["status"].isin(["RUNNING", "UNKNOWN"]) & table["done_s"].isna()
    waited = (table.attrs["ended_s"] - table.loc[open_, since]).min()
    return times.to_numpy(dtype=np.float64), math.inf if math.isnan(waited) else float(waited)


def _row(one: Load) -> dict[str, Any]:
    table, attrs = one.table, one.table.attrs
    length = attrs["measured_s"]
    done = (table["status"] == "COMPLETED") & (table["done_s"] <= length)
    found = _summary(table)
    levels = [percentile(level) for level in LEVELS]
    known = [level for level in levels if pd.notna(found[f"{level}_s"])]
    service = _summary(table, "sent_s")
    return {
        "name": one.name,
        "kind": attrs["kind"],
        "valid": one.valid,
        "schedule_p99_s": schedule_error(table),
        "n": found.pop("n"),
        "answered": int((table["status"] == "COMPLETED").sum()),
        "asked_per_s": attrs["rate"] if attrs["rate"] is not None else math.nan,
        "sent_per_s": int((table["sent_s"] <= length).sum()) / length,
        "reached_per_s": int(done.sum()) / length,
        "most_in_flight": _most_in_flight(table),
        "highest": known[-1] if known else None,
        **found,
        "service_highest_s": service[f"{known[-1]}_s"] if known else math.nan,
    }


def _summary(table: pd.DataFrame, since: str = "intended_s") -> dict[str, Any]:
    """Return `latency.summary` of the answers; NA where it is not known."""
    times, known_to = answers(table, since)
    (found,) = latency.summary(times, q=LEVELS).to_dict("records")
    n = found.pop("n")
    known = {k: v if v <= known_to and v < math.inf else math.nan for k, v in found.items()}
    return {"n": int(n), **known}


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _alone(one: Load, row: dict[str, Any]) -> str:
    asked = "" if math.isnan(row["asked_per_s"]) else f" of {row['asked_per_s']:g} asked"
    words = [
        f"{one.name} ({row['kind']} loop): {many(row['n'], 'run')}, "
        f"{row['reached_per_s']:.3g}/s{asked} answered in time"
    ]
    if missing := row["n"] - row["answered"]:
        words.append(f"{many(missing, 'run')} without an answer count as longer than all others")
    if pd.notna(row["highest"]):
        value, low, high = _interval(one, float(row["highest"][1:]) / 100)
        words.append(
            f"highest valid percentile {row['highest']} = {_s(value)} from the intended start "
            f"(95 %: {_s(low)} to {_s(high)}; {_s(row['service_highest_s'])} from the sending)"
        )
    else:
        words.append("too few answers for any percentile")
    told = "; ".join(words) + "."
    return (
        told
        if one.valid
        else f"INVALID, its figures do not count ({'; '.join(one.why_invalid)}): {told}"
    )


def _interval(one: Load, level: float) -> tuple[float, float, float]:
    times, known_to = answers(one.table)
    (row,) = latency.percentiles(times, q=[level]).to_dict("records")
    high = row["high_s"] if row["high_s"] <= known_to else math.inf
    return row["value_s"], row["low_s"], high


def _beside(loads: Sequence[Load], frame: pd.DataFrame) -> list[str]:
    """Return what an open loop beside a closed one says; nothing where there are not both."""
    kinds = frame["kind"].tolist()
    if not {"open", "closed"} <= set(kinds):
        return []
    places = [kinds.index("open"), kinds.index("closed")]
    open_, closed = (_rows(frame)[place] for place in places)
    columns = [percentile(level) for level in LEVELS]
    both = [c for c in columns if pd.notna(open_[f"{c}_s"]) and pd.notna(closed[f"{c}_s"])]
    if not both:
        return [f"No percentile is valid in both loops, so they are not compared. {_FEEL}."]
    top = both[-1]
    slow, quick = open_[f"{top}_s"], closed[f"{top}_s"]
    if slow < _FEW_TIMES * quick:
        return [f"{top} is much the same, {_s(slow)} open and {_s(quick)} closed. {_FEEL}."]
    silent, missing = _silence(*(loads[place] for place in places))
    doubt = (
        "" if open_["valid"] and closed["valid"] else "As far as loads that are not valid tell: "
    )
    return [
        f"{doubt}{top} is {_s(slow)} in the open loop and {_s(quick)} in the closed one: "
        f"{slow / quick:.3g} times. {_FEEL}: {_s(slow)}. In the closed loop at most "
        f"{many(closed['most_in_flight'], 'run')} waited at a time, in the open one "
        f"{open_['most_in_flight']}; once the closed loop sent nothing for {_s(silent)}, in which "
        f"the open one's rate is {many(missing, 'start')}. What its clients did not send while "
        "they waited is missing from its percentiles (coordinated omission)."
    ]


def _silence(open_: Load, closed: Load) -> tuple[float, int]:
    """Return the longest time in which the closed loop sent nothing, and the open one's starts."""
    gaps = np.diff(np.sort(closed.table["sent_s"].dropna().to_numpy()))
    longest = float(gaps.max()) if len(gaps) else 0.0
    return longest, round(longest * open_.table.attrs["rate"])


def _most_in_flight(table: pd.DataFrame) -> int:
    """Return how many runs had been sent and had not ended, at most."""
    started = table[table["sent_s"].notna() & (table["status"] != "NOT_STARTED")]
    # Where one ends at the instant at which another is sent, it ends first.
    ends, starts = started["done_s"].dropna(), started["sent_s"]
    steps = pd.concat([pd.Series(-1, index=ends), pd.Series(1, index=starts)])
    return int(steps.sort_index(kind="stable").cumsum().max()) if len(steps) else 0


def _s(value: float) -> str:
    return duration(value) if math.isfinite(value) else "not known"
