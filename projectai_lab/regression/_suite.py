"""Run notebooks as a regression suite, and renew their baselines."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from projectai_lab import errors, notebooks
from projectai_lab._checks import did_you_mean
from projectai_lab._notebook_files import cells_by_count
from projectai_lab.errors import LabError, NotebookError
from projectai_lab.notebooks import NotebookRun
from projectai_lab.regression._place import BASELINES, CHECKS, UPDATE

_TROUBLE = (errors.ServerError, errors.WorkerError, errors.ConfigError, errors.BaselineError)
_TROUBLE_OF_TEMPORAL = "RPCError"
GREEN, RED, TROUBLE = "green", "red", "trouble"


@dataclass(frozen=True)
class Check:
    """A check of a notebook as it ran: `rows` are the broken rules, `error` why it could not judge.

    `cell` counts as the author does, from 1, text cells too; `line` is the cell's first.
    """

    name: str
    ok: bool
    cell: int | None
    line: str
    rows: Sequence[dict[str, Any]] = ()
    error: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a notebook of the suite ended; `error` is that of a cell, `notes` what to know besides.

    `state` is "green"; "red" (a check is broken, a cell failed); or "trouble": nothing is known,
    for want of a server, a worker, settings or a usable baseline.
    """

    notebook: Path
    checks: Sequence[Check]
    error: NotebookError | None = None
    seconds: float = 0.0
    page: Path | None = None
    notes: Sequence[str] = ()
    staged: Sequence[tuple[Path, Path]] = field(default=(), repr=False)

    @property
    def state(self) -> str:
        """Return "green", "red" or "trouble"."""
        broken = any(not check.ok and check.error is None for check in self.checks)
        if broken or (self.error and not _is_trouble(self.error)):
            return RED
        return TROUBLE if self.error or any(check.error for check in self.checks) else GREEN


