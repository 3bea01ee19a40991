"""Small notebooks with checks, for the tests of the regression suite."""

from __future__ import annotations

import shutil
from pathlib import Path

import nbformat

OPEN = """
from projectai_lab import FaultPlan, Lab, Latency, RetrySettings, WorkflowInput, regression, tables
from projectai_lab.workflows import ExampleWorkflow

lab = Lab.start_local()
policy = {"simulate_ai_call": RetrySettings(initial_interval=0.2, maximum_attempts=5)}


def start(id, **plan):
    request = WorkflowInput("x", "u", faults=FaultPlan(**plan), retry=policy)
    return lab.start_workflow(ExampleWorkflow.run, request, id=id)
"""
RUN = """
handles = [start(f"call-{n}", latency=Latency(a=call_s)) for n in range(20)]
handles.append(start("retried", fail_first={"simulate_ai_call": failures}))
for handle in handles:
    handle.result(timeout=60)
runs = [handle.fetch_history() for handle in handles]
attempts = tables.attempts(runs, recorder=lab.attempts).rename(columns=renamed)
"""
CHECK_ATTEMPTS = """
regression.check(
    attempts,
    [regression.columns(), regression.exact("source"), regression.retry_schedule(absolute=0.5)],
    key=["workflow_id", "activity_type", "attempt"],
)
"""
CHECK_CALLS = """
of_calls = attempts["workflow_id"].str.startswith("call-")
calls = attempts[of_calls & attempts["activity_type"].eq("simulate_ai_call")]
slower = regression.quantile_band("worker_exec_s", q=0.25, relative=0.15)
regression.check(calls, [slower], name="calls")
"""
CLOSE = "lab.close()"


def write(path: Path, *cells: str) -> Path:
    """Write a notebook of a text cell and these code cells, the first with the parameters."""
    code = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    code[0].metadata["tags"] = ["parameters"]
    cells_ = [nbformat.v4.new_markdown_cell("# A study"), *code]
    nbformat.write(nbformat.v4.new_notebook(cells=cells_), str(path))
    return path


def study(
    path: Path, *, call_s: float = 0.2, failures: int = 2, renamed: dict[str, str] | None = None
) -> Path:
    """Write a notebook that runs 21 workflows on a server of its own and holds them to two checks.

    20 calls of one length, and one run that is retried.
    """
    parameters = f"call_s, failures, renamed = {call_s}, {failures}, {renamed or {}}"
    return write(path, parameters, OPEN, RUN, CHECK_ATTEMPTS, CHECK_CALLS, CLOSE)


def copy_baselines(of: Path, to: Path) -> None:
    """Give a notebook the baselines of another."""
    shutil.copytree(of.parent / "baselines" / of.stem, to.parent / "baselines" / to.stem)
