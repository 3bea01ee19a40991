"""The empirical distribution, and its tail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from projectai_lab.latency._values import clean


def ecdf(values: Any, *, tail: bool = False) -> pd.DataFrame:
    """Return the empirical distribution: value_s ascending, and the share of values up to it.

    `tail=True` adds `above`, the share of values greater than value_s, counted and not
    subtracted from 1, so that a logarithmic axis shows it down to one in n.

    >>> from projectai_lab.latency import ecdf
    >>> ecdf([0.3, 0.1, 0.3, None]).share.round(2).tolist()
    [0.33, 1.0]
    """
    ordered = clean(values)
    unique, counts = np.unique(ordered, return_counts=True)
    share = np.cumsum(counts) / max(len(ordered), 1)
    frame = pd.DataFrame({"value_s": unique, "share": share})
    if tail:
        frame["above"] = (len(ordered) - np.cumsum(counts)) / max(len(ordered), 1)
    return frame
