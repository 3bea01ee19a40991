"""Event histories: fetch many at once, save them, load them again.

A saved file is the JSON of the Web UI and the CLI with one more key, so each reads the other's.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseError
from temporalio.api.enums.v1 import EventType, WorkflowTaskFailedCause
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode
from tqdm.auto import tqdm

from projectai_lab.errors import HistoryFileError

WorkflowRef = str | tuple[str, str | None]
"""A Workflow Id, or a Workflow Id and a Run Id."""

_KEY = "projectai_lab"
_QUIET_BELOW, _QUIET_SECONDS = 20, 1.0
# tqdm's own monitor thread would outlive the bar.
_Bar: Any = type("_Bar", (tqdm,), {"monitor_interval": 0})
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class History(WorkflowHistory):
    """The SDK's history, and where it was made.

    `clock` is that of the server: "fast", "default" or "virtual"; None when not known.
    """

    namespace: str | None = None
    clock: str | None = None

    @cached_property
    def run_id(self) -> str:
        """Run Id; after a reset that of the new run, where the SDK names the run before."""
        for event in reversed(self.events):
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                failed = event.workflow_task_failed_event_attributes
                reset = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW
                if failed.cause == reset and failed.new_run_id:
                    return failed.new_run_id
        return WorkflowHistory(self.workflow_id, self.events).run_id


async def fetch(
    client: Client,
    query_or_ids: str | Iterable[WorkflowRef],
    *,
    concurrency: int = 50,
    progress: bool = True,
    clock: str | None = None,
) -> list[History]:
    """Return the histories of all runs that a List Filter finds, or of the ids, in that order.

    Runs that are gone by the time they are fetched (retention, deletion) are left out and logged.

    >>> await histories.fetch(client, "WorkflowType = 'ExampleWorkflow'")      # doctest: +SKIP
    >>> await histories.fetch(client, ["req-1", ("req-2", run_id)])            # doctest: +SKIP
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, got {concurrency}")
    refs = await _refs(client, query_or_ids)
    found: dict[int, History | None] = {}
    waiting = iter(enumerate(refs))
    quiet = not progress or len(refs) < _QUIET_BELOW
    with _Bar(total=len(refs), unit="run", delay=_QUIET_SECONDS, disable=quiet, leave=False) as bar:

        async def take_turns() -> None:
            for position, ref in waiting:
                found[position] = await _fetch(client, *ref, clock)
                bar.update()

        tasks = [asyncio.create_task(take_turns()) for _ in range(min(concurrency, len(refs)))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
    return [history for _, history in sorted(found.items()) if history is not None]


def save(history: WorkflowHistory, path: str | os.PathLike[str]) -> Path:
    """Write a history as the JSON that Web UI, CLI and Replayer read; whole or not at all.

    >>> histories.save(history, "req-1.json")                                  # doctest: +SKIP
    """
    path = Path(path)
    origin = {
        "workflow_id": history.workflow_id,
        "run_id": history.run_id,
        "namespace": getattr(history, "namespace", None),
        "clock": getattr(history, "clock", None),
    }
    text = json.dumps({_KEY: origin} | history.to_json_dict(), indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        half.write_text(text + "\n", encoding="utf-8")
        return half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], workflow_id: str | None = None) -> History:
    """Read a history saved here, downloaded from the Web UI, or printed by the CLI.

    The Workflow Id is the one in the history, else `workflow_id`, else the file's stem. A file
    that is no whole history raises HistoryFileError.

    >>> histories.load("req-1.json")                                           # doctest: +SKIP
    """
    path = Path(path)
    parsed = _parse(path, _read(path))
    try:
        events = WorkflowHistory.from_json("", parsed).events
    except (ParseError, ValueError, TypeError, AttributeError) as error:
        raise _unusable(
            path,
            f"holds events that cannot be read ({error}); in the Web UI download it with the "
            "payloads left encoded, or use: temporal workflow show -o json",
        ) from error
    if not events or not events[0].HasField("workflow_execution_started_event_attributes"):
        raise _unusable(
            path, "does not begin with WorkflowExecutionStarted; export the whole history"
        )
    own = events[0].workflow_execution_started_event_attributes.workflow_id
    origin = parsed.get(_KEY) or {}
    name = own or origin.get("workflow_id") or workflow_id or path.stem
    return History(name, events, origin.get("namespace"), origin.get("clock"))


def load_all(folder: str | os.PathLike[str]) -> list[History]:
    """Read every .json file of a folder, by name.

    >>> histories.load_all("saved/")                                           # doctest: +SKIP
    """
    return [load(path) for path in sorted(Path(folder).glob("*.json"))]


async def _refs(
    client: Client, query_or_ids: str | Iterable[WorkflowRef]
) -> list[tuple[str, str | None]]:
    if not isinstance(query_or_ids, str):
        return [(ref, None) if isinstance(ref, str) else ref for ref in query_or_ids]
    try:
        return [(run.id, run.run_id) async for run in client.list_workflows(query_or_ids)]
    except RPCError as error:
        if error.status is RPCStatusCode.INVALID_ARGUMENT:
            error.add_note('a text is a List Filter; give Workflow Ids as a list: ["req-1"]')
        raise


async def _fetch(
    client: Client, workflow_id: str, run_id: str | None, clock: str | None
) -> History | None:
    handle = client.get_workflow_handle(workflow_id, run_id=run_id)
    # Looking into the archive costs the server one more lookup a run: so only for what is gone.
    for skip_archival in (True, False):
        try:
            found = await handle.fetch_history(skip_archival=skip_archival)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
        else:
            return History(workflow_id, found.events, client.namespace, clock)
    _log.warning("Workflow Id %s, Run Id %s is gone: left out", workflow_id, run_id)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise HistoryFileError(
            f"there is no file {path}; histories.save(history, path) makes one", path=path
        ) from error
    except IsADirectoryError as error:
        raise _unusable(path, "is a directory; histories.load_all(path) reads all in it") from error
    except UnicodeDecodeError as error:
        raise _unusable(path, "is not text, so not the JSON of a history") from error


def _parse(path: Path, text: str) -> dict[str, Any]:
    if not text.strip():
        raise _unusable(path, "is empty; fetch the history again and save it")
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError as error:
        raise _unusable(
            path, f"is not whole JSON ({error}); it may be cut off: save or download it again"
        ) from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("events"), list):
        raise _unusable(
            path,
            'is JSON but no history: it has no list "events"; see histories.save(history, path)',
        )
    return parsed


def _unusable(path: Path, why: str) -> HistoryFileError:
    return HistoryFileError(f"{path} {why}", path=path)
