"""What makes two sweeps the same, and what of it stands in the memo of each run.

Memo key `sweep` of every run: name, row, replicate, seed, parameters (long values cut), clock, the
design in one line and a digest of each part that must not change. Memo key `sweep_design` of the
run that starts first: the whole design, the base and the Workflow Type, compressed.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd
from temporalio.converter import PayloadConverter

from projectai_lab.errors import DesignError, SweepError
from projectai_lab.sweeps._checked import Planned, summary
from projectai_lab.sweeps._design import frame
from projectai_lab.sweeps._values import plain

MEMO, MEMO_DESIGN = "sweep", "sweep_design"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LONG = 200
# Temporal refuses memos of more than 2 MiB by default (limit.memoSize.error); the rest is small.
_MOST_MEMO = 2_000_000
_PARTS = {"design": "the design", "base": "the base input", "workflow_type": "the Workflow Type"}


@dataclass(frozen=True)
class Identity:
    """One sweep: its name, its design, its base as plain JSON, its Workflow Type and clock.

    `clock` is that of the server, None where it is not known.
    """

    name: str
    design: pd.DataFrame
    base: Any
    workflow_type: str
    clock: str | None

    @cached_property
    def digests(self) -> dict[str, str]:
        """Digests of what must be the same when the name is used again."""
        return {
            "design": digest(self.design),
            "base": _digest(self.base),
            "workflow_type": self.workflow_type,
        }

    @cached_property
    def summary(self) -> str:
        """The sweep in one line."""
        return f"{self.workflow_type}: {summary(self.design)}"

    def workflow_ids(self) -> list[str]:
        """Return the Workflow Ids in the order of starts."""
        rows, replicates = self.design["row"], self.design["replicate"]
        wide = max(4, len(str(rows.max()))), max(2, len(str(replicates.max())))
        return [
            f"{self.name}/r{row:0{wide[0]}}/n{replicate:0{wide[1]}}"
            for row, replicate in zip(rows.tolist(), replicates.tolist(), strict=True)
        ]

    def memo(self, run: Planned) -> dict[str, Any]:
        """Return what stands in the memo of one run."""
        return {
            "name": self.name,
            **{"row": run.row, "replicate": run.replicate, "seed": run.seed},
            "parameters": {name: _short(value) for name, value in run.parameters.items()},
            "clock": self.clock,
            "summary": self.summary,
            "digests": self.digests,
        }

    @cached_property
    def memo_design(self) -> str:
        """What `identity_of` makes the sweep of; DesignError where no server would keep it."""
        attrs = {
            key: self.design.attrs[key] for key in ("seed", "made") if key in self.design.attrs
        }
        whole = {
            **{"columns": list(self.design.columns), "rows": _rows(self.design), "attrs": attrs},
            **{"base": self.base, "workflow_type": self.workflow_type},
        }
        packed = base64.b64encode(zlib.compress(json.dumps(whole).encode(), 9)).decode()
        if len(packed) > _MOST_MEMO:
            raise DesignError(
                f"the design and its base take {len(packed) / 1e6:.1f} MB compressed, and a server "
                f"keeps {_MOST_MEMO / 1e6:g} MB with a run: let its values be references to long "
                "texts, such as numbers or file names, or make several sweeps of it"
            )
        return packed

    def check_same(self, memo: Mapping[str, Any], workflow_id: str) -> None:
        """Raise SweepError when a run of this name belongs to another sweep."""
        theirs, ours = memo.get("digests", {}), self.digests
        differs = [told for key, told in _PARTS.items() if theirs.get(key) != ours[key]]
        clocks = memo.get("clock"), self.clock
        if not differs and all(clocks) and clocks[0] != clocks[1]:
            differs = [f"the server's clock ({clocks[0]}, now {clocks[1]})"]
        if differs:
            raise SweepError(
                f"the name {self.name!r} is in use by another sweep (Workflow Id {workflow_id!r}), "
                f"which differs in {' and '.join(differs)}.\n  there: {memo.get('summary')}\n"
                f"  here:  {self.summary}\nChoose another name=, or look at the one there: "
                f"sweeps.load(lab, {self.name!r})",
                name=self.name,
                workflow_id=workflow_id,
                there=memo.get("summary"),
                here=self.summary,
            )


def digest(design: pd.DataFrame) -> str:
    """Return the digest of a design: 16 hexadecimal digits, the same for the same planned runs.

    >>> from projectai_lab import sweeps
    >>> one, other = (sweeps.grid({"data": ["a", "b"]}, seed=seed) for seed in (7, 8))
    >>> sweeps.digest(one) == sweeps.digest(other)
    False
    """
    return _digest([list(design.columns), _rows(design)])


def identity_of(name: str, memo_design: str, clock: str | None) -> Identity:
    """Return the sweep that the memo of its first run holds."""
    whole = json.loads(zlib.decompress(base64.b64decode(memo_design)))
    design = frame(whole["columns"], whole["rows"], whole["attrs"])
    return Identity(name, design, whole["base"], whole["workflow_type"], clock)


def check_sweep_name(name: Any) -> None:
    """Raise DesignError for a name that a Workflow Id or a List Filter could not hold as it is."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise DesignError(
            f"the sweep's name {name!r} must begin with a letter or digit and hold only these and "
            "'.', '_', '-', up to 100: it stands in Workflow Ids and in queries",
        )


def query_of(name: str) -> str:
    """Return the List Filter of a sweep's runs."""
    return f'WorkflowId STARTS_WITH "{name}/r"'


def plain_base(converter: PayloadConverter, base: Any) -> Any:
    """Return the base as the JSON that goes over the wire; DesignError where there is none."""
    try:
        payloads = converter.to_payloads([base])
        return json.loads(payloads[0].data) if payloads[0].data else None
    except (TypeError, ValueError, RecursionError) as error:
        raise DesignError(
            f"base={base!r:.80} cannot be serialised to JSON ({error}): pass text, numbers, lists, "
            "dicts or dataclasses of these"
        ) from error


def _rows(design: pd.DataFrame) -> list[list[Any]]:
    names = list(design.columns)
    lines: Sequence[tuple[Any, ...]] = list(design.itertuples(index=False, name=None))
    return [[plain(name, value) for name, value in zip(names, line, strict=True)] for line in lines]


def _short(value: Any) -> Any:
    """Return a value as every listing may carry it; the whole stands in the design."""
    return value if len(told := repr(value)) <= _LONG else f"{told[: _LONG - 1]}…"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]
