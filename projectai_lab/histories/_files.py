"""Histories as files: the JSON of the Web UI and the CLI with one more key, so each reads both."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseError
from temporalio.client import WorkflowHistory

from projectai_lab.errors import HistoryFileError
from projectai_lab.histories._history import History

_KEY = "projectai_lab"


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
