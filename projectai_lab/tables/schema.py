"""The schema of the tables: one place that knows, builds and checks every column.

A further table is one more entry of `TABLES` in `_columns`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from projectai_lab.errors import TableError
from projectai_lab.tables._column import Column, Table
from projectai_lab.tables._columns import TABLES
from projectai_lab.tables._runs import NAT

VERSION = 1
_DTYPES = {"text": "str", "count": "Int64", "flag": "boolean"}
_FEW = 12
_HEAD = f"""# Tables

Schema version {VERSION}. Written by the schema itself; to write it again:

```sh
python -c "from projectai_lab.tables import schema; print(schema.reference())" > docs/tables.md
```

Times are UTC with nanoseconds; a clock says whose: the server's and a worker's are never subtracted
from each other. What is not known is NA, never 0 and never an empty text."""
_UNITS = {"time": "UTC", "span": "s", "count": "1"}


def columns(table: str) -> pd.DataFrame:
    """Return the columns of a table as a table: column, dtype, unit, clock, meaning.

    >>> from projectai_lab.tables import schema
    >>> schema.columns("timers").column.tolist()[:4]
    ['namespace', 'workflow_id', 'run_id', 'started_event_id']
    """
    rows = [
        (c.name, "category" if c.kind == "enum" else str(dtype(c)), _unit(c), c.clock, c.meaning)
        for c in _find(table).columns
    ]
    return pd.DataFrame(rows, columns=["column", "dtype", "unit", "clock", "meaning"])


def reference() -> str:
    """Return every table and column as Markdown, as docs/tables.md holds it.

    >>> schema.reference().startswith("# Tables")                              # doctest: +SKIP
    """
    return "\n".join([_HEAD, *(line for name in TABLES for line in _section(name))])


def _section(name: str) -> list[str]:
    key = ", ".join(f"`{column}`" for column in TABLES[name].key)
    rows = [
        f"| `{c.name}` | {dtype_} | {unit} | {clock} | {_meaning(c)} |"
        for c, (_, dtype_, unit, clock, _) in zip(
            TABLES[name].columns, columns(name).itertuples(index=False, name=None), strict=True
        )
    ]
    head = ("| column | dtype | unit | clock | meaning |", "|---|---|---|---|---|")
    return ["", f"## {name}", "", f"Key: {key}.", "", *head, *rows]


def _meaning(column: Column) -> str:
    # The event types are Temporal's, and too many for a cell.
    few = column.values if len(column.values) <= _FEW else ()
    return "; ".join([column.meaning, *([", ".join(few)] if few else [])]).replace("|", "\\|")


@lru_cache
def dtype(column: Column) -> Any:
    """Return the pandas dtype of a column."""
    if column.kind == "enum":
        return pd.CategoricalDtype(pd.Index(column.values, dtype="str"))
    if column.kind == "time":
        return pd.DatetimeTZDtype("ns", "UTC")
    return pd.api.types.pandas_dtype(_DTYPES.get(column.kind, "float64"))


def frame(
    table: str, data: Mapping[str, Any] | Sequence[tuple[Any, ...]], *, clock: str = "unknown"
) -> pd.DataFrame:
    """Build a table from columns by name, or from rows in column order, with exact dtypes.

    Values: times are int epoch nanoseconds, enumerations words or (in an integer array) positions
    with −1 for NA; None is NA everywhere, and so is an empty text. Arrays that have the right
    dtype already are taken as they are.
    """
    wanted = _find(table).columns
    if not isinstance(data, Mapping):
        by_column = zip(*data, strict=True) if data else ([] for _ in wanted)
        data = dict(zip((c.name for c in wanted), by_column, strict=True))
    order = [c.name for c in wanted]
    if set(data) != set(order):
        _same_names(table, order, list(data))
    made = pd.DataFrame({c.name: _array(c, data[c.name]) for c in wanted}, copy=False)
    made.attrs = {"schema": f"projectai_lab/{table}/{VERSION}", "clock": clock}
    return made


def validate(df: pd.DataFrame, table: str | None = None) -> pd.DataFrame:
    """Return the table if it keeps its schema, else raise TableError naming the column.

    The table is named by `df.attrs["schema"]` unless given. Categories that a Parquet file leaves
    out (those of a table without rows) are put back.
    """
    table = table or _table_of(df)
    spec = _find(table)
    _same_names(table, [c.name for c in spec.columns], list(df.columns))
    wrong = [c for c in spec.columns if df[c.name].dtype != dtype(c)]
    result = df.assign(**{c.name: _mended(table, c, df[c.name]) for c in wrong})
    _check_key(table, spec.key, result)
    return result


def _find(table: str) -> Table:
    if table not in TABLES:
        raise TableError(f"no table {table!r}; there are {', '.join(TABLES)}", table=table)
    return TABLES[table]


def _table_of(df: pd.DataFrame) -> str:
    parts = str(df.attrs.get("schema", "")).split("/")
    if len(parts) != 3 or parts[0] != "projectai_lab":
        raise TableError(
            'df.attrs["schema"] does not name a table; say which: validate(df, "events")'
        )
    if parts[2] != str(VERSION):
        raise TableError(f"{parts[1]} has schema version {parts[2]}; this kit reads {VERSION}")
    return parts[1]


def _same_names(table: str, wanted: list[str], found: list[str]) -> None:
    if found == wanted:
        return
    missing = [name for name in wanted if name not in found]
    extra = [str(name) for name in found if name not in wanted]
    told = [f"no column {', '.join(missing)}"] if missing else []
    told += [f"unknown column {', '.join(extra)}"] if extra else []
    told = told or [f"its columns in another order; df[schema.columns({table!r}).column] mends it"]
    raise TableError(f"{table} has {' and '.join(told)}", table=table, missing=missing, extra=extra)


def _mended(table: str, column: Column, series: pd.Series) -> pd.Series:
    expected = dtype(column)
    if column.kind == "enum" and isinstance(series.dtype, pd.CategoricalDtype):
        unknown = [str(v) for v in series.cat.categories if v not in column.values]
        if not unknown:
            return series.astype(object).astype(expected)
        raise TableError(
            f"{table}.{column.name} has unknown values: {', '.join(unknown)}",
            table=table,
            column=column.name,
        )
    raise TableError(
        f"{table}.{column.name} is {series.dtype}, must be {expected}",
        table=table,
        column=column.name,
    )


def _check_key(table: str, key: tuple[str, ...], df: pd.DataFrame) -> None:
    for name in key:
        if df[name].isna().any():
            raise TableError(f"{table}.{name} has no value in some rows", table=table, column=name)
    twice = df.duplicated(list(key))
    if twice.any():
        first = df.loc[twice.idxmax(), list(key)].to_dict()
        raise TableError(
            f"{table} holds rows twice, the first being {first}; give each run once",
            table=table,
            column=key[-1],
            key=first,
        )


def _unit(column: Column) -> str:
    return "bytes" if column.name.endswith("bytes") else _UNITS.get(column.kind, "")


def _array(column: Column, values: Any) -> Any:
    if isinstance(values, pd.api.extensions.ExtensionArray):
        return values
    return _MAKERS[column.kind](values, column)


def _text(values: Any, _: Column) -> Any:
    # Arrow takes a list several times faster than pandas takes an array of objects.
    made = pa.array(values, type=pa.large_string())
    # Protobuf's unset text is "".
    unset = pc.equal(made, "") if made.null_count < len(made) else None
    if unset is not None and pc.any(unset).as_py():
        made = pc.if_else(unset, None, made)
    return pd.array(made, dtype="str")


def _count(values: Any, _: Column) -> Any:
    return pd.array(values, dtype="Int64")


def _flag(values: Any, _: Column) -> Any:
    return pd.array(values, dtype="boolean")


def _number(values: Any, _: Column) -> Any:
    return np.asarray(values, dtype="float64")


def _time(values: Any, _: Column) -> Any:
    if not isinstance(values, np.ndarray):
        fits = [v if v is not None and NAT < v < -NAT else NAT for v in values]
        values = np.array(fits, dtype=np.int64)
    return pd.DatetimeIndex(values.view("M8[ns]"), tz="UTC")


def _enum(values: Any, column: Column) -> Any:
    if not (isinstance(values, np.ndarray) and values.dtype.kind == "i"):
        code = {word: position for position, word in enumerate(column.values)}
        values = np.array([-1 if v is None else code[v] for v in values], dtype=np.int64)
    return pd.Categorical.from_codes(values, dtype=dtype(column))


_MAKERS: dict[str, Callable[[Any, Column], Any]] = {
    "text": _text,
    "count": _count,
    "flag": _flag,
    "time": _time,
    "span": _number,
    "number": _number,
    "enum": _enum,
}
