"""The timeline as HTML and SVG, and as the same picture with a button over each item.

ipywidgets tells of no clicks on HTML. A transparent button over each bar can be clicked, reached
by Tab and pressed by keys in JupyterLab and Voilà alike, without JavaScript of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import ipywidgets

from projectai_lab._html import accent
from projectai_lab._words import duration, shorten
from projectai_lab.widgets._lanes import Item, Lane
from projectai_lab.widgets._look import Html, text

_COLUMNS = "min(14em,34%) minmax(0,1fr)"
# What is no status of a Workflow Execution looks like the one that it is most like.
_LIKE = {
    **dict.fromkeys(("FIRED", "DELIVERED", "ACCEPTED", "RECEIVED"), "COMPLETED"),
    **dict.fromkeys(("REJECTED", "START_FAILED"), "FAILED"),
    "PENDING": "RUNNING",
}
_SIGNS = {"FAILED": "✕", "TERMINATED": "✕", "REJECTED": "✕", "TIMED_OUT": "◆", "CANCELED": "■"}
LEGEND = (
    "✕ failed, ◆ timed out, ■ canceled; a dashed line is a backoff, the number on a bar its "
    "attempt, a circle a Signal or an Update"
)
STYLE = """
.plab-lane{display:grid;grid-template-columns:min(14em,34%) minmax(0,1fr);height:24px;
align-items:center}
.plab-lane svg{display:block;width:100%;height:24px;overflow:visible}
.plab-name{display:block;overflow:hidden;white-space:nowrap;text-overflow:ellipsis;padding-right:.6em}
.plab .plab-rows th,.plab .plab-rows td{overflow-wrap:normal}
.plab .plab-rows td:nth-child(5),.plab .plab-rows code{overflow-wrap:anywhere;min-width:12em}
.jupyter-button.plab-hit{background:transparent;border:0;box-shadow:none;padding:0;font-size:0}
.jupyter-button.plab-hit:hover{outline:2px solid currentColor}
"""


def words(item: Item) -> str:
    """Return an item as one line: what, how it ended, when."""
    when = f"at {duration(item.begin)}"
    if item.end is not None:
        when = f"{duration(item.begin)} to {duration(item.end)}"
    return f"{item.name}, {item.outcome}, {when}"


def lane_html(lane: Lane, longest: float) -> Html:
    """Return a lane: its name, and its picture in percent of the width."""
    return Html(f'<div class="plab-lane">{_name(lane)}{_picture(lane, longest)}</div>')


def axis_html(longest: float) -> Html:
    """Return the marks of the time axis."""
    ticks = "".join(
        f'<text x="{25 * n}%" y="16" fill="currentColor" font-size="11" text-anchor="{where}">'
        f"{text(duration(longest * n / 4))}</text>"
        for n, where in ((0, "start"), (2, "middle"), (4, "end"))
    )
    return Html(
        f'<div class="plab-lane"><span class="plab-name">since the start</span>'
        f'<svg aria-hidden="true">{ticks}</svg></div>'
    )


def lane_buttons(lane: Lane, longest: float, choose: Callable[[Item], None]) -> ipywidgets.GridBox:
    """Return a lane as a widget: the very picture, and a button over each item."""

    def laid(area: str, **layout: str) -> ipywidgets.Layout:
        return ipywidgets.Layout(grid_area=area, **layout)

    name = ipywidgets.HTML(_plain(_name(lane)), layout=laid("1 / 1", margin="0", overflow="hidden"))
    drawn = ipywidgets.HTML(_plain(_picture(lane, longest)), layout=laid("1 / 2", margin="0"))
    drawn.add_class("plab-drawn")
    hits = []
    for item in lane.items:
        left, width = _place(item, longest)
        margin = f"2px 0 0 min({left:.3f}% - 5px, 100% - 14px)"
        layout = laid("1 / 2", width=f"max({width:.3f}%, 14px)", height="20px", margin=margin)
        # The description is what screen readers say; the style sheet gives it no size.
        said = words(item)
        button = ipywidgets.Button(description=said, tooltip=said, layout=layout)
        button.add_class("plab-hit")
        button.on_click(lambda _, item=item: choose(item))
        hits.append(button)
    layout = ipywidgets.Layout(
        grid_template_columns=_COLUMNS,
        height="24px",
        # As wide as the axis above, which has a margin.
        width="calc(100% - 4px)",
        margin="0 2px",
        overflow="visible",
    )
    return ipywidgets.GridBox([name, drawn, *hits], layout=layout)


def _plain(html: str) -> str:
    return f'<div class="plab plab-one">{html}</div>'


def _name(lane: Lane) -> str:
    blind = f" ({lane.blind} without times)" if lane.blind else ""
    whole = f"{lane.label}{blind}"
    return f'<span class="plab-name" title="{text(whole)}">{text(shorten(whole, 60))}</span>'


def _picture(lane: Lane, longest: float) -> str:
    spoken = f"{shorten(lane.label, 60)}: {'; '.join(map(words, lane.items[:8]))}"
    parts = [*map(partial(_gap, longest), lane.gaps), *map(partial(_bar, longest), lane.items)]
    return (
        f'<svg width="100%" height="24" role="img" aria-label="{text(spoken)}">'
        f"{''.join(parts)}</svg>"
    )


def _gap(longest: float, gap: tuple[float, float]) -> str:
    left, right = (100 * end / longest for end in gap)
    return (
        f'<line x1="{left:.3f}%" x2="{right:.3f}%" y1="12" y2="12" stroke="currentColor" '
        'stroke-opacity=".6" stroke-dasharray="4 3"/>'
    )


def _bar(longest: float, item: Item) -> str:
    left, width = _place(item, longest)
    color = accent(_LIKE.get(item.outcome, item.outcome))
    title = f"<title>{text(words(item))}</title>"
    if item.end is None:
        return f'<circle cx="{left:.3f}%" cy="12" r="5" fill="{color}">{title}</circle>'
    sign = _SIGNS.get(item.outcome, "")
    mark = f"{item.mark}{sign}" if width > 4 else sign
    style = 'dx="3" y="16" font-size="11" fill="currentColor"'
    shown = f'<text x="{left:.3f}%" {style}>{text(mark)}</text>'
    return (
        f'<rect x="{left:.3f}%" y="4" width="{width:.3f}%" height="16" fill="{color}" '
        f'fill-opacity=".35" stroke="{color}" stroke-width="1.5">{title}</rect>{shown}'
    )


def _place(item: Item, longest: float) -> tuple[float, float]:
    width = 0.0 if item.end is None else 100 * max(0.0, item.end - item.begin) / longest
    return 100 * item.begin / longest, width


def lanes_html(page: Sequence[Lane], longest: float) -> Html:
    """Return a page of lanes with its axis."""
    return Html(axis_html(longest) + "".join(lane_html(lane, longest) for lane in page))
