"""`pytest --nbregress notebooks/`: each notebook is a test, red when one of its checks is.

pytest loads this module in every project that has the kit installed, so it imports nothing else
until a notebook runs.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--nbregress`."""
    group = parser.getgroup("projectai_lab")
    group.addoption(
        "--nbregress",
        action="store_true",
        help="collect notebooks as regression tests, with their baselines",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.File | None:
    """Collect each notebook when `--nbregress` is given."""
    if file_path.suffix != ".ipynb" or not parent.config.getoption("--nbregress"):
        return None
    return NotebookFile.from_parent(parent, path=file_path)


class BrokenNotebookError(Exception):
    """A notebook that is not green; its text is the digest."""


class NotebookFile(pytest.File):
    """A notebook's file, with one test in it."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the test that runs the notebook."""
        yield NotebookItem.from_parent(self, name="regression", path=self.path)


class NotebookItem(pytest.Item):
    """Runs the notebook on a server of its own and fails with its digest."""

    def runtest(self) -> None:
        """Run the notebook in a fresh kernel."""
        from projectai_lab import regression

        folder = tempfile.mkdtemp(prefix="nbregress-")
        [outcome] = regression.run([self.path], output_dir=folder, progress=False)
        if outcome.state != "green":
            # The executed copy stays: the digest names it.
            raise BrokenNotebookError(regression.digest(outcome))
        shutil.rmtree(folder)
        for note in outcome.notes:
            warnings.warn(pytest.PytestWarning(f"{self.path.name}: {note}"), stacklevel=1)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the digest, which says more than our own stack would."""
        if isinstance(excinfo.value, BrokenNotebookError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return how the test is named in reports."""
        return self.path, None, f"notebook {self.path.name}"
