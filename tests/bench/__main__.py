"""`python -m tests.bench [NAME…]`: measure, print one table; exit code 0 when all is as wanted."""

from __future__ import annotations

import os
import platform
import sys
import textwrap
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from types import ModuleType

from tests.bench import (
    decode,
    export,
    fetch,
    load,
    monitor,
    opening,
    regress,
    simulate,
    stall,
    sweep,
    throughput,
    virtual,
)
from tests.bench.rounds import Row

MEASUREMENTS: dict[str, ModuleType] = {
    "decode": decode,
    "open": opening,
    "throughput": throughput,
    "fetch": fetch,
    "load": load,
    "export": export,
    "simulate": simulate,
    "virtual": virtual,
    "regress": regress,
    "stall": stall,
    "sweep": sweep,
    "monitor": monitor,
}
HEAD = ("what", "ours", "the other", "unit", "ratio", "±", "wanted", "ok")


def main(names: Sequence[str]) -> int:
    """Run the named measurements, or all, and print their table."""
    unknown = [name for name in names if name not in MEASUREMENTS]
    if unknown:
        known = ", ".join(MEASUREMENTS)
        print(f"no measurement {', '.join(unknown)}; there are {known}", file=sys.stderr)
        return 2
    chosen = {name: MEASUREMENTS[name] for name in names or MEASUREMENTS}
    began = time.monotonic()
    rows: list[Row] = [row for module in chosen.values() for row in module.measure()]
    print(table(rows))
    for name, module in chosen.items():
        print(textwrap.fill(f"{name}: {module.METHOD}", 100, subsequent_indent="  "))
    print("±: standard error of the ratio, from the spread of the rounds")
    print(f"{conditions()}; took {time.monotonic() - began:.0f} s")
    return 0 if all(row.ok for row in rows) else 1


def table(rows: Sequence[Row]) -> str:
    """Return the rows as one text table."""
    lines = [HEAD, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    ruled = [lines[0], tuple("-" * width for width in widths), *lines[1:]]
    return "\n".join(_line(cells, widths) for cells in ruled)


def _cells(row: Row) -> tuple[str, ...]:
    wanted = "" if row.at_least is None else f">= {row.at_least:g}"
    wanted = wanted if row.at_most is None else f"<= {row.at_most:g}"
    verdict = "" if not wanted else "yes" if row.ok else "NO"
    error = "" if row.error is None else f"{row.error:.2f}"
    numbers = _short(row.ours), _short(row.other), row.unit, f"{row.ratio:.2f}", error
    return (row.what, *numbers, wanted, verdict)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 1000 else f"{number:.3g}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    right = {1, 2, 4, 5}
    padded = [
        cell.rjust(width) if position in right else cell.ljust(width)
        for position, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def conditions() -> str:
    """Return when, on what and beside which load the figures were taken."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, temporalio "
        f"{version('temporalio')}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
