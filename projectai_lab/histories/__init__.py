"""Event histories: fetch many at once, follow one, save and load them."""

from __future__ import annotations

from projectai_lab.histories._fetch import fetch, stream
from projectai_lab.histories._files import Scan, load, load_all, save, scan
from projectai_lab.histories._follow import follow
from projectai_lab.histories._history import History
from projectai_lab.histories._refs import Ids, WorkflowRef

__all__ = [
    "History",
    "Ids",
    "Scan",
    "WorkflowRef",
    "fetch",
    "follow",
    "load",
    "load_all",
    "save",
    "scan",
    "stream",
]
