"""What can be typed for a type: the text of a value, the value of a text, or a choice."""

from __future__ import annotations

import enum
import json
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal, NewType, Union, get_args, get_origin

from temporalio.converter import AdvancedJSONEncoder, value_to_type

from projectai_lab._words import cut


class Unset(enum.Enum):
    """No value was given: the default holds, or something required is missing."""

    UNSET = "unset"


UNSET = Unset.UNSET

BLOB_LIMIT = 2 * 2**20
_UNITS = {
    "": 1.0,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "min": 60.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_LISTS: tuple[Any, ...] = (list, tuple, set, frozenset, Sequence)


@dataclass(frozen=True)
class Kind:
    """How one value is typed; `parse` raises ValueError with the words to show at the field."""

    words: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str]
    choices: tuple[tuple[str, Any], ...] = ()
    optional: bool = False
    lines: int = 1
    remark: Callable[[Any], str] = lambda _: ""
    """What has to be said of a value that is fine."""


@dataclass(frozen=True)
class Shape:
    """A type that has parts: a record (dataclass, pydantic model), a list, a dict."""

    kind: Literal["record", "list", "dict"]
    make: Any
    key: Any = None
    item: Any = None


def bare(hint: Any) -> Any:
    """Return what a NewType or an annotated type is a type of."""
    while isinstance(hint, NewType) or get_origin(hint) is Annotated:
        hint = hint.__supertype__ if isinstance(hint, NewType) else hint.__origin__
    return hint


def without_none(hint: Any) -> tuple[Any, bool]:
    """Return a bare type without its None, and whether None was one of its values."""
    hint = bare(hint)
    if get_origin(hint) not in (Union, types.UnionType):
        return hint, hint is type(None)
    rest = [one for one in get_args(hint) if one is not type(None)]
    if len(rest) == len(get_args(hint)):
        return hint, False
    return (bare(rest[0]) if len(rest) == 1 else Union[tuple(rest)]), True  # noqa: UP007


def is_model(hint: Any) -> bool:
    """Whether it is a class of pydantic's, told by what such a class has."""
    return isinstance(hint, type) and isinstance(getattr(hint, "model_fields", None), Mapping)


def shape_of(hint: Any) -> Shape | None:
    """Return which parts a type has; None for one that is typed as a whole."""
    hint = bare(hint)
    origin, args = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and not origin and (is_dataclass(hint) or is_model(hint)):
        return Shape("record", hint)
    if origin in (dict, Mapping) and len(args) == 2 and bare(args[0]) in (str, int):
        return Shape("dict", dict, *args)
    if origin not in _LISTS or not args:
        return None
    if origin is tuple and (len(args) != 2 or args[1] is not Ellipsis):
        return None
    return Shape("list", list if origin is Sequence else origin, item=args[0])


def kind_of(hint: Any) -> Kind:
    """Return how a value of the type is typed; a type that nobody knows is typed as JSON."""
    plain, optional = without_none(hint)
    return replace(_plain(plain), optional=optional)


def _plain(hint: Any) -> Kind:
    union = {*get_args(hint)} if get_origin(hint) in (Union, types.UnionType) else set()
    if hint is bool:
        return _choice([("False", False), ("True", True)])
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return _choice([(one.name, one) for one in hint])
    if get_origin(hint) is Literal:
        return _choice([(str(one), one) for one in get_args(hint)])
    if hint is timedelta or (timedelta in union and union <= {timedelta, float, int}):
        make: Any = _timedelta if hint is timedelta else duration
        return Kind("seconds, or 1.5s, 2 min, 3 h", make, _show_duration)
    if hint in (int, float) or union == {int, float}:
        if hint is int:
            return Kind("a whole number", whole_number, _show)
        return Kind("a number", number, _show, remark=_not_of_json)
    simple: dict[Any, Kind] = {
        str: Kind("text", str, _of_type(str)),
        datetime: Kind("a time: 2026-01-31T12:00:00+00:00", _instant, datetime.isoformat),
    }
    if hint in (Any, object):
        return Kind("text, or JSON", anything, show_anything, lines=2, remark=_taken_as)
    return simple.get(hint) or Kind("JSON", partial(_json, hint), show_json, lines=3)


def _choice(choices: list[tuple[str, Any]]) -> Kind:
    return Kind("a choice", str, str, choices=tuple(choices))


