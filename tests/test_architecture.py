"""The law of the house: who may import whom, how long a file is, what an import may do."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import projectai_lab

HOUSE = Path(projectai_lab.__file__).parent
MAX_LINES = 300

# Who may import whom of ours. A package counts as one module. An edge that is missing here is
# missing on purpose: add it only together with the picture in the README.
LAW: dict[str, set[str]] = {
    "errors": set(),
    "_checks": set(),
    "fault_plan": {"_checks"},
    "models": {"_checks", "fault_plan"},
    "_html": set(),
    "_atomic": set(),
    "_words": set(),
    "_closes": set(),
    "_intervals": set(),
    "_bar": set(),
    # It must know the secrets that could have come in.
    "_secrets": {"config"},
    "_lazy": set(),
    "_watchdog": set(),
    "config": {"errors"},
    "_loop": {"errors"},
    "_connect": {"errors", "config"},
    "_pollers": {"_connect"},
    "_troubles": {"errors", "_connect", "_pollers"},
    "_waits": {"errors", "_connect", "_troubles"},
    "_time_skipping": {"errors", "_connect"},
    "faults": {"models"},
    "_heartbeat": set(),
    "activities": {"models", "faults", "_heartbeat"},
    # What carries plans runs in the workflow sandbox: nothing heavy.
    "fault_injection": {"models", "faults", "activities", "_checks", "_heartbeat"},
    "workflows": {"models", "activities"},
    "devserver": {"errors", "_connect", "_loop", "_html", "_watchdog"},
    "histories": {
        "errors", "tables", "_atomic", "_bar", "_closes", "_connect", "_lazy", "_words",
    },
    "_calls": {"errors", "_checks", "_connect"},
    "_connection": {"errors", "config", "_loop", "_connect"},
    "_watching": {"histories", "_closes", "_troubles", "_words"},
    "handle": {
        "errors", "models", "histories", "_loop", "_html", "_connect", "_connection", "_troubles",
        "_waits", "_calls", "_watching", "attempt_poll",
    },
    "_many": {"errors", "handle", "_bar", "_calls", "_connect", "_loop", "_troubles", "_waits"},
    "client": {
        "errors", "config", "models", "histories", "handle", "fault_injection", "_many",
        "_connect", "_connection", "_calls", "_loop",
    },
    "_verdict": set(),
    "attempts": {"errors", "_verdict"},
    "attempt_poll": {"attempts", "_connect", "_loop"},
    "worker_spec": {"errors", "activities", "workflows", "_checks"},
    "worker": {
        "errors", "config", "models", "attempts", "worker_spec", "fault_injection",
        "_loop", "_html", "_connect",
    },
    "worker_process": {
        "errors", "config", "models", "attempts", "worker_spec", "_checks", "_html",
    },
    "lab": {
        "errors", "config", "models", "histories", "attempts", "activities", "workflows", "client",
        "devserver", "worker", "worker_spec", "worker_process", "_loop", "_html", "_connect",
        "_pollers", "_time_skipping", "fault_injection",
    },
    "controller": {
        "errors", "config", "models", "client", "workflows", "_loop", "_connect", "_troubles",
        "_waits", "_calls",
    },
    "_frames": {"errors"},
    "_spans": set(),
    "tables": {"errors", "_closes"},
    "retries": {
        "errors", "models", "tables", "latency", "_frames", "_intervals", "_lazy", "_words",
    },
    "latency": {"errors", "tables", "_frames", "_words"},
    "process": {"tables", "_frames"},
    "lint": {"tables", "retries"},
    "compare": {"errors", "tables", "latency", "process", "_frames", "_words"},
    "plots": {"tables", "retries", "latency", "_frames", "_intervals", "_spans", "_words"},
    "load": {
        "errors", "models", "client", "histories", "tables", "latency", "fault_injection",
        "_bar", "_checks", "_frames", "_calls", "_connect", "_html", "_loop", "_waits", "_words",
    },
    # Replay is asynchronous and logs through the process's one runtime.
    "_replay": {"_connect", "_loop"},
    "capsule": {
        "errors", "histories", "tables", "plots", "_atomic", "_replay", "_html",
        "_secrets",
    },
    "sweeps": {
        "errors", "models", "workflows", "client", "lab", "histories", "tables",
        "fault_injection", "_bar", "_checks", "_calls", "_connect", "_loop", "_html", "_troubles",
    },
    # Masks what the scan of a capsule would refuse.
    "report": {
        "errors", "models", "sweeps", "plots", "latency", "retries", "_atomic",
        "_frames", "_intervals", "_secrets", "_words",
    },
    "cells": {
        "errors", "lab", "handle", "histories", "worker", "worker_spec", "_atomic", "_html",
        "_replay",
    },
    # Of the Lab only what is public, and the looks of the tables and plots.
    "widgets": {
        "errors", "models", "lab", "client", "handle", "workflows", "histories", "tables", "plots",
        "retries", "latency", "_calls", "_checks", "_connect", "_connection", "_frames", "_html",
        "_lazy", "_loop", "_spans", "_troubles", "_words",
    },
    "_notebook_files": {"errors", "_checks"},
    "notebooks": {"errors", "_notebook_files"},
    "regression": {
        "errors", "histories", "retries", "latency", "notebooks", "_checks", "_frames", "_replay",
        "_notebook_files",
    },
    "pytest_plugin": {"regression"},
    "__init__": {"config", "errors", "lab", "controller", "models", "cells", "_lazy", "_loop"},
    "__main__": {"cli"},
}  # fmt: skip
EVERYTHING = {"cli"}
"""Modules of the roof that may import all others, except `__main__`."""

# Which modules may use a package from outside, or one of the two that make code concurrent.
OUTSIDE: dict[str, set[str]] = {
    "temporalio": {
        "config", "_connect", "_closes", "_pollers", "_troubles", "_waits", "_many", "activities",
        "workflows",
        "devserver",
        "_calls", "_connection", "_watching", "handle", "client", "attempts", "attempt_poll",
        "_verdict", "worker_spec", "worker", "lab", "controller", "histories", "tables", "capsule",
        "_replay", "_heartbeat", "_time_skipping", "_secrets", "fault_injection", "load", "sweeps",
        "cells", "widgets", "cli",
    },
    "google": {"_troubles", "_waits", "attempts", "histories", "tables", "widgets"},
    "asyncio": {
        "_loop", "_connect", "_troubles", "_waits", "_many", "_calls", "_connection", "_watching",
        "activities",
        "workflows", "worker", "attempt_poll", "histories", "_heartbeat", "_time_skipping",
        "fault_injection", "load", "sweeps", "cells", "widgets", "cli",
    },
    # A worker process is brought back by what waits for its end.
    "threading": {"_loop", "worker_process", "widgets", "cli"},
    "pandas": {
        "_frames", "_secrets", "_spans", "histories", "tables", "retries", "latency", "process",
        "compare", "lint", "plots", "load", "capsule", "regression", "_replay", "sweeps", "report",
        "cells", "widgets", "cli",
    },
    "numpy": {
        "_intervals", "tables", "retries", "latency", "compare", "plots", "load", "regression",
        "report", "sweeps",
    },
    "pyarrow": {"tables"},
    "scipy": {"_intervals", "retries", "latency", "plots", "regression", "report", "sweeps"},
    "matplotlib": {"plots", "capsule", "report", "widgets"},
    "pytest": {"pytest_plugin"},
    "papermill": {"notebooks"},
    "nbconvert": {"notebooks"},
    "jupyter_client": {"notebooks"},
    "tqdm": {"_bar", "notebooks"},
    "nest_asyncio": {"_loop"},
    "ipywidgets": {"widgets"},
    "IPython": {"cells", "widgets"},
}  # fmt: skip

HEAVY = ("pandas", "numpy", "matplotlib", "papermill", "ipywidgets", "nbconvert", "IPython")


def files() -> list[Path]:
    """Return the source files."""
    return sorted(HOUSE.rglob("*.py"))


def module_of(file: Path) -> str:
    """Return the name in the law of a source file."""
    first = file.relative_to(HOUSE).parts[0]
    return first.removesuffix(".py")


@cache
def tree_of(file: Path) -> ast.Module:
    """Return the parsed source."""
    return ast.parse(file.read_text(encoding="utf-8"))


def imported(file: Path) -> Iterator[str]:
    """Yield the full name of all that a file imports, at whatever depth."""
    for node in ast.walk(tree_of(file)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}: import by full name"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def own(name: str) -> str | None:
    """Return the module of ours that an import means, None for somebody else's."""
    first, *rest = name.split(".")
    if first != "projectai_lab":
        return None
    is_module = rest and ((HOUSE / rest[0]).is_dir() or (HOUSE / f"{rest[0]}.py").is_file())
    return rest[0] if is_module else "__init__"


