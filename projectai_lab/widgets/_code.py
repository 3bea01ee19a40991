"""The Python that starts what a form would start: it runs when pasted, imports included."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import math
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from projectai_lab.widgets._kinds import UNSET, is_model, show_json
from projectai_lab.widgets._specs import Spec, Started, specs_of

LONGEST = 20_000
_WIDTH = 88


def start_code(
    started: Started, arguments: Sequence[Any], *, id: str = "", task_queue: str | None = None
) -> str:
    """Return imports and one call of `lab.start_workflow`; settings at their default are left out.

    Raises ValueError for a value that has no Python to paste.
    """
    names = Names()
    run = getattr(started.workflow, "__name__", "run")
    first = f"{names.of(started.owner)}.{run}" if started.owner else repr(started.workflow)
    parts = [first, *(names.expression(one) for one in arguments)]
    parts += [f"id={id!r}"] if id else []
    parts += [f"task_queue={task_queue!r}"] if task_queue else []
    call = _call("handle = lab.start_workflow", parts)
    return "\n".join([*names.imports(), *([""] if names.imports() else []), call])


class Names:
    """The classes that a piece of code names, and the imports that these need."""

    def __init__(self) -> None:
        self._from: dict[str, tuple[str, str]] = {}
        self._modules: set[str] = set()

    def imports(self) -> list[str]:
        """Return the lines to put first."""
        by_module: dict[str, list[str]] = {}
        for name, (module, _) in self._from.items():
            by_module.setdefault(module, []).append(name)
        lines = [f"import {module}" for module in sorted(self._modules)]
        return lines + [
            f"from {module} import {', '.join(sorted(by_module[module]))}"
            for module in sorted(by_module)
            if module != "__main__"
        ]

    def of(self, cls: type) -> str:
        """Return how the code calls a class; ValueError for one that cannot be imported."""
        module, outer = _home(cls), cls.__qualname__.partition(".")[0]
        if "<locals>" in cls.__qualname__:
            raise ValueError(
                f"{cls.__name__} is defined inside a function, where pasted code cannot import it"
            )
        if self._from.setdefault(outer, (module, outer)) == (module, outer):
            return cls.__qualname__
        # Another module has the name already.
        self._modules.add(module)
        return f"{module}.{cls.__qualname__}"

    def expression(self, value: Any) -> str:
        """Return the Python of a value; ValueError for one that has none."""
        kind = type(value)
        if isinstance(value, enum.Enum):
            return self._member(value)
        if dataclasses.is_dataclass(value) or is_model(kind):
            return self._record(value)
        if isinstance(value, timedelta):
            return f"{self.of(timedelta)}(seconds={value.total_seconds()!r})"
        if isinstance(value, datetime | date):
            return f"{self.of(kind)}.fromisoformat({value.isoformat()!r})"
        if kind is UUID:
            return f"{self.of(UUID)}({str(value)!r})"
        if kind is float and not math.isfinite(value):
            return f'float("{value}")'
        if kind is dict:
            pairs = ((self.expression(k), self.expression(v)) for k, v in value.items())
            return "{" + ", ".join(f"{key}: {one}" for key, one in pairs) + "}"
        if kind in (list, tuple, set, frozenset):
            return self._items(value, kind)
        if value is None or kind in (bool, int, float, str, bytes):
            return repr(value)
        raise ValueError(f"a {kind.__name__} has no Python to paste")

    def _member(self, value: enum.Enum) -> str:
        name = value.name
        if name is None or name not in type(value).__members__:
            return f"{self.of(type(value))}({value.value!r})"
        return f"{self.of(type(value))}.{name}"

    def _items(self, value: Any, kind: type) -> str:
        inner = ", ".join(self.expression(one) for one in value)
        if kind is tuple:
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        if kind is list:
            return f"[{inner}]"
        return (f"{{{inner}}}" if inner else "set()") if kind is set else f"frozenset([{inner}])"

    def _record(self, value: Any) -> str:
        cls = type(value)
        given = [
            f"{spec.name}={self.expression(getattr(value, spec.name))}"
            for spec in specs_of(cls)
            if spec.default is UNSET or not same(getattr(value, spec.name), spec.default)
        ]
        return _call(self.of(cls), given)


def same(one: Any, other: Any) -> bool:
    """Return whether two values are one, or equal and of one type: True is not 1."""
    # NaN does not equal itself.
    return one is other or (type(one) is type(other) and bool(one == other))


def left_out(given: Sequence[Any], specs: Sequence[Spec]) -> list[Any]:
    """Return arguments without those at the end that stand at their default.

    The worker reads by type hints only where all parameters are sent, so that a record would come
    as a dict: then none is left out.
    """
    kept = list(given)
    while kept and same(kept[-1], specs[len(kept) - 1].default):
        kept.pop()
    return kept if all(map(_needs_no_hint, kept)) else list(given)


def _needs_no_hint(value: Any) -> bool:
    try:
        # As text: a member of a str enum equals its value, and NaN not itself.
        return repr(json.loads(show_json(value))) == repr(value)
    except (TypeError, ValueError):
        return False


def _call(function: str, parts: Sequence[str]) -> str:
    """Return a call on one line, or on one line an argument where that would be long."""
    line = f"{function}({', '.join(parts)})"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    inner = "".join(f"    {_indented(part)},\n" for part in parts)
    return f"{function}(\n{inner})"


def _indented(part: str) -> str:
    """Return an argument's further lines set in; a literal has none, since `repr` escapes them."""
    return part.replace("\n", "\n    ")


def _home(cls: type) -> str:
    """Return the shortest public module that has the class: its own or a package above."""
    names = cls.__module__.split(".")
    for end in range(1, len(names)):
        package: Any = sys.modules.get(".".join(names[:end]))
        outer = cls.__qualname__.partition(".")[0]
        offered: Mapping[str, Any] = vars(package) if inspect.ismodule(package) else {}
        public = outer in offered or outer in getattr(package, "__all__", ())
        if public and getattr(package, outer, None) is getattr(
            sys.modules.get(cls.__module__), outer, UNSET
        ):
            return ".".join(names[:end])
    return cls.__module__
