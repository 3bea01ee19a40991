"""`histories.to_ocel`: an object-centric event log, in the JSON of OCEL 2.0.

A. Berti et al.: OCEL (Object-Centric Event Log) 2.0 Specification, 2023, arXiv:2403.01975;
https://www.ocel-standard.org/specification/formats/json/
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory

from projectai_lab import tables
from projectai_lab._closes import CLOSES
from projectai_lab.histories._ocel_log import Log, Related, object_id
from projectai_lab.histories._sink import (
    Histories,
    batches,
    by_run,
    records_of,
    rows,
    whole_text,
)
from projectai_lab.histories._transitions import Transition, iso, transitions

_BATCH = 10_000
_OF_THE_RUN = tuple(f"WORKFLOW_EXECUTION_{word}" for word in ("STARTED", *CLOSES.values()))
Row = dict[str, Any]


def to_ocel(
    histories: Histories,
    path: str | os.PathLike[str],
    *,
    recorder: Iterable[tables.Record] | None = None,
) -> Path:
    """Write runs, activities and attempts, with workers and Task Queues, as related objects.

    Events are the start and the end of each run (type WORKFLOW_EXECUTION_STARTED, …), each
    activity's transitions (type "validate_input STARTED", …) and, with `recorder` (`lab.attempts`),
    the starts of attempts that history leaves out. Times are the server's, to the microsecond: what
    no server clock saw has no event, and what is NA is left out. Runs may come from a generator;
    the ids of workflows and runs stay in memory, and `recorder`. The file is whole or not there.

    >>> histories.to_ocel(runs, "study.json", recorder=lab.attempts)           # doctest: +SKIP
    """
    path = Path(path)
    records = by_run(recorder)
    with (
        whole_text(path) as file,
        # Beside the file, where there is room; it has no name and goes with the process.
        tempfile.TemporaryFile("w+", encoding="utf-8", dir=path.parent) as spool,
    ):
        log = Log(file, spool)
        for batch in batches(histories, _BATCH):
            _add(log, batch, records_of(batch, records))
        log.end()
    return path


def _add(
    log: Log, batch: Sequence[WorkflowHistory], records: Sequence[tables.Record] | None
) -> None:
    """Write the objects and events of some runs."""
    of_run = {run["run_id"]: _add_run(log, run) for run in rows(tables.executions(batch))}
    ends = tables.events(batch)
    for event in rows(ends[ends.event_type.isin(_OF_THE_RUN)]):
        _add_event(log, event, event["event_type"], of_run[event["run_id"]])
    for activity in rows(tables.activities(batch, records)):
        _add_activity(log, activity)
    started = set()
    for step in (step for steps in transitions(batch).values() for step in steps):
        _add_step(log, step, of_run[step.run_id])
        if step.word == "STARTED":
            started.add((step.run_id, step.scheduled_event_id, step.attempt))
    for one in rows(tables.attempts(batch, records)):
        in_history = (one["run_id"], one["scheduled_event_id"], one["attempt"]) in started
        _add_attempt(log, one, [] if in_history else of_run[one["run_id"]])


def _add_run(log: Log, run: Row) -> Related:
    """Write a run; return what each of its events relates to."""
    workflow = object_id("workflow", run["namespace"] or "", run["workflow_id"])
    id = object_id("run", run["run_id"])
    log.object("workflow", workflow, run)
    related = [(workflow, "execution of"), *_queue(log, run["task_queue"], "polls")]
    if run["parent_run_id"]:
        related.append((object_id("run", run["parent_run_id"]), "child of"))
    if run["first_run_id"] not in (None, run["run_id"]):
        related.append((object_id("run", run["first_run_id"]), "continues"))
    log.object("run", id, run, related)
    return [(id, "run"), (workflow, "workflow")]


def _add_event(log: Log, event: Row, kind: str, related: Related) -> None:
    time = iso(event["event_time"])
    log.event(f"{event['run_id']}/{event['event_id']}", kind, time, event, related)


def _add_activity(log: Log, one: Row) -> None:
    related = [(object_id("run", one["run_id"]), "part of")]
    related += _queue(log, one["task_queue"], "scheduled on")
    log.object("activity", _activity(one["run_id"], one["scheduled_event_id"]), one, related)


def _add_step(log: Log, step: Transition, of_run: Related) -> None:
    related = [*of_run, (_activity(step.run_id, step.scheduled_event_id), "activity")]
    if step.attempt is not None:
        attempt = object_id("attempt", step.run_id, step.scheduled_event_id, step.attempt)
        related.append((attempt, "attempt"))
    related += _worker(log, step.worker, "worker")
    if step.word == "SCHEDULED":
        related += _queue(log, step.task_queue, "task queue")
    kind, id = f"{step.activity_type} {step.word}", f"{step.run_id}/{step.event_id}"
    log.event(id, kind, iso(step.time), step._asdict(), related)


def _add_attempt(log: Log, one: Row, of_run: Related) -> None:
    """Write an attempt and, where `of_run` is given and the server told a worker, its start."""
    names = one["run_id"], one["scheduled_event_id"], one["attempt"]
    attempt, activity = object_id("attempt", *names), _activity(*names[:2])
    worker = _worker(log, one["worker_identity"], "worker")
    log.object("attempt", attempt, one, [(activity, "attempt of"), *worker])
    if of_run and one["started_time"] is not None:
        time = iso(one["started_time"])
        related = [*of_run, (activity, "activity"), (attempt, "attempt"), *worker]
        kind = f"{one['activity_type']} STARTED"
        log.event(f"{attempt}/start", kind, time, {"attempt": one["attempt"]}, related)


def _activity(run_id: str, scheduled_event_id: int) -> str:
    return object_id("activity", run_id, scheduled_event_id)


def _queue(log: Log, name: str | None, qualifier: str) -> list[tuple[str, str]]:
    return _shared(log, "task queue", "name", name, qualifier)


def _worker(log: Log, identity: str | None, qualifier: str) -> list[tuple[str, str]]:
    return _shared(log, "worker", "identity", identity, qualifier)


def _shared(
    log: Log, kind: str, attribute: str, name: str | None, qualifier: str
) -> list[tuple[str, str]]:
    if name is None:
        return []
    log.object(kind, object_id(kind, name), {attribute: name})
    return [(object_id(kind, name), qualifier)]
