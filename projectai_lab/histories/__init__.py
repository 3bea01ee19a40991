"""Event histories: fetch many at once, save them, load them again."""

from __future__ import annotations

from projectai_lab.histories._fetch import WorkflowRef, fetch, stream
from projectai_lab.histories._files import load, load_all, save
from projectai_lab.histories._history import History

__all__ = ["History", "WorkflowRef", "fetch", "load", "load_all", "save", "stream"]
