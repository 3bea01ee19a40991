"""`sweeps.load`: pick a sweep up from its server without starting anything."""

from __future__ import annotations

from projectai_lab.errors import SweepError
from projectai_lab.lab import Lab
from projectai_lab.sweeps._identity import Identity, check_sweep_name, identity_of
from projectai_lab.sweeps._listing import Found, listed
from projectai_lab.sweeps._sweep import Sweep


def load(lab: Lab, name: str) -> Sweep:
    """Return a sweep as its server has it, its design included; starts nothing.

    Raises SweepError when the server has no such sweep (any more: its retention says how long).

    >>> sweeps.load(lab, "policies-1").results()                               # doctest: +SKIP
    """
    check_sweep_name(name)
    found = lab.loop.run(lambda: listed(lab.client, name))
    if not found:
        raise SweepError(
            f"the server at {lab.address} has no runs of a sweep {name!r} in Namespace "
            f"{lab.namespace!r}; start it: sweeps.run(lab, …, design, name={name!r})",
            name=name,
        )
    identity = _identity(name, found)
    for workflow_id, run in found.items():
        identity.check_same(run.memo, workflow_id)
    missing = set(identity.workflow_ids()) - set(found)
    return Sweep(lab, identity, all_started=not missing)


def _identity(name: str, found: dict[str, Found]) -> Identity:
    for run in found.values():
        if run.memo_design:
            return identity_of(name, run.memo_design, run.memo.get("clock"))
    raise SweepError(
        f"the server has {len(found)} runs of the sweep {name!r}, but not the first, which holds "
        "its design: run it again with that: sweeps.run(lab, …, design, "
        f"name={name!r})",
        name=name,
    )
