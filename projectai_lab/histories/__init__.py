"""Event histories: fetch many, follow one, save, load, export, hand to other tools.

The sinks load pandas, so they are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from projectai_lab._lazy import lazily
from projectai_lab.histories._fetch import fetch, stream
from projectai_lab.histories._files import Scan, load, load_all, save, scan
from projectai_lab.histories._follow import follow
from projectai_lab.histories._history import History
from projectai_lab.histories._refs import Ids, WorkflowRef

if TYPE_CHECKING:
    from projectai_lab.histories._export import export, exported, read_export
    from projectai_lab.histories._ocel import to_ocel
    from projectai_lab.histories._trace import to_trace
    from projectai_lab.histories._writer import Export
    from projectai_lab.histories._xes import to_xes

__all__ = [
    "Export",
    "History",
    "Ids",
    "Scan",
    "WorkflowRef",
    "export",
    "exported",
    "fetch",
    "follow",
    "load",
    "load_all",
    "read_export",
    "save",
    "scan",
    "stream",
    "to_ocel",
    "to_trace",
    "to_xes",
]
_HOMES = {
    "Export": "_writer",
    "export": "_export",
    "exported": "_export",
    "read_export": "_export",
    "to_ocel": "_ocel",
    "to_trace": "_trace",
    "to_xes": "_xes",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
