"""Figures of a panel, as images with a text for those who do not see them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape

import pandas as pd
from matplotlib.figure import Figure

from projectai_lab import plots
from projectai_lab.widgets._look import Html


def picture(figure: Figure, words: str) -> Html:
    """Return a figure as an image that fits the width; `words` stand for it where it is not seen.

    The ground is white, so that the axes can be read in a dark theme too.
    """
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=110, facecolor="white")
    data = base64.b64encode(content.getvalue()).decode()
    return Html(
        f'<img alt="{escape(words)}" style="max-width:100%;height:auto" '
        f'src="data:image/png;base64,{data}">'
    )


def outcome_picture(sides: Mapping[str, pd.DataFrame], planned: pd.DataFrame) -> Html:
    """Return completion times, a curve a side, over when the plan lets each attempt begin."""
    # Without pyplot, which would keep every figure until somebody closes it.
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    ax = figure.subplots()
    named = [rows.assign(side=name) for name, rows in sides.items()]
    together = pd.concat(named, ignore_index=True)
    if "real" in sides:
        together.attrs.update(sides["real"].attrs)
    plots.latency(together, by="side", column="completion_s", ax=ax)
    dues = planned.cumulative_backoff_s[1:]
    # Those after the last request would leave the curves a sliver of the width.
    for due in dues[dues <= together.completion_s.max()]:
        ax.axvline(due, color="#777777", linewidth=0.8, linestyle=":", zorder=0)
    if "real" not in sides:
        ax.set_xlabel(ax.get_xlabel().replace("clock unknown", "simulated"))
    words = ", ".join(f"{name}: {len(rows)} requests" for name, rows in sides.items())
    drawn = picture(figure, f"share of requests closed by a time; {words}")
    note = "Dotted: when the plan lets an attempt begin at the earliest."
    return Html(f'{drawn}<div class="dim">{note}</div>')
