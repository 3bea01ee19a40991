"""`regress`: notebooks as a regression suite."""

from __future__ import annotations

import argparse
import sys

from projectai_lab.cli._common import DONE, FAILED, TROUBLE, USAGE, Commands
from projectai_lab.errors import NotebookError


def add_commands(commands: Commands) -> None:
    """Add `regress`."""
    regress = commands.add_parser(
        "regress",
        help="run notebooks as regression tests, or renew their baselines",
        epilog="exit codes: 0 green; 1 red: a check is broken or a cell failed; 2 wrong usage; "
        "3 not known: no server, worker or usable baseline",
    )
    regress.add_argument("paths", nargs="+", metavar="NOTEBOOK", help="notebooks, or their folder")
    regress.add_argument("--jobs", type=int, default=2, help="notebooks at a time (default 2)")
    regress.add_argument("--junit", metavar="FILE", help="write the outcome as JUnit XML")
    regress.add_argument("--output", default="runs/regress", help="folder (default: runs/regress)")
    regress.add_argument("--update", action="store_true", help="make the baselines anew")
    regress.add_argument("--reason", metavar="TEXT", help="why; kept in each baseline that changes")
    regress.set_defaults(run=run_regress)


def run_regress(arguments: argparse.Namespace) -> int:
    """Run the suite and print what each notebook came to."""
    from projectai_lab import regression

    wrong = _usage(arguments)
    try:
        sources = [] if wrong else regression.find(arguments.paths)
    except NotebookError as error:
        wrong = str(error)
    if wrong:
        print(f"projectai-lab regress: {wrong}", file=sys.stderr)
        return USAGE
    outcomes = regression.run(
        sources,
        jobs=arguments.jobs,
        update=arguments.reason if arguments.update else None,
        output_dir=arguments.output,
    )
    for outcome in outcomes:
        print(regression.digest(outcome))
    if arguments.junit:
        regression.junit(outcomes, arguments.junit)
    states = {outcome.state for outcome in outcomes}
    return FAILED if "red" in states else TROUBLE if "trouble" in states else DONE


def _usage(arguments: argparse.Namespace) -> str | None:
    if arguments.jobs < 1:
        return f"--jobs must be 1 or more, got {arguments.jobs}"
    if arguments.update and not (arguments.reason or "").strip():
        return 'an update needs a reason that stays beside the baseline: --update --reason "…"'
    if arguments.reason and not arguments.update:
        return "--reason belongs to --update; without it nothing is written"
    return None
