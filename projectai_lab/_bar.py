"""The progress bar of what takes long."""

from __future__ import annotations

from typing import Any

from tqdm.auto import tqdm

# tqdm's own monitor thread would outlive the bar.
Bar: Any = type("Bar", (tqdm,), {"monitor_interval": 0})
