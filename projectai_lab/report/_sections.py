"""The sections of a report, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from projectai_lab._frames import clock_words
from projectai_lab._words import duration, many, shorten
from projectai_lab.report import _page, _redo
from projectai_lab.report._figures import Picture
from projectai_lab.report._pairs import Pair
from projectai_lab.report._sentences import Found, effect, named, percent, shift, text
from projectai_lab.report._study import UNENDED, Study

_MOST_KINDS = 20
_CLOCKS = {
    "fast": "fast: a real server whose timers fire within about 0.1 s",
    "default": "default: the server's own, as in production; waits under 1 s end up to 1 s late",
    "virtual": "virtual: idle time was skipped, so durations are those of the server's own time",
    "unknown": "unknown: a server that was not started by the kit",
}


def head(study: Study, overview: str) -> list[str]:
    """Return title, question and the sweep in one line."""
    title = study.question or f"Sweep {study.name}"
    runs = f"{many(study.results['row'].nunique(), 'design point')}, {clock_words(study.results)}"
    line = f"Sweep {study.name} of {study.workflow_type or 'an unnamed workflow'}: {runs}"
    return [
        _page.title(title),
        _page.paragraph(line, "soft"),
        _page.paragraph(overview, "lead"),
    ]


def findings(found: Found, some: list[Pair], table: pd.DataFrame, more: Sequence[str]) -> str:
    """Return what differs in sentences, and the comparisons behind them."""
    if not some or table["delta"].isna().all():
        alone = found.how or "No two design points can be compared one by one."
        return _page.section("Findings", *map(_page.paragraph, [alone, *more]))
    parts = [_page.paragraph(found.how)]
    if not found.differs:
        parts.append(_page.paragraph("No difference shown once all comparisons are allowed for."))
    parts.append(_page.bullets(found.differs))
    if found.hints:
        parts += ["<h3>Hints only: at 95 % each on its own</h3>", _page.bullets(found.hints)]
    parts += [_page.paragraph(line) for line in (*found.rest, *more)]
    return _page.section("Findings", *parts, "<h3>All comparisons</h3>", _compared(some, table))


def _compared(some: list[Pair], table: pd.DataFrame) -> str:
    """Return a row a pair, a cell a measure."""
    rows = []
    for place, part in table.groupby("pair"):
        cells = [_cell(row) for row in part.to_dict("records")]
        n = part[["n_a", "n_b"]].max()
        rows.append((named(some[place]), f"{n['n_b']},\N{NO-BREAK SPACE}{n['n_a']}", *cells))
    note = (
        "Shift, and under it Cliff's delta, P(b > a) − P(b < a) from −1 to 1 for b against a, both "
        "with intervals of 95 %, each on its own; for success delta is the difference of the "
        "shares. The verdict is by delta and allows for all comparisons (Bonferroni). n: ended "
        "runs of b and a. Points share their seeds by replicate; the intervals make no use of that."
    )
    columns = ["b against a", "n", *part["measure"]]
    return _page.table(columns, rows, texts=len(columns), note=note)


def _cell(row: Mapping[str, Any]) -> str:
    if pd.isna(row["delta"]):
        return str(row["verdict"])
    more = "" if row["measure"] == "success" else f"delta {effect(row)}\n"
    return f"{shift(row)}\n{more}{row['verdict']}"


def results(study: Study, table: pd.DataFrame) -> str:
    """Return the results table, a row a design point."""
    columns = [
        *("point", *study.varied, "ended", "success", "attempts"),
        *("median", "p95", "p99", "longest"),
    ]
    rows = [
        (
            *(str(row["row"]), *(text(row[name]) for name in study.varied)),
            f"{row['ended']} of {row['planned']}",
            _ranged(row, "success", percent),
            "–" if pd.isna(row["attempts"]) else f"{row['attempts']:.2f}",
            _ranged(row, "p50_s", _time),
            *(_time(row[name]) for name in ("p95_s", "p99_s", "max_s")),
        )
        for row in table.to_dict("records")
    ]
    note = (
        "Ended: of the planned runs. Success is the share of these, with its Clopper–Pearson "
        "interval; attempts are the mean of all activities' attempts a run; durations are from "
        "start to close of runs, "
        f"however they ended, by the server's {clock_words(study.results)}, the median with its "
        "order-statistic interval. Intervals are of 95 %. “–”: too few runs to support that "
        "percentile (6 for a median, 72 for p95, 368 for p99)."
    )
    return _page.section("Results", _page.table(columns, rows, texts=1, note=note))


def _ranged(row: Mapping[str, Any], name: str, say: Any) -> str:
    stem, unit = (name[:-2], "_s") if name.endswith("_s") else (name, "")
    low, high = row[f"{stem}_low{unit}"], row[f"{stem}_high{unit}"]
    if pd.isna(row[name]) or pd.isna(low) or pd.isna(high):
        return str(say(row[name]))
    return f"{say(row[name])} [{say(low)}, {say(high)}]"


def _time(value: float) -> str:
    return "–" if pd.isna(value) else duration(value)


def figures(drawn: Iterable[Picture]) -> str:
    """Return the figures with their captions."""
    return _page.section("Figures", *(_page.figure(*one) for one in drawn))


def trouble(study: Study) -> str:
    """Return what went wrong: every run that did not succeed, counted."""
    status = study.results["status"].astype(str)
    counts = status.value_counts()
    ended = study.ended
    failed = ended[~ended["success"].fillna(False).astype(bool)]
    lines = [f"{status}: {count:,}" for status, count in counts.items()]
    parts = [_page.paragraph(f"Runs by status – {', '.join(lines)}.")]
    missing = int(status.isin(UNENDED).sum())
    if missing:
        parts.append(
            _page.paragraph(
                f"{many(missing, 'planned run')} had not ended when this was written; they are in "
                "no figure and no share above. Take the sweep up as shown below, and write again."
            )
        )
    if failed.empty:
        parts.append(_page.paragraph("Every run that ended succeeded."))
        return _page.section("What went wrong", *parts)
    parts.append(_page.paragraph(f"{many(len(failed), 'run')} ended without success:"))
    return _page.section("What went wrong", *parts, _kinds(failed))


def _kinds(failed: pd.DataFrame) -> str:
    """Return failed runs by status and error, each kind with an example."""
    kinds = failed.assign(
        status=failed["status"].astype(str),
        error=[_reason(*one) for one in failed[["failure_type", "error"]].to_numpy().tolist()],
    )
    groups = kinds.groupby(["status", "error"], sort=False)["workflow_id"].agg(["size", "first"])
    groups = groups.sort_values("size", ascending=False, kind="stable")
    rows = [
        (status, shorten(error, 240), str(first), f"{size:,}")
        for (status, error), size, first in groups.head(_MOST_KINDS).itertuples()
    ]
    rest = groups.iloc[_MOST_KINDS:]
    if len(rest):
        told = f"{len(rest)} further kinds of error"
        rows.append(("", told, "", f"{int(rest['size'].sum()):,}"))
    return _page.table(["status", "error", "for example", "runs"], rows, texts=3)


def _reason(kind: Any, error: Any) -> str:
    words = [str(one) for one in (kind, error) if not pd.isna(one)]
    return ": ".join(words) or "no reason given"


def design(study: Study, versions: Mapping[str, str]) -> str:
    """Return how the sweep was made, by which clock, and by what."""
    found, results = study.design, study.results
    rows = [
        (name, path, ", ".join(dict.fromkeys(text(one) for one in _ordered(results, name))))
        for name, path in study.parameters.items()
    ]
    seeds = study.design["seed"].nunique()
    known = {
        "made by": study.made,
        "runs": f"{found['row'].nunique()} points × {found['replicate'].nunique()} replicates, "
        f"{len(found)} planned, in {found['block'].nunique()} shuffled blocks",
        "seeds": f"{seeds}, one a replicate, shared by all points" if seeds > 1 else "1",
        "digest of the design": study.digest,
        "Workflow Type": study.workflow_type,
        "clock": _CLOCKS.get(study.clock, study.clock),
        "first start": _when(results["start_time"].min()),
        "last close": _when(results["close_time"].max()),
        "query": study.query,
    }
    return _page.section(
        "Design, clock and versions",
        _page.table(["factor", "path into the input", "levels"], rows, texts=3),
        _page.facts({**known, **versions}),
    )


def _ordered(results: pd.DataFrame, name: str) -> list[Any]:
    values: list[Any] = results.sort_values("row", kind="stable")[name].tolist()
    return values


def _when(time: Any) -> str | None:
    # As text, where the results were read from a CSV.
    return None if pd.isna(time) else f"{pd.Timestamp(time):%Y-%m-%d %H:%M:%S} UTC (server)"


def redo(study: Study, table: pd.DataFrame, found: pd.DataFrame) -> str:
    """Return what to type, and the design and results as downloads."""
    parts = [
        _page.paragraph(
            "Under the same name nothing is started twice: on a server that still has the runs, "
            "these lines start only what is missing; elsewhere they carry all of it out again."
        ),
        _page.code(_redo.lines(study)),
        _page.paragraph("To read it from its server and write this report again:"),
        _page.code(_redo.reading(study)),
    ]
    if study.masked:
        told = f"{many(study.masked, 'value')} that look like secrets stand here as stars"
        parts.append(_page.paragraph(f"{told}: put them back before you type these lines."))
    stem = _redo.safe(study.name)
    flat = study.results.rename(columns=study.parameters)
    parts += [
        _page.download(_redo.file_name(study), _csv(study.design), "the design"),
        _page.download(f"{stem}-results.csv", _csv(flat), "one row a planned run"),
        _page.download(f"{stem}-points.csv", _csv(table), "the results table"),
    ]
    if len(found):
        parts.append(_page.download(f"{stem}-compared.csv", _csv(found), "all comparisons"))
    return _page.section("How to redo it", *parts)


def _csv(frame: pd.DataFrame) -> str:
    return str(frame.to_csv(index=False, lineterminator="\n"))
