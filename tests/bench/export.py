"""How time and memory of an export grow with the events in it.

`python -m tests.bench.export EVENTS FOLDER` exports so many events in this interpreter and prints
what that took.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from projectai_lab import histories
from tests.bench.decode import each_copy
from tests.bench.rounds import Row, say

ROOT = Path(__file__).parents[2]
MIB = 2**20
METHOD = (
    "A recorded three-activity run, copied under own ids one by one and exported as JSON and "
    "Parquet, in a fresh interpreter each; the copying counts. A tenth of the events is exported "
    "before and after, and the mean of the two counts. CPU: of the process, so that what else "
    "runs on the machine does not count; the next row is by the clock on the wall. Memory: the "
    "most that was resident, interpreter and imports included. Size: bytes of the files per event."
)


class Took(NamedTuple):
    """What one export took, and the bytes of its files."""

    cpu_s: float
    wall_s: float
    peak_bytes: int
    json_bytes: int
    table_bytes: int


def measure(events: int = 1_000_000) -> list[Row]:
    """Return the rows of time, memory and size."""
    tenth = events // 10
    before, whole, after = (exported(count) for count in (tenth, events, tenth))
    cpu_s = whole.cpu_s, (before.cpu_s + after.cpu_s) / 2
    wall_s = whole.wall_s, (before.wall_s + after.wall_s) / 2
    peak = whole.peak_bytes / MIB
    sizes = whole.table_bytes / events, whole.json_bytes / events
    growth = f"export: {events:,} events to {tenth:,}"
    memory = f"export: peak memory of {events:,} events to 1 GiB"
    return [
        Row(f"{growth}, CPU", *cpu_s, "s", cpu_s[0] / cpu_s[1], at_most=11),
        Row(f"{growth}, wall", *wall_s, "s", wall_s[0] / wall_s[1]),
        Row(memory, peak, 1024, "MiB", peak / 1024, at_most=1),
        Row("export: size per event, tables to JSON", *sizes, "bytes", sizes[0] / sizes[1]),
    ]


def exported(events: int) -> Took:
    """Export in a fresh interpreter and return what it took."""
    say(f"export: {events:,} events")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.export", str(events), folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise RuntimeError(f"the export of {events} events failed:\n{done.stderr}")
    return Took(*json.loads(done.stdout.splitlines()[-1]))


def export(events: int, folder: Path) -> Took:
    """Export so many events into a folder and return what it took."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    histories.export(each_copy(events), folder, progress=False)
    spent = time.process_time() - cpu_s, time.perf_counter() - wall_s
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    as_json = sum(size for path, size in sizes.items() if path.suffix == ".zip")
    as_tables = sum(size for path, size in sizes.items() if path.suffix == ".parquet")
    return Took(*spent, _peak_bytes(), as_json, as_tables)


def _peak_bytes() -> int:
    """Return the most memory that this process had resident."""
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Not ru_maxrss: on Linux that begins with what the process that started us had resident.
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


if __name__ == "__main__":
    print(json.dumps(export(int(sys.argv[1]), Path(sys.argv[2]))))
