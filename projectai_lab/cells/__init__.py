"""Workflows and activities written in notebook cells.

`%load_ext projectai_lab` brings two cell magics. `%%workflow NAME` makes the cell a module of its
own, because the workflow sandbox imports workflow code again and cannot import a notebook; replays
the stored runs of the Workflow Type against it; and swaps the Lab's worker. `%%activity NAME` does
so for activities, which nothing has to replay.
"""

from __future__ import annotations

from projectai_lab.cells._cell import Cell
from projectai_lab.cells._magics import LabMagics
from projectai_lab.cells._source import source

__all__ = ["Cell", "LabMagics", "source"]
