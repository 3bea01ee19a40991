"""`WorkerSpec`: what a worker runs, in a thread of the kernel or in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from temporalio import activity, workflow

from projectai_lab._checks import did_you_mean
from projectai_lab.activities import AICallable, make_ai_call, process_ai_task, validate_input
from projectai_lab.errors import WorkflowDefinitionError
from projectai_lab.workflows import ExampleWorkflow

_ACTIVITY = "__temporal_activity_definition"


@dataclass(frozen=True)
class WorkerSpec:
    """Workflows and activities of a worker, by their Temporal names; later ones replace earlier."""

    workflows: dict[str, type] = field(default_factory=dict)
    activities: dict[str, Callable[..., Any]] = field(default_factory=dict)

    @classmethod
    def build(
        cls,
        workflows: Iterable[type] = (),
        activities: Iterable[Callable[..., Any]] = (),
        ai: AICallable | None = None,
    ) -> WorkerSpec:
        """Add to the kit's own workflow and activities; a given one of the same name replaces it.

        Raises `WorkflowDefinitionError` for what no worker could load.
        """
        ours: tuple[Callable[..., Any], ...] = (validate_input, make_ai_call(ai), process_ai_task)
        return cls.of([ExampleWorkflow], ours).plus(workflows, activities)

    @classmethod
    def of(cls, workflows: Iterable[type], activities: Iterable[Callable[..., Any]]) -> WorkerSpec:
        """Name exactly these; raises `WorkflowDefinitionError` as `build` does."""
        return cls(
            {_workflow_name(one): one for one in workflows},
            {_activity_name(one): one for one in activities},
        )

    @classmethod
    def of_module(cls, module: ModuleType) -> WorkerSpec:
        """Name what a module defines itself: workflows, activities, and activities that are
        methods of an object that stands in it."""
        things = [one for one in vars(module).values() if is_of(one, module)]
        methods = [one for thing in things for one in _methods(thing)]
        return cls.of(
            [one for one in things if hasattr(one, "__temporal_workflow_definition")],
            [one for one in [*things, *methods] if hasattr(one, _ACTIVITY)],
        )

    def plus(
        self, workflows: Iterable[type], activities: Iterable[Callable[..., Any]]
    ) -> WorkerSpec:
        """Return these and those; one of those replaces one of the same name."""
        more = self.of(workflows, activities)
        return WorkerSpec(self.workflows | more.workflows, self.activities | more.activities)

    def check_type(self, workflow_type: str, task_queue: str) -> None:
        """Raise `WorkflowDefinitionError` for a type that a worker of this would fail for ever."""
        if workflow_type in self.workflows:
            return
        known = list(self.workflows)
        hint = did_you_mean(workflow_type, known) or f"it knows {', '.join(known)}."
        raise WorkflowDefinitionError(
            f"the worker on Task Queue {task_queue!r} has no Workflow Type {workflow_type!r}; "
            f"{hint} Register it: lab.start_worker(workflows=[…])"
        )

    def build_id(self) -> str:
        """Return a hash of the files that the workflows and activities stand in.

        The SDK's own is a hash over all modules of the process, taken once: 0.1 s, and in a
        notebook the old value still after an edit.
        """
        digest = hashlib.sha256()
        things = (*self.workflows.values(), *self.activities.values())
        for name in sorted({thing.__module__ for thing in things}):
            digest.update(name.encode())
            file = getattr(sys.modules.get(name), "__file__", None)
            with contextlib.suppress(OSError):
                digest.update(Path(file).read_bytes() if file else b"")
        return digest.hexdigest()[:32]


def is_of(thing: Any, module: ModuleType) -> bool:
    """Return whether a thing, or the class of an object, is defined in the module."""
    return getattr(thing, "__module__", None) == module.__name__


def activity_methods(cls: type) -> list[str]:
    """Return the names of a class's methods that are activities."""
    return [name for name in dir(cls) if hasattr(getattr(cls, name, None), _ACTIVITY)]


def _methods(thing: Any) -> list[Callable[..., Any]]:
    if isinstance(thing, type) or not hasattr(thing, "__dict__"):
        return []
    return [getattr(thing, name) for name in activity_methods(type(thing))]


def _workflow_name(cls: type) -> str:
    definition = workflow._Definition.from_class(cls) if isinstance(cls, type) else None
    if definition is None:
        raise WorkflowDefinitionError(f"{cls!r} is not a workflow: decorate it, @workflow.defn")
    if cls.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__"):
        raise WorkflowDefinitionError(
            f"workflow {cls.__name__} is defined in a notebook cell, where the workflow sandbox "
            "cannot import it from: run `%load_ext projectai_lab`, and begin the cell with "
            f"`%%workflow {cls.__name__.lower()}`"
        )
    return definition.name or cls.__name__


def _activity_name(function: Callable[..., Any]) -> str:
    definition = activity._Definition.from_callable(function)
    if definition is None:
        raise WorkflowDefinitionError(
            f"{function!r} is not an activity: decorate it with @activity.defn"
        )
    return definition.name or function.__name__
