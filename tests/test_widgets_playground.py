"""The policy playground: what follows from the sliders at once, and what a real run did."""

from __future__ import annotations

import math
from typing import Any

import pytest

from projectai_lab import retries, widgets
from projectai_lab.config import LabConfig
from projectai_lab.lab import Lab
from projectai_lab.models import FaultPlan, Latency, RetrySettings
from projectai_lab.widgets import _panel
from projectai_lab.widgets._playground import CALL, Playground
from tests import zoo


@pytest.fixture
def alone() -> Playground:
    """Return a playground without a Lab."""
    return widgets.policy_playground(
        policy=RetrySettings(initial_interval=0.2, maximum_attempts=3), fail=0.5, latency=0.1
    )


def test_the_schedule_is_that_of_the_policy_and_follows_the_sliders(alone: Playground) -> None:
    assert alone.planned.backoff_s.tolist()[1:] == [0.2, 0.4]
    alone.fields["backoff_coefficient"].value = 3
    alone.fields["maximum_attempts"].value = 4
    assert alone.planned.backoff_s.round(9).tolist()[1:] == [0.2, 0.6, 1.8]
    assert '<td class="num">1.8</td>' in alone.facts.value
    alone.fields["maximum_interval"].value = 0.5
    assert alone.planned.backoff_s.tolist()[1:] == [0.2, 0.5, 0.5]


def test_the_simulation_is_that_of_retries_under_the_same_settings(alone: Playground) -> None:
    plan = FaultPlan(fail_probability={CALL: 0.5}, latency=Latency(a=0.1))
    policy = RetrySettings(initial_interval=0.2, maximum_attempts=3)
    theory = retries.theory(policy, plan)
    gave_up = theory[theory.outcome != "COMPLETED"].probability.sum()
    assert alone.simulated.gave_up.mean() == pytest.approx(gave_up, abs=0.02)
    assert len(alone.simulated) == 20_000
    assert "simulated · 20,000 · 12." in alone.facts_text()


def test_the_facts_are_a_page_with_a_picture_that_says_what_it_shows(alone: Playground) -> None:
    bundle = alone._repr_mimebundle_()
    page = bundle["text/html"]
    assert alone.facts.value in page
    assert 'alt="share of requests closed by a time; simulated: 20000 requests"' in page
    for words in ("initial interval (s)", "gave up", "planned schedule", "p95 (s)"):
        assert words in page
    assert "initial interval (s) 0.2" in bundle["text/plain"]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("initial_interval", 0, "initial_interval must be more than 0 s, got 0"),
        ("initial_interval", float("nan"), "initial_interval must be more than 0 s, got nan"),
        ("maximum_interval", 0.1, "maximum_interval 0.1 is less than initial_interval 0.2"),
        ("start_to_close", 0, "start_to_close must be more than 0 s, got 0"),
        ("latency", -1, "must be 0 or more s, got -1"),
    ],
)
def test_a_value_that_cannot_be_is_told_and_the_last_good_facts_stay(
    alone: Playground, name: str, value: float, message: str
) -> None:
    before, good = alone.facts.value, alone.fields[name].value
    alone.fields[name].value = value
    assert message in alone.notice.value
    assert 'role="alert"' in alone.notice.value
    assert alone.facts.value == before
    alone.fields[name].value = good
    assert alone.notice.value == ""


def test_without_a_lab_there_is_nothing_to_run(alone: Playground) -> None:
    row = next(one for one in alone.view.children if alone.run_button in _panel._all_of(one))
    assert row.layout.display == "none"
    alone.run()
    assert alone.real is None


def test_a_real_run_lies_over_the_simulation(lab: Lab) -> None:
    quick = RetrySettings(initial_interval=0.05, maximum_attempts=3)
    with widgets.policy_playground(lab, quick, fail=0.5, latency=0.01) as panel:
        panel.requests.value = 6
        panel.run_button.click()
        assert panel.run_button.disabled
        zoo.until(lambda: not panel.run_button.disabled)
        assert panel.real is not None
        assert len(panel.real) == 6
        assert "6 requests done" in panel.progress.value
        assert "real · 6 · " in panel.facts_text()
        assert "real: 6 requests" in panel.facts.value
        # Other settings are another experiment.
        panel.fields["fail"].value = 0.1
        assert "real" not in panel.facts_text()


def test_stop_ends_what_is_open(lab: Lab) -> None:
    with widgets.policy_playground(lab, fail=0, latency=60) as panel:
        panel.fields["start_to_close"].value = 100
        panel.requests.value = 2
        panel.run_button.click()
        zoo.until(lambda: "0 of 2 done" in panel.progress.value)
        panel.stop_button.click()
        zoo.until(lambda: panel.stop_button.disabled)
        query = f"TaskQueue = '{lab.task_queue}' AND ExecutionStatus = 'Terminated'"
        zoo.until(lambda: lab.count_workflows(query).count == 2)


def test_a_lab_that_closes_ends_the_run_and_the_panel(config: LabConfig) -> None:
    with Lab.connect(config, grace=0) as lab:
        panel = widgets.policy_playground(lab, fail=0, latency=1)
        panel.run_button.click()
    assert panel.closed
    assert panel.run_button.disabled
    assert panel._thread
    panel._thread.join(timeout=30)
    assert not panel._thread.is_alive()


@pytest.mark.parametrize("bad", [{"fail": math.nan}, {"fail": 2}, {"latency": -1.0}])
def test_what_no_request_can_have_is_refused_at_once(lab: Lab, bad: Any) -> None:
    with pytest.raises(ValueError, match=r"out of range|must be 0 or more"):
        widgets.policy_playground(lab, **bad)


def test_what_is_no_policy_is_refused_at_once() -> None:
    policy: Any = {"maximum_attempts": 3}
    with pytest.raises(ValueError, match="policy must be a RetrySettings, got dict"):
        widgets.policy_playground(policy=policy)


def test_a_policy_beyond_the_sliders_is_shown_as_it_is() -> None:
    policy = RetrySettings(backoff_coefficient=10, maximum_attempts=50)
    panel = widgets.policy_playground(policy=policy, fail=1.0)
    shown, _, plan = panel.settings()
    assert (shown.backoff_coefficient, shown.maximum_attempts) == (10, 50)
    assert plan.fail_probability == {"simulate_ai_call": 1.0}
