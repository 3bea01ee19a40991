"""What a report is about: everything that it tells, out of a sweep or out of its results alone."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from projectai_lab._frames import clocks, need, one_clock
from projectai_lab._secrets import Mask
from projectai_lab.errors import ReportError
from projectai_lab.models import ACTIVITY_TYPES
from projectai_lab.sweeps import DESIGN_COLUMNS, RESULT_COLUMNS, Sweep, digest

RESULTS = ("workflow_id", "status", "success", "error", "duration_s", "n_attempts", "failure_type")
FIGURES = (
    *("planned", "ended", "success", "success_low", "success_high", "attempts"),
    *("min_s", "p50_s", "p50_low_s", "p50_high_s", "p95_s", "p99_s", "max_s"),
    *("duration", "run", "arm", "q", "n", "value_s", "low_s", "high_s"),
)
"""Columns that tables of the report, and those behind its figures, have beside parameters."""
UNENDED = ("NOT_STARTED", "RUNNING", "PAUSED")
MAKER = "sweeps.load(lab, name).results()"


@dataclass(frozen=True, eq=False)
class Study:
    """A sweep as the report tells it: secrets are masked, parameters have short names.

    `parameters` maps the short names, which are the columns of `results`, to the paths; `design`
    has the paths. `base` and `query` are None where only the results are known, `attempts` where
    there are none, `server` where nobody was asked.
    """

    name: str
    question: str | None
    results: pd.DataFrame
    design: pd.DataFrame
    parameters: dict[str, str]
    workflow_type: str | None
    made: str | None
    digest: str
    base: Any
    query: str | None
    attempts: pd.DataFrame | None
    server: str | None
    masked: int

    @property
    def ended(self) -> pd.DataFrame:
        """The runs that have ended, however they ended."""
        return self.results[~self.results["status"].astype(str).isin(UNENDED)]

    @property
    def varied(self) -> list[str]:
        """The parameters that have more than one level, by their short names."""
        return [n for n in self.parameters if self.results[n].nunique(dropna=False) > 1]

    @property
    def clock(self) -> str:
        """The server's clock, `unknown` where nobody knows."""
        return ", ".join(clocks(self.results)) or "unknown"


def study_of(sweep: Any, question: str | None, attempts: pd.DataFrame | None) -> Study:
    """Gather what there is to tell; ReportError for what is no sweep or has no finished run."""
    results, base, query, server = _asked(sweep)
    if isinstance(sweep, Sweep) and attempts is None:
        attempts = sweep.tables(only=["attempts"])["attempts"]
    one_clock(results)
    paths = _paths(results)
    mask = Mask()
    attrs = {key: mask.value(value) for key, value in results.attrs.items()}
    design = results[[*DESIGN_COLUMNS, *paths]]
    names = dict(zip(_short(paths), paths, strict=True))
    shown = _masked(results, mask).rename(columns={path: one for one, path in names.items()})
    shown.attrs = attrs
    made = Study(
        name=str(attrs.get("sweep") or "sweep"),
        question=None if question is None else mask.text(question),
        results=shown,
        design=_masked(design, mask),
        parameters=names,
        workflow_type=attrs.get("workflow_type"),
        made=attrs.get("made"),
        digest=digest(design),
        base=mask.value(base),
        query=query,
        attempts=attempts,
        server=server,
        masked=mask.count,
    )
    _check_ended(made)
    return made


def _asked(sweep: Any) -> tuple[pd.DataFrame, Any, str | None, str | None]:
    """Return results, base, query and the server's version, the last three where known."""
    if isinstance(sweep, Sweep):
        return sweep.results(), sweep.base, sweep.query, sweep.lab.server_version()
    if not isinstance(sweep, pd.DataFrame):
        raise ReportError(
            f"a report tells of a sweep or of its results, got {type(sweep).__name__}: "
            "report.html(sweeps.load(lab, name)), or report.html(sweep.results())"
        )
    need(sweep, [*DESIGN_COLUMNS, *RESULTS], MAKER)
    return sweep, None, None, None


def _paths(results: pd.DataFrame) -> list[str]:
    """Return the parameters: the columns that stand before those of the results."""
    before = list(results.columns)[: list(results.columns).index("workflow_id")]
    return [str(name) for name in before if name not in DESIGN_COLUMNS]


def _short(paths: list[str]) -> list[str]:
    """Return names that a reader can tell apart: the last words of paths, or the whole."""
    bare = [[part for part in path.split(".") if part not in ACTIVITY_TYPES] for path in paths]
    last = [parts[-1] if parts else path for parts, path in zip(bare, paths, strict=True)]
    taken = Counter([*last, *DESIGN_COLUMNS, *RESULT_COLUMNS, *FIGURES])
    short = [one if taken[one] == 1 else path for one, path in zip(last, paths, strict=True)]
    # An argument may be called as a figure is, and has no longer name.
    return [f"parameter {one}" if one in FIGURES else one for one in short]


def _masked(frame: pd.DataFrame, mask: Mask) -> pd.DataFrame:
    """Return a frame whose texts are masked, and lists and dicts as JSON, which can be grouped."""
    columns = {}
    for name in frame.columns:
        values = frame[name]
        if isinstance(values.dtype, pd.CategoricalDtype) or values.dtype.kind in "biufM":
            columns[name] = values
            continue
        plain = [_plain(mask.value(one, str(name))) for one in values.tolist()]
        columns[name] = pd.Series(plain, index=frame.index, dtype=object)
    return pd.DataFrame(columns)


def _plain(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else value


def _check_ended(study: Study) -> None:
    if len(study.ended):
        return
    counts = study.results["status"].astype(str).value_counts()
    told = ", ".join(f"{count} {status}" for status, count in counts.items()) or "no runs at all"
    raise ReportError(
        f"the sweep {study.name!r} has no finished run ({told}), so there is nothing to report: "
        "wait for its runs, or take it up with the line that began it: "
        f"sweeps.run(lab, …, design, name={study.name!r})",
        name=study.name,
    )
