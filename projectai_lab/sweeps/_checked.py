"""A design as it came, perhaps edited by hand: is it one, and what does it hold?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd

from projectai_lab.errors import DesignError
from projectai_lab.sweeps._design import OWN, check_name, frame
from projectai_lab.sweeps._values import plain, whole_number

_HEAD_VALUES = 6


class Planned(NamedTuple):
    """One planned run."""

    row: int
    replicate: int
    seed: int
    parameters: dict[str, Any]

    @property
    def label(self) -> str:
        """What an error calls it."""
        return f"row {self.row}, replicate {self.replicate}"


def checked(design: Any) -> pd.DataFrame:
    """Return the design with plain values, in the order of starts, or raise DesignError."""
    if not isinstance(design, pd.DataFrame):
        raise DesignError(
            f"a design is a DataFrame, got {type(design).__name__}; make one with sweeps.grid(…)"
        )
    _check_columns(list(design.columns))
    if design.empty:
        raise DesignError("the design is empty: it has no rows; make one with sweeps.grid(…)")
    ordered = design.sort_values("order", kind="stable") if _sortable(design) else design
    rows = [
        _row(list(design.columns), values) for values in ordered.itertuples(index=False, name=None)
    ]
    _check_once(design)
    attrs = {key: design.attrs[key] for key in ("seed", "made") if key in design.attrs}
    return frame([str(name) for name in design.columns], rows, attrs)


def planned(design: pd.DataFrame) -> list[Planned]:
    """Return the planned runs of a checked design, in the order of starts."""
    names = parameters(design)
    columns = design[["row", "replicate", "seed", *names]].itertuples(index=False, name=None)
    return [
        Planned(
            int(values[0]),
            int(values[1]),
            int(values[2]),
            {name: plain(name, value) for name, value in zip(names, values[3:], strict=True)},
        )
        for values in columns
    ]


def parameters(design: pd.DataFrame) -> list[str]:
    """Return the names of the parameters."""
    return [name for name in design.columns if name not in OWN]


def summary(design: pd.DataFrame) -> str:
    """Return the design in one line."""
    points, replicates = design["row"].nunique(), design["replicate"].nunique()
    told = "; ".join(f"{name}: {_shown(design, name)}" for name in parameters(design))
    seed = f", seed {design.attrs['seed']}" if "seed" in design.attrs else ""
    return f"{points} points, {replicates} replicates, {len(design)} runs{seed}; {told}"


def _shown(design: pd.DataFrame, name: str) -> str:
    values = [plain(name, value) for value in design.sort_values("row")[name].tolist()]
    once = list(dict.fromkeys(repr(value) for value in values))
    told = [one if len(one) <= 40 else f"{one[:39]}…" for one in once]
    if len(once) <= _HEAD_VALUES:
        return ", ".join(told)
    if pd.api.types.is_numeric_dtype(design[name]):
        return f"{design[name].min():g} … {design[name].max():g} ({len(once)} values)"
    return f"{', '.join(told[:3])} … ({len(once)} values)"


def _check_columns(names: list[Any]) -> None:
    twice = [name for position, name in enumerate(names) if name in names[:position]]
    if twice:
        raise DesignError(f"the design has the column {twice[0]!r} twice; keep one")
    missing = [name for name in OWN if name not in names]
    if missing:
        raise DesignError(
            f"the design has no column {', '.join(missing)}: begin with sweeps.grid(…) and edit "
            f"its rows; every design has {', '.join(OWN)}"
        )
    found = [name for name in names if name not in OWN]
    if not found:
        raise DesignError("the design is empty: it has no column for a parameter")
    for name in found:
        check_name(name)


def _sortable(design: pd.DataFrame) -> bool:
    return bool(pd.api.types.is_integer_dtype(design["order"]))


def _row(names: Sequence[str], values: Sequence[Any]) -> list[Any]:
    given = dict(zip(names, values, strict=True))
    try:
        own = {name: whole_number(name, plain(name, given[name]), 0) for name in OWN}
        return [own[name] if name in own else plain(name, given[name]) for name in names]
    except DesignError as error:
        where = f"row {given['row']}, replicate {given['replicate']}"
        raise DesignError(f"{where}: {error}", row=given["row"]) from error


def _check_once(design: pd.DataFrame) -> None:
    """Refuse two rows that would have one Workflow Id, or one place in the order."""
    for key in (["row", "replicate"], ["order"]):
        twice = design.duplicated(key)
        if twice.any():
            first = ", ".join(f"{name} {design.loc[twice, name].iloc[0]}" for name in key)
            raise DesignError(f"the design has {first} twice; each planned run stands in it once")
