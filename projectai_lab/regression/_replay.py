"""`replay`: saved histories against the workflow code of today."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

from projectai_lab import histories
from projectai_lab._replay import replay as replay_all


def replay(
    folder: str | os.PathLike[str], workflows: Sequence[type], **options: Any
) -> pd.DataFrame:
    """Replay the saved histories of a folder with the SDK's Replayer: one row a run.

    Columns: workflow_id, run_id, ok (NA: nothing to replay), event_id and event_type of the first
    event that the code does not follow, message (NA: it follows all). `options` go to the Replayer:
    data_converter, plugins, … Raises HistoryFileError for a folder without histories.

    >>> found = regression.replay("saved/", [ExampleWorkflow])                 # doctest: +SKIP
    >>> assert found.ok.all(), found                                           # doctest: +SKIP
    """
    runs = histories.load_all(folder)
    return replay_all(runs, workflows, **options)
