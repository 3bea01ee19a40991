"""How much a repetition of the same experiment differs from itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
import scipy

from projectai_lab._frames import ACTIVITIES, names, need
from projectai_lab.errors import TableError
from projectai_lab.latency._values import Values, grouped

# So that a MAD of normal values is their standard deviation.
_MAD_TO_SD = 1.4826022185056018


def noise(
    df: pd.DataFrame,
    column: str | None = None,
    *,
    by: str | Iterable[str] = "replicate",
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return the spread between repetitions beside the spread within them, in one row.

    `by` names the column that tells repetitions apart; what they repeat must be the same in all of
    `df`. Columns: replicates; n, values in all; median_s, the median of the replicates' medians,
    with min_s and max_s of these; between_s and within_s, both as 1.4826 · MAD (about a standard
    deviation): of the medians, and the median of those within the replicates; icc, the share of
    the variance that lies between replicates, ICC(1), with its interval icc_low and icc_high.

    An icc_low above 0 says that values of one replicate resemble each other: then n independent
    values are fewer than n, and intervals that take them as independent are too narrow.
    icc is NA where no replicate has two values, or none differ. With replicates of unequal size
    the interval is approximate.

    Source: Shrout & Fleiss, Psychological Bulletin 86 (1979), 420–428, case 1; unequal sizes:
    Donner, International Statistical Review 54 (1986), 67–82.

    >>> import pandas as pd
    >>> from projectai_lab.latency import noise
    >>> runs = pd.DataFrame({"replicate": [1, 1, 1, 2, 2, 2], "total_s": [1, 2, 3, 2, 3, 4.0]})
    >>> noise(runs).icc.round(2).tolist()
    [0.14]
    """
    need(df, names(by), ACTIVITIES)
    keys, groups = grouped(df, column, by)
    parts = [values for _, values in groups if len(values)]
    if len(parts) < 2:
        raise TableError(
            f"noise between repetitions needs at least 2 of them; {', '.join(keys)} tells "
            f"{len(parts)} apart: run the experiment again, or name another column by=…"
        )
    medians = np.array([np.median(part) for part in parts])
    within = [_mad(part) for part in parts if len(part) > 1]
    row: dict[str, Any] = {
        "replicates": len(parts),
        "n": sum(map(len, parts)),
        "median_s": float(np.median(medians)),
        "min_s": float(medians.min()),
        "max_s": float(medians.max()),
        "between_s": _mad(medians),
        "within_s": float(np.median(within)) if within else math.nan,
        **dict(zip(("icc", "icc_low", "icc_high"), _icc(parts, confidence), strict=True)),
    }
    counts = dict.fromkeys(["replicates", "n"], "Int64")
    return pd.DataFrame([row]).astype({**dict.fromkeys(row, "float64"), **counts})


def _mad(values: Values) -> float:
    return _MAD_TO_SD * float(np.median(np.abs(values - np.median(values))))


def _icc(parts: list[Values], confidence: float) -> tuple[float, float, float]:
    """Return the one-way intraclass correlation with its interval."""
    sizes = np.array([len(part) for part in parts])
    n, k = int(sizes.sum()), len(parts)
    whole = float(np.concatenate(parts).mean())
    between = sum(len(part) * (part.mean() - whole) ** 2 for part in parts) / (k - 1)
    rest = sum(float(((part - part.mean()) ** 2).sum()) for part in parts)
    if n == k or not rest > 0:
        return math.nan, math.nan, math.nan
    ratio = float(between) / (rest / (n - k))
    size = (n - float((sizes**2).sum()) / n) / (k - 1)
    tail = (1 + confidence) / 2
    low = ratio / float(scipy.stats.f.ppf(tail, k - 1, n - k))
    high = ratio * float(scipy.stats.f.ppf(tail, n - k, k - 1))
    icc, least, most = ((one - 1) / (one + size - 1) for one in (ratio, low, high))
    return icc, least, most
