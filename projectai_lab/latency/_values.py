"""From a table, or plain seconds, to the known values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from projectai_lab._frames import ACTIVITIES, names, need, one_clock
from projectai_lab.errors import TableError

Values = NDArray[np.float64]

_MEASURES = ("total_s", "exec_s", "duration_s")


def measure(frame: pd.DataFrame, column: str | None = None) -> str:
    """Return the column that holds a table's latency, unless one is given."""
    found = [column] if column else [name for name in _MEASURES if name in frame.columns]
    if not found:
        raise TableError(
            f"the table has none of the columns {', '.join(_MEASURES)}; name its duration column, "
            f'as in latency.percentiles(frame, "worker_exec_s"), or make one with {ACTIVITIES}',
            missing=list(_MEASURES),
        )
    return found[0]


def grouped(
    values: Any, column: str | None, by: str | Iterable[str] | None
) -> tuple[list[str], list[tuple[tuple[Any, ...], Values]]]:
    """Return the `by` columns, and each group's key with its known values, ascending."""
    keys = names(by)
    if not isinstance(values, pd.DataFrame):
        return [], [((), clean(values))]
    column = measure(values, column)
    need(values, [column, *keys], ACTIVITIES)
    one_clock(values, keys)
    if not keys:
        return [], [((), clean(values[column]))]
    groups = values.groupby(keys, observed=True, dropna=False)
    return keys, [(key, clean(group[column])) for key, group in groups]


def clean(values: Any) -> Values:
    """Return the known values, ascending."""
    if isinstance(getattr(values, "dtype", None), np.dtype) and values.dtype.kind == "f":
        # The way of mixed values below takes a second for a million.
        known = np.asarray(values, dtype=np.float64)
        return np.sort(known[~np.isnan(known)])
    mixed = pd.to_numeric(pd.Series(values, dtype=object)).astype("float64").dropna()
    return np.sort(mixed.to_numpy(dtype=np.float64))
