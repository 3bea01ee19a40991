"""Which sequences of activity types two cohorts have in common."""

from __future__ import annotations

import pandas as pd

from projectai_lab import process
from projectai_lab.compare._comparison import listed
from projectai_lab.tables import Histories

CHANGES = ("kept", "gained", "lost")
_EXAMPLE = ("workflow_id", "run_id")


def variants(a: Histories, b: Histories) -> pd.DataFrame:
    """Return the variants of two cohorts of histories: one row each, most frequent first.

    Columns: variant, change (kept; gained: only b has it; lost: only a), count_a, count_b, share_a,
    share_b, workflow_id and run_id of an example, from b where it has one.

    >>> compare.variants(before, after)                                        # doctest: +SKIP
    """
    sides = [process.variants(listed(runs, name)) for runs, name in ((a, "a"), (b, "b"))]
    both = sides[0].merge(sides[1], on="variant", how="outer", suffixes=("_a", "_b"))
    change = both["count_a"].isna().map({True: "gained", False: "kept"})
    change = change.mask(both["count_b"].isna(), "lost")
    counts = both[["count_a", "count_b"]].fillna(0)
    shares = both[["share_a", "share_b"]].fillna(0.0)
    examples = {name: both[f"{name}_b"].fillna(both[f"{name}_a"]) for name in _EXAMPLE}
    kinds = pd.CategoricalDtype(pd.Index(CHANGES, dtype="str"))
    table = pd.DataFrame(
        {"variant": both["variant"], "change": change.astype(kinds), **counts, **shares, **examples}
    )
    order = (shares["share_a"] + shares["share_b"]).sort_values(ascending=False, kind="stable")
    return table.loc[order.index].reset_index(drop=True)
