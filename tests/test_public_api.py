"""What a notebook types: the names, their homes, and that a misspelt one is an error."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import projectai_lab
from projectai_lab import errors
from projectai_lab.errors import LabError

NAMES = [
    "AIController",
    "Fault",
    "FaultPlan",
    "Lab",
    "LabConfig",
    "LabError",
    "Latency",
    "RetrySettings",
    "TimeoutSettings",
    "WorkflowInput",
    "WorkflowOutput",
    "WorkflowState",
    "allow_nested_asyncio",
]
BOXES = [
    "compare",
    "histories",
    "latency",
    "lint",
    "load",
    "notebooks",
    "plots",
    "process",
    "regression",
    "report",
    "retries",
    "sweeps",
    "tables",
]


def test_the_index_is_exactly_this() -> None:
    assert projectai_lab.__all__ == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_index_is_the_one_of_its_home(name: str) -> None:
    home = importlib.import_module(f"projectai_lab.{projectai_lab._HOMES[name]}")
    assert getattr(projectai_lab, name) is getattr(home, name)
    assert getattr(home, name).__doc__


def test_the_index_and_the_homes_hold_the_same_names() -> None:
    assert list(projectai_lab._HOMES) == NAMES


def test_a_star_import_gives_the_index() -> None:
    namespace: dict[str, object] = {}
    exec("from projectai_lab import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(NAMES)


@pytest.mark.parametrize("name", BOXES)
def test_a_box_of_functions_is_imported_by_name(name: str) -> None:
    namespace: dict[str, object] = {}
    exec(f"from projectai_lab import {name}", namespace)
    assert inspect.ismodule(namespace[name])


def test_completion_offers_the_index() -> None:
    assert set(NAMES) <= set(dir(projectai_lab))


def test_a_misspelt_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="'projectai_lab' has no attribute 'Labb'"):
        _ = projectai_lab.Labb


def test_the_version_is_that_of_the_project_file() -> None:
    project = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    assert f'version = "{projectai_lab.__version__}"' in project


def test_the_package_is_typed() -> None:
    assert (Path(projectai_lab.__file__).parent / "py.typed").is_file()


def classes() -> list[type[LabError]]:
    """Return all error classes of the kit."""
    members = inspect.getmembers(errors, inspect.isclass)
    return [one for _, one in members if issubclass(one, LabError)]


def test_every_error_of_the_kit_has_the_one_base() -> None:
    defined = inspect.getmembers(errors, inspect.isclass)
    assert [name for name, one in defined if one.__module__ == errors.__name__] == [
        one.__name__ for one in classes()
    ]
    assert not issubclass(LabError, (TimeoutError, OSError, ValueError))


def test_the_tree_at_the_top_of_the_file_is_the_true_one() -> None:
    drawn: dict[str, str] = {}
    above: list[tuple[int, str]] = [(-1, "Exception")]
    for line in str(errors.__doc__).splitlines():
        if found := re.match(r"([ │├└─]*)([A-Z]\w+Error)\b", line):
            depth, name = len(found[1]), found[2]
            above = [(d, one) for d, one in above if d < depth]
            drawn[name] = above[-1][1]
            above.append((depth, name))
    assert drawn == {one.__name__: one.__bases__[0].__name__ for one in classes()}


def test_facts_of_an_error_are_its_attributes() -> None:
    error = errors.WorkflowTimeoutError("too long", workflow_id="req-1", trouble=None)
    assert (str(error), vars(error)) == ("too long", {"workflow_id": "req-1", "trouble": None})


def test_our_timeout_is_caught_as_a_timeout_too() -> None:
    assert issubclass(errors.WorkflowTimeoutError, TimeoutError)
