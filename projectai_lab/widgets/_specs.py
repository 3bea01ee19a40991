"""What a workflow or a record takes: name, type, default and documentation of each part."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, get_type_hints

from temporalio.workflow import _Definition

from projectai_lab.widgets._kinds import UNSET, is_model


@dataclass(frozen=True)
class Spec:
    """One part: `default` is UNSET where it is required; `rest` stands for any number of them."""

    name: str
    hint: Any
    default: Any = UNSET
    doc: str = ""
    rest: bool = False

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is UNSET


@dataclass(frozen=True)
class Started:
    """What a form starts: a Workflow Type, what `start_workflow` takes for it, its parameters."""

    name: str
    workflow: Any
    owner: type | None
    parameters: tuple[Spec, ...]
    doc: str = ""


def started_by(workflow: Any) -> Started:
    """Return what a workflow class, its run method or a Workflow Type's name stands for.

    Raises TypeError for anything else.
    """
    if isinstance(workflow, str) and workflow.strip():
        words = "a JSON list with one item an argument"
        wanted = Spec("arguments", list, [], words, rest=True)
        return Started(workflow, workflow, None, (wanted,), "started by name: arguments as JSON")
    owner = workflow if isinstance(workflow, type) else _owner(workflow)
    definition = _Definition.from_class(owner) if owner else None
    if owner is None or definition is None:
        raise TypeError(
            "a form needs a workflow: a class with @workflow.defn, such as ExampleWorkflow, or the "
            f"name of a Workflow Type; got {workflow!r}"
        )
    if definition.name is None:
        raise TypeError(f"{owner.__name__} is a dynamic workflow: name the Workflow Type to start")
    run = getattr(owner, definition.run_fn.__name__)
    return Started(definition.name, run, owner, tuple(_parameters(run)), first_lines(owner))


def _owner(run: Any) -> type | None:
    """Return the class whose run method it is."""
    found: Any = inspect.getmodule(run) if inspect.isfunction(run) else None
    for name in run.__qualname__.split(".")[:-1] if found else ():
        found = getattr(found, name, None)
    return found if isinstance(found, type) else None


def _parameters(run: Any) -> list[Spec]:
    hints = _hints(run)
    given = list(inspect.signature(run).parameters.values())[1:]
    # Temporal passes arguments by position only, and as many as are sent.
    by_name = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    return [_parameter(one, hints.get(one.name, Any)) for one in given if one.kind not in by_name]


def _parameter(one: inspect.Parameter, hint: Any) -> Spec:
    if one.kind is inspect.Parameter.VAR_POSITIONAL:
        return Spec(one.name, list[hint], [], "any number of further arguments", rest=True)
    return Spec(one.name, hint, UNSET if one.default is inspect.Parameter.empty else one.default)


def specs_of(record: type) -> list[Spec]:
    """Return the fields that a dataclass or a pydantic model is made with."""
    if is_model(record):
        return [
            Spec(name, info.annotation, _model_default(info), info.description or "")
            for name, info in record.model_fields.items()  # type: ignore[attr-defined]
        ]
    hints, docs = _hints(record), _field_docs(record)
    return [
        Spec(
            one.name,
            hints.get(one.name, Any),
            default_of(one),
            str(one.metadata.get("doc") or one.metadata.get("help") or docs.get(one.name, "")),
        )
        for one in dataclasses.fields(record)
        if one.init
    ]


def default_of(field: dataclasses.Field[Any]) -> Any:
    """Return the default of a dataclass's field, made anew; UNSET where it has none."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return UNSET if field.default is dataclasses.MISSING else field.default


def _model_default(info: Any) -> Any:
    return UNSET if info.is_required() else info.get_default(call_default_factory=True)


def _hints(of: Any) -> dict[str, Any]:
    """Return the type hints; none of them where one names what is not there."""
    try:
        return get_type_hints(of)
    except (NameError, TypeError, AttributeError):
        return {}


def first_lines(owner: type) -> str:
    """Return the first paragraph of a class's docstring, none for one that Python made."""
    doc = inspect.cleandoc(owner.__doc__ or "").split("\n\n")[0]
    return "" if doc.startswith(f"{owner.__name__}(") else " ".join(doc.split())


def _field_docs(record: type) -> dict[str, str]:
    """Return the strings that stand below the fields in the class's source, its bases' too."""
    found: dict[str, str] = {}
    for one in reversed(record.__mro__[:-1]):
        with suppress(OSError, TypeError, SyntaxError, IndexError):
            (tree,) = ast.parse(textwrap.dedent(inspect.getsource(one))).body
            body = tree.body if isinstance(tree, ast.ClassDef) else []
            for field, below in pairwise(body):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(below, ast.Expr)
                    and isinstance(below.value, ast.Constant)
                    and isinstance(below.value.value, str)
                ):
                    found[ast.unparse(field.target)] = " ".join(below.value.value.split())
    return found
