"""Values of a design: plain, so that a table shows them and JSON carries them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd

from projectai_lab import _checks
from projectai_lab.errors import DesignError


def plain(name: str, value: Any) -> Any:
    """Return a value as JSON will give it back; what is missing in a frame becomes None.

    Raises DesignError for what JSON cannot carry.
    """
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, np.generic):
        return plain(name, value.item())
    if isinstance(value, float):
        return _finite(name, value)
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(f"{name}.{place}", one) for place, one in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain(name, one) for key, one in value.items()}
    raise DesignError(_refusal(name, value))


def _finite(name: str, value: float) -> float | None:
    # In a column of numbers pandas writes NaN for what is missing.
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise DesignError(f"the value {value!r} of {name!r} cannot be serialised to JSON")
    return value


def _refusal(name: str, value: Any) -> str:
    what = f"the value {value!r:.80} of {name!r} cannot be serialised to JSON"
    if dataclasses.is_dataclass(value):
        first = dataclasses.fields(value)[0].name
        return f"{what} as a value of a design: vary its fields, such as '{name}.{first}'"
    return f"{what}: give text, numbers, flags, None, or lists and dicts of these"


def column(values: list[Any]) -> Any:
    """Return values as a column: a dtype of pandas where all are of one kind, else as they are."""
    kinds = {type(value) for value in values}
    if kinds == {bool} or kinds == {float}:
        return np.array(values)
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values):
        return np.array(values, dtype=np.int64)
    if kinds == {str}:
        return pd.array(values, dtype="str")
    if kinds == {int, float}:
        return np.array(values, dtype=np.float64)
    return pd.Series(values, dtype=object).array


def whole_number(name: str, value: Any, least: int) -> int:
    """Return a count; raise DesignError for what is none or too small."""
    try:
        return _checks.whole_number(name, value, least)
    except ValueError as error:
        raise DesignError(str(error)) from None
