"""What a notebook file says: its parameters before a run, the cell it came to after one."""

from __future__ import annotations

import ast
import difflib
import json
import math
from pathlib import Path
from typing import Any

from projectai_lab._checks import did_you_mean
from projectai_lab.errors import NotebookError

Cell = dict[str, Any]

_ADDED_BY_PAPERMILL = {"injected-parameters", "papermill-error-cell-tag"}


def check(source: Path, parameters: dict[str, Any], copy: Path) -> None:
    """Raise `NotebookError` for what can be known before a kernel starts."""
    facts = {"notebook": source, "parameters": parameters}
    cells = _cells(source)
    if copy.suffix != ".ipynb":
        raise NotebookError(f"output must end in .ipynb, got {copy}", **facts)
    if copy.resolve() == source.resolve():
        raise NotebookError(f"output would overwrite {source}; give another output", **facts)
    known = _parameter_names(source, cells) if parameters else []
    for name in parameters:
        if name not in known:
            takes = ", ".join(known) or "none"
            lacks = f"{source} has no parameter {name!r}, it takes: {takes}"
            hint = did_you_mean(name, known, 3)
            raise NotebookError("; ".join(filter(None, [lacks, hint])), **facts)


def _parameter_names(source: Path, cells: list[Cell]) -> list[str]:
    # Not papermill.inspect_notebook: it needs a kernelspec in the file and guesses by line.
    tagged = [cell for cell in cells if "parameters" in _tags(cell)]
    if not tagged:
        raise NotebookError(
            f"{source} has no cell tagged `parameters`, so it takes none; tag the cell that sets "
            "the defaults (JupyterLab: property inspector, Cell Tags)",
            notebook=source,
        )
    try:
        statements = ast.parse(_source(tagged[0])).body
    except SyntaxError as error:
        message = f"the cell tagged `parameters` of {source} is not plain Python: {error}"
        raise NotebookError(message, notebook=source) from error
    return [target.id for statement in statements for target in _targets(statement)]


def _targets(statement: ast.stmt) -> list[ast.Name]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    return [target for target in targets if isinstance(target, ast.Name)]


def _cells(path: Path) -> list[Cell]:
    if not path.is_file():
        there = sorted(p.name for p in path.parent.glob("*.ipynb"))
        hint = ", ".join(difflib.get_close_matches(path.name, there) or there) or "none"
        raise NotebookError(f"no notebook at {path}; in that folder: {hint}", notebook=path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotebookError(
            f"{path} cannot be read as a notebook: {error}", notebook=path
        ) from error
    cells = document.get("cells") if isinstance(document, dict) else None
    if not isinstance(cells, list):
        message = f"{path} is not a notebook: it has no list of cells (nbformat 4)"
        raise NotebookError(message, notebook=path)
    return cells


def _tags(cell: Cell) -> set[str]:
    return set(cell.get("metadata", {}).get("tags", []))


def _source(cell: Cell) -> str:
    return "".join(cell["source"])


def last_cell(copy: Path) -> tuple[int | None, str]:
    """Return number, from 1 as the author counts, and first line of the last cell that started."""
    started = [
        (number, line)
        for number, line, cell in _authors(copy)
        if cell["metadata"].get("papermill", {}).get("start_time")
    ]
    return started[-1] if started else (None, "")


def last_seconds(copy: Path) -> float:
    """Return how long the run took that left this copy; infinite where nobody knows."""
    try:
        document = json.loads(copy.read_text(encoding="utf-8"))
        return float(document["metadata"]["papermill"]["duration"])
    except (OSError, ValueError, KeyError, TypeError):
        return math.inf


def cells_by_count(copy: Path) -> dict[int, tuple[int, str]]:
    """Return number and first line of each executed cell, by the n of its `In [n]`."""
    executed = [(cell.get("execution_count"), n, line) for n, line, cell in _authors(copy)]
    return {count: (number, line) for count, number, line in executed if count}


def _authors(copy: Path) -> list[tuple[int, str, Cell]]:
    """Return number, first line and cell of each cell that the author wrote."""
    if not copy.exists():
        return []
    cells = [cell for cell in _cells(copy) if not _tags(cell) & _ADDED_BY_PAPERMILL]
    lines = [next(iter(_source(cell).strip().splitlines()), "") for cell in cells]
    return list(zip(range(1, len(cells) + 1), lines, cells, strict=True))
