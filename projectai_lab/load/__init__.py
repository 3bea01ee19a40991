"""Load: runs that are started open-loop or closed-loop, measured from their intended start.

All times of a load are seconds since it began on one clock, the monotonic one of the client that
sent it; how a run ended, its client saw by a long poll. They are not subtracted from the server's.
"""

from __future__ import annotations

from projectai_lab.load._load import Load
from projectai_lab.load._measure import last
from projectai_lab.load._report import Report, report
from projectai_lab.load._run import closed_loop, open_loop
from projectai_lab.load._schedule import schedule

__all__ = ["Load", "Report", "closed_loop", "last", "open_loop", "report", "schedule"]
