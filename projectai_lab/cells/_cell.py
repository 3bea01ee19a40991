"""`Cell`: the text of a notebook cell as a module that worker and sandbox can import."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import keyword
import re
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from projectai_lab import _html
from projectai_lab.cells import _store
from projectai_lab.cells._names import check_names
from projectai_lab.errors import CellError
from projectai_lab.worker_spec import WorkerSpec, activity_methods, is_of

# Where Python looks for a source file's encoding (PEP 263); here it would be the file's line 2.
_CODING = re.compile(r"[ \t\f]*#.*?coding[:=][ \t]*[-_.a-zA-Z0-9]+")


@dataclass(frozen=True)
class Cell:
    """What a cell defines, by its Temporal names, and what came of its registration."""

    name: str
    module: str
    workflows: dict[str, type]
    activities: dict[str, Callable[..., Any]]
    replayed: int = 0
    """Stored runs that follow this code."""
    mended: tuple[str, ...] = ()
    """Workflow Ids of failed runs that this code would not fail where they did."""
    open_runs: tuple[str, ...] = ()
    """Workflow Ids of open runs that go on with this code."""
    pinned: tuple[str, ...] = ()
    """Workflow Ids of open runs that keep the code that they started with."""
    not_pinned: str = ""
    """Why the server does not let open runs keep their code."""
    diverged: tuple[str, ...] = ()
    """Workflow Ids of runs that do not follow this code, where it was forced or only checked."""
    unchanged: bool = False
    """Whether the worker ran exactly this already."""
    checked_only: bool = False
    """Whether this was only a check, so that the worker goes on with the code of before."""
    refused: str = ""
    """Why a check would have refused it."""

    @property
    def defined(self) -> dict[str, Any]:
        """What the notebook gets: the workflow, the activities, and the cell's other classes and
        functions without an underscore, such as the dataclass that the workflow takes."""
        module = sys.modules[self.module]
        things: tuple[Any, ...] = (*self.workflows.values(), *self.activities.values())
        others = {
            name: thing
            for name, thing in vars(module).items()
            if not name.startswith("_") and is_of(thing, module)
        }
        return others | {one.__name__: one for one in things if not inspect.ismethod(one)}

    def with_outcome(self, **outcome: Any) -> Cell:
        """Return the cell with what came of its registration."""
        return dataclasses.replace(self, **outcome)

    def _facts(self) -> dict[str, object]:
        return {
            "Workflow Type": ", ".join(self.workflows) or None,
            "activities": ", ".join(self.activities) or None,
            "module": self.module,
            "worker": self._state(),
            "stored runs that follow it": self.replayed if self.workflows else None,
            "failed, and mended by it": _some(self.mended) or None,
            "open, with the code of before": _some(self.pinned) or None,
            "open, with this code": _some(self.open_runs) or None,
            "not pinned": self.not_pinned or None,
            "diverged": _some(self.diverged) or None,
            "refused": self.refused or None,
        }

    def _state(self) -> str:
        if self.checked_only:
            return "not swapped: this was a check"
        return "ran this already" if self.unchanged else "polls with it"

    def __repr__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self._facts().items() if value)
        return f"<Cell {self.name!r}: {facts}>"

    def _repr_html_(self) -> str:
        return _html.card(f"cell {self.name}", self._facts())


def make(kind: str, name: str, body: str, notebook: Mapping[str, Any]) -> Cell:
    """Check a cell and import it as a module; `kind` is "workflow" or "activity".

    Raises SyntaxError with the cell's own line numbers, `CellError` for all else.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or not name.isascii() or len(name) > 100:
        raise CellError(f"%%{kind} takes a name such as `greet`, got {name!r}")
    if _CODING.match(body):
        raise CellError("a cell is kept as UTF-8: take the `coding` line out of it")
    # The first line stands for the magic's, so that lines are counted as the notebook does.
    text = f"# %%{kind} {name}\n{body}"
    try:
        compile(text, f"<%%{kind} {name}>", "exec")
    except UnicodeEncodeError as error:
        raise CellError(f"the cell holds half a character, which no file can: {error}") from error
    check_names(text, notebook)
    module = load(_store.keep(name, text))
    spec = WorkerSpec.of_module(module)
    _check_methods(module, spec)
    _check_count(kind, spec)
    return Cell(name, module.__name__, spec.workflows, spec.activities)


def load(name: str) -> ModuleType:
    """Import a cell's module; raises `CellError` with the line that fails."""
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if name in frame.filename
        ]
        where = f"line {frames[-1].lineno}, `{frames[-1].line}`" if frames else "an import"
        raise CellError(
            f"the cell cannot be imported; {where} raised {type(error).__name__}: {error}"
        ) from error


def _check_methods(module: ModuleType, spec: WorkerSpec) -> None:
    """Refuse activities that are methods of a class without an object: no worker can call them."""
    classes = [one for one in vars(module).values() if isinstance(one, type)]
    have = {type(one.__self__) for one in spec.activities.values() if inspect.ismethod(one)}
    for one in classes:
        if is_of(one, module) and one not in have and (names := activity_methods(one)):
            raise CellError(
                f"{', '.join(names)} of {one.__name__} are methods, and a worker needs the object: "
                f"add to the cell: {one.__name__.lower()} = {one.__name__}(…)"
            )


def _check_count(kind: str, spec: WorkerSpec) -> None:
    if kind == "activity":
        if spec.workflows:
            raise CellError(
                f"a %%activity cell holds activities only, and this one has the workflow "
                f"{', '.join(spec.workflows)}: write %%workflow as its first line"
            )
        if not spec.activities:
            raise CellError("the cell has no activity: decorate a function with @activity.defn")
        return
    if not spec.workflows:
        raise CellError("the cell has no workflow: decorate a class with @workflow.defn")
    if len(spec.workflows) > 1:
        raise CellError(
            f"a %%workflow cell holds one workflow, and this one has {', '.join(spec.workflows)}: "
            "give each a cell of its own"
        )


def name_of(module: str) -> str | None:
    """Return the name of the cell that a module was made of; None for a module of another kind."""
    prefix = _store.PREFIX
    return module[len(prefix) :].rpartition("_")[0] if module.startswith(prefix) else None


def _some(ids: tuple[str, ...], most: int = 5) -> str:
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(ids[:most]) + more
