"""A regression suite of notebooks two at a time against one after another."""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path

from projectai_lab import regression
from tests.bench.rounds import Row, in_turns, timed, typical_ratio
from tests.regression_notebooks import copy_baselines, study

METHOD = (
    "The same notebooks, each with its own kernel and server, 21 runs and two checks, through "
    "regression.run with jobs=2 and jobs=1 in turns; medians of the whole suite's seconds. The "
    "ratio, one at a time to two, is the median of the rounds' ratios."
)


def measure(notebooks: int = 4, rounds: int = 3) -> list[Row]:
    """Return one row."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suite = [study(folder / f"study-{number}.ipynb") for number in range(notebooks)]
        _run(suite[:1], folder, 1, update="first")
        for one in suite[1:]:
            copy_baselines(suite[0], one)
        works = {
            f"--jobs {jobs}": timed(partial(_run, suite, folder, jobs, None)) for jobs in (2, 1)
        }
        seconds = in_turns("regress", works, rounds)
    two, one_by_one = seconds["--jobs 2"], seconds["--jobs 1"]
    medians = statistics.median(two), statistics.median(one_by_one)
    ratio = typical_ratio(one_by_one, two)
    return [Row("regress: --jobs 2 to --jobs 1", *medians, "s", *ratio, at_least=1.5)]


def _run(suite: list[Path], folder: Path, jobs: int, update: str | None) -> None:
    outcomes = regression.run(
        suite, jobs=jobs, update=update, output_dir=folder / "runs", progress=False
    )
    for outcome in outcomes:
        if outcome.state != "green":
            raise RuntimeError(regression.digest(outcome))
