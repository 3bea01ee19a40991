"""`histories.to_xes`: an event log for process mining, in the XML of XES.

IEEE Std 1849-2016, "eXtensible Event Stream (XES)", doi 10.1109/IEEESTD.2016.7740858; it took over
the format of XES 1.0 and 2.0 (C. W. Günther, H. M. W. Verbeek: XES – Standard Definition, 2014).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from projectai_lab import tables
from projectai_lab.histories._sink import Histories, batches, whole_text
from projectai_lab.histories._transitions import Transition, iso, transitions

_EXTENSIONS = {"Concept": "concept", "Time": "time", "Lifecycle": "lifecycle"}
_EXTENSIONS["Organizational"] = "org"
# What XML 1.0 cannot hold, escaped or not.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OF_RUN = ("workflow_id", "workflow_type", "task_queue", "status", "namespace", "clock")
_BATCH = 10_000


def to_xes(histories: Histories, path: str | os.PathLike[str]) -> Path:
    """Write a trace per Workflow Execution, an event per transition of an activity; whole or not.

    `concept:name` is the Run Id of a trace and the Activity Type of an event, `concept:instance`
    the Activity Id, `lifecycle:transition` one of schedule, start, complete, withdraw (canceled
    before it started) and ate_abort (failed, timed out, canceled; `status` has Temporal's word),
    `org:resource` the worker's identity. Events stand in order of time, which is the server's, to
    the microsecond. Only what history keeps: the last attempt of each activity. Runs may come from
    a generator.

    >>> histories.to_xes(runs, "study.xes")                                    # doctest: +SKIP
    """
    path = Path(path)
    with whole_text(path) as file:
        file.writelines(_head())
        for batch in batches(histories, _BATCH):
            found = transitions(batch)
            for run in tables.executions(batch).to_dict("records"):
                file.writelines(_trace(run, found[run["run_id"]]))
        file.write("</log>\n")
    return path


def _head() -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>\n'
    yield f"<!-- written by projectai_lab {version('projectai_lab')} -->\n"
    yield '<log xes.version="1849-2016" xes.features="" xmlns="http://www.xes-standard.org/">\n'
    for name, prefix in _EXTENSIONS.items():
        uri = f"http://www.xes-standard.org/{prefix}.xesext"
        yield f'  <extension name="{name}" prefix="{prefix}" uri="{uri}"/>\n'
    yield f'  <global scope="trace">\n{_string("concept:name", "")}  </global>\n'
    yield '  <global scope="event">\n'
    yield _string("concept:name", "") + _string("concept:instance", "")
    yield _string("lifecycle:transition", "complete")
    yield '    <date key="time:timestamp" value="1970-01-01T00:00:00Z"/>\n  </global>\n'
    yield '  <classifier name="Activity" keys="concept:name"/>\n'
    yield (
        '  <classifier name="Activity and transition" keys="concept:name lifecycle:transition"/>\n'
    )
    yield '  <string key="lifecycle:model" value="standard"/>\n'


def _trace(run: dict[str, Any], steps: list[Transition]) -> Iterator[str]:
    yield "  <trace>\n" + _string("concept:name", run["run_id"])
    for name in _OF_RUN:
        if isinstance(run[name], str):
            yield _string(name, run[name])
    yield from map(_event, steps)
    yield "  </trace>\n"


def _event(step: Transition) -> str:
    texts = {
        "concept:name": step.activity_type,
        "concept:instance": step.activity_id,
        "lifecycle:transition": step.lifecycle,
        "org:resource": step.worker,
        "status": step.word,
        "task_queue": step.task_queue,
        "failure_type": step.failure_type,
    }
    numbers = {"event_id": step.event_id, "attempt": step.attempt}
    told = "".join(_string(key, value) for key, value in texts.items() if value is not None)
    told += f'    <date key="time:timestamp" value="{iso(step.time)}"/>\n'
    told += "".join(
        f'    <int key="{key}" value="{value}"/>\n'
        for key, value in numbers.items()
        if value is not None
    )
    return f"    <event>\n{told}    </event>\n"


def _string(key: str, value: str) -> str:
    clean = quoteattr(_NO_XML.sub("\ufffd", value))
    return f'    <string key="{key}" value={clean}/>\n'
