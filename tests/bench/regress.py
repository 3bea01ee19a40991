"""A regression suite of notebooks two at a time against one after another."""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path

from projectai_lab import regression
from tests.bench.rounds import Row, in_turns, say, timed, typical_ratio

ROOT = Path(__file__).parents[2]
METHOD = (
    "The notebooks of the repository, each with its own kernel and server, through regression.run "
    "with jobs=2 and jobs=1 in turns, after a run of each that does not count. Medians of the "
    "whole suite's seconds; the ratio, one at a time to two, is the median of the rounds' ratios."
)


def measure(suite: Path = ROOT / "notebooks", rounds: int = 3) -> list[Row]:
    """Return one row."""
    with tempfile.TemporaryDirectory() as runs:
        say("regress: warming up")
        _run(suite, runs, 2)
        works = {f"--jobs {jobs}": timed(partial(_run, suite, runs, jobs)) for jobs in (2, 1)}
        seconds = in_turns("regress", works, rounds)
    two, one_by_one = seconds["--jobs 2"], seconds["--jobs 1"]
    medians = statistics.median(two), statistics.median(one_by_one)
    ratio = typical_ratio(one_by_one, two)
    return [Row("regress: --jobs 2 to --jobs 1", *medians, "s", *ratio, at_least=1.5)]


def _run(suite: Path, runs: str, jobs: int) -> None:
    outcomes = regression.run([suite], jobs=jobs, output_dir=runs, progress=False)
    for outcome in outcomes:
        if outcome.state != "green":
            raise RuntimeError(regression.digest(outcome))
