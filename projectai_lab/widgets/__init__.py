"""Forms and live views for a notebook: each is a `Panel`, live in a front end and facts elsewhere.

>>> from projectai_lab import widgets                                      # doctest: +SKIP
"""

from __future__ import annotations
