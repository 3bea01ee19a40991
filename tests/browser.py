"""A real browser against a real JupyterLab and a real Voilà on loopback: tools of its tests.

Everything stands in one folder of the test's own: notebooks, settings, kernels' connection files.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests import zoo

ROOT = Path(__file__).parent.parent
SHOTS = ROOT / "runs" / "browser"
CHROMIUM = shutil.which("chromium")
WHY_SKIPPED = "no Chromium: apt-get install chromium fonts-dejavu"
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
LIMIT_MS = 60_000.0
_KERNEL = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel"
_ICONS = "/npm/@fortawesome/"
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
}


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a headless Chromium.

    While it is open, asyncio takes the thread for one with a running loop: whoever opens a Lab or
    calls `asyncio.run` does so afterwards or in a thread of its own.
    """
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield opened
        opened.close()


@dataclass
class Site:
    """A server on loopback: where it answers, the folder that it serves, what it wrote."""

    url: str
    folder: Path
    log: Path
    process: psutil.Process

    def notebook(self, name: str) -> str:
        """Return JupyterLab's address of a notebook, in a workspace where no other is open."""
        return f"{self.url}/workspaces/{name}/tree/{name}.ipynb"

    def kernels(self) -> list[psutil.Process]:
        """Return the kernels that run now."""
        found = []
        for child in self.process.children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "ipykernel_launcher" in " ".join(child.cmdline()):
                    found.append(child)
        return found


@contextmanager
def jupyterlab(folder: Path) -> Iterator[Site]:
    """Serve a folder's `notebooks` with JupyterLab, which asks nobody for news or updates."""
    for name, values in SETTINGS.items():
        file = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    page = folder / "config" / "labconfig" / "page_config.json"
    page.parent.mkdir(parents=True)
    page.write_text(
        json.dumps({"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}})
    )
    port = _free_port()
    arguments = [
        *(
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--expose-app-in-browser",
            "--IdentityProvider.token=",
        ),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *("--LabApp.extension_manager=readonly", "--ServerApp.terminals_enabled=False"),
        f"--ServerApp.root_dir={folder / 'notebooks'}",
    ]
    with _serving(arguments, f"http://127.0.0.1:{port}/lab", folder) as site:
        yield site


@contextmanager
def voila(folder: Path, *arguments: str) -> Iterator[Site]:
    """Serve a folder's `notebooks` with Voilà; arguments go to it as they do from the Makefile."""
    port = _free_port()
    command = [
        *("voila", str(folder / "notebooks"), "--no-browser", "--strip_sources=True"),
        *(f"--port={port}", "--Voila.ip=127.0.0.1", *arguments),
    ]
    with _serving(command, f"http://127.0.0.1:{port}/", folder) as site:
        yield site


@contextmanager
def _serving(arguments: Sequence[str], url: str, folder: Path) -> Iterator[Site]:
    """Run a server of Jupyter's until the end of the block; its kernels end with it."""
    log = folder / "server.log"
    with log.open("w") as file:
        running = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env=_environment(folder),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    process = psutil.Process(running.pid)
    try:
        zoo.until(lambda: running.poll() is not None or _answers(url))
        assert running.poll() is None, log.read_text()
        yield Site(url, folder, log, process)
    finally:
        started = process.children(recursive=True) if running.poll() is None else []
        running.terminate()
        running.wait(timeout=60)
        _, left = psutil.wait_procs(started, timeout=60)
        assert left == [], f"{arguments[0]} left {left}"


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment in which nobody's own settings are read and none are written."""
    ours = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(":"),
        "IPYTHONDIR": str(folder / "ipython"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    return {**os.environ, **ours}


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@dataclass
class Tab:
    """A page of the browser that remembers every error of its console."""

    page: Page
    errors: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, browser: Browser, url: str) -> Self:
        """Open an address in a page of its own, with no cookies or storage of another's."""
        page = browser.new_page(viewport={"width": 1280, "height": 1600})
        page.set_default_timeout(LIMIT_MS)
        tab = cls(page)
        page.on("console", tab._note)
        page.on("pageerror", lambda error: tab.errors.append(f"uncaught: {error}"))
        page.goto(url)
        return tab

    def _note(self, message: ConsoleMessage) -> None:
        # Voilà's own template takes its icons from a CDN, and does without them.
        if message.type == "error" and _ICONS not in message.location.get("url", ""):
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    def shoot(self, name: str) -> Path:
        """Keep a picture of the page in `runs/browser`."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / f"{name}.png"
        self.page.screenshot(path=path)
        return path

    def resize(self, width: int, height: int = 1600) -> None:
        """Give the page another size, in CSS pixels."""
        self.page.set_viewport_size({"width": width, "height": height})

    def overflow(self, inside: str) -> int:
        """Return by how many pixels what matches `inside` is wider than its place."""
        found: int = self.page.locator(inside).first.evaluate("e => e.scrollWidth - e.clientWidth")
        return found


@dataclass
class Notebook(Tab):
    """A notebook that is open in JupyterLab."""

    def ready(self) -> None:
        """Wait until the notebook is drawn and its kernel waits for work."""
        self.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        self.page.wait_for_function(f"{_KERNEL}?.status === 'idle'")

    def run_all(self) -> None:
        """Run all cells once, and wait until each has its number."""
        self.command("notebook:run-all-cells")
        self.page.wait_for_function(
            """() => {
                const notebook = jupyterapp.shell.currentWidget.content;
                const code = notebook.widgets.filter(cell => cell.model.type === 'code');
                return code.every(cell => cell.model.executionCount);
            }"""
        )
        self.ready()

    def command(self, name: str, **arguments: str) -> None:
        """Have JupyterLab carry out one of its commands, as its menus do."""
        # In braces: a command's promise would be waited for without an end.
        call = "([name, given]) => { jupyterapp.commands.execute(name, given) }"
        self.page.evaluate(call, [name, arguments])

    def ask(self, expression: str) -> str:
        """Return what the kernel says of an expression, after all that the page asked of it."""
        reply = self.page.evaluate(
            f"""async it => {{
                const asked = {{code: '', silent: true, user_expressions: {{it}}}};
                const reply = await {_KERNEL}.requestExecute(asked).done;
                return reply.content.user_expressions.it;
            }}""",
            expression,
        )
        assert reply["status"] == "ok", reply
        return str(reply["data"]["text/plain"])

    def theme(self, name: str) -> None:
        """Switch the theme: `JupyterLab Dark` or `JupyterLab Light`."""
        self.command("apputils:change-theme", theme=name)
        self.page.locator(f"body[data-jp-theme-name='{name}']").wait_for(state="attached")
        # It is laid over the page, and dims its pictures, until the theme's styles are there.
        self.page.locator("#jupyterlab-splash").wait_for(state="detached")


def notebook(cells: Sequence[str]) -> str:
    """Return a notebook's file with these code cells, with ids and without outputs."""
    made: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"cell-{n}",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for n, source in enumerate(cells)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": made, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})
