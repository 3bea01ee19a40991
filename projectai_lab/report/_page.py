"""The page: text in, escaped HTML out, with the one style sheet of a report."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

STYLE = """
:root{color-scheme:light dark;--ink:#1c1e21;--soft:#5c6370;--page:#fff;--line:#d5d9e0;
--tint:#f4f6f9;--mark:#0072b2}
@media (prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#a0a7b3;--page:#15181c;
--line:#3a4049;--tint:#1f242b;--mark:#56b4e9}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem clamp(.8rem,4vw,3rem) 4rem;max-width:68rem;background:var(--page);
color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;
overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.25;margin:.4rem 0 .2rem}
h2{font-size:1.2rem;margin:2.4rem 0 .6rem;padding-top:.8rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.4rem 0 .4rem}
p,li,caption{max-width:46rem}li{margin:.35rem 0}ul{padding-left:1.2rem}
.soft,figcaption,caption{color:var(--soft);font-size:.9rem}
.lead{font-size:1.08rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums;margin:.4rem 0}
caption{text-align:left;caption-side:bottom;padding-top:.5rem}
th,td{padding:.3rem .7rem .3rem 0;text-align:left;vertical-align:top;
border-bottom:1px solid var(--line);overflow-wrap:normal;white-space:pre-line}
th{font-weight:600}td.n,th.n{text-align:right;white-space:nowrap}
table.facts td{overflow-wrap:anywhere}table.facts th{white-space:nowrap;font-weight:400;
color:var(--soft)}
figure{margin:1.4rem 0}figure div{overflow-x:auto;background:#fff;border:1px solid var(--line);
border-radius:6px;padding:.4rem}
figure img{display:block;width:100%;min-width:35rem;height:auto}
pre{background:var(--tint);border:1px solid var(--line);border-radius:6px;padding:.8rem;
font-size:.82rem;line-height:1.45;white-space:pre-wrap;overflow-wrap:anywhere}
a{color:var(--mark)}
@media print{:root{color-scheme:light;--ink:#000;--soft:#333;--page:#fff;--line:#999;--tint:#fff;
--mark:#000}
@page{margin:16mm 14mm}
html{font-size:10pt}body{padding:0;max-width:none;font-size:10pt;background:#fff;color:#000}
h1{font-size:16pt}h2{font-size:12.5pt;margin-top:1.4rem}h1,h2,h3{break-after:avoid}
p,li{max-width:none;orphans:3;widows:3}
.wide,figure div{overflow:visible}table{font-size:8pt;width:100%}th,td{padding-right:.4rem}
td,th{overflow-wrap:anywhere}thead{display:table-header-group}
tr,figure,li{break-inside:avoid}figure div{border:0;padding:0}
figure img{min-width:0;max-height:105mm;width:auto;max-width:100%}
pre{break-inside:avoid;font-size:8pt}a{text-decoration:none}}
"""
# Nothing is ever loaded or run, whatever text has come in.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, parts: Iterable[str]) -> str:
    """Return the whole file."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Return a section with its heading."""
    return f"<section>\n<h2>{escape(title)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(text: str, kind: str = "") -> str:
    """Return a paragraph; `kind` is one of the style sheet's classes."""
    return f"<p{_kind(kind)}>{escape(text)}</p>"


def title(text: str) -> str:
    """Return the title."""
    return f"<h1>{escape(text)}</h1>"


def bullets(lines: Iterable[tuple[str, str]]) -> str:
    """Return a list of things and what is said of each, "" where there is nothing."""
    items = "".join(
        f"<li><strong>{escape(one)}:</strong> {escape(told)}</li>\n" for one, told in lines
    )
    return f"<ul>\n{items}</ul>" if items else ""


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 0, note: str = ""
) -> str:
    """Return a table, all columns but the first `texts` of numbers."""
    kinds = ["" if place < texts else "n" for place in range(len(columns))]
    head = "".join(
        f'<th scope="col"{_kind(kind)}>{escape(name)}</th>'
        for name, kind in zip(columns, kinds, strict=True)
    )
    body = "".join(
        "<tr>" + "".join(_cell(*one) for one in zip(row, kinds, strict=True)) + "</tr>\n"
        for row in rows
    )
    under = f"<caption>{escape(note)}</caption>" if note else ""
    return (
        f'<div class="wide"><table>{under}<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody></table></div>"
    )


def facts(named: Mapping[str, object]) -> str:
    """Return names beside values; what is None is left out."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(str(value))}</td></tr>\n'
        for name, value in named.items()
        if value is not None
    )
    return f'<table class="facts"><tbody>\n{rows}</tbody></table>'


def figure(caption: str, uri: str) -> str:
    """Return a picture with its caption."""
    told = escape(caption)
    return (
        f'<figure><div><img src="{escape(uri)}" alt="{told}"></div>'
        f"<figcaption>{told}</figcaption></figure>"
    )


def code(text: str) -> str:
    """Return lines to type."""
    return f"<pre><code>{escape(text)}</code></pre>"


def download(name: str, text: str, words: str) -> str:
    """Return a link that holds its file."""
    data = base64.b64encode(text.encode()).decode()
    link = f'<a download="{escape(name)}" href="data:text/csv;base64,{data}">{escape(name)}</a>'
    return f"<p>{link} <span class='soft'>{escape(words)}</span></p>"


def _cell(text: str, kind: str) -> str:
    return f"<td{_kind(kind)}>{escape(text)}</td>"


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
