"""Figures: a table (and `ax`) in, a matplotlib Axes out; one figure a file.

Without `ax` each function opens a pyplot figure at notebook width, so that a cell shows it; a
script that draws many closes them as usual: `plt.close(ax.figure)`.
"""

from projectai_lab.plots._latency import latency
from projectai_lab.plots._load import load
from projectai_lab.plots._process import directly_follows
from projectai_lab.plots._retries import retries
from projectai_lab.plots._simulation import simulated
from projectai_lab.plots._sweep import sweep
from projectai_lab.plots._timeline import timeline
from projectai_lab.plots._where_time_went import where_time_went

__all__ = [
    "directly_follows",
    "latency",
    "load",
    "retries",
    "simulated",
    "sweep",
    "timeline",
    "where_time_went",
]
