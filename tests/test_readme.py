"""The README is followed to the letter: its example, its steps, its tables."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest
from IPython.core.interactiveshell import InteractiveShell

import projectai_lab
from projectai_lab import Lab, tables
from projectai_lab.cli import main

ROOT = Path(__file__).parent.parent
GOLDEN = sorted((ROOT / "tests" / "data").glob("*.json"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def code(text: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


def first_cells(text: str) -> list[str]:
    """Return the first cell of each row of the tables in a text."""
    return re.findall(r"^\| (.+?) \|", text, re.MULTILINE)


@pytest.fixture
def workbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Be a reader with an empty folder, whose modules are gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("my_workflows", "my_activities"):
        sys.modules.pop(name, None)


def test_the_first_example_runs_and_is_about_ten_lines(workbench: Path) -> None:
    example = code(README)[0]
    assert len([line for line in example.splitlines() if line.strip()]) <= 11
    exec(compile(example, "README", "exec"), {})
    assert (workbench / "retries.png").stat().st_size > 10_000


def test_the_first_screen_says_what_it_is_one_command_and_the_example() -> None:
    screen = README.partition("\n## ")[0].splitlines()
    fences = [line for line in screen if line.startswith("```") and line != "```"]
    assert fences == ["```sh", "```python"]
    assert screen.index("```python") < 15


def test_the_steps_for_a_workflow_and_an_activity_work_as_written(workbench: Path) -> None:
    blocks = code(section("Add a workflow")) + code(section("Add an activity"))
    files = [block for block in blocks if block.startswith("# file: ")]
    for block in files:
        (workbench / block.splitlines()[0].removeprefix("# file: ")).write_text(block)
    importlib.invalidate_caches()
    notebook: dict[str, Any] = {}
    try:
        for block in blocks:
            if block not in files:
                exec(compile(block, "README", "exec"), notebook)
    finally:
        notebook["lab"].close()
    assert len(files) == 2


def test_virtual_time_passes_as_the_example_says() -> None:
    (example,) = code(section("Virtual time"))
    exec(compile(example, "README", "exec"), {})


def test_the_example_of_faults_injures_the_activity_of_the_reader(workbench: Path) -> None:
    for block in code(section("Add a workflow")) + code(section("Add an activity")):
        if block.startswith("# file: "):
            (workbench / block.splitlines()[0].removeprefix("# file: ")).write_text(block)
    importlib.invalidate_caches()
    (example,) = code(section("Injure your own activities"))
    notebook: dict[str, Any] = {}
    exec(compile(example, "README", "exec"), notebook)
    struck = tables.faults(notebook["lab"].attempts)
    assert {"delay shout", "fail * window 0…2"} <= set(struck.rule)
    assert (struck.activity_type == "shout").all()


def test_what_can_be_done_with_histories_runs_without_a_server(
    workbench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for cohort in ("before", "after"):
        (workbench / cohort).mkdir()
        for file in GOLDEN:
            shutil.copy(file, workbench / cohort)
    (example,) = code(section("What you can do with histories"))
    assert len(example.splitlines()) <= 15
    exec(compile(example, "README", "exec"), {})
    told = capsys.readouterr().out
    assert told.startswith(f"b ({len(GOLDEN)} runs) against a ({len(GOLDEN)} runs): ")
    assert {file.name for file in workbench.iterdir()} == {
        *("before", "after", "study", "study.zip", "after.trace.json"),
    }


def test_a_load_is_put_on_a_lab_as_written(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = code(section("Put a load on it"))
    notebook: dict[str, Any] = {}
    exec(compile(example, "README", "exec"), notebook)
    assert "feel the open loop" in capsys.readouterr().out
    users = notebook["users"].table
    assert (users["status"] == "COMPLETED").all()
    assert {"intended_s", "sent_s", "done_s", "latency_s", "status"} <= set(users.columns)
    plt.close("all")


def test_forms_and_live_views_are_made_as_written() -> None:
    (example,) = code(section("Forms and live views"))
    notebook: dict[str, Any] = {}
    exec(compile(example, "README", "exec"), notebook)
    assert "COMPLETED" in notebook["form"].facts_text()


def test_the_cell_of_a_workflow_runs_as_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    (example,) = re.findall(r"```text\n(.*?)```", section("Workflows in cells"), re.DOTALL)
    load, _, cell = example.partition("\n\n")
    magic, _, body = cell.partition("\n")
    assert (load, magic) == ("%load_ext projectai_lab", "%%workflow reviewing")
    shell = InteractiveShell()
    with Lab.start_local() as lab:
        shell.user_ns["lab"] = lab
        shell.run_line_magic("load_ext", "projectai_lab")
        shell.run_cell_magic("workflow", "reviewing", body)
        assert lab.execute_workflow("Review", "good", timeout=30) == "GOOD"


def test_the_experiment_runs_as_written(
    workbench: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (example,) = code(section("Run a designed experiment"))
    exec(compile(example, "README", "exec"), {})
    told = capsys.readouterr()
    assert "n_retries" in told.out
    assert "20/20" in told.err
    assert "20 of 20 planned runs ended" in (workbench / "policies-1.html").read_text()


def test_each_has_four_steps() -> None:
    for title in ("Add a workflow", "Add an activity"):
        steps = re.findall(r"[Ss]tep (\d)", section(title))
        assert sorted(set(steps)) == ["1", "2", "3", "4"]


def test_the_data_flow_has_nine_steps() -> None:
    steps = re.findall(r"^(\d)\. ", section("What happens to a request"), re.MULTILINE)
    assert steps == list("123456789")


def test_every_variable_that_the_kit_reads_is_in_the_table() -> None:
    table = " ".join(first_cells(section("Configuration")))
    source = (ROOT / "projectai_lab" / "config.py").read_text()
    for variable in re.findall(r'"(TEMPORAL_[A-Z_]+)"', source):
        assert variable in table


def test_every_module_is_in_the_architecture_table() -> None:
    named = set(re.findall(r"`([a-z_]+)/?`", " ".join(first_cells(section("Architecture")))))
    package = Path(projectai_lab.__file__).parent
    modules = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    assert named == modules | folders


def test_every_message_of_the_troubleshooting_table_is_said_somewhere() -> None:
    package = Path(projectai_lab.__file__).parent
    # Messages are written over several lines of source: join what string literals are apart.
    source = " ".join(path.read_text() for path in package.rglob("*.py"))
    joined = re.sub(r'"\s*f?"', "", source)
    joined = re.sub(r"\{[^{}]*\}", "…", joined)
    for message in first_cells(section("Troubleshooting, by message"))[1:]:
        if "---" in message:
            continue
        for part in message.strip("`").split("…"):
            assert part.strip() in joined, message


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:`|:7233 )make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_command_exists(capsys: pytest.CaptureFixture[str]) -> None:
    for command in re.findall(r"^projectai-lab (\w+)", section("From a terminal"), re.MULTILINE):
        assert main([command, "--help"]) == 0
    capsys.readouterr()


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
