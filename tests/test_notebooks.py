"""Every notebook of the repository runs, through our own runner, and keeps to the house rules."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest

from projectai_lab import histories, notebooks, tables
from projectai_lab.devserver import DevServer
from projectai_lab.errors import NotebookError
from projectai_lab.notebooks import NotebookRun

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
SMALL: dict[str, dict[str, Any]] = {
    "01_quickstart": {"failures": 2},
    "03_retry_and_latency": {"replicates": 2},
    "04_history_at_scale": {"runs": 12, "executions": 300},
    "05_compare_and_mine": {"runs": 24},
    "06_sweep_policies": {"replicates": 6},
    "08_open_loop_load": {"duration": 8, "stall": 1.5},
    "09_submission_forms": {"failures": 1},
}


def parameters(notebook: Path, tmp_path: Path) -> dict[str, Any]:
    return {"output_dir": str(tmp_path), **SMALL.get(notebook.stem, {})}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], NotebookRun]:
    """Return what runs a notebook, once for all tests, and leaves its files beside its output."""

    @functools.cache
    def run(name: str) -> NotebookRun:
        notebook, folder = FOLDER / f"{name}.ipynb", tmp_path_factory.mktemp(name)
        return notebooks.run(
            notebook, parameters=parameters(notebook, folder), output=folder / notebook.name
        )

    return run


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: str(path.stem))
def test_notebook_runs_and_leaves_a_report(
    notebook: Path, ran: Callable[[str], NotebookRun]
) -> None:
    done = ran(notebook.stem)
    assert done.html
    page = done.html.read_text()
    assert "data:image/png" in page, "a notebook without a picture"
    assert "Traceback (most recent call last)" not in page


def test_the_console_shows_the_same_facts_on_its_page_as_live(
    ran: Callable[[str], NotebookRun],
) -> None:
    done = ran("90_console")
    assert done.html
    page = done.html.read_text()
    # Form, monitor and explorer tell of the one run; the injected failure is an attempt.
    assert page.count("console-1") >= 3
    assert page.count("COMPLETED</span>") >= 3
    assert "simulate_ai_call" in page
    assert "planned schedule" in page
    widgets = nbformat.read(done.output, 4).metadata["widgets"]
    assert widgets["application/vnd.jupyter.widget-state+json"]["state"]


@pytest.mark.parametrize("name", ["04_history_at_scale", "05_compare_and_mine"])
def test_notebook_runs_again_beside_the_files_it_left(
    name: str, ran: Callable[[str], NotebookRun]
) -> None:
    done = ran(name)
    notebooks.run(done.notebook, parameters=done.parameters, output=done.output, html=False)


@pytest.mark.parametrize("name", ["01_quickstart", "03_retry_and_latency"])
def test_notebook_runs_unchanged_against_a_server_elsewhere(
    name: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_HOST", address)
    monkeypatch.setenv("TEMPORAL_TASK_QUEUE", f"notebook-{tmp_path.name}")
    notebook = FOLDER / f"{name}.ipynb"
    done = notebooks.run(
        notebook, parameters=parameters(notebook, tmp_path), output=tmp_path / notebook.name
    )
    assert done.html
    assert f"{address} (TEMPORAL_HOST)" in done.html.read_text()


def test_notebook_does_not_stop_a_server_that_it_did_not_start(
    server: DevServer | None, tmp_path: Path
) -> None:
    # Runs after the notebooks above: the session's server has outlived their Labs.
    assert server is None or server.alive


def test_quickstart_leaves_what_the_demo_prints(ran: Callable[[str], NotebookRun]) -> None:
    left = ran("01_quickstart").output.parent
    summary = json.loads((left / "summary.json").read_text())
    assert summary["clock"] == "fast"
    assert all(Path(plot).stat().st_size > 10_000 for plot in summary["plots"])
    attempts = tables.attempts(histories.load(left / "history.json"))
    assert attempts["attempt"].max() == 3


def test_a_broken_promise_turns_the_notebook_red(tmp_path: Path) -> None:
    notebook = nbformat.read(FOLDER / "01_quickstart.ipynb", 4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("assert result.success", "assert not result.success")
    nbformat.write(notebook, tmp_path / "broken.ipynb")
    with pytest.raises(NotebookError, match=r"assert not result\.success"):
        notebooks.run(
            tmp_path / "broken.ipynb",
            parameters={"output_dir": str(tmp_path)},
            output=tmp_path / "done.ipynb",
        )


def test_other_waits_than_those_of_the_baseline_turn_virtual_time_red(tmp_path: Path) -> None:
    notebook = nbformat.read(FOLDER / "07_virtual_time.ipynb", 4)
    for cell in notebook.cells:
        cell.source = cell.source.replace(
            "hour = timedelta(hours=1)", "hour = timedelta(hours=1.1)"
        )
    shutil.copytree(FOLDER / "baselines", tmp_path / "baselines")
    nbformat.write(notebook, tmp_path / "07_virtual_time.ipynb")
    with pytest.raises(NotebookError, match=r"check 'attempts' is broken"):
        notebooks.run(
            tmp_path / "07_virtual_time.ipynb",
            parameters={"output_dir": str(tmp_path)},
            output=tmp_path / "done.ipynb",
            html=False,
        )


def test_attempts_of_the_third_notebook_come_back_from_parquet(
    ran: Callable[[str], NotebookRun],
) -> None:
    done = ran("03_retry_and_latency")
    attempts = pd.read_parquet(done.output.parent / "attempts.parquet")
    assert {"steady", "doubling", "capped"} == set(attempts["policy"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: str(path.stem))
def test_notebook_is_stripped_numbered_and_has_parameters(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert path.stem[:2].isdigit()
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert "parameters" in code[0].metadata.get("tags", [])
    assert "lab.close()" in code[-1].source
    assert notebook.metadata["kernelspec"]["name"] == "python3"
