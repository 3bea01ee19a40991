"""A notebook with every panel and card, hostile names and a run of each status, for a browser."""

from __future__ import annotations

from playwright.sync_api import Locator

from projectai_lab._html import ACCENTS, card, link
from projectai_lab.widgets._lanes import Item, Lane
from projectai_lab.widgets._look import Html, badge, block, message, table
from projectai_lab.widgets._sparkline import sparkline
from projectai_lab.widgets._timeline_view import lanes_html
from tests import browser as tools

EVIL = '"><img src=x onerror=window.pwned=1>'
FORM, MONITOR, EXPLORER, PLAYGROUND = range(4)

# One run of each status, each name that others give hostile.
RUNS = f"""
from datetime import timedelta

from IPython.display import HTML

from projectai_lab import FaultPlan, Lab, WorkflowInput, widgets
from projectai_lab._html import ACCENTS, card
from projectai_lab.workflows import ExampleWorkflow
from tests import zoo

EVIL = {EVIL!r}
workflows = [*zoo.WORKFLOWS, ExampleWorkflow]
lab = Lab.open(workflows=workflows, activities=zoo.ACTIVITIES, fail_workflow_on_exception=False)
plan = FaultPlan(fail_first={{"simulate_ai_call": 2}})
lab.start_workflow(zoo.Doomed.run, EVIL, id="failed " + EVIL)
lab.start_workflow(zoo.Sleeper.run, 600.0, id="late", execution_timeout=timedelta(seconds=1))
for name in ("open", "by-keys", "ended", "left"):
    lab.start_workflow(zoo.Sleeper.run, 600.0, id=name)
lab.get_workflow_handle("ended").terminate()
lab.get_workflow_handle("left").cancel()
lab.start_workflow(zoo.Buggy.run, id="stuck")
lab.start_workflow(zoo.Persistent.run, args=["fail_always", EVIL], id="retrying")
done = lab.start_workflow(ExampleWorkflow.run, WorkflowInput(EVIL, EVIL, faults=plan), id=EVIL)
done.result(timeout=60)
done
"""
CARDS = 'HTML("".join(card(one, {"status": one}, url=lab.ui_url, status=one) for one in ACCENTS))'
FILLED = """
form = widgets.submit_form(lab, ExampleWorkflow).fill(data=EVIL, user_id=EVIL)
form.submit(id=EVIL + " again").result(timeout=60)
form
"""
STAGE = (
    *(RUNS, "lab", CARDS, FILLED, "widgets.monitor(lab, every=0.3)"),
    *("widgets.history_browser(lab)", "widgets.policy_playground(lab)"),
)


def panel(tab: tools.Tab, which: int) -> Locator:
    """Return one of the panels."""
    return tab.page.locator(".projectai-lab").nth(which)


def choose_run(tab: tools.Tab) -> None:
    """Show the run with the retries in the explorer, with an attempt and all that is known."""
    explorer = panel(tab, EXPLORER)
    explorer.get_by_role("combobox", name="Execution").select_option(
        label=f"COMPLETED · {EVIL} · ExampleWorkflow"
    )
    explorer.get_by_role("button", name="activity simulate_ai_call, attempt 3").click()
    explorer.get_by_text("ACTIVITY_TASK_COMPLETED").first.wait_for()
    explorer.get_by_text("All that is known of it").click()


def themeless() -> str:
    """Return one of everything that cards and panels draw."""
    url = "http://127.0.0.1/"
    statuses = [*ACCENTS, "PAUSED"]
    outcomes = [*statuses, "FIRED", "REJECTED", "PENDING", "unknown"]
    items = [Item(one, one, n, n + 0.9, 1, "1") for n, one in enumerate(outcomes)]
    lane = Lane("all", [*items, Item("point", "DELIVERED", 2.0, None, 1)], [(0.9, 1.0)])
    rows = [(badge(one), Html(link(url, one)), Html(f"<code>{one}</code>")) for one in statuses]
    parts = [table(("status", "link", "code"), rows, caption="all"), sparkline([1, 3, 2], "pace")]
    parts += [message("a note"), message("an error", "error"), Html('<p class="dim">dim</p>')]
    cards = [card(one, {"status": one, "page": url}, url=url, status=one) for one in statuses]
    return block(*parts, lanes_html([lane], 10.0)) + "".join(cards)
