"""What everybody can see, reach and trust: contrast, keys, focus, narrow pages, hostile names."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, Page

from projectai_lab.widgets._look import STYLE
from projectai_lab.widgets._timeline_view import STYLE as LANES
from tests import browser as tools
from tests import looks, zoo
from tests.stage import EVIL, EXPLORER, FORM, MONITOR, STAGE, choose_run, panel, themeless

pytestmark = pytest.mark.skipif(not tools.CHROMIUM, reason=tools.WHY_SKIPPED)

OURS = ".projectai-lab, .jp-RenderedHTML > div"
THEMES = ("JupyterLab Light", "JupyterLab Dark")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Return the module's browser; it ends with the module, as asyncio wants its thread back."""
    with tools.browser() as opened:
        yield opened


def folder_of(made: Path) -> Path:
    """Put the notebook of these tests into a folder that is to be served; return the folder."""
    (made / "notebooks").mkdir()
    (made / "notebooks" / "stage.ipynb").write_text(tools.notebook(STAGE))
    return made


@pytest.fixture(scope="module")
def lab_of_all(
    tmp_path_factory: pytest.TempPathFactory, chromium: Browser
) -> Iterator[tools.Notebook]:
    """Return the notebook in JupyterLab, with all of it drawn."""
    with tools.jupyterlab(folder_of(tmp_path_factory.mktemp("jupyterlab"))) as site:
        tab = tools.Notebook.open(chromium, site.notebook("stage"))
        tab.ready()
        tab.command("application:toggle-left-area")
        tab.resize(1280, 6000)
        tab.run_all()
        choose_run(tab)
        yield tab