def edges() -> set[tuple[str, str]]:
    """Return each pair (importer, imported) of our modules."""
    pairs = {(module_of(file), own(name)) for file in files() for name in imported(file)}
    return {(one, other) for one, other in pairs if other and one != other}


Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def public(file: Path) -> Iterator[tuple[str, Definition]]:
    """Yield the public functions, classes and methods of a file, overloads left out."""
    for node in tree_of(file).body:
        if not isinstance(node, Definition) or node.name.startswith("_"):
            continue
        yield node.name, node
        for part in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(part, Definition) and not part.name.startswith("_"):
                decorators = {ast.unparse(one) for one in part.decorator_list}
                if "overload" not in decorators:
                    yield f"{node.name}.{part.name}", part


def fresh(code: str) -> Any:
    """Run code in a fresh interpreter, which prints JSON last, and return that."""
    path = os.pathsep.join([str(HOUSE.parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_module_stands_in_the_law_and_the_law_names_no_other() -> None:
    assert {module_of(file) for file in files()} == set(LAW) | EVERYTHING


def test_no_module_imports_another_against_the_law() -> None:
    against = [
        f"{one} imports {other}"
        for one, other in sorted(edges())
        if (other not in LAW[one] if one in LAW else other == "__main__")
    ]
    assert against == []


def test_the_law_has_no_circle() -> None:
    order = list(graphlib.TopologicalSorter(LAW).static_order())
    assert order.index("errors") < order.index("client") < order.index("lab")


def test_the_index_loads_a_name_from_where_the_law_allows() -> None:
    assert set(projectai_lab._HOMES.values()) <= LAW["__init__"]


def test_no_module_reaches_into_the_private_parts_of_another() -> None:
    against = [
        f"{module_of(file)} imports {name}"
        for file in files()
        for name in imported(file)
        if own(name) not in (None, "__init__", module_of(file))
        and any(part.startswith("_") for part in name.split(".")[2:])
    ]
    assert against == []


def test_packages_from_outside_are_used_where_the_law_allows() -> None:
    against = []
    for file in files():
        for name in imported(file):
            package = name.partition(".")[0]
            free = package in sys.stdlib_module_names and package not in OUTSIDE
            if not free and not own(name) and module_of(file) not in OUTSIDE.get(package, ()):
                against.append(f"{module_of(file)} imports {package}")
    assert sorted(set(against)) == []


@pytest.mark.parametrize("file", files(), ids=lambda file: str(file.relative_to(HOUSE)))
def test_a_file_is_short_says_what_it_is_and_documents_what_is_public(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
    assert ast.get_docstring(tree_of(file)), "the module has no docstring"
    undocumented = [name for name, node in public(file) if not ast.get_docstring(node)]
    assert undocumented == []


def test_only_the_command_line_prints() -> None:
    printing = {
        module_of(file)
        for file in files()
        for node in ast.walk(tree_of(file))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    }
    assert printing <= {"cli"}


@pytest.mark.parametrize("name", ["projectai_lab", "projectai_lab.workflows", "projectai_lab.lab"])
def test_what_the_sandbox_and_a_lab_need_loads_nothing_heavy(name: str) -> None:
    code = f"import sys, json, {name}; print(json.dumps(sorted(sys.modules)))"
    assert set(HEAVY).isdisjoint(fresh(code))


def test_the_parts_of_scipy_are_loaded_by_the_first_call_that_needs_them() -> None:
    # They take a second. `import scipy` is cheap, and `scipy.stats` loads it when it is looked up.
    packages = "compare, latency, load, plots, regression, report, retries, sweeps, tables"
    code = (
        f"import sys, json; from projectai_lab import {packages}\nprint(json.dumps([*sys.modules]))"
    )
    assert {"scipy.stats", "scipy.special"}.isdisjoint(fresh(code))


def test_importing_every_module_prints_starts_and_sets_nothing() -> None:
    names = [
        ".".join(("projectai_lab", *file.relative_to(HOUSE).with_suffix("").parts))
        for file in files()
        if file.stem not in ("__main__", "__init__")
    ]
    code = f"""
import importlib, json, logging, os, psutil, signal, sys, threading
before = (dict(os.environ), os.getcwd(), signal.getsignal(signal.SIGINT),
          signal.getsignal(signal.SIGTERM), list(logging.getLogger().handlers))
for name in {names!r}:
    importlib.import_module(name)
after = (dict(os.environ), os.getcwd(), signal.getsignal(signal.SIGINT),
         signal.getsignal(signal.SIGTERM), list(logging.getLogger().handlers))
print(json.dumps([
    before == after,
    [thread.name for thread in threading.enumerate()],
    len(psutil.Process().children()),
]))
"""
    assert fresh(code) == [True, ["MainThread"], 0]
