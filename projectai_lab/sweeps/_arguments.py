"""From a base and the parameters of a planned run to the workflow's arguments."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from projectai_lab.errors import DesignError
from projectai_lab.sweeps._checked import Planned
from projectai_lab.workflows.example import DEFAULT_RETRY, DEFAULT_TIMEOUTS, ExampleWorkflow

Tree = dict[str, Any]
"""Changes by name; what is below a dot is a `Tree` of its own, what is given a `_Leaf`."""
# What the kit's own workflow takes where its input names nothing: its parameters begin there.
_DEFAULTS: dict[Any, dict[str, Mapping[str, Any]]] = {
    ExampleWorkflow.run: {"retry": DEFAULT_RETRY, "timeouts": DEFAULT_TIMEOUTS}
}
_NEAR = 3


class _Leaf(typing.NamedTuple):
    value: Any


class Arguments:
    """Makes the arguments of the planned runs of one sweep.

    A workflow with one argument takes paths into its base; one with plain arguments takes their
    names, and `base` is a dict of those that do not vary. Each run gets its seed where the input
    has a field `seed`, or the run method an argument of that name.
    """

    def __init__(self, workflow: str | Callable[..., Any], base: Any) -> None:
        self._names: list[str] = []
        self._hints: dict[str, Any] = {}
        self._defaults: Mapping[str, Any] = _DEFAULTS.get(workflow, {})
        if callable(workflow):
            self._take_signature(workflow, base)
        elif base is None:
            raise DesignError(
                f"give the input of {workflow!r} with base=…, which parameters change"
            )
        self.base = base
        if self._names:
            self.base = self._signature_defaults
            self._check_names(base or {})
            self.base = {**self.base, **(base or {})}

    def _take_signature(self, workflow: Callable[..., Any], base: Any) -> None:
        names = list(inspect.signature(workflow).parameters.values())[1:]
        hints = typing.get_type_hints(workflow)
        structured = len(names) == 1 and (
            dataclasses.is_dataclass(base) or dataclasses.is_dataclass(hints.get(names[0].name))
        )
        if structured and base is None:
            wanted = hints[names[0].name].__name__
            raise DesignError(f"give the workflow's input with base={wanted}(…)")
        self._signature_defaults = {
            one.name: one.default for one in names if one.default is not inspect.Parameter.empty
        }
        if not structured:
            self._names, self._hints = [one.name for one in names], hints
            if base is not None and not isinstance(base, Mapping):
                shown = ", ".join(self._names) or "none"
                raise DesignError(
                    f"base must be a dict of the run method's arguments ({shown}), got {base!r:.80}"
                )

    def _check_names(self, base: Mapping[str, Any]) -> None:
        for name in base:
            if name not in self._names:
                raise self._unknown(str(name))

    @property
    def takes_seed(self) -> bool:
        """Whether a run can be told its seed."""
        if self._names:
            return "seed" in self._names
        if isinstance(self.base, Mapping):
            return "seed" in self.base
        return "seed" in _fields(self.base)

    def of(self, run: Planned) -> list[Any]:
        """Return the arguments of a planned run; raise DesignError that names it."""
        given = dict(run.parameters)
        if self.takes_seed:
            given["seed"] = run.seed
        try:
            changed = self._changed(self.base, _tree(given), "", self._defaults, None)
        except DesignError:
            # About the names, which are those of every run.
            raise
        except (TypeError, ValueError) as error:
            told = ", ".join(f"{name}={value!r}" for name, value in run.parameters.items())
            raise DesignError(f"{run.label} ({told}): {error}", row=run.row) from error
        return self._in_order(changed, run) if self._names else [changed]

    def _in_order(self, given: Mapping[str, Any], run: Planned) -> list[Any]:
        missing = [name for name in self._names if name not in given]
        if missing:
            raise DesignError(
                f"{run.label}: the run method needs {', '.join(missing)}; name it in the design "
                f"or in base={{{missing[0]!r}: …}}"
            )
        return [given[name] for name in self._names]

    def _changed(
        self, value: Any, tree: Tree, where: str, defaults: Mapping[str, Any], hint: Any
    ) -> Any:
        """Return a value with the changes of a tree, all fields of one record at once."""
        if value is None and (kind := _record_of(hint)):
            value = kind()
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            known, hints = _fields(value), _hints_of(type(value))
        elif isinstance(value, Mapping):
            known = {**(defaults if where else dict.fromkeys(self._names)), **value}
            hints = dict.fromkeys(tree, _value_hint(hint)) if where else self._hints
        elif type(value) in (list, tuple):
            known, hints = _places(value), {}
        else:
            raise self._unknown(f"{where}.{next(iter(tree))}".lstrip("."))
        new = {}
        for name, change in tree.items():
            path = f"{where}.{name}".lstrip(".")
            may_be_new = where and isinstance(value, Mapping) and not defaults
            if name not in known and not may_be_new:
                raise self._unknown(path)
            if isinstance(change, _Leaf):
                new[name] = change.value
                continue
            below = defaults.get(name, {}) if not where else {}
            new[name] = self._changed(known.get(name), change, path, below, hints.get(name))
        if type(value) in (list, tuple):
            return type(value)({**known, **new}.values())
        return {**value, **new} if isinstance(value, Mapping) else dataclasses.replace(value, **new)

    def _unknown(self, path: str) -> DesignError:
        known = [*_paths(self.base, "", self._defaults), *self._names]
        near = difflib.get_close_matches(path, known, _NEAR)
        told = (
            f"did you mean {' or '.join(map(repr, near))}?"
            if near
            else "it has " + (", ".join(dict.fromkeys(map(_head, known))) or "no named parts")
        )
        what = "the workflow's arguments have" if self._names else "the workflow's input has"
        return DesignError(f"{what} no {path!r}; {told}", parameter=path, near=near)


@cache
def _hints_of(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _tree(given: Mapping[str, Any]) -> Tree:
    tree: Tree = {}
    for path, value in given.items():
        *above, last = path.split(".")
        place = tree
        for name in above:
            place = place.setdefault(name, {})
            if isinstance(place, _Leaf):
                raise DesignError(f"{path!r} lies within {name!r}, which is a parameter too")
        if last in place:
            raise DesignError(f"{path!r} is a parameter, and so is a part of it")
        place[last] = _Leaf(value)
    return tree


def _head(path: str) -> str:
    return path.partition(".")[0]


def _places(value: Any) -> dict[str, Any]:
    """Return the items of a list or tuple by their numbers, as paths name them."""
    return {str(place): one for place, one in enumerate(value)}


def _fields(value: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(value):
        return {}
    return {one.name: getattr(value, one.name) for one in dataclasses.fields(value) if one.init}


def _record_of(hint: Any) -> type | None:
    """Return the dataclass that a type hint names, perhaps beside None."""
    for one in (hint, *typing.get_args(hint)):
        if isinstance(one, type) and dataclasses.is_dataclass(one):
            return one
    return None


def _value_hint(hint: Any) -> Any:
    """Return the type of a dict's values."""
    for one in (hint, *typing.get_args(hint)):
        if typing.get_origin(one) in (dict, Mapping):
            return typing.get_args(one)[1]
    return None


def _paths(value: Any, where: str, defaults: Mapping[str, Any]) -> Iterator[str]:
    """Yield the dotted paths of all that can be changed."""
    parts = value if isinstance(value, Mapping) else _fields(value)
    if type(value) in (list, tuple):
        parts = _places(value)
    for name, part in {**(defaults if isinstance(value, Mapping) else {}), **parts}.items():
        path = f"{where}.{name}".lstrip(".")
        yield path
        yield from _paths(part, path, defaults.get(name, {}) if not where else {})
