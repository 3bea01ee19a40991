"""A group that a button opens and closes: ipywidgets' Accordion does so for a mouse only."""

from __future__ import annotations

from typing import Any

import ipywidgets


class Fold:
    """A title that is a button, and a body that is hidden until it is pressed; `view` is both."""

    def __init__(self, title: str, body: Any) -> None:
        self._title, self._body = title, body
        self.button = ipywidgets.ToggleButton(layout={"width": "min(44em, 98%)"})
        self.view = ipywidgets.VBox([self.button, body])
        self.view.add_class("plab-fold")
        self.button.observe(self._show, "value")
        self._show()

    @property
    def opened(self) -> bool:
        """Whether the body is seen."""
        return bool(self.button.value)

    def open(self) -> None:
        """Show the body."""
        self.button.value = True

    def _show(self, _: Any = None) -> None:
        sign, does = ("▾", "close") if self.opened else ("▸", "open")
        self.button.description = f"{sign} {self._title}"
        self.button.tooltip = f"{does} {self._title}"
        self._body.layout.display = None if self.opened else "none"
