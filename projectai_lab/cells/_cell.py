"""`Cell`: the text of a notebook cell as a module that worker and sandbox can import."""

from __future__ import annotations

import dataclasses
import importlib
import keyword
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
from projectai_lab.worker_spec import WorkerSpec


@dataclass(frozen=True)
class Cell:
    """What a cell defines, by its Temporal names, and what came of its registration."""

    name: str
    module: str
    workflows: dict[str, type]
    activities: dict[str, Callable[..., Any]]
    replayed: int = 0
    """Stored runs that follow this code."""
    open_runs: tuple[str, ...] = ()
    """Workflow Ids of open runs, which go on with this code."""
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
            if not name.startswith("_") and _is_own(thing, module)
        }
        return others | {thing.__name__: thing for thing in things}

    def with_outcome(self, **outcome: Any) -> Cell:
        """Return the cell with what came of its registration."""
        return dataclasses.replace(self, **outcome)

    def _facts(self) -> dict[str, object]:
        return {
            "Workflow Type": ", ".join(self.workflows) or None,
            "activities": ", ".join(self.activities) or None,
            "module": self.module,
            "worker": self._state(),
            "replayed": f"{self.replayed} stored runs follow it" if self.workflows else None,
            "open runs": f"{_some(self.open_runs)} go on with it" if self.open_runs else None,
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
    # The first line stands for the magic's, so that lines are counted as the notebook does.
    text = f"# %%{kind} {name}\n{body}"
    compile(text, f"<%%{kind} {name}>", "exec")
    check_names(text, notebook)
    module = _import(_store.keep(name, text))
    things = [thing for thing in vars(module).values() if _is_own(thing, module)]
    spec = WorkerSpec.of(
        [one for one in things if hasattr(one, "__temporal_workflow_definition")],
        [one for one in things if hasattr(one, "__temporal_activity_definition")],
    )
    _check_count(kind, spec)
    return Cell(name, module.__name__, spec.workflows, spec.activities)


def _import(name: str) -> ModuleType:
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except Exception as error:
        sys.modules.pop(name, None)
        frames = [
            frame for frame in traceback.extract_tb(error.__traceback__) if name in frame.filename
        ]
        where = f"line {frames[-1].lineno}, `{frames[-1].line}`" if frames else "an import"
        raise CellError(
            f"the cell cannot be imported; {where} raised {type(error).__name__}: {error}"
        ) from error


def _is_own(thing: Any, module: ModuleType) -> bool:
    return getattr(thing, "__module__", None) == module.__name__


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
