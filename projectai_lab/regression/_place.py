"""Where a check stands: in which notebook and cell, and whether a runner listens."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKS = "PROJECTAI_LAB_CHECKS"
"""Folder in which the runner put a file for each notebook that it runs: checks write there and do
not raise, so that one run tells all that it has seen, and the notebook closes what it opened."""
UPDATE = "PROJECTAI_LAB_UPDATE"
"""The reason of an update: checks leave a new baseline beside that file instead of comparing."""
BASELINES = "baselines"


@dataclass(frozen=True)
class Place:
    """The notebook of a check and its cell's `In [n]`; `log` is None where no runner listens."""

    notebook: Path
    cell: int
    log: Path | None
    reason: str | None

    def baseline(self, name: str) -> Path:
        """Return the file of a check's baseline."""
        return self.notebook.parent / BASELINES / self.notebook.stem / f"{name}.json"

    def staged(self, name: str) -> Path:
        """Return the file of a baseline that waits for the notebook's good end."""
        assert self.log
        return self.log.with_suffix("") / f"{name}.json"

    def write(self, record: dict[str, Any]) -> None:
        """Tell the runner of a check."""
        assert self.log
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**record, "cell": self.cell}) + "\n")


def here() -> Place | None:
    """Return the place of the code that runs, None outside a notebook or where its name is unknown.

    JupyterLab and our runner tell a kernel its notebook in JPY_SESSION_NAME.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    notebook = Path(os.environ.get("JPY_SESSION_NAME", ""))
    if shell is None or notebook.suffix != ".ipynb":
        return None
    # A relative name is one of the server's; the kernel's folder is the notebook's.
    notebook = notebook if notebook.is_absolute() else Path.cwd() / notebook.name
    folder = os.environ.get(CHECKS)
    log = Path(folder, f"{notebook.stem}.jsonl") if folder else None
    # A notebook that a notebook runs is none of the runner's.
    log = log if log and log.is_file() else None
    reason = os.environ.get(UPDATE) if log else None
    # Not shell.execution_count, which some versions of IPython raise before the cell has run.
    cell = len(shell.history_manager.input_hist_parsed) - 1
    return Place(notebook, cell, log, reason or None)
