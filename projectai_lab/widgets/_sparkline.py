"""A line of recent values, as small as a word, that a screen reader can say."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from projectai_lab.widgets._look import Html

WIDTH, HEIGHT, _EDGE = 120, 22, 2
_ENOUGH = 2
"""A line has two ends."""


def sparkline(values: Sequence[float], title: str) -> Html:
    """Return values, oldest first, as an inline SVG from 0 to their maximum; `title` says all.

    Fewer than two values are no line and give nothing. It has the colour of the text around it,
    so that it reads on light and on dark.
    """
    if len(values) < _ENOUGH:
        return Html()
    top = max(values) or 1.0
    step = (WIDTH - 2 * _EDGE) / (len(values) - 1)
    points = " ".join(
        f"{_EDGE + n * step:.1f},{HEIGHT - _EDGE - (HEIGHT - 2 * _EDGE) * max(0, one) / top:.1f}"
        for n, one in enumerate(values)
    )
    words = escape(title)
    return Html(
        f'<svg role="img" aria-label="{words}" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" style="vertical-align:middle"><title>{words}</title>'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )
