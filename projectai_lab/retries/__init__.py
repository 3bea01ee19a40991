"""The retry policy as arithmetic, as an experiment and as it was observed.

`planned` is the schedule; `against_plan` and `summary` are what was observed against it;
`simulate` and `theory` are what a policy makes of a fault law, `requests` the same of real runs and
`compare_simulated` the one beside the other; `recommend` searches a grid of policies; `jittered`
and `herd` are about jitter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from projectai_lab._lazy import lazily

if TYPE_CHECKING:
    from projectai_lab.retries._against_plan import against_plan, summary
    from projectai_lab.retries._compare import compare_simulated
    from projectai_lab.retries._herd import herd
    from projectai_lab.retries._jitter import STRATEGIES, jittered
    from projectai_lab.retries._law import FaultLaw
    from projectai_lab.retries._measures import measures, requests
    from projectai_lab.retries._planned import planned
    from projectai_lab.retries._recommend import Goal, recommend
    from projectai_lab.retries._simulate import simulate
    from projectai_lab.retries._theory import theory

__all__ = [
    "STRATEGIES",
    "FaultLaw",
    "Goal",
    "against_plan",
    "compare_simulated",
    "herd",
    "jittered",
    "measures",
    "planned",
    "recommend",
    "requests",
    "simulate",
    "summary",
    "theory",
]
# Loaded when first used: a file with a workflow may take `jittered` from here for its activities,
# and the workflow sandbox cannot load numpy.
_HOMES = {
    "STRATEGIES": "_jitter",
    "FaultLaw": "_law",
    "Goal": "_recommend",
    "against_plan": "_against_plan",
    "compare_simulated": "_compare",
    "herd": "_herd",
    "jittered": "_jitter",
    "measures": "_measures",
    "planned": "_planned",
    "recommend": "_recommend",
    "requests": "_measures",
    "simulate": "_simulate",
    "summary": "_against_plan",
    "theory": "_theory",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)
