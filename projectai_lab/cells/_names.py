"""The names that a cell uses and does not have: a module does not see the notebook's."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from projectai_lab.errors import CellError

_KNOWN = {
    "workflow": "from temporalio import workflow",
    "activity": "from temporalio import activity",
    "timedelta": "from datetime import timedelta",
    "datetime": "from datetime import datetime",
    "dataclass": "from dataclasses import dataclass",
    "asyncio": "import asyncio",
    "RetryPolicy": "from temporalio.common import RetryPolicy",
    "ApplicationError": "from temporalio.exceptions import ApplicationError",
}
_OF_A_MODULE = {
    *("__name__", "__file__", "__doc__", "__builtins__", "__spec__", "__annotations__"),
    *("__cached__", "__package__", "__loader__"),
}
_OF_A_CLASS = {"__qualname__", "__module__"}


def check_names(text: str, notebook: Mapping[str, Any]) -> None:
    """Raise `CellError` for names that the cell neither defines nor imports, with the lines to add.

    `notebook` holds the notebook's own names. Nothing is run.
    """
    nodes = list(ast.walk(ast.parse(text)))
    whole = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    parts = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    if "__main__" in whole | {node.module for node in parts}:
        raise CellError(
            "the cell imports from __main__, which is the notebook: a workflow's module cannot "
            "see it; define what it needs in this cell, or in a file that it imports"
        )
    if any(name.name == "*" for node in parts for name in node.names):
        return
    if missing := list(dict.fromkeys(_missing(text))):
        lines = [_line(name, notebook) for name in missing]
        raise CellError(
            f"the cell is a module of its own and does not see the notebook's names. It uses "
            f"{', '.join(missing)}; add to the cell:\n" + "\n".join(f"    {line}" for line in lines)
        )


def _missing(text: str) -> Iterator[str]:
    top = symtable.symtable(text, "cell", "exec")
    own = {one.get_name() for one in top.get_symbols() if one.is_assigned() or one.is_imported()}
    own |= _declared_global(top)
    for table in _all_of(top):
        for symbol in table.get_symbols():
            name = symbol.get_name()
            outside = symbol.is_global() or (table is top and not symbol.is_local())
            known = name in own or hasattr(builtins, name) or name in _OF_A_MODULE
            known |= table.get_type() == "class" and name in _OF_A_CLASS
            if symbol.is_referenced() and outside and not known:
                yield name


def _declared_global(top: symtable.SymbolTable) -> set[str]:
    """Return what functions assign as globals."""
    symbols = (symbol for table in _all_of(top) for symbol in table.get_symbols())
    return {one.get_name() for one in symbols if one.is_declared_global() and one.is_assigned()}


def _all_of(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for child in table.get_children():
        yield from _all_of(child)


def _line(name: str, notebook: Mapping[str, Any]) -> str:
    """Return the line that would bring a name into the cell."""
    if name in _KNOWN:
        return _KNOWN[name]
    if name not in notebook:
        return f"{name} = …  # nobody defines it, the notebook neither"
    value = notebook[name]
    if isinstance(value, ModuleType):
        return f"import {value.__name__}" + (f" as {name}" if value.__name__ != name else "")
    home, own = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if home and home not in ("__main__", "builtins") and own == name:
        return f"from {home} import {name}"
    return f"{name} = …  # the notebook's own, a {type(value).__name__}"
