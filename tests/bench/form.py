"""Seconds from the start of a cell to the submission form that it shows, in a real kernel."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

from tests.bench.rounds import Row, say

ROOT = Path(__file__).parents[2]
LIMIT_S = 0.3
METHOD = (
    "A kernel with an open Lab runs a cell that imports the widgets and shows the form of the AI "
    "request, then one that shows another: seconds from the kernel's word that the cell runs to "
    "the form's display message, by the kernel's clock. A fresh kernel each round; medians; the "
    f"other side is the limit of {LIMIT_S:g} s."
)
OPEN = """
from projectai_lab import Lab
from projectai_lab.workflows import ExampleWorkflow

lab = Lab.start_local()
"""
FORM = """
from projectai_lab import widgets

widgets.submit_form(lab, ExampleWorkflow)
"""
_VIEW = "application/vnd.jupyter.widget-view+json"


def measure(rounds: int = 7) -> list[Row]:
    """Return a row for a kernel's first form, imports included, and one for a further form."""
    first: list[float] = []
    further: list[float] = []
    for number in range(rounds):
        say(f"form: round {number + 1} of {rounds}")
        with kernel() as client:
            run(client, OPEN)
            first.append(until_shown(client))
            further.append(until_shown(client))
            run(client, "lab.close()")
    return [_row("form: a kernel's first, with imports", first), _row("form: a further", further)]


def _row(what: str, seconds: list[float]) -> Row:
    typical = statistics.median(seconds)
    return Row(what, typical, LIMIT_S, "s", typical / LIMIT_S, at_most=1)


@contextmanager
def kernel() -> Iterator[BlockingKernelClient]:
    """Run a kernel of this very Python in the repository's folder."""
    manager = KernelManager()
    launch = "-m ipykernel_launcher -f {connection_file} --log-level=CRITICAL"
    argv = [sys.executable, *launch.split()]
    manager._kernel_spec = KernelSpec(argv=argv, display_name="Python 3", language="python")
    manager.start_kernel(cwd=str(ROOT))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel()


def run(client: BlockingKernelClient, code: str) -> list[dict[str, Any]]:
    """Run a cell and return the kernel's messages; RuntimeError for one that fails."""
    told: list[dict[str, Any]] = []
    reply = client.execute_interactive(code, timeout=120, output_hook=told.append)
    if reply["content"]["status"] != "ok":
        raise RuntimeError(f"the cell failed: {reply['content'].get('evalue')}\n{code}")
    return told


def until_shown(client: BlockingKernelClient) -> float:
    """Run the cell of a form; return its seconds, by the kernel's clock."""
    told = run(client, FORM)
    began = next(one for one in told if one["msg_type"] == "execute_input")
    shown = [one for one in told if _VIEW in one["content"].get("data", {})]
    if not shown:
        raise RuntimeError("the cell showed no form")
    return (_when(shown[0]) - _when(began)).total_seconds()


def _when(message: dict[str, Any]) -> datetime:
    when: datetime = message["header"]["date"]
    return when
