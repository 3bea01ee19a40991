"""Notebooks as regression tests: rules that hold a table to its baseline, and replay.

A check in a cell compares a table with the baseline in `baselines/<notebook>/` beside the notebook;
`projectai-lab regress` runs notebooks and tells which check was broken how.
"""

from __future__ import annotations

from projectai_lab.regression._baseline import Baseline, load, save
from projectai_lab.regression._check import check
from projectai_lab.regression._digest import digest
from projectai_lab.regression._junit import junit
from projectai_lab.regression._replay import replay
from projectai_lab.regression._row_rules import exact, tolerance
from projectai_lab.regression._sample_rules import distribution, quantile_band, same_set
from projectai_lab.regression._shape_rules import columns, event_order, retry_schedule
from projectai_lab.regression._suite import Check, Outcome, find, run
from projectai_lab.regression._verdict import Verdict

__all__ = [
    "Baseline",
    "Check",
    "Outcome",
    "Verdict",
    "check",
    "columns",
    "digest",
    "distribution",
    "event_order",
    "exact",
    "find",
    "junit",
    "load",
    "quantile_band",
    "replay",
    "retry_schedule",
    "run",
    "same_set",
    "save",
    "tolerance",
]
