"""The policy playground: what follows from the sliders at once, and what a real run did."""

from __future__ import annotations

import math
from typing import Any

import pytest

from projectai_lab import retries, tables, widgets
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


def test_a_policy_without_a_limit_is_shown_and_kept_as_one() -> None:
    panel = widgets.policy_playground(policy=RetrySettings(initial_interval=0.2))
    assert panel.fields["maximum_attempts"].label == "unlimited"
    assert panel.settings()[0] == RetrySettings(initial_interval=0.2)
    assert "maximum interval (s) 100 × initial, maximum attempts unlimited" in panel.facts_text()
    assert "as code RetrySettings(initial_interval=0.2)" in panel.facts_text()
    assert "there is no limit, here are the first 20" in panel.facts_html()
    assert panel.planned.attempt.tolist() == list(range(1, 21))
    assert not panel.simulated.gave_up.any()
    panel.fields["maximum_attempts"].value = 3
    assert panel.settings()[0].maximum_attempts == 3
    assert "no limit" not in panel.facts_html()


def test_every_setting_of_a_policy_stays_that_was_given() -> None:
    policy = RetrySettings(0.1, 1.33, 7.0, 10_000, ("InjectedFault",))
    panel = widgets.policy_playground(policy=policy, fail=0.9)
    assert panel.settings()[0] == policy
    assert "non-retryable types InjectedFault" in panel.facts_text()
    # What is not retried gives up at its first failure.
    assert panel.simulated.gave_up.mean() == pytest.approx(0.9, abs=0.02)
    assert "e+0" not in panel.facts.value


def test_a_policy_that_never_ends_is_told_and_its_schedule_shown() -> None:
    panel = widgets.policy_playground(policy=RetrySettings(), fail=1.0)
    assert "no attempt ever succeeds" in panel.notice.value
    page = panel.facts_html()
    assert "no attempt ever succeeds" in page
    assert "maximum attempts" in page
    assert '<td class="num">1,030</td>' in page, "when attempt 17 is due, without an exponent"
    assert "<img" not in page
    panel.fields["fail"].value = 0.5
    assert panel.notice.value == ""
    assert "simulated · 20,000" in panel.facts_text()


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


def test_a_real_run_has_the_policy_that_was_given(lab: Lab) -> None:
    given = RetrySettings(initial_interval=0.05, non_retryable_error_types=("Other",))
    with widgets.policy_playground(lab, given, fail=0.5, latency=0) as panel:
        panel.requests.value = 2
        panel.run_button.click()
        zoo.until(lambda: panel.real is not None)
    runs = lab.fetch_histories(f"TaskQueue = '{lab.task_queue}'", progress=False)
    found = tables.activities(runs)
    calls = found[found.activity_type == CALL]
    assert len(calls) == 2
    assert calls.maximum_attempts.fillna(0).tolist() == [0, 0]
    assert calls.initial_interval_s.tolist() == [0.05, 0.05]
    assert calls.non_retryable_types.tolist() == ["Other", "Other"]


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
    assert panel._run.thread
    panel._run.thread.join(timeout=30)
    assert not panel._run.goes_on


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