@pytest.fixture(scope="module")
def page_of_all(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[tools.Tab]:
    """Return the same as a page of Voilà."""
    with tools.voila(folder_of(tmp_path_factory.mktemp("voila"))) as site:
        tab = tools.Tab.open(chromium, f"{site.url}voila/render/stage.ipynb")
        tab.resize(1280, 6000)
        choose_run(tab)
        yield tab


@pytest.fixture
def lab_tab(lab_of_all: tools.Notebook) -> Iterator[tools.Notebook]:
    """Return the notebook; afterwards no error was told and no hostile name was carried out."""
    lab_of_all.resize(1280, 6000)
    yield lab_of_all
    assert lab_of_all.errors == []
    assert lab_of_all.page.evaluate("window.pwned === undefined")


@pytest.fixture(params=[*THEMES, pytest.param("Voilà", id="Voila")])
def any_tab(request: pytest.FixtureRequest) -> Iterator[tools.Tab]:
    """Return the panels in each look that they have."""
    tab: tools.Tab
    if request.param in THEMES:
        tab = request.getfixturevalue("lab_of_all")
        assert isinstance(tab, tools.Notebook)
        tab.theme(request.param)
    else:
        tab = request.getfixturevalue("page_of_all")
    tab.resize(1280, 6000)
    yield tab
    assert tab.errors == []
    assert tab.page.evaluate("window.pwned === undefined")


def test_what_is_seen_has_contrast(any_tab: tools.Tab) -> None:
    seed, query = (any_tab.page.get_by_label(name) for name in ("seed", "List Filter"))
    seed.fill("no number")
    query.fill("no filter")
    query.press("Enter")
    any_tab.page.get_by_text("not a whole number").wait_for()
    any_tab.page.get_by_text("List Filter: invalid").wait_for()
    found = looks.measured(any_tab.page, OURS)
    seed.fill("0")
    query.fill("")
    query.press("Enter")
    any_tab.page.get_by_text("List Filter: invalid").wait_for(state="detached")
    kinds = ("RUNNING", "dot of", "edge of", "rect", "line", "polyline", "placeholder", "value")
    assert [kind for kind in kinds if not any(one.what.startswith(kind) for one in found)] == []
    assert [one for one in found if one.poor] == []


@pytest.mark.parametrize("ground", ["light", "dark", "black"])
def test_a_page_without_a_theme_has_contrast(chromium: Browser, ground: str) -> None:
    page = chromium.new_page(color_scheme="light" if ground == "light" else "dark")
    body = "background:black;color:white" if ground == "black" else ""
    scheme = "normal" if ground == "black" else "light dark"
    page.set_content(
        f'<meta name="color-scheme" content="{scheme}"><body style="{body}">'
        f"<style>{STYLE}{LANES}</style>{themeless()}"
    )
    found = looks.measured(page, "body")
    page.close()
    assert len(found) > 40
    assert [one for one in found if one.poor] == []


def test_a_narrow_page_holds_the_panels(any_tab: tools.Tab, request: pytest.FixtureRequest) -> None:
    any_tab.resize(420, 7000)
    any_tab.page.get_by_role("button", name="faults").click()
    any_tab.page.get_by_label("error_type").wait_for()
    any_tab.shoot(f"narrow-{request.node.callspec.id.replace(' ', '-')}")
    found = {n: looks.misplaced(panel(any_tab, n)) for n in range(4)}
    places = ".projectai-lab, .jp-OutputArea-output, html"
    wide = "all => all.map(e => e.scrollWidth - e.clientWidth).filter(more => more > 0)"
    overflow = any_tab.page.locator(places).evaluate_all(wide)
    any_tab.page.get_by_role("button", name="faults").click()
    assert found == {n: [] for n in range(4)}
    assert overflow == []


def test_cards_tables_and_controls_look_alike(
    any_tab: tools.Tab, request: pytest.FixtureRequest
) -> None:
    any_tab.shoot(f"look-{request.node.callspec.id.replace(' ', '-')}")
    look = looks.alike(any_tab.page)
    assert {key: len(values) for key, values in look.items()} == dict.fromkeys(look, 1), look


UNNAMED = re.compile(r"- '?(button|textbox|combobox|listbox|spinbutton|checkbox|link)(?! \")")


def test_no_control_is_without_a_name(any_tab: tools.Tab) -> None:
    # The handle of a slider has none: ipywidgets writes its label beside it and ties them not.
    for which in range(4):
        tree = panel(any_tab, which).aria_snapshot()
        assert [line for line in tree.splitlines() if UNNAMED.search(line)] == []


FOCUSED = """() => {
    const one = document.activeElement, {left, top} = one.getBoundingClientRect();
    const {outlineStyle, outlineWidth} = getComputedStyle(one);
    const ring = outlineStyle === 'solid' && parseFloat(outlineWidth) >= 2;
    return [Boolean(one.closest('.projectai-lab')), ring, top, left];
}"""
REACHABLE = """all => all.filter(one => one.checkVisibility() && !one.disabled).length"""


def focus_on(page: Page, name: str, most: int = 80) -> None:
    """Press Tab until what has the focus is called so."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if name in page.locator(":focus").aria_snapshot().partition("\n")[0]:
            return
    raise AssertionError(f"{most} times Tab do not reach {name!r}")


def test_tab_reaches_every_control_in_the_order_that_is_seen(lab_tab: tools.Notebook) -> None:
    page = lab_tab.page
    page.get_by_label("data", exact=True).focus()
    places = []
    while (now := page.evaluate(FOCUSED))[0]:
        controls = "input, select, textarea, button, [role=slider]"
        places.append(
            (now[2], now[3], page.evaluate(f"document.activeElement.matches('{controls}')"))
        )
        assert now[1], page.locator(":focus").aria_snapshot()
        page.keyboard.press("Tab")
    for (top, left, _), (next_top, next_left, _) in itertools.pairwise(places):
        assert next_top > top + 10 or (next_top > top - 10 and next_left > left), places
    ours = page.locator(".projectai-lab :is(input, select, textarea, button, [role=slider])")
    assert sum(control for _, _, control in places) == ours.evaluate_all(REACHABLE)


def test_a_run_is_submitted_with_the_keyboard_alone(lab_tab: tools.Notebook) -> None:
    page, keys = lab_tab.page, lab_tab.page.keyboard
    page.get_by_label("data", exact=True).focus()
    keys.press("ControlOrMeta+A")
    keys.type("by keys")
    focus_on(page, "▸ faults")
    keys.press("Space")
    page.get_by_label("error_type").wait_for()
    focus_on(page, "error_type", 1)
    keys.press("Shift+Tab")
    keys.press("Enter")
    page.get_by_label("error_type").wait_for(state="hidden")
    focus_on(page, 'textbox "Workflow Id"')
    keys.type("typed")
    focus_on(page, "Submit")
    keys.press("Enter")
    row = panel(lab_tab, FORM).locator("tr", has_text="typed").filter(has_text="COMPLETED")
    row.wait_for()
    assert (
        lab_tab.ask("form.handles[-1].result().result['answer']")
        == "'simulated answer to 7 characters'"
    )


def test_a_run_is_cancelled_with_the_keyboard_alone(lab_tab: tools.Notebook) -> None:
    page, keys = lab_tab.page, lab_tab.page.keyboard
    page.get_by_label("List Filter").focus()
    focus_on(page, 'combobox "Execution"')
    keys.type("by-keys")
    monitor = panel(lab_tab, MONITOR)
    monitor.get_by_role("link", name="open in the Web UI").wait_for()
    focus_on(page, 'link "open in the Web UI"', 1)
    assert "/by-keys/" in str(page.locator(":focus").get_attribute("href"))
    focus_on(page, 'button "Ask to confirm"', 2)
    keys.press("Enter")
    monitor.get_by_text("are you sure?").wait_for()
    focus_on(page, "Yes, cancel 'by-keys'", 1)
    keys.press("Enter")
    monitor.get_by_text("'by-keys' was asked to cancel").wait_for()
    zoo.until(lambda: not monitor.get_by_role("combobox", name="Execution").input_value())


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_an_attempt_is_chosen_with_the_keyboard_alone(lab_tab: tools.Notebook, key: str) -> None:
    page, attempt = lab_tab.page, {"Enter": 1, "Space": 2}[key]
    page.get_by_label("Query").focus()
    focus_on(page, f"activity simulate_ai_call, attempt {attempt}")
    page.keyboard.press(key)
    said = f"activity simulate_ai_call, attempt {attempt}, FAILED"
    panel(lab_tab, EXPLORER).locator("h4", has_text=said).wait_for()
    assert f"attempt {attempt}" in page.locator(":focus").aria_snapshot()


def changes(tab: tools.Notebook, name: str) -> Iterator[str]:
    """Start a run three times, and yield when the monitor has drawn it."""
    for n in range(3):
        run = f"{name}-{n}"
        tab.ask(f"lab.start_workflow(zoo.Greeting.run, args=['greet', 'x'], id={run!r}).id")
        panel(tab, MONITOR).locator("tr", has_text=run).filter(has_text="COMPLETED").wait_for()
        yield run


@pytest.mark.parametrize("which", ["Status", "Execution", "link", "table"])
def test_what_has_the_focus_keeps_it_while_executions_change(
    lab_tab: tools.Notebook, which: str
) -> None:
    monitor = panel(lab_tab, MONITOR)
    runs = monitor.get_by_role("combobox", name="Execution")
    runs.fill("open" if which == "link" else "op")
    held = {
        "Status": monitor.get_by_role("combobox", name="Status"),
        "Execution": runs,
        "link": monitor.get_by_role("link", name="open in the Web UI"),
        "table": monitor.locator(".plab-live"),
    }[which]
    held.focus()
    element = held.element_handle()
    if which == "Status":
        lab_tab.page.keyboard.press("Space")
    for run in changes(lab_tab, which):
        monitor.locator(f"option[value={run}]").wait_for(state="attached")
        assert lab_tab.page.evaluate("one => document.activeElement === one", element)
        assert which != "Status" or held.evaluate("one => one.matches(':open')")
        assert which == "link" or runs.input_value() == "op"
    lab_tab.page.keyboard.press("Escape")
    runs.fill("")


def test_a_table_stays_where_it_was_scrolled_to_while_executions_change(
    lab_tab: tools.Notebook,
) -> None:
    lab_tab.resize(420, 7000)
    live = panel(lab_tab, MONITOR).locator(".plab-live")
    live.evaluate("one => one.scrollTo(60, 0)")
    for _ in changes(lab_tab, "scrolled"):
        assert live.evaluate("one => one.scrollLeft") == 60


def test_a_double_click_starts_one_execution(lab_tab: tools.Notebook) -> None:
    counted = "lab.count_workflows(\"WorkflowType = 'ExampleWorkflow'\").count"
    started, before = int(lab_tab.ask("len(form.handles)")), int(lab_tab.ask(counted))
    panel(lab_tab, FORM).get_by_role("button", name="Submit").dblclick()
    zoo.until(lambda: int(lab_tab.ask(counted)) > before)
    assert int(lab_tab.ask("len(form.handles)")) == started + 1
    assert int(lab_tab.ask(counted)) == before + 1


def test_hostile_names_are_shown_as_they_are(any_tab: tools.Tab) -> None:
    form, monitor, explorer = (panel(any_tab, n) for n in (FORM, MONITOR, EXPLORER))
    form.get_by_role("cell", name=f"{EVIL} again").wait_for()
    explorer.locator("strong", has_text=EVIL).wait_for()
    explorer.locator("code", has_text=f'"user_id": {json.dumps(EVIL)}').first.wait_for()
    query = any_tab.page.get_by_label("List Filter")
    query.fill("WorkflowType IN ('Doomed', 'Persistent')")
    query.press("Enter")
    monitor.get_by_role("link", name=f"failed {EVIL}").wait_for()
    monitor.get_by_role("cell", name=f"Unlucky: {EVIL}").wait_for()
    query.fill("")
    query.press("Enter")
    assert any_tab.page.locator("img[src=x]").count() == 0
