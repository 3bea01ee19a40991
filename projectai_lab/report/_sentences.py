"""What was found, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import pandas as pd
import scipy

from projectai_lab import retries
from projectai_lab._words import duration, many, told
from projectai_lab.report._pairs import DIFFERS, FEW, FEWEST, HINT, NOTHING, Pair
from projectai_lab.report._study import Study

_FEWEST_POINTS = 8
_MOST_NAMED = 6


def overview(study: Study) -> str:
    """Return how much of the sweep there is, and how much of it succeeded."""
    ended, planned = len(study.ended), len(study.results)
    known = study.ended["success"].dropna()
    share = f"{int(known.sum())} succeeded ({percent(known.mean())})" if len(known) else ""
    rest = "" if ended == planned else f"; {many(planned - ended, 'run')} did not end (see below)"
    return f"{ended} of {many(planned, 'planned run')} ended; of these {share}{rest}."


class Found(NamedTuple):
    """How was compared, which pairs differ, which do perhaps, and what of all the others."""

    how: str
    differs: list[tuple[str, str]]
    hints: list[tuple[str, str]]
    rest: list[str]


def findings(some: list[Pair], table: pd.DataFrame, words: str) -> Found:
    """Return the comparisons in sentences, each pair in one of them."""
    groups: dict[str, list[int]] = {DIFFERS: [], HINT: [], NOTHING: [], FEW: []}
    for place in range(len(some)):
        verdicts = set(table.loc[table["pair"] == place, "verdict"])
        groups[next(one for one in groups if one in verdicts)].append(place)
    rest = {
        "No difference shown, in any measure": NOTHING,
        f"Not compared, with fewer than {FEWEST} runs in a point": FEW,
    }
    told = {
        one: [(named(some[place]), _told(table[table["pair"] == place])) for place in groups[one]]
        for one in (DIFFERS, HINT)
    }
    lines = [
        f"{what}: {_some([named(some[place]) for place in groups[one]])}."
        for what, one in rest.items()
        if groups[one]
    ]
    return Found(_how(words, len(some), table), told[DIFFERS], told[HINT], lines)


def _some(names: list[str]) -> str:
    rest = len(names) - _MOST_NAMED
    return "; ".join(names[:_MOST_NAMED]) + (f"; and {many(rest, 'more pair')}" if rest > 0 else "")


def _how(words: str, n: int, table: pd.DataFrame) -> str:
    if not n:
        return ""
    counts = table["verdict"].value_counts()
    judged = int(len(table) - counts.get(FEW, 0))
    if not judged:
        few = f"since fewer than {FEWEST} runs of a point have ended"
        return f"Design points are not compared one by one, {few}."
    lone = 0.05 * judged
    return (
        f"Compared: {words} ({many(n, 'pair')}, three measures each, {many(judged, 'comparison')} "
        f"that could be judged). {counts.get(DIFFERS, 0)} differ also after allowing for all of "
        f"them (Bonferroni); {counts.get(HINT, 0)} are a hint only, at 95 % each on its own, where "
        f"about {lone:.2g} would show by chance alone; {counts.get(NOTHING, 0)} show no difference."
    )


def named(pair: Pair) -> str:
    """Return which levels of b stand against which of a, and where."""
    change = ", ".join(
        f"{name} {text(b)} against {text(a)}" for name, (a, b) in pair.changes.items()
    )
    shared = ", ".join(f"{name} = {text(value)}" for name, value in pair.shared.items())
    return f"{change}, where {shared}" if shared else change


def text(value: Any) -> str:
    """Return a level of a parameter as text."""
    return "nothing" if value is None or value is pd.NA else told(value)


def _told(rows: pd.DataFrame) -> str:
    parts = [_change(row) for row in rows.to_dict("records") if row["verdict"] in (DIFFERS, HINT)]
    same = [row.measure for row in rows.itertuples() if row.verdict == NOTHING]
    few = [row.measure for row in rows.itertuples() if row.verdict == FEW]
    parts += [f"no difference shown in {' or '.join(same)}"] if same else []
    parts += [f"too few runs for {' and '.join(few)}"] if few else []
    return "; ".join(parts) + "."


def _change(row: dict[str, Any]) -> str:
    hint = " (a hint only)" if row["verdict"] == HINT else ""
    if row["measure"] == "success":
        return f"success {shift(row)}, {percent(row['value_a'])} → {percent(row['value_b'])}{hint}"
    what = "attempts a run" if row["measure"] == "attempts" else "median duration"
    return f"{what} {shift(row)}, delta {effect(row)}{hint}"


def shift(row: Mapping[str, Any]) -> str:
    """Return a shift with its interval in the unit of its measure, "" where there is none."""
    if pd.isna(row["shift"]):
        return "not known"
    parts = [row[name] for name in ("shift", "low", "high")]
    if row["measure"] == "success":
        signed = [f"{100 * one:+.0f}" for one in parts]
        words = f"{signed[0]} points {_ends(*signed[1:])}"
    elif row["measure"] == "attempts":
        signed = [f"{one:+.2g}" for one in parts]
        words = f"{signed[0]} {_ends(*signed[1:])}"
    else:
        signed = [("+" if one > 0 else "") + duration(one) for one in parts]
        words = f"{signed[0]} {_ends(*signed[1:])}"
    return words.replace("-", "−")


def effect(row: Mapping[str, Any]) -> str:
    """Return Cliff's delta with its interval."""
    signed = [f"{row[name]:+.2f}" for name in ("delta", "delta_low", "delta_high")]
    return f"{signed[0]} {_ends(*signed[1:])}".replace("-", "−")


