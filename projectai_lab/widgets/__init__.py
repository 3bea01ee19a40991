"""Forms and live views for a notebook: each is a `Panel`, live in a front end and facts elsewhere.

>>> from projectai_lab import widgets                                      # doctest: +SKIP
>>> widgets.submit_form(lab, ExampleWorkflow)                              # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from projectai_lab._lazy import lazily

if TYPE_CHECKING:
    from projectai_lab.widgets._form import submit_form
    from projectai_lab.widgets._history_browser import history_browser
    from projectai_lab.widgets._monitor import monitor
    from projectai_lab.widgets._panel import attended
    from projectai_lab.widgets._playground import policy_playground

__all__ = ["attended", "history_browser", "monitor", "policy_playground", "submit_form"]
# ipywidgets and IPython are loaded by the first name that is used.
_HOMES = {
    "attended": "_panel",
    "history_browser": "_history_browser",
    "monitor": "_monitor",
    "policy_playground": "_playground",
    "submit_form": "_form",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
