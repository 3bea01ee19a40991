"""Widgets in a real browser: JupyterLab and Voilà draw them, and their consoles stay clean."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser

from tests import browser as tools
from tests import zoo

pytestmark = pytest.mark.skipif(not tools.CHROMIUM, reason=tools.WHY_SKIPPED)

CONSOLE = tools.ROOT / "notebooks" / "90_console.ipynb"

# The smallest panel with a control; it needs no server of Temporal's.
SMALL = """
import ipywidgets

from projectai_lab.widgets._look import Html, block, badge
from projectai_lab.widgets._panel import Panel, style


class Doubled(Panel):
    def __init__(self):
        super().__init__()
        self.slider = ipywidgets.IntSlider(value=3, max=9, description="number")
        self.live = ipywidgets.HTML(self.facts_html())
        self.slider.observe(self.show, "value")
        self.view.children = [style(), self.slider, self.live]

    def show(self, _):
        self.live.value = self.facts_html()

    def facts_html(self):
        return block(f"twice is {2 * self.slider.value} ", badge("COMPLETED"))

    def facts_text(self):
        return f"twice is {2 * self.slider.value}"


panel = Doubled()
panel
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Return the module's browser; it ends with the module, as asyncio wants its thread back."""
    with tools.browser() as opened:
        yield opened


def with_notebooks(folder: Path) -> Path:
    """Put the notebooks of these tests into a folder that is to be served; return the folder."""
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "small.ipynb").write_text(tools.notebook([SMALL]))
    shutil.copy(CONSOLE, folder / "notebooks")
    return folder


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tools.Site]:
    """Return a JupyterLab that serves the notebooks of these tests."""
    with tools.jupyterlab(with_notebooks(tmp_path_factory.mktemp("jupyterlab"))) as site:
        yield site


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tools.Site]:
    """Return a Voilà that serves the same."""
    with tools.voila(with_notebooks(tmp_path_factory.mktemp("voila"))) as site:
        yield site


def test_jupyterlab_draws_a_panel_that_answers(jupyter: tools.Site, chromium: Browser) -> None:
    tab = tools.Notebook.open(chromium, jupyter.notebook("small"))
    tab.ready()
    tab.run_all()
    tab.page.get_by_text("twice is 6").wait_for()
    tab.page.get_by_role("slider").press("ArrowRight")
    tab.page.get_by_text("twice is 8").wait_for()
    tab.theme("JupyterLab Dark")
    tab.shoot("small-jupyterlab-dark")
    assert tab.errors == []


def test_voila_draws_a_panel_that_answers(pages: tools.Site, chromium: Browser) -> None:
    tab = tools.Tab.open(chromium, f"{pages.url}voila/render/small.ipynb")
    tab.page.get_by_text("twice is 6").wait_for()
    tab.page.get_by_role("slider").press("ArrowRight")
    tab.page.get_by_text("twice is 8").wait_for()
    tab.shoot("small-voila")
    assert tab.errors == []


def submit(tab: tools.Tab, workflow_id: str) -> None:
    """Fill the console's form, start a run, and wait until form and monitor say that it is done."""
    page = tab.page
    page.get_by_label("data", exact=True).fill("hello from a browser")
    page.get_by_label("user_id", exact=True).fill("u-1")
    page.get_by_label("Workflow Id", exact=True).fill(workflow_id)
    page.get_by_role("button", name="Submit", exact=True).click()
    row = page.locator("tr", has_text=workflow_id).filter(has_text="COMPLETED")
    row.first.wait_for()
    # In the form's rows and in the monitor.
    zoo.until(lambda: row.count() >= 2)


def explore(tab: tools.Tab, workflow_id: str) -> None:
    """Open the run in the explorer and click its last attempt of the AI call."""
    page = tab.page
    page.get_by_role("button", name="Refresh", exact=True).click()
    page.get_by_text(f"{workflow_id}", exact=False).first.wait_for()
    page.locator("button[title*='simulate_ai_call']").last.click()
    page.get_by_text("ACTIVITY_TASK_COMPLETED").first.wait_for()


def test_the_console_in_jupyterlab(jupyter: tools.Site, chromium: Browser) -> None:
    tab = tools.Notebook.open(chromium, jupyter.notebook("90_console"))
    tab.ready()
    tab.run_all()
    submit(tab, "in-jupyterlab")
    explore(tab, "in-jupyterlab")
    tab.shoot("console-jupyterlab")
    tab.theme("JupyterLab Dark")
    tab.shoot("console-jupyterlab-dark")
    tab.command("application:toggle-left-area")
    tab.resize(420)
    tab.shoot("console-jupyterlab-narrow")
    assert tab.errors == []


def test_the_console_as_a_page(pages: tools.Site, chromium: Browser) -> None:
    tab = tools.Tab.open(chromium, f"{pages.url}voila/render/90_console.ipynb")
    submit(tab, "in-voila")
    explore(tab, "in-voila")
    tab.resize(1280, 4000)
    tab.shoot("console-voila")
    tab.resize(420, 5000)
    tab.shoot("console-voila-narrow")
    assert tab.errors == []
    tab.page.close()
