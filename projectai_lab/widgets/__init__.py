"""Forms and live views for a notebook: each is a `Panel`, live in a front end and facts elsewhere.

>>> from projectai_lab import widgets                                      # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from projectai_lab._lazy import lazily

if TYPE_CHECKING:
    from projectai_lab.widgets._monitor import monitor

__all__ = ["monitor"]
# ipywidgets and IPython are loaded by the first name that is used.
_HOMES = {"monitor": "_monitor"}

__getattr__, __dir__ = lazily(__name__, _HOMES)
