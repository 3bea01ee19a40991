"""Facts in, escaped HTML card out."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

# Inherits the notebook's own colours, so that it reads in light and dark themes.
_CARD = (
    "border:1px solid rgba(128,128,128,.4);border-left:4px solid {accent};border-radius:4px;"
    "padding:.5em .9em;margin:.3em 0;max-width:46em;font-size:13px;line-height:1.5"
)
# As the tables of the panels have it.
_PADDING = "text-align:left;vertical-align:top;padding:.15em .9em .15em 0"
_NAME = f"{_PADDING};opacity:.7;white-space:nowrap"
_VALUE = f"{_PADDING};overflow-wrap:anywhere"
# Without a theme the text's own colour, which reads on whatever the page has behind it.
_LINK = "color:var(--jp-content-link-color,inherit);text-decoration:underline"

# The hues of the plots, those that are pale made darker: 3:1 or more on white and on black.
ACCENTS = {
    "RUNNING": "#0072B2",
    "COMPLETED": "#009E73",
    "FAILED": "#D55E00",
    "TERMINATED": "#D55E00",
    "TIMED_OUT": "#C27C00",
    "CANCELED": "#B85F90",
}


def accent(status: str) -> str:
    """Return the colour of a status; that of all others where it has none of its own."""
    return ACCENTS.get(status, "#3D8FC4")


def link(url: str, text: str | None = None, *, focus: bool = True) -> str:
    """Return an escaped link that opens beside the notebook; only http(s) becomes a link.

    `focus=False` keeps it out of the way of the Tab key: it is drawn anew before it is reached.
    """
    shown = escape(text or url)
    if not url.startswith(("http://", "https://")):
        return shown
    more = "" if focus else ' tabindex="-1"'
    return (
        f'<a href="{escape(url)}" target="_blank" rel="noopener"{more} style="{_LINK}">{shown}</a>'
    )


def card(
    title: str, facts: Mapping[str, object], *, url: str | None = None, status: str = ""
) -> str:
    """Return a small card: a title, then one row a fact; facts that are None are left out."""
    rows = "".join(
        # JupyterLab would tint every other row.
        '<tr style="background:none">'
        f'<th style="{_NAME}">{escape(name)}</th><td style="{_VALUE}">{_value(value)}</td></tr>'
        for name, value in facts.items()
        if value is not None
    )
    web_ui = f"<div>{link(url, 'open in the Web UI')}</div>" if url else ""
    style = _CARD.format(accent=accent(status))
    return (
        f'<div style="{style}"><strong>{escape(title)}</strong>'
        f'<table style="margin:.2em 0;border:0">{rows}</table>{web_ui}</div>'
    )


def _value(value: object) -> str:
    text = str(value)
    return link(text) if text.startswith(("http://", "https://")) else escape(text)
