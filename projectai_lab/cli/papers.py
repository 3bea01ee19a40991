"""`demo` and `notebooks`: run notebooks headless and say where their reports are."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from projectai_lab import notebooks
from projectai_lab.cli._common import DONE, Commands

QUICKSTART = Path("notebooks/01_quickstart.ipynb")


def add_commands(commands: Commands) -> None:
    """Add `demo` and `notebooks run`."""
    demo = commands.add_parser("demo", help="run the quickstart notebook, print where it all is")
    demo.add_argument("--output", default="runs/demo", help="folder (default: runs/demo)")
    demo.set_defaults(run=run_demo)
    papers = commands.add_parser("notebooks", help="run notebooks headless as tests")
    actions = papers.add_subparsers(title="actions", metavar="ACTION", required=True)
    run = actions.add_parser("run", help="run notebooks; exit code 1 when one fails")
    run.add_argument("paths", nargs="+", metavar="NOTEBOOK")
    run.add_argument(
        "-p",
        dest="parameters",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        type=_parameter,
        help="VALUE is JSON, or else text",
    )
    run.add_argument("--output", default="runs", help="folder (default: runs)")
    run.add_argument("--jobs", type=int, default=2, help="notebooks at a time (default 2)")
    run.set_defaults(run=run_notebooks)


def run_demo(arguments: argparse.Namespace) -> int:
    """Run the quickstart and print its result table, its report and its plots."""
    folder = Path(arguments.output).resolve()
    print(f"running {QUICKSTART} on an embedded Temporal server …", flush=True)
    done = notebooks.run(
        QUICKSTART, parameters={"output_dir": str(folder)}, output=folder / QUICKSTART.name
    )
    summary = json.loads((folder / "summary.json").read_text())
    print(f"\n{summary['table']}\n")
    print(f"took      {done.seconds:.1f} s")
    print(f"server    {summary['address']}  (clock: {summary['clock']}; it ended with the run)")
    print(f"Web UI    {summary['ui_url']}")
    print(f"report    {done.html}")
    for plot in summary["plots"]:
        print(f"plot      {plot}")
    return DONE


def run_notebooks(arguments: argparse.Namespace) -> int:
    """Run notebooks with parameters and print what each took and where it is."""
    done = notebooks.run_many(
        arguments.paths,
        parameters=dict(arguments.parameters),
        output_dir=arguments.output,
        jobs=arguments.jobs,
    )
    for one in done:
        print(f"passed  {one.notebook}  {one.seconds:.1f} s  {one.html}")
    return DONE


def _parameter(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
