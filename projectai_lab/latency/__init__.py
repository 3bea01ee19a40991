"""How long things took: percentiles with intervals, the ECDF, two arms, and where the time went."""

from __future__ import annotations

from projectai_lab.latency._difference import difference
from projectai_lab.latency._ecdf import ecdf
from projectai_lab.latency._noise import noise
from projectai_lab.latency._percentiles import percentiles, summary
from projectai_lab.latency._values import measure
from projectai_lab.latency._where import PARTS, where_time_went

__all__ = [
    "PARTS",
    "difference",
    "ecdf",
    "measure",
    "noise",
    "percentiles",
    "summary",
    "where_time_went",
]
