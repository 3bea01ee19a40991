"""`policy_playground`: a retry policy and faults by sliders; what follows, and what really did."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import ipywidgets
import pandas as pd
from temporalio.service import RPCError

from projectai_lab import retries, tables
from projectai_lab._checks import check_type
from projectai_lab.errors import LabError
from projectai_lab.lab import Lab
from projectai_lab.latency import percentiles
from projectai_lab.models import (
    FaultPlan,
    Latency,
    RetrySettings,
    TimeoutSettings,
    WorkflowInput,
    seconds,
)
from projectai_lab.widgets._look import Html, block, message, table
from projectai_lab.widgets._panel import Panel, style
from projectai_lab.widgets._picture import outcome_picture
from projectai_lab.workflows import ExampleWorkflow

CALL = "simulate_ai_call"
SIMULATED = 20_000
_QUANTILES = (0.5, 0.95, 0.99)
_OUTCOME = ("n", "gave up", *(f"p{100 * q:.0f} (s)" for q in _QUANTILES))
_PLANNED = ("attempt", "backoff before it (s)", "due at the earliest (s)")
_WIDE = {"description_width": "11em"}
_ROW = {"width": "26em", "max_width": "100%"}


def policy_playground(
    lab: Lab | None = None,
    policy: RetrySettings | None = None,
    *,
    fail: float = 0.4,
    latency: float = 0.05,
) -> Playground:
    """Return sliders for a Retry Policy and a fault law, and what comes of them at once.

    Shown are the planned schedule and the completion times of 20,000 simulated requests, each one
    `simulate_ai_call` that fails with probability `fail` after `latency` seconds. With a Lab, "Run
    for real" lays its own requests over them, timed on the server's clock.

    >>> widgets.policy_playground(lab)                                         # doctest: +SKIP
    """
    # Refused here: a panel that has nothing to show would be half made.
    FaultPlan(fail_probability={CALL: fail}, latency=Latency(a=latency))
    start = policy or RetrySettings(initial_interval=0.2, maximum_attempts=5)
    check_type("policy", start, RetrySettings)
    return Playground(lab, start, fail, latency)


class Playground(Panel):
    """The panel; `simulated` and `real` hold one row a request, `real` None before a run."""

    def __init__(self, lab: Lab | None, policy: RetrySettings, fail: float, latency: float) -> None:
        super().__init__(lab)
        self._lab = lab
        self.real: pd.DataFrame | None = None
        self.simulated = pd.DataFrame()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._build(policy, fail, latency)
        self.recompute()

    def _build(self, policy: RetrySettings, fail: float, latency: float) -> None:
        longest = policy.maximum_interval
        self.fields: dict[str, Any] = {
            "initial_interval": _number("initial interval (s)", seconds(policy.initial_interval)),
            "backoff_coefficient": _slider("backoff coefficient", policy.backoff_coefficient, 1, 5),
            "maximum_interval": _number(
                "maximum interval (s)", 0 if longest is None else seconds(longest)
            ),
            "maximum_attempts": ipywidgets.IntSlider(
                policy.maximum_attempts or 20,
                min=1,
                max=max(20, policy.maximum_attempts),
                description="maximum attempts",
                style=_WIDE,
                layout=_ROW,
            ),
            "start_to_close": _number("start-to-close (s)", 10.0),
            "fail": _slider("probability of failure", fail, 0, 1),
            "latency": _number("an attempt takes (s)", latency),
        }
        self.requests = ipywidgets.BoundedIntText(20, 1, 500, description="requests", style=_WIDE)
        self.run_button = ipywidgets.Button(description="Run for real", icon="play")
        self.stop_button = ipywidgets.Button(description="Stop", icon="stop", disabled=True)
        self.progress = ipywidgets.HTML()
        self.facts = ipywidgets.HTML()
        for field in self.fields.values():
            field.observe(lambda _: self.recompute(), "value")
        self.run_button.on_click(lambda _: self.run())
        self.stop_button.on_click(lambda _: self._stop.set())
        # Wrapped, so that the real run stands below on narrow screens.
        row = ipywidgets.HBox(
            [self.requests, self.run_button, self.stop_button, self.progress],
            layout=ipywidgets.Layout(flex_flow="row wrap"),
        )
        row.layout.display = None if self._lab else "none"
        self.view.children = [style(), *self.fields.values(), self.notice, row, self.facts]

    def settings(self) -> tuple[RetrySettings, TimeoutSettings, FaultPlan]:
        """Return what the fields say, a maximum interval of 0 for Temporal's own: 100 × initial.

        ValueError where a policy cannot be that.
        """
        value = {name: field.value for name, field in self.fields.items()}
        policy = RetrySettings(
            initial_interval=value["initial_interval"],
            backoff_coefficient=value["backoff_coefficient"],
            maximum_interval=value["maximum_interval"] or None,
            maximum_attempts=value["maximum_attempts"],
        )
        plan = FaultPlan(
            fail_probability={CALL: value["fail"]}, latency=Latency(a=value["latency"])
        )
        return policy, TimeoutSettings(start_to_close=value["start_to_close"]), plan

    def recompute(self) -> None:
        """Plan and simulate anew; what was run for real under other settings goes."""
        with self.lock:
            try:
                policy, timeouts, plan = self.settings()
                self.planned = retries.planned(policy)
                self.simulated = retries.simulate(
                    policy, plan, SIMULATED, start_to_close=timeouts.start_to_close
                )
            except (ValueError, LabError) as error:
                self.notice.value = message(error, "error")
                return
            self.notice.value, self.real = "", None
            self._show()

    def _show(self) -> None:
        self.facts.value = self.facts_html()

    def facts_html(self) -> Html:
        """Return the settings, the planned schedule, the outcomes and their picture."""
        parts = [
            table(["setting", "value"], self._settings_rows(), caption="Retry Policy and faults"),
            table(
                _PLANNED,
                [
                    (row.attempt, _text(row.backoff_s), _text(row.cumulative_backoff_s))
                    for row in self.planned.itertuples()
                ],
                caption="planned schedule, without the time of the attempts",
                numbers=_PLANNED,
            ),
            table(
                ["", *_OUTCOME],
                [_outcome(name, rows) for name, rows in self._sides().items()],
                caption="time from scheduled to closed, of all requests",
                numbers=_OUTCOME,
            ),
        ]
        return block(*parts, outcome_picture(self._sides(), self.planned))

    def facts_text(self) -> str:
        """Return the settings and the outcomes as lines."""
        settings = ", ".join(f"{name} {value}" for name, value in self._settings_rows())
        lines = [" · ".join(_outcome(name, rows)) for name, rows in self._sides().items()]
        return "\n".join(["policy playground: " + settings, " · ".join(_OUTCOME), *lines])

    def _settings_rows(self) -> list[tuple[str, str]]:
        return [(field.description, f"{field.value:g}") for field in self.fields.values()]

    def _sides(self) -> dict[str, pd.DataFrame]:
        sides = {"simulated": self.simulated}
        return sides if self.real is None else {**sides, "real": self.real}

    def run(self) -> None:
        """Start the requests on the Lab, in the background; "Stop" ends those that are open."""
        if self._lab is None or (self._thread and self._thread.is_alive()):
            return
        try:
            policy, timeouts, plan = self.settings()
        except ValueError as error:
            self.notice.value = message(error, "error")
            return
        asked = [
            WorkflowInput("a request", f"playground-{n}", plan, n, {CALL: policy}, {CALL: timeouts})
            for n in range(self.requests.value)
        ]
        self._stop.clear()
        self._busy(True)
        work, name = (self._lab, asked), "projectai-lab-playground"
        self._thread = threading.Thread(target=self._carry_out, args=work, name=name, daemon=True)
        self._thread.start()

    def _carry_out(self, lab: Lab, asked: list[WorkflowInput]) -> None:
        handles: list[Any] = []
        try:
            for request in asked:
                if self._stop.is_set():
                    break
                handles.append(lab.start_workflow(ExampleWorkflow.run, request))
            for number, handle in enumerate(handles):
                self._tell(f"{number} of {len(handles)} done")
                self._wait_for(handle)
            found = tables.activities(lab.fetch_histories(handles, progress=False))
            self._done(found[found.activity_type == CALL])
        except Exception as error:
            self._tell(message(f"{type(error).__name__}: {error}", "error"))
        finally:
            self._busy(False)

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

    def _done(self, calls: pd.DataFrame) -> None:
        with self.lock:
            if self.closed:
                return
            closed = calls[calls.status != "PENDING"]
            self.real = retries.requests(closed) if len(closed) else None
            self._tell(f"{len(closed)} requests done")
            self._show()

    def _tell(self, words: str) -> None:
        self.progress.value = block(words)

    def _busy(self, busy: bool) -> None:
        with self.lock:
            for widget in (self.run_button, self.requests, *self.fields.values()):
                widget.disabled = busy or self.closed
            self.stop_button.disabled = not busy or self.closed

    def close(self) -> None:
        """Stop a run for real too."""
        self._stop.set()
        super().close()


def _number(words: str, value: float) -> Any:
    return ipywidgets.FloatText(value, description=words, step=0.05, style=_WIDE, layout=_ROW)


def _slider(words: str, value: float, least: float, most: float) -> Any:
    return ipywidgets.FloatSlider(
        value,
        min=least,
        max=max(most, value),
        step=0.05,
        description=words,
        style=_WIDE,
        layout=_ROW,
    )


def _outcome(name: str, rows: pd.DataFrame) -> tuple[str, ...]:
    found = percentiles(rows, "completion_s", q=_QUANTILES)
    levels = [_text(value) for value in found.value_s]
    return name, f"{len(rows):,}", f"{rows.gave_up.mean():.1%}", *levels


def _text(seconds: float) -> str:
    return "" if pd.isna(seconds) else f"{seconds:.3g}"
