"""One export being written: what is in the folder, and what a batch of runs adds to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHistory

from projectai_lab import tables
from projectai_lab._words import many
from projectai_lab.histories import _manifest, _part
from projectai_lab.histories._refs import Ids
from projectai_lab.histories._sink import by_run, records_of


@dataclass(frozen=True)
class Export:
    """What an export holds now, and how many runs this call added or renewed.

    `runs`, `rows` and `gone` are of the whole export; `open` runs had not closed when they were
    exported and are renewed by a later call that is given them again.
    """

    folder: Path
    added: int
    renewed: int
    runs: int
    open: int
    rows: dict[str, int]
    gone: list[Ids]

    def __repr__(self) -> str:
        counts = {"added": self.added, "renewed": self.renewed}
        news = ", ".join(f"{many(count, 'run')} {word}" for word, count in counts.items() if count)
        left = f", {self.open} still open" if self.open else ""
        left += f", {len(self.gone)} gone before they could be fetched" if self.gone else ""
        held = f"{many(self.runs, 'run')} with {many(self.rows['events'], 'event')}"
        return f"{news or 'nothing new'}: {self.folder} holds {held}{left}"


class Writer:
    """Adds one batch of runs after another to the export in a folder."""

    def __init__(
        self,
        folder: Path,
        query: str | None,
        formats: tuple[str, ...],
        recorder: Iterable[tables.Record] | None,
    ) -> None:
        schemas = {name: str(df.attrs["schema"]) for name, df in tables.build([]).items()}
        self._folder, self._formats = folder, formats
        self._manifest = _manifest.opened(folder, query, formats, schemas)
        if recorder is not None:
            _part.refuse_without_records(folder, self._manifest["parts"])
        _manifest.sweep(folder, self._manifest)
        self._load_state()
        self._records = by_run(recorder)
        self._added = self._renewed = 0

    def _load_state(self) -> None:
        self._part_of: dict[str, str] = {}
        self._open: dict[str, int] = {}
        for part in self._manifest["parts"]:
            self._part_of |= dict.fromkeys(_part.run_ids(self._folder, part), part["name"])
            self._open |= part["open"]

    def holds(self, run: WorkflowHistory) -> bool:
        """Tell whether the export has a run as far as it goes; an open one may have grown."""
        known = run.run_id in self._part_of
        return known and len(run.events) <= self._open.get(run.run_id, len(run.events))

    def add(self, batch: Sequence[WorkflowHistory], gone: Collection[Ids]) -> None:
        """Write the new runs as a part, and each part again in which an open run has grown."""
        by_part: dict[str | None, list[WorkflowHistory]] = defaultdict(list)
        for run in batch:
            by_part[self._part_of.get(run.run_id)].append(run)
        for name, runs in by_part.items():
            if name is None:
                self._write(runs, [], gone)
                self._added += len(runs)
            else:
                self._renew(name, runs, gone)
                self._renewed += len(runs)

    def _renew(self, name: str, runs: Sequence[WorkflowHistory], gone: Collection[Ids]) -> None:
        (old,) = (part for part in self._manifest["parts"] if part["name"] == name)
        grown = {run.run_id: run for run in runs}
        self._write(
            [grown.get(run.run_id, run) for run in _part.histories(self._folder, old)],
            _part.records(self._folder, old),
            gone,
            old,
        )
        _manifest.sweep(self._folder, self._manifest)

    def _write(
        self,
        runs: Sequence[WorkflowHistory],
        before: Sequence[tables.Record],
        gone: Collection[Ids],
        old: _part.Part | None = None,
    ) -> None:
        parts = self._manifest["parts"]
        number = max((int(part["name"].rpartition("-")[2]) + 1 for part in parts), default=0)
        records = self._records_of(runs, before)
        try:
            part = _part.write(self._folder, f"part-{number:05}", runs, records, self._formats)
            self._commit(gone, parts=[*(one for one in parts if one is not old), part])
        except BaseException:
            # What stands there of a part that no manifest names would be read with the others.
            _manifest.sweep(self._folder, _manifest.read(self._folder))
            raise
        self._part_of |= {run.run_id: part["name"] for run in runs}

    def _records_of(
        self, runs: Sequence[WorkflowHistory], before: Sequence[tables.Record]
    ) -> list[tables.Record] | None:
        now = records_of(runs, self._records)
        if not before:
            return now
        latest = {one.get("key", place): one for place, one in enumerate([*before, *(now or ())])}
        return list(latest.values())

    def _commit(self, gone: Collection[Ids], **facts: Any) -> None:
        known = [tuple(one) for one in [*self._manifest["gone"], *gone]]
        told = {**self._manifest, "finished": None, "gone": list(dict.fromkeys(known)), **facts}
        self._manifest = _manifest.write(self._folder, told)

    def finish(self, gone: Collection[Ids], server: str | None) -> Export:
        """Close the manifest; leave it as it is when there is nothing new."""
        known = {tuple(one) for one in self._manifest["gone"]}
        news = self._added or self._renewed or not known.issuperset(map(tuple, gone))
        if news or not self._manifest["finished"]:
            server = server or self._manifest["server"]
            self._commit(gone, finished=_manifest.now(), server=server)
        names = ("runs", "open", "rows")
        told = {name: self._manifest[name] for name in names}
        left = [(one[0], one[1]) for one in self._manifest["gone"]]
        return Export(self._folder, self._added, self._renewed, **told, gone=left)
