"""`pytest --nbregress`: notebooks as tests, and no trace of the plugin without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from projectai_lab import regression
from tests.test_regression_suite import CHECK, quick

ROOT = Path(__file__).parents[1]
PLUGIN = "projectai_lab.pytest_plugin"


def run_pytest(folder: Path, *words: str, path: Path | None = None) -> tuple[int, str]:
    """Run pytest on a folder in a process of its own; `path` comes first on its import path."""
    places = [str(place) for place in (path, ROOT) if place]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a green, a red and an unchecked notebook, and a plain test."""
    place = tmp_path_factory.mktemp("user's own")
    paths = [quick(place, CHECK, name=name) for name in ("green", "red")]
    regression.run(paths, update="first", output_dir=place / "made", progress=False)
    quick(place, CHECK, name="red", status="LOST")
    quick(place, "x = 1", name="unchecked")
    for copy in place.glob("made/*"):
        copy.unlink()
    (place / "test_plain.py").write_text("def test_plain():\n    pass\n")
    return place


def test_each_notebook_is_a_test_that_says_what_is_broken(folder: Path) -> None:
    code, said = run_pytest(folder, "-p", PLUGIN, "--nbregress", ".")
    assert code == 1
    assert "1 failed, 3 passed, 1 warning" in said
    assert "notebook red.ipynb" in said
    for line in ("cell 4 `regression.check", "rule      exact of status", "seen      LOST"):
        assert line in said
    assert "Traceback" not in said
    assert "unchecked.ipynb: it has no check" in said
    assert not (folder / "runs").exists()


def test_one_notebook_can_be_named(folder: Path) -> None:
    code, said = run_pytest(folder, "-p", PLUGIN, "--nbregress", "-v", "green.ipynb")
    assert code == 0
    assert "green.ipynb::regression PASSED" in said


def test_without_the_option_notebooks_are_left_alone(folder: Path) -> None:
    code, said = run_pytest(folder, "-p", PLUGIN)
    assert (code, "1 passed" in said) == (0, True)


def test_loading_the_plugin_loads_nothing_heavy(tmp_path: Path) -> None:
    heavy = ["pandas", "numpy", "scipy", "matplotlib", "temporalio", "papermill", "IPython"]
    (tmp_path / "test_light.py").write_text(
        f"import sys\ndef test_light():\n    assert '{PLUGIN}' in sys.modules\n"
        f"    assert not {set(heavy)!r} & set(sys.modules)\n"
    )
    code, said = run_pytest(tmp_path, "-p", PLUGIN)
    assert code == 0, said


def test_an_installed_plugin_may_be_named_once_more(folder: Path, tmp_path: Path) -> None:
    # As an installer leaves it; pytest refuses one module under two names.
    info = tmp_path / "projectai_lab_entry-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: projectai_lab_entry\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[pytest11]\n{PLUGIN} = {PLUGIN}\n")
    for words in (["-p", PLUGIN], []):
        code, said = run_pytest(folder, *words, "--nbregress", "green.ipynb", path=tmp_path)
        assert code == 0, said
        assert "1 passed" in said


def test_the_project_names_the_entry_point_as_its_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}


def test_a_test_may_check_against_a_file(tmp_path: Path) -> None:
    code = """
import pandas as pd
from projectai_lab import regression
def test_steps():
    df = pd.DataFrame({"n": [1, 2]})
    regression.check(df, [regression.exact("n")], baseline="steps.json")
"""
    (tmp_path / "test_steps.py").write_text(code)
    exit_code, said = run_pytest(tmp_path)
    assert exit_code == 1
    assert "there is no file steps.json" in said
    regression.save(pd.DataFrame({"n": [1, 2]}), tmp_path / "steps.json", reason="first")
    assert json.loads((tmp_path / "steps.json").read_text())["rows"] == [[1], [2]]
    assert run_pytest(tmp_path)[0] == 0
