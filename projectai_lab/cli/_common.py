"""What several commands share: the connection's options and printing."""

from __future__ import annotations

import argparse
import json
from typing import Any

from projectai_lab.config import LabConfig

DONE, FAILED, USAGE, TROUBLE, INTERRUPTED = 0, 1, 2, 3, 130
"""The exit codes; the package says what each means."""

Commands = Any
"""The object that `ArgumentParser.add_subparsers` returns; argparse keeps its type private."""


def add_connection(command: argparse.ArgumentParser) -> None:
    """Add the options that say where to connect; each defaults to the environment."""
    command.add_argument("--address", help="host:port (default: TEMPORAL_HOST or localhost:7233)")
    command.add_argument("--namespace", help="default: TEMPORAL_NAMESPACE or default")
    command.add_argument("--task-queue", help="default: TEMPORAL_TASK_QUEUE or project-ai-tasks")


def config_of(arguments: argparse.Namespace) -> LabConfig:
    """Return the settings of a command with `add_connection`'s options."""
    return LabConfig.load(
        address=arguments.address,
        namespace=arguments.namespace,
        task_queue=arguments.task_queue,
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    command.add_argument("--json", action="store_true", help="print JSON")


def show(facts: dict[str, Any], *, as_json: bool) -> None:
    """Print facts as JSON, or as aligned lines."""
    if as_json:
        print(json.dumps(facts, default=str, indent=2))
        return
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")
