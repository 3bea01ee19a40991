"""`export`: take many executions away, as replayable JSON and tables."""

from __future__ import annotations

import argparse
import dataclasses

from projectai_lab.cli._common import DONE, Commands, add_connection, add_json, config_of, show
from projectai_lab.client import LabClient

FORMATS = ("parquet", "arrow", "csv", "jsonl")


def add_commands(commands: Commands) -> None:
    """Add `export`."""
    export = commands.add_parser(
        "export",
        help="export executions as replayable JSON and tables",
        description="Export executions as replayable JSON and tables. Called again it goes on "
        "where it was interrupted, or adds what is new.",
    )
    export.add_argument("query", metavar="QUERY", help="List Filter; '' is every execution")
    export.add_argument("--to", required=True, metavar="DIR", help="folder of the export")
    export.add_argument(
        "--format",
        action="append",
        choices=FORMATS,
        help="format of the tables, may be repeated (default: parquet)",
    )
    export.add_argument("--attempts", metavar="FOLDER", help="attempt log to join")
    export.add_argument("--concurrency", type=int, default=50, help="fetches at once (50)")
    add_connection(export)
    add_json(export)
    export.set_defaults(run=run_export)


def run_export(arguments: argparse.Namespace) -> int:
    """Export and print what the folder holds now."""
    from projectai_lab import attempts

    recorder = attempts.read(arguments.attempts) if arguments.attempts else None
    with LabClient.connect(config_of(arguments)) as lab:
        done = lab.export_histories(
            arguments.query,
            arguments.to,
            concurrency=arguments.concurrency,
            recorder=recorder,
            formats=arguments.format or ("parquet",),
            progress=not arguments.json,
        )
    if arguments.json:
        show(dataclasses.asdict(done), as_json=True)
    else:
        print(done)
    return DONE
