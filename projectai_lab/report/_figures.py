"""The figures of a report, drawn by `plots` and turned into pictures that stand in the page."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from projectai_lab import plots
from projectai_lab.errors import ReportError
from projectai_lab.report._sentences import text
from projectai_lab.report._study import Study

_MOST_ARMS, _MOST_GROUPS, _MOST_X = 8, 6, 3
_Y = ("success", "n_attempts", "duration_s")
# Text as shapes, since the reader's machine may not have the font; "$" is a letter, no formula.
_LOOK: Any = {"svg.fonttype": "path", "text.parse_math": False, "svg.hashsalt": "projectai_lab"}
Drawable = Axes | Figure


class Picture(NamedTuple):
    """A figure as a data URI, with its caption."""

    caption: str
    uri: str


def pictures(study: Study, more: Mapping[str, Drawable]) -> list[Picture]:
    """Draw all figures that the study supports, then take those that were given."""
    return [*_of_sweep(study), *_of_arms(study), *_of_attempts(study), *_given(more)]


def _of_sweep(study: Study) -> Iterable[Picture]:
    """Draw success, attempts and duration by parameter."""
    levels = {name: study.ended[name].nunique(dropna=False) for name in study.parameters}
    varied = sorted(study.varied, key=lambda name: -levels[name]) or list(levels)[:1]
    others = varied[1:]
    groups = len(study.ended[others].drop_duplicates()) if others else 1
    fits = groups <= _MOST_GROUPS
    for x in varied[:1] if fits else varied[:_MOST_X]:
        pooled = "" if fits else "; all other parameters are pooled"
        for y in _Y:
            if study.ended[y].notna().any():
                yield _drawn(
                    f"{_name(y)} by {x}, with 95 % intervals{pooled}.",
                    partial(plots.sweep, study.ended, x, y, by=others if fits else None),
                )


def _name(y: str) -> str:
    return {"success": "Success", "n_attempts": "Attempts a run"}.get(y, "Duration of a run")


def _of_arms(study: Study) -> Iterable[Picture]:
    if study.ended["duration_s"].isna().all():
        return
    many = study.ended["row"].nunique() > _MOST_ARMS
    words = [n for n in study.varied if study.results[n].dtype == object]
    runs = study.ended.assign(
        run="all design points", **{name: study.ended[name].map(text) for name in words}
    )
    by = ["run"] if many or not study.varied else study.varied
    yield _drawn(
        "Duration of runs, however they ended: which share took at most so long, by "
        f"{'nothing: there are too many design points' if many else ', '.join(by)}.",
        lambda: plots.latency(runs, by=by, column="duration_s"),
    )


def telling(study: Study) -> str | None:
    """Return the Workflow Id of the run with most attempts, the longest of these."""
    if study.attempts is None or study.attempts.empty:
        return None
    seen = study.ended[study.ended["workflow_id"].isin(study.attempts["workflow_id"])]
    if seen.empty:
        return None
    order = seen.sort_values(["n_attempts", "duration_s"], ascending=False)
    return str(order["workflow_id"].iloc[0])


def _of_attempts(study: Study) -> Iterable[Picture]:
    run = telling(study)
    if run is None or study.attempts is None:
        return
    one = study.attempts[study.attempts["workflow_id"] == run]
    yield _drawn(
        f"One run attempt by attempt: {run}, the one with most attempts.",
        lambda: plots.timeline(one),
    )
    if (one["attempt"] > 1).any():
        yield _drawn(
            f"The waits of that run, {run}: planned beside observed.", lambda: plots.retries(one)
        )


def _given(more: Mapping[str, Drawable]) -> Iterable[Picture]:
    for caption, given in more.items():
        figure = given.get_figure() if isinstance(given, Axes) else given
        if not isinstance(figure, Figure):
            raise ReportError(
                f"figures[{caption!r}] is a {type(given).__name__}; give Axes of plots, or a Figure"
            )
        yield Picture(caption, _uri(figure))


def _drawn(caption: str, draw: Callable[[], Axes]) -> Picture:
    # Not pyplot's current figure, which is the caller's, and no interactive window.
    plain: Any = {
        name: mpl.rcParamsDefault[name] for name in mpl.rcParamsDefault if name != "backend"
    }
    with mpl.rc_context({**plain, **_LOOK}), plt.ioff():
        ax = draw()
        figure = ax.get_figure()
        assert isinstance(figure, Figure)
        try:
            return Picture(caption, _uri(figure))
        finally:
            plt.close(figure)


def _uri(figure: Figure) -> str:
    file = io.BytesIO()
    with warnings.catch_warnings(), mpl.rc_context(_LOOK):
        # A sign that the font lacks becomes a box; that is no reason to have no report.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode()
