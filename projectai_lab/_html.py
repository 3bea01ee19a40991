"""Facts in, escaped HTML card out."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

# Inherits the notebook's own colours, so that it reads in light and dark themes.
_CARD = (
    "border:1px solid rgba(128,128,128,.4);border-left:4px solid {accent};border-radius:4px;"
    "padding:.5em .9em;margin:.3em 0;max-width:46em;font-size:13px;line-height:1.5"
)
_NAME = "text-align:left;opacity:.7;padding:0 1.2em 0 0;vertical-align:top;white-space:nowrap"
_VALUE = "text-align:left;padding:0;overflow-wrap:anywhere"

ACCENTS = {
    "RUNNING": "#0072B2",
    "COMPLETED": "#009E73",
    "FAILED": "#D55E00",
    "TERMINATED": "#D55E00",
    "TIMED_OUT": "#E69F00",
    "CANCELED": "#999999",
}


def accent(status: str) -> str:
    """Return the colour of a status; that of all others where it has none of its own."""
    return ACCENTS.get(status, "#56B4E9")


def link(url: str, text: str | None = None) -> str:
    """Return an escaped link that opens beside the notebook; only http(s) becomes a link."""
    shown = escape(text or url)
    if not url.startswith(("http://", "https://")):
        return shown
    return f'<a href="{escape(url)}" target="_blank" rel="noopener">{shown}</a>'


def card(
    title: str, facts: Mapping[str, object], *, url: str | None = None, status: str = ""
) -> str:
    """Return a small card: a title, then one row a fact; facts that are None are left out."""
    rows = "".join(
        f'<tr><th style="{_NAME}">{escape(name)}</th><td style="{_VALUE}">{_value(value)}</td></tr>'
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
