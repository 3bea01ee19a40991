"""`histories.to_trace`: runs in a trace viewer, in the Trace Event Format.

"Trace Event Format", the Chromium project, JSON Object Format with events of phase X, i and M:
https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from projectai_lab import tables
from projectai_lab.histories._sink import Histories, batches, by_run, records_of, whole_text
from projectai_lab.histories._slices import Drawn, Slice, drawn

_BATCH = 10_000
_TIMES = "the server's clock, microseconds since 1970-01-01T00:00:00Z"


def to_trace(
    histories: Histories,
    path: str | os.PathLike[str],
    *,
    recorder: Iterable[tables.Record] | None = None,
) -> Path:
    """Write a process per run, with tracks for its tasks, activities, timers and children.

    https://ui.perfetto.dev and chrome://tracing open it. An activity holds its attempts, the
    backoffs between them and the waits for a worker, as far as history and `recorder`
    (`lab.attempts`) know them; what has no known end is an instant. Times are the server's; the
    clock is in `otherData`. Runs may come from a generator.

    >>> histories.to_trace(runs, "study.trace.json", recorder=lab.attempts)    # doctest: +SKIP
    """
    path = Path(path)
    records = by_run(recorder)
    clocks: set[str] = set()
    with whole_text(path) as file:
        file.write('{"traceEvents": [')
        number = 0
        for batch in batches(histories, _BATCH):
            for one in drawn(batch, records_of(batch, records)):
                number += 1
                clocks.add(one.run["clock"] or "unknown")
                told = ",\n".join(json.dumps(event) for event in _events(number, one))
                file.write(f"{',' if number > 1 else ''}\n{told}")
        about = {"clock": ", ".join(sorted(clocks)) or "unknown", "times": _TIMES, "runs": number}
        about["written by"] = f"projectai_lab {version('projectai_lab')}"
        file.write(f'\n],\n"displayTimeUnit": "ms",\n"otherData": {json.dumps(about)}}}\n')
    return path


def _events(number: int, one: Drawn) -> Iterator[dict[str, Any]]:
    name = f"{one.run['workflow_type']} {one.run['workflow_id']}"
    yield _named("process_name", number, 0, name=name)
    yield _named("process_sort_index", number, 0, sort_index=number)
    tracks: dict[str, int] = {}
    for part in one.slices:
        if part.track not in tracks:
            tracks[part.track] = track = len(tracks) + 1
            yield _named("thread_name", number, track, name=part.track)
            yield _named("thread_sort_index", number, track, sort_index=track)
        yield _event(number, tracks[part.track], part)


def _named(what: str, process: int, track: int, **facts: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": track, "args": facts}


def _event(process: int, track: int, part: Slice) -> dict[str, Any]:
    common = {"name": part.name, "pid": process, "tid": track, "ts": part.start}
    category = part.track.rstrip(" 0123456789")
    if part.end is None:
        return {"ph": "i", "s": "t", **common, "cat": category, "args": part.facts}
    return {
        **{"ph": "X", **common, "dur": part.end - part.start},
        **{"cat": category, "args": part.facts},
    }
