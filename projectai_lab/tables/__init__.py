"""Event histories as tables: one function a table, each from histories to a DataFrame.

`schema.columns("attempts")` says what each column means; `validate(df)` holds a frame to it.
"""

from __future__ import annotations

from projectai_lab.tables import schema
from projectai_lab.tables._activities import activities
from projectai_lab.tables._attempt import Record
from projectai_lab.tables._attempts import attempts
from projectai_lab.tables._build import build
from projectai_lab.tables._child_workflows import child_workflows
from projectai_lab.tables._events import events
from projectai_lab.tables._executions import executions
from projectai_lab.tables._faults import FaultSource, faults
from projectai_lab.tables._messages import messages
from projectai_lab.tables._payloads import payloads
from projectai_lab.tables._runs import Histories
from projectai_lab.tables._timers import timers
from projectai_lab.tables._workflow_tasks import workflow_tasks
from projectai_lab.tables.schema import validate

__all__ = [
    "FaultSource",
    "Histories",
    "Record",
    "activities",
    "attempts",
    "build",
    "child_workflows",
    "events",
    "executions",
    "faults",
    "messages",
    "payloads",
    "schema",
    "timers",
    "validate",
    "workflow_tasks",
]
