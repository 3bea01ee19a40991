"""The parts of a capsule as files, and back: tables, histories, figures."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from projectai_lab import histories, plots, tables
from projectai_lab.errors import CapsuleError

Recipe = tuple[str, str] | tuple[str, str, Mapping[str, Any]]
"""How a figure is drawn: the function of `plots`, the table, and options."""


def table_bytes(name: str, frame: pd.DataFrame) -> bytes:
    """Return a table as Parquet; CapsuleError unless it comes back equal."""
    buffer = io.BytesIO()
    try:
        frame.to_parquet(buffer)
        back = read_table(buffer.getvalue())
        pd.testing.assert_frame_equal(back, frame)
    except (AssertionError, ValueError, TypeError, OSError, NotImplementedError) as error:
        raise CapsuleError(
            f"table {name!r} does not come back equal from Parquet ({_first_line(error)}); "
            "give its columns plain types and the index 0, 1, 2, …",
            table=name,
        ) from error
    return buffer.getvalue()


def read_table(data: bytes) -> pd.DataFrame:
    """Return a table from Parquet, validated where it is one of ours."""
    frame = pd.read_parquet(io.BytesIO(data))
    ours = str(frame.attrs.get("schema", "")).startswith("projectai_lab/")
    return tables.validate(frame) if ours else frame


def read_history(data: bytes) -> histories.History:
    """Return a history from the JSON that `histories.save` writes."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "history.json"
        file.write_bytes(data)
        return histories.load(file)


def recipe(name: str, given: Any, known: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Return a figure's recipe as JSON; CapsuleError for one that cannot be drawn."""
    function, table, options = _taken_apart(name, given)
    if function not in plots.__all__:
        raise CapsuleError(
            f"figure {name!r}: plots has no {function!r}; it has {', '.join(plots.__all__)}"
        )
    if table not in known:
        raise CapsuleError(
            f"figure {name!r}: the capsule has no table {table!r}; it has {', '.join(known)}; "
            "add others: tables={**tables.build(histories), …}"
        )
    return {"plot": function, "table": table, "options": as_json(f"options of {name}", options)}


def _taken_apart(name: str, given: Any) -> tuple[str, str, Any]:
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise CapsuleError(
            f"figure {name!r} must be given as the function of plots and its table, as "
            f'("retries", "attempts"), and options if any; got {given!r}'
        )
    return given[0], given[1], given[2] if len(given) == 3 else {}


def as_json(what: str, value: Any) -> Any:
    """Return a value as it comes back from JSON; CapsuleError for one that JSON cannot hold."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise CapsuleError(f"the {what} cannot be kept as JSON: {error}") from error


def draw(made: Mapping[str, Any], frames: Mapping[str, pd.DataFrame], ax: Axes | None) -> Axes:
    """Draw a figure by its recipe."""
    function = getattr(plots, made["plot"])
    drawn: Axes = function(frames[made["table"]], ax=ax, **made["options"])
    return drawn


def png(made: Mapping[str, Any], frames: Mapping[str, pd.DataFrame]) -> bytes:
    """Return a figure as PNG; the same data and versions give the same bytes."""
    figure = cast(Figure, draw(made, frames, None).figure)
    buffer = io.BytesIO()
    try:
        figure.savefig(buffer, format="png", dpi=120, metadata={"Software": None})
    finally:
        plt.close(figure)
    return buffer.getvalue()


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
