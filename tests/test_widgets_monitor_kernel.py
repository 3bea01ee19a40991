"""The monitor in a real kernel: one run of a cell has one monitor that looks."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

from projectai_lab.config import LabConfig

WIDGET = "application/vnd.jupyter.widget-view+json"
SETUP = """
import time
from projectai_lab import Lab, LabConfig, widgets
lab = Lab.connect(LabConfig(address={address!r}, task_queue={task_queue!r}), worker=False)
made = []
def looks_on(panel):
    before, until = panel._ticker.looks, time.monotonic() + 30
    while panel._ticker.looks < before + 3 and time.monotonic() < until:
        time.sleep(0.01)
    return panel._ticker.looks >= before + 3
"""
MONITOR = "made.append(widgets.monitor(lab, every=0.05)); made[-1]"


class Kernel:
    """A front end's side of a kernel: it runs cells and keeps their displays."""

    def __init__(self, client: BlockingKernelClient) -> None:
        self._client = client
        self.bundles: list[dict[str, Any]] = []

    def run(self, cell: str, code: str) -> str:
        """Run code as a cell of JupyterLab does; return what it printed."""
        content = {
            "code": code,
            "silent": False,
            "store_history": True,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": True,
        }
        request = self._client.session.msg(
            "execute_request", content, metadata={"cellId": cell, "deletedCells": []}
        )
        self._client.shell_channel.send(request)
        return self._answer(request["header"]["msg_id"])

    def _answer(self, request: str) -> str:
        written = ""
        while True:
            message = self._client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                written += content["text"]
            elif message["msg_type"] == "error":
                raise AssertionError("\n".join(content["traceback"]))
            elif message["msg_type"] in ("display_data", "update_display_data"):
                self.bundles.append(content["data"])
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                return written


@pytest.fixture
def kernel(config: LabConfig) -> Iterator[Kernel]:
    """Return a real kernel with a Lab in it."""
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(Path(__file__).parents[1]))
    try:
        front = Kernel(client)
        front.run("setup", f"import sys; sys.path[:] = {sys.path!r}")
        front.run("setup", SETUP.format(address=config.address, task_queue=config.task_queue))
        yield front
        front.run("end", "lab.close()")
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.context.destroy()


def test_a_cell_that_is_run_again_has_one_monitor_that_looks(kernel: Kernel) -> None:
    kernel.run("a", MONITOR)
    kernel.run("b", MONITOR)
    assert [set(bundle) for bundle in kernel.bundles] == [{WIDGET, "text/html", "text/plain"}] * 2
    assert kernel.run("c", "print(looks_on(made[0]) and looks_on(made[1]))") == "True\n"
    kernel.run("a", MONITOR)
    code = "print([one.closed for one in made], looks_on(made[1]) and looks_on(made[2]))"
    assert kernel.run("c", code) == "[True, False, False] True\n"
    # The ticker that ended does not look while the others do.
    ended = "n = made[0]._ticker.looks; looks_on(made[2]); print(made[0]._ticker.looks - n)"
    assert ast.literal_eval(kernel.run("c", ended)) == 0


def test_one_that_is_closed_leaves_its_last_facts_on_the_page(kernel: Kernel) -> None:
    kernel.run("a", MONITOR)
    kernel.run("b", "looks_on(made[0]); made[0].close()")
    assert kernel.bundles[-1]["text/plain"].endswith(" UTC, stopped")
    assert "UTC, stopped" in kernel.bundles[-1]["text/html"]


def test_a_cell_that_is_run_again_leaves_no_widget_behind(kernel: Kernel) -> None:
    count = "from ipywidgets.widgets import widget; print(len(widget._instances))"
    browser = "made.append(widgets.history_browser(lab)); made[-1]"
    for code in (MONITOR, browser):
        assert kernel.run("d", "made.clear()") == ""
        kernel.run("a", code)
        after_one = kernel.run("c", count)
        kernel.run("a", code)
        kernel.run("a", code)
        assert kernel.run("c", count) == after_one


def test_a_cell_that_is_run_with_other_code_stops_its_monitor(kernel: Kernel) -> None:
    kernel.run("a", MONITOR)
    kernel.run("a", "pass")
    assert kernel.run("c", "print(made[0].closed)") == "True\n"
