"""`Sweep`: a design and what became of its runs."""

from __future__ import annotations

from collections.abc import Collection
from os import PathLike
from typing import Any

import pandas as pd

from projectai_lab import _html, histories, tables
from projectai_lab._connect import translated
from projectai_lab.histories import History
from projectai_lab.lab import Lab
from projectai_lab.sweeps._checked import parameters
from projectai_lab.sweeps._identity import Identity, query_of
from projectai_lab.sweeps._listing import Found, listed
from projectai_lab.sweeps._results import NOT_STARTED, results


class Sweep:
    """A sweep on a server: its design, and on demand its results, histories and tables.

    `name`; `design`, one row a planned run in the order of starts; `parameters`, their names;
    `base`, the workflow's input before the parameters, as plain JSON; `workflow_type`; `clock`,
    that of the server when it ran, None when not known; `workflow_ids` in the order of the design;
    `query`, a List Filter of its runs; `summary`, one line; `lab`. What became of the runs is asked
    of the server, as long as its retention keeps them.
    """

    def __init__(self, lab: Lab, identity: Identity, all_started: bool) -> None:
        self.lab = lab
        self.name, self.design = identity.name, identity.design
        self.base, self.workflow_type = identity.base, identity.workflow_type
        self.clock = identity.clock
        self.parameters = parameters(identity.design)
        self.workflow_ids = identity.workflow_ids()
        self.query = query_of(identity.name)
        self.summary = identity.summary
        self._all_started = all_started
        self._closed: dict[str, History] = {}

    def counts(self) -> pd.Series:
        """Return how many runs are in which status, NOT_STARTED included, by the server's listing.

        A listing may be behind by a second.
        """
        found = self._listed()
        statuses = [
            found[one].status.name if one in found else NOT_STARTED for one in self.workflow_ids
        ]
        return pd.Series(statuses, dtype="str").value_counts().rename("runs").rename_axis("status")

    def histories(
        self, *, cache: str | PathLike[str] | None = None, progress: bool = False
    ) -> list[History]:
        """Return the histories of the runs that were started, in the order of the design.

        Those of closed runs are fetched once and kept here; `cache` is a folder that keeps them
        for other kernels too, as in `histories.fetch`.
        """
        started = self.workflow_ids if self._all_started else self._started()
        wanted = [one for one in started if one not in self._closed]

        async def fetch() -> list[History]:
            with translated(self.lab.client):
                return await histories.fetch(
                    self.lab.client, wanted, clock=self.clock, cache=cache, progress=progress
                )

        fetched = {one.workflow_id: one for one in self.lab.loop.run(fetch)} if wanted else {}
        self._closed |= {key: one for key, one in fetched.items() if one.is_closed}
        both = fetched | self._closed
        return [both[one] for one in started if one in both]

    def results(self, **options: Any) -> pd.DataFrame:
        """Return one row a planned run: the design, and what became of it.

        Columns: those of the design; workflow_id; run_id; status, as in `tables.executions`, or
        NOT_STARTED; success, whether it COMPLETED and its result, where it has a field `success`,
        says so too (NA while open); result, as JSON text (the field `result` where it has one);
        error, the result's own or the failure of the run; start_time, close_time and duration_s
        by the server's clock; n_activities, n_attempts and n_retries as in `tables.executions`;
        failure_type; skipped_s, idle time that a virtual clock skipped; clock. A run that continued
        as new or was reset counts by its latest run. `attrs` hold schema, clock, sweep and how the
        design was made. `options` are those of `histories`.

        >>> sweep.results().groupby(sweep.parameters)["success"].mean()        # doctest: +SKIP
        """
        return results(self, self.histories(**options))

    def tables(
        self, *, only: Collection[str] | None = None, **options: Any
    ) -> dict[str, pd.DataFrame]:
        """Return the tables of the runs, as `tables.build`, joined with the Lab's attempt log.

        The attempt log holds what this Lab's own workers did. `options` are those of `histories`.
        """
        found = self.histories(**options)
        return tables.build(found, recorder=self.lab.attempts, only=only)

    def _listed(self) -> dict[str, Found]:
        return self.lab.loop.run(lambda: listed(self.lab.client, self.name))

    def _started(self) -> list[str]:
        found = self._listed()
        return [one for one in self.workflow_ids if one in found]

    def __repr__(self) -> str:
        return f"<Sweep {self.name!r}: {self.summary}>"

    def _repr_html_(self) -> str:
        facts = {
            "workflow type": self.workflow_type,
            "design": self.summary.partition(": ")[2],
            "made by": self.design.attrs.get("made"),
            "clock": self.clock or "unknown",
            "query": self.query,
        }
        return _html.card(f"Sweep {self.name}", facts)
