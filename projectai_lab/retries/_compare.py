"""The same experiment simulated, computed and run for real, side by side."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from projectai_lab._frames import same_clock
from projectai_lab.latency.arms import of_estimates
from projectai_lab.retries._measures import measures

_SIDES = ("real", "simulated")


def compare_simulated(
    real: pd.DataFrame,
    simulated: pd.DataFrame,
    theory: pd.DataFrame | None = None,
    *,
    q: Iterable[float] = (0.5, 0.95, 0.99),
    confidence: float = 0.95,
) -> pd.DataFrame:
    """Return real requests beside simulated ones, and beside theory where given: a row a measure.

    `real` is `requests(activities)` of real runs; any two tables of requests can be compared.
    Columns: measure; theory; simulated, real, each with …_low, …_high and n_…, as in `measures`;
    residual, real − simulated, with residual_low and residual_high from the intervals of both;
    agree: whether 0 lies within these, NA where n supports no interval. Agreement is no proof: an
    interval of few runs is wide. Where it fails in the times alone, the dispatch lag is what a
    simulation leaves out unless it is given: simulate(…, dispatch_lag=attempts).

    Both sides must be of one clock, else TableError; what was simulated without measured lags has
    none.

    Source of the residual's interval: Zou & Donner, Statistics in Medicine 27 (2008), 1693–1702.

    >>> from projectai_lab.models import RetrySettings
    >>> from projectai_lab.retries import FaultLaw, compare_simulated, simulate
    >>> policy, law = RetrySettings(maximum_attempts=3), FaultLaw(fail=0.5)
    >>> one, other = simulate(policy, law, 500), simulate(policy, law, 500, seed=1)
    >>> compare_simulated(one, other).agree.tolist()[0]
    True
    """
    same_clock(real, simulated)
    levels = list(q)
    found = {
        name: measures(side, q=levels, confidence=confidence)
        for name, side in (("real", real), ("simulated", simulated))
    }
    exact = None if theory is None else measures(theory, q=levels)["value"]
    table = pd.DataFrame({"measure": found["real"]["measure"], "theory": exact})
    for name in _SIDES[::-1]:
        side = found[name]
        table[name], table[f"n_{name}"] = side["value"], side["n"]
        table[f"{name}_low"], table[f"{name}_high"] = side["low"], side["high"]
    ends = [[f"{name}{part}" for part in ("", "_low", "_high")] for name in ("simulated", "real")]
    rows = [
        of_estimates(*(tuple(row[end] for end in names) for names in ends))
        for row in table.to_dict("records")
    ]
    parts = ["residual", "residual_low", "residual_high"]
    table = table.join(pd.DataFrame(rows, columns=parts, index=table.index))
    # Times count nanoseconds; a simulated sum is off by less.
    inside = (table["residual_low"] <= 1e-9) & (table["residual_high"] >= -1e-9)
    known = table["residual_low"].notna() & table["residual_high"].notna()
    table["agree"] = inside.astype("boolean").where(known, pd.NA)
    kinds = dict.fromkeys(["theory", *parts], "float64")
    return table.astype(kinds)
