"""Designed, durable sweeps: a table of planned runs, carried out by Temporal, one tidy row a run.

`grid` and `sample` make the design, `run` carries it out and takes it up again, `load` picks it up
without starting anything. Temporal is the database: a run's Workflow Id follows from the sweep's
name, the design's row and the replicate.
"""

from __future__ import annotations

from projectai_lab.sweeps._design import OF_RUNS as RESULT_COLUMNS
from projectai_lab.sweeps._design import OWN as DESIGN_COLUMNS
from projectai_lab.sweeps._design import grid, sample
from projectai_lab.sweeps._identity import digest
from projectai_lab.sweeps._load import load
from projectai_lab.sweeps._run import run
from projectai_lab.sweeps._sweep import Sweep

__all__ = ["DESIGN_COLUMNS", "RESULT_COLUMNS", "Sweep", "digest", "grid", "load", "run", "sample"]
