"""`policy_playground`: a retry policy and faults by sliders; what follows, and what really did."""

from __future__ import annotations

import dataclasses
from typing import Any

import ipywidgets
import pandas as pd

from projectai_lab import retries
from projectai_lab._checks import check_type
from projectai_lab.errors import LabError
from projectai_lab.lab import Lab
from projectai_lab.latency import percentiles
from projectai_lab.models import (
    Duration,
    FaultPlan,
    Latency,
    RetrySettings,
    TimeoutSettings,
    WorkflowInput,
    seconds,
)
from projectai_lab.widgets._code import Names
from projectai_lab.widgets._look import Html, block, message, table
from projectai_lab.widgets._panel import Panel, style
from projectai_lab.widgets._picture import outcome_picture
from projectai_lab.widgets._real_run import RealRun

CALL = "simulate_ai_call"
SIMULATED = 20_000
ATTEMPTS = 20
"""Where the slider of attempts ends, and of a policy without a limit the planned schedule."""
_QUANTILES = (0.5, 0.95, 0.99)
_OUTCOME = ("n", "gave up", *(f"p{100 * q:.0f} (s)" for q in _QUANTILES))
_PLANNED = ("attempt", "backoff before it (s)", "due at the earliest (s)")
_OWN = "100 × initial"
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
    for real" lays its own requests over them, timed on the server's clock. What `policy` has beside
    the sliders, its non-retryable types, holds too.

    Errors: ValueError for what is no policy, no probability or no duration; TypeError for what is
    no Lab; LabClosedError.

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
        self._given = policy
        self.real: pd.DataFrame | None = None
        self.simulated = self.planned = pd.DataFrame()
        self._said: list[tuple[str, str]] = []
        self._run = RealRun(self._tell, self._done, lambda: self._busy(False))
        self._build(policy, fail, latency)
        self.recompute()

    def _build(self, policy: RetrySettings, fail: float, latency: float) -> None:
        self.fields: dict[str, Any] = {
            "initial_interval": _number("initial interval (s)", seconds(policy.initial_interval)),
            "backoff_coefficient": _slider("backoff coefficient", policy.backoff_coefficient, 1, 5),
            "maximum_interval": _interval("maximum interval (s)", policy.maximum_interval),
            "maximum_attempts": _attempts("maximum attempts", policy.maximum_attempts),
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
        self.stop_button.on_click(lambda _: self._run.stop())
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
        policy = dataclasses.replace(
            self._given,
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
                self.planned = retries.planned(policy, policy.maximum_attempts or ATTEMPTS)
            except ValueError as error:
                self.say_trouble(str(error))
                return
            self.say_trouble(None)
            self._said, self.real = self._settings_rows(policy), None
            try:
                self.simulated = retries.simulate(
                    policy, plan, SIMULATED, start_to_close=timeouts.start_to_close
                )
            except LabError as error:
                # A policy that never ends has a schedule still, and can be run and stopped.
                self.simulated = pd.DataFrame()
                self.say_trouble(str(error))
            self._show()

    def _show(self) -> None:
        self.facts.value = self._facts()

    def facts_html(self) -> Html:
        """Return the settings, the planned schedule, the outcomes and their picture."""
        return Html(self.notice.value + self._facts())

    def _facts(self) -> Html:
        first = "" if self._limited else f"; there is no limit, here are the first {ATTEMPTS}"
        parts = [
            table(["setting", "value"], self._said, caption="Retry Policy and faults"),
            table(
                _PLANNED,
                [
                    (row.attempt, _text(row.backoff_s), _text(row.cumulative_backoff_s))
                    for row in self.planned.itertuples()
                ],
                caption=f"planned schedule, without the time of the attempts{first}",
                numbers=_PLANNED,
            ),
            table(
                ["", *_OUTCOME],
                [_outcome(name, rows) for name, rows in self._sides().items()],
                caption="time from scheduled to closed, of all requests",
                numbers=_OUTCOME,
            ),
        ]
        picture = outcome_picture(self._sides(), self.planned) if self._sides() else ""
        return block(*parts, picture)

    def facts_text(self) -> str:
        """Return the settings and the outcomes as lines."""
        settings = ", ".join(f"{name} {value}" for name, value in self._said)
        lines = [" · ".join(_outcome(name, rows)) for name, rows in self._sides().items()]
        return "\n".join(["policy playground: " + settings, " · ".join(_OUTCOME), *lines])

    @property
    def _limited(self) -> bool:
        return bool(self.fields["maximum_attempts"].value)

    def _settings_rows(self, policy: RetrySettings) -> list[tuple[str, str]]:
        rows = [(one.description, _told(one)) for one in self.fields.values()]
        if policy.maximum_interval is None:
            rows[2] = (rows[2][0], _OWN)
        if types := policy.non_retryable_error_types:
            rows.append(("non-retryable types", ", ".join(types)))
        return [*rows, ("as code", Names().expression(policy))]

    def _sides(self) -> dict[str, pd.DataFrame]:
        sides = {"simulated": self.simulated, "real": self.real}
        return {name: rows for name, rows in sides.items() if rows is not None and len(rows)}

    def run(self) -> None:
        """Start the requests on the Lab, in the background; "Stop" ends those that are open."""
        if self._lab is None or self._run.goes_on:
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
        self._busy(True)
        self._run.start(self._lab, asked)

    def _done(self, found: pd.DataFrame) -> None:
        with self.lock:
            if self.closed:
                return
            closed = found[(found.activity_type == CALL) & (found.status != "PENDING")]
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
        self._run.stop()
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


def _attempts(words: str, given: int) -> Any:
    """Return a slider of 1 to 20 and what was given, with "unlimited" at its end: Temporal's 0."""
    counts = sorted({*range(1, ATTEMPTS + 1), given} - {0})
    options = [*((str(one), one) for one in counts), ("unlimited", 0)]
    return ipywidgets.SelectionSlider(
        options=options, value=given, description=words, style=_WIDE, layout=_ROW
    )


def _told(field: Any) -> str:
    chosen = isinstance(field, ipywidgets.SelectionSlider)
    return str(field.label) if chosen else f"{field.value:g}"


def _interval(words: str, given: Duration | None) -> Any:
    field = _number(words, 0 if given is None else seconds(given))
    field.tooltip = f"0 for Temporal's own: {_OWN}"
    return field


def _outcome(name: str, rows: pd.DataFrame) -> tuple[str, ...]:
    found = percentiles(rows, "completion_s", q=_QUANTILES)
    levels = [_text(value) for value in found.value_s]
    return name, f"{len(rows):,}", f"{rows.gave_up.mean():.1%}", *levels


def _text(seconds: float) -> str:
    # Three digits, and no exponent.
    return "" if pd.isna(seconds) else f"{float(f'{seconds:.3g}'):,.10g}"