def find(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Return the notebooks that are named, and those in the folders that are named.

    Raises NotebookError for a path that is neither, and where there is no notebook at all.
    """
    named = [Path(path) for path in paths]
    found: list[Path] = []
    for path in named:
        if not path.exists():
            hint = did_you_mean(path.name, os.listdir(_folder(path)), 3)
            told = "; ".join(filter(None, [f"there is no {path}", hint]))
            raise NotebookError(told, notebook=path)
        found += sorted(path.glob("*.ipynb")) if path.is_dir() else [path]
    if not found:
        raise NotebookError(f"no notebooks in {', '.join(map(str, named))}: nothing to run")
    return list(dict.fromkeys(found))


def run(
    paths: Iterable[str | os.PathLike[str]],
    *,
    jobs: int = 2,
    update: str | None = None,
    output_dir: str | os.PathLike[str] = "runs/regress",
    timeout: timedelta = timedelta(minutes=10),
    progress: bool = True,
) -> list[Outcome]:
    """Run notebooks, `jobs` at a time, each in a process and with a server of its own.

    With `update`, the reason, the baselines of each notebook that ends well are made anew; those of
    the others stay, and all stay when the run is interrupted.

    >>> regression.run(["notebooks/06_sweep_policies.ipynb"])                  # doctest: +SKIP
    """
    sources = find(paths)
    if update is not None and not update.strip():
        raise ValueError('an update needs a reason: update="the policy waits longer now"')
    with tempfile.TemporaryDirectory(prefix="projectai-lab-regress-") as scratch:
        told = Path(scratch)
        for source in sources:
            (told / f"{source.stem}.jsonl").touch()
        env = {CHECKS: scratch, UPDATE: update or ""}
        ended = _run(sources, jobs, Path(output_dir), timeout, progress, env)
        outcomes = [_outcome(one, told, bool(update)) for one in ended]
        return [_renewed(outcome) for outcome in outcomes] if update else outcomes


def _run(
    sources: list[Path],
    jobs: int,
    output_dir: Path,
    timeout: timedelta,
    progress: bool,
    env: dict[str, str],
) -> list[NotebookRun | NotebookError]:
    options: dict[str, Any] = {"timeout": timeout, "progress": progress, "env": env}
    try:
        if len(sources) == 1:
            output = output_dir / sources[0].name
            return [notebooks.run(sources[0], output=output, **options)]
        runs = notebooks.run_many(sources, output_dir=output_dir, jobs=jobs, **options)
        return list(runs)
    except NotebookError as error:
        facts = vars(error)
        if "failures" not in facts:
            return [error]
        if not facts["runs"] and str(error).startswith("nothing was started"):
            raise
        by_source = {vars(one)["notebook"]: one for one in facts["failures"]}
        by_source |= {one.notebook: one for one in facts["runs"]}
        return [by_source[source] for source in sources]


def _outcome(ended: NotebookRun | NotebookError, told: Path, update: bool) -> Outcome:
    failed = isinstance(ended, NotebookError)
    facts = vars(ended)
    source, copy = facts["notebook"], facts.get("output")
    page = copy.with_suffix(".html") if copy else None
    log = told / f"{source.stem}.jsonl"
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    cells = cells_by_count(copy) if copy else {}
    checks = [*_checks(records, cells), *_twice(records, cells)]
    staged = [(Path(r["staged"]), Path(r["baseline"])) for r in records if r.get("staged")]
    notes = [] if failed else [*_notes(source, records, update)]
    return Outcome(
        notebook=source,
        checks=checks,
        error=ended if isinstance(ended, NotebookError) else None,
        seconds=facts.get("seconds", 0.0),
        page=page if page and page.exists() else None,
        notes=notes,
        staged=staged,
    )


def _checks(records: list[dict[str, Any]], cells: dict[int, tuple[int, str]]) -> list[Check]:
    found = []
    for record in records:
        cell, line = cells.get(record["cell"], (None, ""))
        rows, error = record["rows"], record.get("error")
        found.append(Check(record["check"], record["ok"], cell, line, rows, error))
    return found


def _twice(records: list[dict[str, Any]], cells: dict[int, tuple[int, str]]) -> list[Check]:
    """Return a check that could not judge for each name that several checks have."""
    named = [record for record in records if record.get("baseline") or record.get("error")]
    found = []
    for name, count in Counter(record["check"] for record in named).items():
        if count > 1:
            at = [cells.get(r["cell"], (None, "")) for r in named if r["check"] == name]
            places = ", ".join(str(number) for number, _ in at)
            why = (
                f"{count} checks have the name {name!r} (cells {places}), so they would share one "
                'baseline: give each its own, as in name="attempts-2"'
            )
            found.append(Check(name, False, at[-1][0], at[-1][1], error=why))
    return found


def _notes(source: Path, records: list[dict[str, Any]], update: bool) -> Iterable[str]:
    if not records:
        yield "it has no check: nothing but its own assertions can turn it red"
    used = {Path(record["baseline"]).name for record in records if record.get("baseline")}
    used |= {f"{record['check']}.json" for record in records}
    for path in sorted((source.parent / BASELINES / source.stem).glob("*.json")):
        if path.name not in used:
            yield f"no check uses the baseline {path}: delete it, or bring the check back"
    if update:
        kept = [r["check"] for r in records if r.get("baseline") and not r.get("staged")]
        yield from (f"the baseline of check {name!r} is as it was" for name in kept)


def _renewed(outcome: Outcome) -> Outcome:
    if outcome.state != GREEN:
        note = "its baselines were left as they are"
        return _with_notes(outcome, [note] if outcome.staged else [])
    for staged, path in outcome.staged:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".{path.name}.new")
        half.write_bytes(staged.read_bytes())
        half.replace(path)
    return _with_notes(outcome, [f"wrote the baseline {path}" for _, path in outcome.staged])


def _with_notes(outcome: Outcome, more: list[str]) -> Outcome:
    return replace(outcome, notes=[*outcome.notes, *more], staged=())


def _is_trouble(error: NotebookError) -> bool:
    """Whether the cell failed for want of a server, a worker or settings."""
    name = str(vars(error).get("error_type"))
    kind = getattr(errors, name, LabError)
    return name == _TROUBLE_OF_TEMPORAL or (isinstance(kind, type) and issubclass(kind, _TROUBLE))


def _folder(path: Path) -> Path:
    return path.parent if path.parent.is_dir() else Path()
