"""`html`: a sweep as one file that a reader needs nothing else for."""

from __future__ import annotations

from projectai_lab.report._report import html

__all__ = ["html"]
