"""How two arms differ: by how many seconds, and how often one exceeds the other."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from projectai_lab._frames import clocks
from projectai_lab.errors import TableError
from projectai_lab.latency._values import grouped
from projectai_lab.latency.arms import Resampling, cliffs_delta, of_quantiles


def difference(
    a: Any,
    b: Any,
    column: str | None = None,
    *,
    q: Iterable[float] = (0.5, 0.95),
    confidence: float = 0.95,
    resamples: int = 1999,
    seed: int = 0,
) -> pd.DataFrame:
    """Return by how much b is slower than a: a row per quantile, with the effect size in each.

    `a` and `b` are seconds, or tables with their `column` as in `percentiles`. Columns: q; n_a,
    n_b; a_s, b_s, the quantiles, NA where n cannot support them; shift_s = b − a with low_s and
    high_s, a percentile bootstrap of `resamples` drawn with `seed`; delta with delta_low and
    delta_high: Cliff's delta of the whole arms, P(b > a) − P(b < a), from −1 (b always faster) over
    0 to 1 (b always slower). Vargha and Delaney's A is (delta + 1)/2.

    The interval of delta is Cliff's asymmetric one; where the arms do not overlap at all, so that
    it would have no width, that of a share of n in n (Clopper–Pearson, n of the smaller arm).
    Below 2 values in an arm there is none. All hold for independent values.

    Source: Cliff, Ordinal Methods for Behavioral Data Analysis (1996), chapter 5; Feng & Cliff,
    Journal of Modern Applied Statistical Methods 3 (2004), 322–332; Vargha & Delaney, Journal of
    Educational and Behavioral Statistics 25 (2000), 101–132; without overlap: Wilcox, Introduction
    to Robust Estimation and Hypothesis Testing, 4th ed. (2017), section 5.7.

    >>> from projectai_lab.latency import difference
    >>> row = difference([1, 2, 3, 4, 5, 6, 7], [2, 3, 4, 5, 6, 7, 8], q=[0.5]).iloc[0]
    >>> float(row.shift_s), round(float(row.delta), 2)
    (1.0, 0.27)
    """
    one, other = (grouped(side, column, None)[1][0][1] for side in (a, b))
    _check_clocks(a, b)
    how = Resampling(confidence, resamples, seed)
    effect = cliffs_delta(one, other, confidence)
    levels = [float(level) for level in q]
    rows = [
        (level, len(one), len(other), *of_quantiles((one, other), level, how), *effect)
        for level in levels
    ]
    sizes = ["a_s", "b_s", "shift_s", "low_s", "high_s", "delta", "delta_low", "delta_high"]
    frame = pd.DataFrame(rows, columns=["q", "n_a", "n_b", *sizes])
    counts = dict.fromkeys(["n_a", "n_b"], "Int64")
    return frame.astype({**counts, **dict.fromkeys(["q", *sizes], "float64")})


def _check_clocks(a: Any, b: Any) -> None:
    tables = [side for side in (a, b) if isinstance(side, pd.DataFrame)]
    found = sorted({clock for table in tables for clock in clocks(table)})
    if len(found) > 1:
        raise TableError(
            f"the arms have times of several clocks ({', '.join(found)}), whose delays do not "
            "compare; run both on one clock",
            clocks=tuple(found),
        )
