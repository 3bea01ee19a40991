"""Event histories: fetch many at once, save them, load them again."""

from __future__ import annotations

from projectai_lab.histories._fetch import WorkflowRef, fetch, stream
from projectai_lab.histories._files import load, load_all, save
from projectai_lab.histories._history import History
from projectai_lab.histories._listing import Ids

__all__ = ["History", "Ids", "WorkflowRef", "fetch", "load", "load_all", "save", "stream"]
