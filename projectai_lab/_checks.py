"""What every setting is checked with: durations, types, names; on the standard library alone."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import SupportsIndex

Duration = timedelta | float
"""A `timedelta`, or a number of seconds; kept as seconds once inside a model."""


def seconds(duration: Duration) -> float:
    """Return a duration as float seconds; ValueError for what is none."""
    if isinstance(duration, timedelta):
        return duration.total_seconds()
    try:
        return float(duration)
    except (TypeError, ValueError):
        takes = "a duration is a timedelta or a number of seconds"
        raise ValueError(f"{takes}; got {duration!r}") from None


def store_seconds(record: object, *names: str, zero: bool = False) -> None:
    """Keep the named durations of a frozen record as seconds; ValueError where one is none."""
    for name in names:
        value = getattr(record, name)
        if value is None:
            continue
        length = seconds(value)
        # Temporal reads 0 as "not set".
        if not math.isfinite(length) or length < 0 or (length == 0 and not zero):
            needed = "0 or more" if zero else "more than 0"
            raise ValueError(f"{type(record).__name__}.{name} must be {needed} s, got {value}")
        object.__setattr__(record, name, length)


def whole_number(name: str, value: object, least: int) -> int:
    """Return a count, of numpy's too; ValueError for what is none or less than `least`."""
    number = operator.index(value) if isinstance(value, SupportsIndex) else least - 1
    if number < least or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, {least} or more; got {value!r}")
    return number


def check_type(field_name: str, value: object, kind: type) -> None:
    """Raise ValueError for a value that is no `kind`."""
    if not isinstance(value, kind):
        found = type(value).__name__
        raise ValueError(f"{field_name} must be a {kind.__name__}, got {found}: {value!r}")


def near(name: str, known: Sequence[str]) -> str:
    """Return the known names and, of a misspelt one, the one that it is near to."""
    return "; ".join(filter(None, [f"known: {', '.join(known)}", did_you_mean(name, known)]))


def did_you_mean(name: str, known: Iterable[str], most: int = 1) -> str:
    """Return "did you mean 'a' or 'b'?", at most so many, of a misspelt name; "" where none is."""
    match = difflib.get_close_matches(name, list(known), most)
    return f"did you mean {' or '.join(map(repr, match))}?" if match else ""