def _ends(low: str, high: str) -> str:
    """Return an interval that no line break cuts."""
    return f"[{low}, {high}]".replace(" ", "\N{NO-BREAK SPACE}")


def percent(share: float) -> str:
    """Return a share in per cent, "–" where it is not known."""
    return "–" if pd.isna(share) else f"{100 * share:.3g} %"


def ranks(study: Study, table: pd.DataFrame) -> list[str]:
    """Return how measures go with parameters of many numbers: Spearman's rank correlation.

    Over design points, each by its mean or median; the interval is Bonett & Wright's, Psychometrika
    65 (2000), 23–28, at 95 %, each on its own.
    """
    lines = []
    times = study.ended.groupby("row")["duration_s"].median()
    table = table.assign(duration=table["row"].map(times))
    for name in study.parameters:
        if not pd.api.types.is_numeric_dtype(table[name]) or table[name].nunique() < _FEWEST_POINTS:
            continue
        for measure in ("success", "attempts", "duration"):
            known = table[[name, measure]].dropna().astype("float64")
            if len(known) < _FEWEST_POINTS or known[measure].nunique() < 2:
                continue
            rho = float(scipy.stats.spearmanr(known[name], known[measure]).statistic)
            low, high = _interval(rho, len(known))
            found = "no relation shown" if low <= 0 <= high else ("rises" if rho > 0 else "falls")
            lines.append(
                f"{measure} by {name}: {found} (Spearman's rho {rho:+.2f} [{low:+.2f}, "
                f"{high:+.2f}] over {many(len(known), 'design point')}).".replace("-", "−")
            )
    return lines


def _interval(rho: float, n: int) -> tuple[float, float]:
    middle = math.atanh(max(min(rho, 0.999999), -0.999999))
    half = float(scipy.stats.norm.ppf(0.975)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return math.tanh(middle - half), math.tanh(middle + half)


def plan(study: Study) -> list[str]:
    """Return how well retries kept to their policy, nothing where no retry was observed."""
    if study.attempts is None or study.attempts.empty:
        return []
    rows = retries.summary(study.attempts)
    rows = rows[rows["observed"] > 0]
    told = [
        f"{row.activity_type}: {many(row.observed, 'retry')}, median error "
        f"{duration(row.median_abs_error_s)}, at most {duration(row.max_abs_error_s)}"
        for row in rows.itertuples()
    ]
    return [f"Waits of observed retries against their policy – {'; '.join(told)}."] if told else []
