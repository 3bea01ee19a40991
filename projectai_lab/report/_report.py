"""`report.html`: gather, compare, draw, write."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from projectai_lab._atomic import replaced
from projectai_lab.errors import ReportError
from projectai_lab.report import _page, _redo, _sections
from projectai_lab.report._figures import Drawable, pictures
from projectai_lab.report._pairs import compared, pairs
from projectai_lab.report._points import points
from projectai_lab.report._sentences import findings, overview, plan, ranks
from projectai_lab.report._study import Study, study_of

if TYPE_CHECKING:
    from projectai_lab.sweeps import Sweep


def html(
    sweep: Sweep | pd.DataFrame,
    path: str | os.PathLike[str] | None = None,
    *,
    question: str | None = None,
    attempts: pd.DataFrame | None = None,
    figures: Mapping[str, Drawable] | None = None,
) -> Path:
    """Write a sweep into one HTML file that needs nothing else, and return its path.

    It tells the question, the findings in sentences, the results of each design point, what went
    wrong, how the sweep was made and how to redo it, with figures. Runs that failed, did not end
    or were not started are counted, never dropped. `path` is a file or a folder, by default
    `<name>.html` here; a file that exists is replaced. `figures` are Axes or Figures of your own,
    by their captions. What looks like a secret is masked.

    Without a server give `sweep.results()`, perhaps read from Parquet, and `attempts`, a table of
    `tables.attempts`, for the timeline and the ladder of waits; the base input is then not told.

    Intervals are of 95 %, comparisons as `compared` in `report._pairs` says: Cliff's delta, of the
    success the difference of shares (Newcombe), with Bonferroni's correction beside.

    Errors: ReportError for what is no sweep, a sweep without a finished run, and a folder that is
    not there; TableError for results of several clocks.

    >>> report.html(sweep, question="Which policy gives up least?")            # doctest: +SKIP
    """
    study = study_of(sweep, question, attempts)
    target = _target(path, study)
    text = _told(study, figures or {})
    try:
        with replaced(target) as file:
            file.write(text.encode("utf-8", "replace"))
    except OSError as error:
        raise ReportError(
            f"the report cannot be written to {target} ({error.strerror or error}): choose a place "
            "that you may write to, with path=…",
            path=target,
        ) from error
    return target


def _target(path: str | os.PathLike[str] | None, study: Study) -> Path:
    found = Path(path) if path is not None else Path()
    target = found / f"{_redo.safe(study.name)}.html" if found.is_dir() else found
    if not target.parent.is_dir():
        raise ReportError(
            f"the report cannot be written: there is no folder {target.parent}; make it first: "
            f"Path({str(target.parent)!r}).mkdir(parents=True)",
            path=target,
        )
    return target


def _told(study: Study, figures: Mapping[str, Drawable]) -> str:
    table = points(study)
    some, words = pairs(study)
    found = compared(study, some)
    told = [*ranks(study, table), *plan(study)]
    return _page.page(
        f"Sweep {study.name}",
        [
            *_sections.head(study, overview(study)),
            _sections.findings(findings(some, found, words), some, found, told),
            _sections.results(study, table),
            _sections.figures(pictures(study, figures)),
            _sections.trouble(study),
            _sections.design(study, versions(study)),
            _sections.redo(study, table, found),
        ],
    )


def versions(study: Study) -> dict[str, str]:
    """Return what wrote the report, and which server answered."""
    found = {"Python": platform.python_version()}
    found |= {name: version(name) for name in ("projectai_lab", "temporalio")}
    found["Temporal server"] = study.server or "not asked"
    return found | {"report written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