def _show(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is not a number")
    return repr(value)


def _of_type(kind: type) -> Callable[[Any], str]:
    def show(value: Any) -> str:
        if not isinstance(value, kind):
            raise TypeError(f"{value!r} is no {kind.__name__}")
        return str(value)

    return show


def whole_number(typed: str) -> int:
    """Return a whole number; ValueError in words."""
    try:
        return int(typed)
    except ValueError:
        raise ValueError(f"not a whole number: {cut(typed, 40)!r}") from None


def number(typed: str) -> float:
    """Return a number; ValueError in words, also for one that is too large to be one."""
    try:
        value = float(typed)
    except ValueError:
        raise ValueError(f"not a number: {cut(typed, 40)!r}") from None
    if math.isinf(value) and "inf" not in typed.lower():
        raise ValueError(f"too large a number: {cut(typed, 40)!r}")
    return value


def _not_of_json(value: Any) -> str:
    if not isinstance(value, float) or math.isfinite(value):
        return ""
    return f"sent as {show_json(value)}: workers in Python read it, those of other SDKs may not"


def duration(typed: str) -> float:
    """Return seconds of "1.5", "1.5s", "200 ms", "2 min", "3 h", "1 d"; ValueError in words."""
    found = re.fullmatch(r"\s*([-+.\deE]+?)\s*([a-z]*)\s*", typed)
    if not found or found[2] not in _UNITS:
        raise ValueError(
            f"not a duration: {cut(typed, 40)!r}; type seconds, or 200 ms, 1.5s, 2 min, 3 h"
        )
    return number(found[1]) * _UNITS[found[2]]


def _timedelta(typed: str) -> timedelta:
    try:
        return timedelta(seconds=duration(typed))
    except OverflowError:
        raise ValueError(f"too long a duration: {cut(typed, 40)!r}") from None


def _show_duration(value: timedelta | float) -> str:
    return f"{value.total_seconds() if isinstance(value, timedelta) else float(value)!r}s"


def _instant(typed: str) -> datetime:
    try:
        return datetime.fromisoformat(typed.strip())
    except ValueError:
        raise ValueError(
            f"not a time: {cut(typed, 40)!r}; type 2026-01-31T12:00:00+00:00"
        ) from None


def anything(typed: str) -> Any:
    """Return what JSON says, else the text as it is; ValueError for JSON that is cut off."""
    try:
        return strict_json(typed)
    except RecursionError:
        raise ValueError("not JSON: nested too deep") from None
    except ValueError as error:
        if typed.lstrip()[:1] in ("{", "[", '"'):
            raise ValueError(f"not JSON: {error}; text that begins so goes in quotes") from None
        return typed


def show_anything(value: Any) -> str:
    """Return a text as it is where it is taken as one, all else as JSON."""
    if isinstance(value, str):
        try:
            if anything(value) == value:
                return value
        except ValueError:
            pass
    return show_json(value)


def strict_json(typed: str) -> Any:
    """Return what JSON says; ValueError for NaN and Infinity too, which Python would take."""
    return json.loads(typed, parse_constant=_no_constant)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is none of JSON's numbers")


def _taken_as(value: Any) -> str:
    """Return what a text for anything was taken for, where that is no text."""
    if isinstance(value, str):
        return ""
    names = {bool: "true or false", dict: "a JSON object", list: "a JSON list"}
    name = "null" if value is None else names.get(type(value), "a number")
    return f"taken as {name}; in quotes it is text"


def _json(hint: Any, typed: str) -> Any:
    try:
        read = strict_json(typed)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from None
    try:
        if hint is list and not isinstance(read, list):
            # The converter takes any collection for one.
            raise TypeError(f"it is a {type(read).__name__}")
        return value_to_type(hint, read)
    except (TypeError, ValueError, RuntimeError) as error:
        name = getattr(hint, "__name__", None) or str(hint)
        raise ValueError(f"not a {name}: {error}") from None


def show_json(value: Any) -> str:
    """Return a value as the JSON that Temporal's converter sends."""
    return json.dumps(value, cls=AdvancedJSONEncoder, ensure_ascii=False)


def check_size(typed: str) -> None:
    """Raise ValueError for a text that is more than a payload may hold."""
    # As the converter sends it, where characters beyond ASCII take more room.
    size = len(json.dumps(typed)) if len(typed) > BLOB_LIMIT // 12 else 0
    if size > BLOB_LIMIT:
        raise ValueError(
            f"too long: {size / 2**20:.1f} MiB, and Temporal takes 2 MiB a payload; pass a "
            "reference to the data instead"
        )
