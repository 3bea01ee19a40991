"""Seconds from a cell's start to its submission form, in a real kernel, against the limit."""

from __future__ import annotations

import statistics
from typing import Any

from jupyter_client.manager import start_new_kernel

from tests.bench.rounds import Row, in_turns

LIMIT_S = 0.3
METHOD = (
    "A real kernel with an open Lab; each round shows one more form of ExampleWorkflow in a cell "
    "and takes the cell's own time, widgets' messages included. Ours: the median and, in the "
    "second row, the first cell, with all imports of widgets."
)
_OPEN = """
import time
from projectai_lab import Lab
from projectai_lab.workflows import ExampleWorkflow
lab = Lab.start_local(attempts=False)
"""
_FORM = """
began = time.perf_counter()
from projectai_lab import widgets
from IPython.display import display
form = widgets.submit_form(lab, ExampleWorkflow)
display(form)
took = time.perf_counter() - began
"""


def measure(rounds: int = 15) -> list[Row]:
    """Return a row of the typical and one of the first form."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        _run(client, _OPEN)

        def shown() -> float:
            return float(_run(client, _FORM, "took"))

        first = shown()
        typical = statistics.median(in_turns("form", {"form": shown}, rounds)["form"])
        _run(client, "lab.close()")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    return [
        Row(what, ours, LIMIT_S, "s", ours / LIMIT_S, at_most=1.0)
        for what, ours in (("form: ready", typical), ("form: the first, with imports", first))
    ]


def _run(client: Any, code: str, wanted: str = "None") -> str:
    reply = client.execute_interactive(
        code, user_expressions={"it": wanted}, timeout=60, output_hook=lambda _: None
    )
    if reply["content"]["status"] != "ok":
        raise RuntimeError("\n".join(reply["content"]["traceback"]))
    answer: str = reply["content"]["user_expressions"]["it"]["data"]["text/plain"]
    return answer
