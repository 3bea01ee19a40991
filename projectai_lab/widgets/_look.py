"""How every panel looks: one style sheet, a table, a badge, a message; all text escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from projectai_lab._html import accent

# The colours of the notebook's theme where there is one, so that both of JupyterLab's are served;
# the fallbacks are for pages without a theme (nbconvert, Voilà's plain one, a saved report).
STYLE = """
.plab{font-size:13px;line-height:1.5;color:var(--jp-content-font-color1,inherit)}
.plab table{border-collapse:collapse;margin:.3em 0;width:auto;border:0}
.plab table th,.plab table td{text-align:left!important;padding:.15em .9em .15em 0;border:0;
vertical-align:top;max-width:40em;overflow-wrap:break-word}
.plab table tr{background:none!important}
.plab table thead th{white-space:nowrap}
.plab caption{text-align:left;font-weight:600;padding-top:.4em}
.plab table thead th{border-bottom:1px solid var(--jp-border-color1,#9e9e9e);font-weight:600}
.plab table td.num,.plab table th.num{text-align:right!important;font-variant-numeric:tabular-nums}
.plab h4{font-size:13px;margin:.9em 0 .3em}
.plab code{font-family:var(--jp-code-font-family,monospace);overflow-wrap:anywhere}
.plab .wide{overflow-x:auto;max-width:100%}
.plab .dim{opacity:.75}
.projectai-lab ::placeholder{color:inherit!important;opacity:.75!important}
.projectai-lab .error,.plab .error,.projectai-lab .note,.plab .note{line-height:1.5;
border-left:3px solid #D55E00;padding-left:.5em}
.projectai-lab .note,.plab .note{border-left-color:#0072B2}
.plab .badge{border:1px solid currentColor;border-radius:3px;padding:0 .4em;white-space:nowrap}
.plab .badge::before{content:"";display:inline-block;width:.6em;height:.6em;border-radius:50%;
margin-right:.4em;background:var(--dot)}
[data-jp-theme-light=false] .projectai-lab{color-scheme:dark}
[data-jp-theme-light=false] .projectai-lab .widget-dropdown>select{appearance:auto;
background-image:none}
.projectai-lab{--jp-widgets-input-border-color:var(--jp-ui-font-color2,#767676);
--jp-widgets-input-focus-border-color:var(--jp-brand-color1,#1976D2)}
.projectai-lab :focus-visible,.projectai-lab .jupyter-widgets input:focus-visible{
outline:2px solid var(--jp-brand-color1,#1976D2)!important;
outline-offset:1px}
.plab-fold>.jupyter-button{text-align:left}
.plab-fold>.widget-box{border-left:1px solid var(--jp-ui-font-color2,#767676);padding-left:1em}
.plab-live{overflow-x:auto}
.projectai-lab .widget-html-content{min-width:0}
.projectai-lab .widget-inline-hbox{max-width:calc(100% - 4px)!important}
"""


class Html(str):
    """Text that is HTML already; all other text is escaped where it is shown."""


def text(value: object) -> str:
    """Return a value as HTML: escaped, unless it is `Html`; None is an empty place."""
    if isinstance(value, Html):
        return str(value)
    return "" if value is None else escape(str(value))


def block(*parts: object) -> Html:
    """Return parts below each other in a block of the panel's style."""
    return Html('<div class="plab">' + "".join(map(text, parts)) + "</div>")


def badge(status: str) -> Html:
    """Return a status as a word with a dot of its colour: nobody has to tell it by that alone."""
    return Html(f'<span class="badge" style="--dot:{accent(status)}">{escape(status)}</span>')


def message(words: object, kind: str = "note") -> Html:
    """Return a line that stands out: a note, or an error that screen readers speak at once."""
    role = "alert" if kind == "error" else "status"
    return Html(f'<div class="{kind}" role="{role}">{text(words)}</div>')


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    numbers: Iterable[str] = (),
    live: bool = False,
) -> Html:
    """Return a table that scrolls sideways where it is too wide; `numbers` align right.

    One that is `live` is drawn again and again: it takes no focus, which it would lose, and its
    widget scrolls.
    """
    right = {n for n, column in enumerate(columns) if column in set(numbers)}

    def cell(tag: str, n: int, value: object) -> str:
        scope = ' scope="col"' if tag == "th" else ""
        number = ' class="num"' if n in right else ""
        return f"<{tag}{scope}{number}>{text(value)}</{tag}>"

    head = "".join(cell("th", n, column) for n, column in enumerate(columns))
    body = "".join(
        "<tr>" + "".join(cell("td", n, value) for n, value in enumerate(row)) + "</tr>"
        for row in rows
    )
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    drawn = f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    if live:
        return Html(drawn)
    return Html(
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption or "table")}">'
        f"{drawn}</div>"
    )
