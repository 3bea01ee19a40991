"""Find secrets in what is to be passed on, and mask them: known values and well-known forms.

The scan cannot see into encrypted or compressed payloads, nor into pictures.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from temporalio.client import WorkflowHistory

from projectai_lab.config import LabConfig

_SHORTEST = 8
_STARS = b"********"
_NAME = re.compile(r"api_?key|token|secret|passw(or)?d|credential|private_?key", re.IGNORECASE)
_NO_VALUE = re.compile(r"(path|file|dir|url)$", re.IGNORECASE)
_KEY = rb"(?:api[_-]?key|access[_-]?key|secret|token|password|passwd|authorization)"
_FORMS = {
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a bearer token": rb"(?i)\bbearer\s+[A-Za-z0-9._~+/=-]{16,}",
    "a JSON Web Token": rb"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}",
    # A literal after the name; not a look-up, a variable or a row of stars.
    "a literal secret": rb"""(?i)"""
    + _KEY
    + rb"""\w*(?:\\?["'])?\s*[:=]\s*\\?["'](?![$<{*])[^\s"'\\]{8,}\\?["']""",
    "an AWS access key": rb"\bAKIA[0-9A-Z]{16}\b",
    "a GitHub token": rb"\bgh[pousr]_[A-Za-z0-9]{36}",
    "an API key": rb"\bsk-[A-Za-z0-9_-]{20,}",
}
_PATTERNS = {kind: re.compile(form) for kind, form in _FORMS.items()}
_TEXTS = (".json", ".jsonl", ".ipynb", ".py", ".md", ".txt")


def known() -> dict[str, bytes]:
    """Return the secrets of this environment and of the Temporal profile, by where they stand."""
    found = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("TEMPORAL_GRPC_META_")
        or (_NAME.search(name) and not _NO_VALUE.search(name))
    }
    config = LabConfig.load()
    found["the API key in use"] = config.api_key or ""
    found |= {f"gRPC metadata {name!r}": value for name, value in config.grpc_meta.items()}
    return {
        where: value.encode()
        for where, value in found.items()
        # A namespace travels as metadata too, and stands in every table by right.
        if len(value) >= _SHORTEST and value != config.namespace
    }


class Mask:
    """Puts stars in the place of what looks like a secret; `count` says how often."""

    def __init__(self) -> None:
        self._values, self.count = known(), 0

    def text(self, text: str) -> str:
        """Return a text without known values and well-known forms."""
        data = text.encode("utf-8", "replace")
        for value in self._values.values():
            self.count += data.count(value)
            data = data.replace(value, _STARS)
        for pattern in _PATTERNS.values():
            data, found = pattern.subn(_STARS, data)
            self.count += found
        return data.decode("utf-8", "replace")

    def value(self, value: Any, name: str = "") -> Any:
        """Return a plain value with its texts masked, those under a secret's name wholly."""
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(one, str(key)) for key, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(one, name) for one in value]
        if not isinstance(value, str):
            return value
        if _NAME.search(name) and not _NO_VALUE.search(name) and value:
            self.count += 1
            return _STARS.decode()
        return self.text(value)


def scan(
    folder: Path, histories: Iterable[WorkflowHistory], tables: Mapping[str, pd.DataFrame]
) -> list[str]:
    """Return where something looks like a secret and what it looks like; never the secret."""
    values = known()
    places = [*_of_files(folder), *_of_histories(histories), *_of_tables(tables)]
    return [f"{place}: {kind}" for place, data in places for kind in _kinds(data, values)]


def _kinds(data: bytes, values: Mapping[str, bytes]) -> Iterator[str]:
    yield from (f"the value of {where}" for where, value in values.items() if value in data)
    yield from (kind for kind, pattern in _PATTERNS.items() if pattern.search(data))


def _of_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for file in sorted(folder.rglob("*.*")):
        name = file.relative_to(folder).as_posix()
        if file.suffix in _TEXTS and not name.startswith("histories/"):
            for number, line in enumerate(file.read_bytes().splitlines(), start=1):
                yield f"{name}, line {number}", line


def _of_histories(histories: Iterable[WorkflowHistory]) -> Iterator[tuple[str, bytes]]:
    """Yield each Event as protobuf: its payloads stand there as they are, not in base64."""
    for history in histories:
        for event in history.events:
            where = f"history of {history.workflow_id}, Event {event.event_id}"
            yield where, event.SerializeToString()


def _of_tables(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, bytes]]:
    for name, frame in tables.items():
        yield f"table {name}", "\n".join(map(str, [*frame.columns, frame.attrs])).encode()
        for column in frame.columns:
            if not pd.api.types.is_numeric_dtype(frame[column].dtype):
                values = frame[column].dropna().astype(str).unique()
                yield f"table {name}, column {column}", "\n".join(values).encode()
