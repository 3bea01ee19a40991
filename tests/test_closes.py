"""Which Events close a run is known in one place, and everybody tells the same of them."""

from __future__ import annotations

import ast

import pytest
from temporalio.client import WorkflowExecutionStatus

from projectai_lab import histories, tables
from projectai_lab._closes import CLOSES
from projectai_lab._watching import _line
from tests import made
from tests.test_architecture import files, module_of, tree_of

ENDS = sorted(one.name for one in WorkflowExecutionStatus if one.name not in ("RUNNING", "PAUSED"))


def test_the_list_is_temporals_own() -> None:
    assert sorted(CLOSES.values()) == ENDS
    assert len(CLOSES) == len(ENDS)


@pytest.mark.parametrize("status", ENDS)
def test_history_table_and_watch_agree_on_an_event_that_closes(status: str) -> None:
    run = made.history("closed", "greet", status=status)
    *others, last = run.events
    assert run.is_closed
    assert not histories.History("open", others).is_closed
    assert tables.executions(run)["status"].tolist() == [status]
    assert _line(last, {}, 0.0).status == status
    assert {_line(event, {}, 0.0).status for event in others} == {""}


def test_the_statuses_stand_in_one_place_only() -> None:
    """Elsewhere they are translated, or stand for other things; a second list would drift."""
    listing = {
        module_of(file)
        for file in files()
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Tuple | ast.List | ast.Set)
        for words in [{ast.unparse(one).strip("'\"") for one in node.elts}]
        if any("CONTINUED_AS_NEW" in word for word in words)
        and any("TIMED_OUT" in word for word in words)
    }
    assert listing <= {"_closes"}
