"""A research kit for Temporal: start workflows, keep every attempt, see what a retry policy did.

The names below are loaded when first used: the workflow sandbox imports this package once a run,
and nobody should wait for pandas to read a version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from projectai_lab._lazy import lazily

if TYPE_CHECKING:
    from projectai_lab._loop import allow_nested_asyncio
    from projectai_lab.config import LabConfig
    from projectai_lab.controller import AIController
    from projectai_lab.errors import LabError
    from projectai_lab.lab import Lab
    from projectai_lab.models import (
        Fault,
        FaultPlan,
        Latency,
        RetrySettings,
        TimeoutSettings,
        WorkflowInput,
        WorkflowOutput,
        WorkflowState,
    )

__version__ = "0.1.0"

__all__ = [
    "AIController",
    "Fault",
    "FaultPlan",
    "Lab",
    "LabConfig",
    "LabError",
    "Latency",
    "RetrySettings",
    "TimeoutSettings",
    "WorkflowInput",
    "WorkflowOutput",
    "WorkflowState",
    "allow_nested_asyncio",
]
_HOMES = {
    "AIController": "controller",
    "Fault": "models",
    "FaultPlan": "models",
    "Lab": "lab",
    "LabConfig": "config",
    "LabError": "errors",
    "Latency": "models",
    "RetrySettings": "models",
    "TimeoutSettings": "models",
    "WorkflowInput": "models",
    "WorkflowOutput": "models",
    "WorkflowState": "models",
    "allow_nested_asyncio": "_loop",
}

__getattr__, __dir__ = lazily(__name__, _HOMES)


def load_ipython_extension(ipython: Any) -> None:
    """Bring `%%workflow` and `%%activity`; called by `%load_ext projectai_lab`."""
    from projectai_lab.cells import LabMagics

    ipython.register_magics(LabMagics)
