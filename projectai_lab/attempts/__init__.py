"""Every activity attempt, written down by the worker that runs it: history keeps only the last.

An attempt log is a folder of append-only JSON-lines files, one a process: a `start` row when an
attempt begins and an `end` row when it ends, so that a start without an end is an attempt that died
with its worker; between them a `fault` row for each fault that was injected. Instants are integer
nanoseconds since the epoch; `scheduled_ns`, `attempt_scheduled_ns` and `started_ns` are the
server's clock, `worker_…_ns` the worker's.
"""

from __future__ import annotations

from projectai_lab.attempts._log import AttemptLog, AttemptRecord, FaultRecord, read, read_faults
from projectai_lab.attempts._pending import Observation, from_description
from projectai_lab.attempts._recorder import AttemptRecorder

__all__ = [
    "AttemptLog",
    "AttemptRecord",
    "AttemptRecorder",
    "FaultRecord",
    "Observation",
    "from_description",
    "read",
    "read_faults",
]
