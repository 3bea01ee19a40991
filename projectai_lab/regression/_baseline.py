"""Baselines: the table that a check compares with, as text that a reviewer can read.

JSON with a row a line, not CSV: a file that was cut off shows, and "" is not NA.
"""

from __future__ import annotations

import json
import os
import shlex
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from projectai_lab._frames import clocks
from projectai_lab.errors import BaselineError
from projectai_lab.regression._sides import plain

FORMAT = "projectai_lab/baseline/1"


@dataclass(frozen=True, eq=False)
class Baseline:
    """A table as it was, or those of its columns that a check compares.

    `columns` are all columns that the table had, with their dtypes; `reasons` why it was made and
    changed, the last one last.
    """

    frame: pd.DataFrame
    columns: Mapping[str, str]
    schema: str
    clock: str
    reasons: tuple[Mapping[str, str], ...] = ()

    def same(self, other: Baseline) -> bool:
        """Whether the two hold the same, whatever the reasons."""
        facts = [
            (
                *(each.columns, each.schema, each.clock),
                # As values: a file does not keep the categories that none has.
                {name: plain(each.frame[name]) for name in each.frame.columns},
            )
            for each in (self, other)
        ]
        return facts[0] == facts[1]


def of(df: pd.DataFrame, columns: Iterable[str] | None = None) -> Baseline:
    """Return a table as a baseline, with these columns of it or all."""
    kept = list(df.columns) if columns is None else list(dict.fromkeys(columns))
    dtypes = {str(name): str(df[name].dtype) for name in df.columns}
    clock = ", ".join(clocks(df))
    return Baseline(df[kept].reset_index(drop=True), dtypes, str(df.attrs.get("schema", "")), clock)


def save(
    df: pd.DataFrame,
    path: str | os.PathLike[str],
    *,
    reason: str,
    columns: Iterable[str] | None = None,
) -> Path:
    """Write a table, or these columns of it, as a baseline; whole or not at all.

    For a test that names its baseline; those of notebooks are made by `projectai-lab regress
    --update`. The reasons given before stay in the file.

    >>> regression.save(attempts, "baselines/a.json", reason="first")          # doctest: +SKIP
    """
    path = Path(path)
    before = load(path).reasons if path.exists() else ()
    return write(of(df, columns), path, reason, before)


def write(
    made: Baseline, path: Path, reason: str, before: Sequence[Mapping[str, str]] = ()
) -> Path:
    """Write a baseline with one more reason."""
    if not reason.strip():
        raise BaselineError(f"{path} needs a reason, for those who will read the change: reason=")
    reasons = [*before, {"date": f"{datetime.now(UTC):%Y-%m-%d}", "reason": reason}]
    head = {
        **{"format": FORMAT, "schema": made.schema, "clock": made.clock},
        **{"reasons": reasons, "columns": dict(made.columns), "kept": list(made.frame.columns)},
    }
    values = [_plain(path, str(name), made.frame[name]) for name in made.frame.columns]
    rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in zip(*values, strict=True))
    text = json.dumps(head, indent=1, ensure_ascii=False).removesuffix("\n}")
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        half.write_text(f'{text},\n "rows": [\n{rows}\n]}}\n', encoding="utf-8")
        return half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> Baseline:
    """Read a baseline; BaselineError for a file that is none, cut off, or of another version.

    >>> regression.load("notebooks/baselines/06_x/attempts.json").frame        # doctest: +SKIP
    """
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unusable(path, f"cannot be read ({error})") from error
    if not isinstance(found, dict) or "format" not in found:
        raise _unusable(path, "is no baseline: it names no format")
    if found["format"] != FORMAT:
        raise _unusable(path, f"is of format {found['format']!r}; this kit reads {FORMAT!r}")
    try:
        return _baseline(found)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _unusable(path, f"does not hold what a baseline holds: {error!r}") from error


def _baseline(found: dict[str, Any]) -> Baseline:
    columns, kept = dict(found["columns"]), list(found["kept"])
    rows = [list(row) for row in found["rows"]]
    wrong = [number for number, row in enumerate(rows, 1) if len(row) != len(kept)]
    if wrong:
        raise ValueError(f"row {wrong[0]} has not {len(kept)} values")
    values = list(zip(*rows, strict=True)) or [() for _ in kept]
    data = {
        name: _column(name, given, columns[name]) for name, given in zip(kept, values, strict=True)
    }
    reasons = tuple({key: str(one[key]) for key in ("date", "reason")} for one in found["reasons"])
    frame = pd.DataFrame(data, columns=kept)
    return Baseline(frame, columns, str(found["schema"]), str(found["clock"]), reasons)


def _column(name: str, values: Sequence[Any], dtype: str) -> pd.Series:
    text = dtype in ("str", "category", "object") or dtype.startswith(("datetime", "timedelta"))
    for value in values:
        # Or pandas would take "0.5" for a number and 1 for true.
        fits = isinstance(value, str) if text else isinstance(value, bool | int | float)
        fits = fits and isinstance(value, bool) == (dtype in ("bool", "boolean"))
        known = value is None and dtype != "bool"
        if not known and not fits and dtype != "object":
            raise ValueError(f"{value!r} in column {name!r}, whose dtype is {dtype}")
    return pd.Series(list(values), dtype=dtype, name=name)


def _plain(path: Path, name: str, series: pd.Series) -> list[Any]:
    values = [one.item() if isinstance(one, np.generic) else one for one in plain(series)]
    if pd.api.types.is_datetime64_any_dtype(series) or str(series.dtype).startswith("timedelta"):
        return [None if one is None else str(one) for one in values]
    for value in values:
        if not isinstance(value, str | bool | int | float | None):
            raise BaselineError(
                f"{path} cannot hold column {name!r}, where a value is of type "
                f"{type(value).__name__}: give text, numbers, flags or times",
                column=name,
            )
    return values


def _unusable(path: Path, why: str) -> BaselineError:
    return BaselineError(
        f"the baseline {path} {why}; take it back from version control, or make it anew: "
        f"{how_to_make(path)}",
        path=path,
    )


def how_to_make(path: Path) -> str:
    """Return the command that makes a baseline: by its notebook where it stands beside one."""
    notebook = path.absolute().parents[2] / f"{path.absolute().parent.name}.ipynb"
    if notebook.is_file():
        return f'projectai-lab regress {shlex.quote(str(notebook))} --update --reason "…"'
    return f'regression.save(df, "{path}", reason="…")'
