"""pm4py reads what we write for process mining, and counts as a walk over the raw events does.

pm4py is under the AGPL: it is never a dependency and lives in an environment of its own, made once
in `.venv-pm4py`, which `make clean` removes. Where it cannot be installed these tests are skipped.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory

from projectai_lab import histories
from tests import raw
from tests.bench.decode import copies
from tests.data import HERE, attempt_records, goldens

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv-pm4py"
PATIENCE_S = 900
SCRIPT = """
import contextlib, json, sys
with contextlib.redirect_stdout(sys.stderr):
    import pm4py
    log = pm4py.read_xes(sys.argv[1], variant="iterparse")
    follows = lambda df: [[*pair, count] for pair, count in pm4py.discover_dfg(df)[0].items()]
    complete = log[log["lifecycle:transition"] == "complete"]
    ocel = pm4py.read_ocel2_json(sys.argv[2])
    flat = {kind: pm4py.ocel_flattening(ocel, kind) for kind in ("run", "activity", "attempt")}
    told = {
        "version": pm4py.__version__,
        "xes events": len(log),
        "xes traces": log["case:concept:name"].nunique(),
        "xes follows": follows(log),
        "xes complete follows": follows(complete),
        "ocel events": len(ocel.events),
        "ocel objects": ocel.objects["ocel:type"].value_counts().to_dict(),
        "ocel follows": {kind: follows(df) for kind, df in flat.items()},
    }
print(json.dumps(told))
"""
Read = dict[str, Any]


@pytest.fixture(scope="module")
def python() -> Path:
    """Return the interpreter of an environment with pm4py; make it when there is none."""
    if not ENVIRONMENT.exists():
        half = ENVIRONMENT.with_name(f"{ENVIRONMENT.name}.{uuid.uuid4().hex}")
        try:
            install(half)
            half.rename(ENVIRONMENT)
        finally:
            shutil.rmtree(half, ignore_errors=True)
    return ENVIRONMENT / "bin" / "python"


def install(folder: Path) -> None:
    """Make the environment; skip where that cannot be."""
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--no-input"]
    steps: dict[str, list[Any]] = {
        "no environment of its own can be made": [sys.executable, "-m", "venv", folder],
        "pip cannot install it": [*pip, "install", "--quiet", "pm4py>=2.7,<3"],
    }
    for why, command in steps.items():
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"no pm4py: {why} ({type(error).__name__})")


@pytest.fixture(scope="module")
def runs() -> list[WorkflowHistory]:
    """Return histories of all kinds, and many."""
    examples = [histories.load(path) for path in sorted((HERE / "example_workflow").iterdir())]
    return [*goldens(), *examples, *copies(2_000)]


@pytest.fixture(scope="module")
def read(
    python: Path, runs: list[WorkflowHistory], tmp_path_factory: pytest.TempPathFactory
) -> Read:
    """Return what pm4py finds in both files."""
    folder = tmp_path_factory.mktemp("pm4py")
    xes = histories.to_xes(runs, folder / "runs.xes")
    ocel = histories.to_ocel(runs, folder / "runs.json", recorder=attempt_records())
    command: list[Any] = [python, "-W", "ignore", "-c", SCRIPT, xes, ocel]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found: Read = json.loads(done.stdout)
    return found


def counted(follows: list[Any]) -> dict[tuple[str, str], int]:
    return {(one, other): count for one, other, count in follows}


def all_steps(runs: list[WorkflowHistory]) -> list[raw.Step]:
    """Return the events that the object-centric log must hold, in order of time."""
    found = [step for run in runs for step in (*raw.steps(run), *raw.run_steps(run))]
    return sorted([*found, *raw.recorded_starts(runs, attempt_records())])


def test_xes_has_the_same_events_and_traces(read: Read, runs: list[WorkflowHistory]) -> None:
    steps = [raw.steps(run) for run in runs]
    assert read["xes events"] == sum(map(len, steps)) > 800
    assert read["xes traces"] == sum(bool(of_run) for of_run in steps)


def test_xes_has_the_same_directly_follows_counts(read: Read, runs: list[WorkflowHistory]) -> None:
    steps = [raw.steps(run) for run in runs]
    every = raw.follows([step.what for step in of_run] for of_run in steps)
    complete = raw.follows(
        [step.what for step in of_run if step.word == "COMPLETED"] for of_run in steps
    )
    assert counted(read["xes follows"]) == every
    assert counted(read["xes complete follows"]) == complete
    assert len(every) > 10
    assert sum(complete.values()) > 100


def test_ocel_has_the_same_events_and_objects(read: Read, runs: list[WorkflowHistory]) -> None:
    steps = all_steps(runs)
    assert read["ocel events"] == len(steps)
    assert read["ocel objects"]["run"] == len(runs)
    activities = {step.key for step in steps if step.key[1]}
    assert read["ocel objects"]["activity"] == len(activities)


def test_ocel_has_the_same_directly_follows_counts(read: Read, runs: list[WorkflowHistory]) -> None:
    by_run: dict[str, list[str]] = defaultdict(list)
    by_activity: dict[tuple[str, int], list[str]] = defaultdict(list)
    for step in all_steps(runs):
        name = f"{step.what} {step.word}".strip()
        by_run[step.key[0]].append(name)
        if step.key[1]:
            by_activity[step.key].append(name)
    assert counted(read["ocel follows"]["run"]) == raw.follows(by_run.values())
    assert counted(read["ocel follows"]["activity"]) == raw.follows(by_activity.values())
