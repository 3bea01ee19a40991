"""Forms and live views for a notebook: each is a `Panel`, live in a front end and facts elsewhere.

>>> from projectai_lab import widgets                                      # doctest: +SKIP
>>> widgets.submit_form(lab, ExampleWorkflow)                              # doctest: +SKIP
"""

from __future__ import annotations

from projectai_lab._lazy import lazily

__getattr__, __dir__ = lazily(__name__, {"submit_form": "_form"})
