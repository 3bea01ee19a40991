"""Requests of the playground on a Lab, in a thread of their own: begun, stopped, and measured."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd
from temporalio.service import RPCError

from projectai_lab import tables
from projectai_lab.client import LabClient
from projectai_lab.models import WorkflowInput
from projectai_lab.widgets._look import message
from projectai_lab.workflows import ExampleWorkflow


class RealRun:
    """One run at a time; `tell` is told how it goes, `done` gets the table of its activities.

    `ended` is called last, however it went. All three are called on the run's own thread.
    """

    def __init__(
        self,
        tell: Callable[[str], None],
        done: Callable[[pd.DataFrame], None],
        ended: Callable[[], None],
    ) -> None:
        self._tell, self._done, self._ended = tell, done, ended
        self._stop = threading.Event()
        self.thread: threading.Thread | None = None

    @property
    def goes_on(self) -> bool:
        """Whether one has begun that has not ended."""
        return self.thread is not None and self.thread.is_alive()

    def start(self, lab: LabClient, requests: Sequence[WorkflowInput]) -> None:
        """Begin; whoever calls makes sure that none goes on."""
        self._stop.clear()
        work, name = (lab, requests), "projectai-lab-playground"
        self.thread = threading.Thread(target=self._carry_out, args=work, name=name, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """Start no more, and terminate those that are open."""
        self._stop.set()

    def _carry_out(self, lab: LabClient, requests: Sequence[WorkflowInput]) -> None:
        handles: list[Any] = []
        try:
            for request in requests:
                if self._stop.is_set():
                    break
                handles.append(lab.start_workflow(ExampleWorkflow.run, request))
            for number, handle in enumerate(handles):
                self._tell(f"{number} of {len(handles)} done")
                self._wait_for(handle)
            self._done(tables.activities(lab.fetch_histories(handles, progress=False)))
        except Exception as error:
            self._tell(message(f"{type(error).__name__}: {error}", "error"))
        finally:
            self._ended()

    def _wait_for(self, handle: Any) -> None:
        while True:
            if self._stop.is_set():
                # One that has ended meanwhile is none to stop.
                with contextlib.suppress(RPCError):
                    handle.terminate(reason="stopped in the playground")
                return
            try:
                handle.result(timeout=0.5)
                return
            except TimeoutError:
                continue
