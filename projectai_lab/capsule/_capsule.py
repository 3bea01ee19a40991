"""`Capsule`: an opened study."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from projectai_lab._html import card
from projectai_lab._replay import replay
from projectai_lab.capsule import _archive, _parts
from projectai_lab.errors import CapsuleError
from projectai_lab.histories import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class Capsule:
    """A study as it was saved; everything is in memory, no server is needed.

    `figures` are the PNG of each by name, `notebook` is its text, `recorder` the attempt log.
    """

    path: Path
    manifest: Mapping[str, Any] = field(repr=False)
    histories: list[History] = field(repr=False)
    tables: dict[str, pd.DataFrame] = field(repr=False)
    figures: dict[str, bytes] = field(repr=False)
    notebook: str | None = field(repr=False)
    parameters: dict[str, Any] = field(repr=False)
    recorder: list[dict[str, Any]] | None = field(repr=False)
    members: Mapping[str, bytes] = field(repr=False)

    @property
    def sha256(self) -> str:
        """SHA-256 over what the manifest says, and so over all of the study."""
        return _archive.sha256(json.dumps(self.manifest, sort_keys=True).encode())

    def draw(self, figure: str, *, ax: Axes | None = None) -> Axes:
        """Draw a figure again from its table: "retries" or "retries.png".

        >>> study.draw("retries")                                              # doctest: +SKIP
        """
        recipes = self.manifest["figures"]
        name = figure if figure in recipes else f"{figure}.png"
        if name not in recipes:
            known = ", ".join(recipes) or "none"
            raise CapsuleError(f"{self.path} has no figure {figure!r}; it has {known}")
        return _parts.draw(recipes[name], self.tables, ax)

    def replay(self, workflows: Sequence[type], **options: Any) -> pd.DataFrame:
        """Replay every history with the SDK's Replayer: one row a run, whether the code still fits.

        Columns: workflow_id, run_id, ok, event_id and event_type of the first event that the code
        does not follow, message (NA: none). `options` go to the Replayer: data_converter, …

        >>> study.replay([ExampleWorkflow])                                    # doctest: +SKIP
        """
        return replay(self.histories, workflows, **options)

    def extract(self, folder: str | os.PathLike[str]) -> Path:
        """Write all members into a folder that is new or empty; return it.

        >>> study.extract("study")                                             # doctest: +SKIP
        """
        target = Path(folder)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise CapsuleError(f"{target} is not an empty folder; name a new one", path=target)
        for name, data in self.members.items():
            file = target / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        return target

    def _repr_html_(self) -> str:
        found = self.manifest
        facts = {
            "created": found["created"],
            "runs": f"{len(self.histories):,}",
            "clock": found["clock"],
            "tables": ", ".join(f"{name} ({len(frame):,})" for name, frame in self.tables.items()),
            "figures": ", ".join(self.figures) or None,
            "parameters": self.parameters or None,
            "versions": ", ".join(f"{name} {one}" for name, one in found["versions"].items()),
            "secrets accepted": "; ".join(found["accepted_secrets"]) or None,
            "sha256": self.sha256,
        }
        return card(f"Capsule {self.path.name}", facts)
