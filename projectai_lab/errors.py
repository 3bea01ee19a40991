"""The errors of the kit, as a tree.

    LabError
    ├── ConfigError                  settings that contradict each other or cannot be read
    ├── LabClosedError               use after close
    ├── BlockingCallError            a blocking call on the loop thread: it would wait for itself
    ├── ServerError
    │   ├── ServerBinaryNotFoundError
    │   ├── ServerStartError         carries the tail of the server's log
    │   ├── ServerUnreachableError   nothing answers at the address
    │   ├── NamespaceNotFoundError
    │   └── NoTimeSkippingError      the server has no virtual clock
    ├── WorkerError
    │   ├── WorkerStartError
    │   ├── CellError                a notebook cell that cannot become a workflow or activity
    │   ├── NoWorkerError            no worker takes the tasks of the Task Queue
    │   └── WorkflowDefinitionError  a workflow that the sandbox cannot load, or an unknown type
    ├── PayloadError                 an argument that cannot be sent
    ├── WorkflowStuckError           the Workflow Task keeps failing
    ├── WorkflowTimeoutError         our wait ended first; also a TimeoutError
    ├── HistoryFileError             a file that is not a usable event history
    ├── TableError                   a table that breaks its schema
    ├── PolicyError                  a retry policy that never ends, or has no such figures
    ├── CapsuleError                 a file that is no whole capsule, or may not be one
    ├── ExportError                  an export that cannot be written, continued or read
    ├── DesignError                  a design of runs that cannot be carried out
    ├── SweepError                   a sweep whose name is in use, that is gone or was cut off
    ├── ReportError                  a report that has nothing to tell or no place to be written
    ├── BaselineError                a baseline that is missing, damaged or of another schema
    ├── RegressionError              a table that breaks the rules of its check
    └── NotebookError                a notebook that failed; names notebook, cell, parameters

What Temporal already names (`WorkflowFailureError`, `WorkflowAlreadyStartedError`, `RPCError`)
passes through unwrapped, with the next step attached as a note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any


class LabError(Exception):
    """Base of every error of the kit; keyword arguments become attributes."""

    def __init__(self, message: str, **facts: Any) -> None:
        super().__init__(message)
        self.__dict__.update(facts)

    if TYPE_CHECKING:
        # Facts differ from error to error; a type checker takes any name.
        def __getattr__(self, name: str) -> Any: ...


class ConfigError(LabError):
    """Settings contradict each other or cannot be read."""


class LabClosedError(LabError):
    """The Lab, client or worker was closed before this call."""


class BlockingCallError(LabError):
    """A blocking call was made on the loop thread and would wait for itself for ever."""


class ServerError(LabError):
    """Something about the Temporal server."""


class ServerBinaryNotFoundError(ServerError):
    """No `temporal` binary in this environment, on PATH or for download."""


class ServerStartError(ServerError):
    """The embedded server did not become healthy; the tail of its log is in the message."""


class ServerUnreachableError(ServerError):
    """Nothing that speaks Temporal answers at the address."""


class NamespaceNotFoundError(ServerError):
    """The server answers but has no such Namespace."""


class NoTimeSkippingError(ServerError):
    """The server cannot skip idle time, so that nothing can run on the virtual clock there."""


class WorkerError(LabError):
    """Something about a worker."""


class WorkerStartError(WorkerError):
    """The worker could not start polling."""


class NoWorkerError(WorkerError):
    """No worker takes the tasks of the Task Queue; the Workflow Execution waits, it is not lost."""


class CellError(WorkerError):
    """A notebook cell that cannot become a workflow or an activity; nothing was changed."""

    def _render_traceback_(self) -> list[str]:
        """Be shown by a notebook as a sentence: the traceback is the magic's, not the cell's."""
        return [f"{type(self).__name__}: {self}"]


class WorkflowDefinitionError(WorkerError):
    """A workflow class that a worker cannot load, or a Workflow Type that it does not know."""


class PayloadError(LabError):
    """An argument that cannot be serialised or is larger than the server accepts."""


class WorkflowStuckError(LabError):
    """The Workflow Task keeps failing, so that the Workflow Execution cannot progress."""


class WorkflowTimeoutError(LabError, TimeoutError):
    """Our own wait ended first; the Workflow Execution goes on."""


class HistoryFileError(LabError):
    """A file that is not a usable event history."""


class TableError(LabError):
    """A table that breaks its schema."""


class PolicyError(LabError):
    """A retry policy without end under a fault law, or a law that cannot be simulated or solved."""


class CapsuleError(LabError):
    """A file that is no whole capsule, or a study that must not become one as it is."""


class ExportError(LabError):
    """An export that cannot be written, continued or read."""


class DesignError(LabError):
    """A design of runs that cannot be carried out; found before anything starts."""


class SweepError(LabError):
    """A sweep whose name is in use, that is not there, or cut off; `resume` is the line to type."""


class ReportError(LabError):
    """A report that has nothing to tell, or that cannot be written where it should be."""


class BaselineError(LabError):
    """A baseline that is missing, damaged, of another schema, or does not fit the check."""


class RegressionError(LabError):
    """A table that breaks the rules of its check; `verdict` says rule by rule what was seen."""


class NotebookError(LabError):
    """A notebook that failed: names the notebook, the cell and the parameters."""
