"""The retry policy as arithmetic, and the observed schedule beside it."""

from __future__ import annotations

import json
import math
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from temporalio.common import RetryPolicy

from projectai_lab import histories, retries, tables
from projectai_lab.errors import TableError
from projectai_lab.models import RetrySettings
from projectai_lab.tables import schema

DATA = Path(__file__).parent / "data"
POLICY = RetrySettings(initial_interval=0.2, maximum_attempts=4)


def attempts_table(
    *activities: list[dict[str, Any]], clock: str = "fast", run: str = "run"
) -> pd.DataFrame:
    """Make an attempts table: an activity per argument, an attempt per dict of what matters."""
    blank = dict.fromkeys(schema.columns("attempts").column)
    rows = [
        {
            **blank,
            "namespace": "default",
            "workflow_id": "req",
            "run_id": run,
            "scheduled_event_id": 5 + 6 * place,
            "activity_id": str(place + 1),
            "activity_type": "simulate_ai_call",
            "attempt": number,
            "time_quality": "measured_worker",
            **attempt,
        }
        for place, activity in enumerate(activities)
        for number, attempt in enumerate(activity, start=1)
    ]
    return schema.frame("attempts", [tuple(row.values()) for row in rows], clock=clock)


def retry(
    planned: float, observed: float | None, lag: float | None = 0.09, **more: Any
) -> dict[str, Any]:
    """Make one retry's row from what was planned and observed."""
    error = None if observed is None else observed - planned
    gap = None if observed is None or lag is None else observed + lag
    return {
        "backoff_planned_s": planned,
        "backoff_observed_s": observed,
        "backoff_error_s": error,
        "dispatch_lag_s": lag,
        "gap_s": gap,
        **more,
    }


def first(lag: float = 0.004, **more: Any) -> dict[str, Any]:
    """Make a first attempt's row."""
    return {"dispatch_lag_s": lag, **more}


def test_planned_doubles_from_the_initial_interval() -> None:
    plan = retries.planned(POLICY)
    assert list(plan.columns) == ["attempt", "backoff_s", "cumulative_backoff_s"]
    assert plan.attempt.tolist() == [1, 2, 3, 4]
    assert plan.backoff_s.tolist()[1:] == pytest.approx([0.2, 0.4, 0.8])
    assert plan.cumulative_backoff_s.tolist() == pytest.approx([0, 0.2, 0.6, 1.4])


def test_the_first_attempt_has_no_backoff_rather_than_a_backoff_of_zero() -> None:
    assert math.isnan(retries.planned(POLICY).backoff_s[0])


def test_planned_stops_growing_at_the_maximum_interval() -> None:
    policy = RetrySettings(1.0, 3.0, maximum_interval=5.0, maximum_attempts=5)
    assert retries.planned(policy).backoff_s.tolist()[1:] == [1, 3, 5, 5]


def test_the_maximum_interval_is_a_hundred_initial_intervals_unless_given() -> None:
    plan = retries.planned(RetrySettings(initial_interval=0.1), attempts=12)
    assert plan.backoff_s.max() == pytest.approx(10.0)


def test_a_coefficient_of_one_waits_equally_long_each_time() -> None:
    policy = RetrySettings(2.0, 1.0, maximum_attempts=4)
    assert retries.planned(policy).backoff_s.tolist()[1:] == [2, 2, 2]


def test_attempts_bounds_the_rows_but_never_beyond_the_policy() -> None:
    assert len(retries.planned(POLICY, attempts=2)) == 2
    assert len(retries.planned(POLICY, attempts=50)) == 4


def test_an_unlimited_policy_asks_for_attempts() -> None:
    with pytest.raises(ValueError, match=r"no end; .*retries\.planned\(policy, attempts=10\)"):
        retries.planned(RetrySettings())


def test_schedule_to_close_drops_what_could_never_run() -> None:
    plan = retries.planned(RetrySettings(), schedule_to_close=timedelta(seconds=15))
    assert plan.cumulative_backoff_s.tolist() == [0, 1, 3, 7]


def test_schedule_to_close_shortens_a_limited_policy_too() -> None:
    assert len(retries.planned(POLICY, schedule_to_close=0.5)) == 2
    assert len(retries.planned(POLICY, schedule_to_close=100)) == 4


def test_the_first_attempt_is_planned_whatever_the_timeout() -> None:
    assert retries.planned(POLICY, schedule_to_close=0).attempt.tolist() == [1]


def test_a_schedule_without_sensible_end_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 100,000 attempts"):
        retries.planned(RetrySettings(0.001, 1.0), schedule_to_close=timedelta(days=10))


@pytest.mark.parametrize("attempts", [0, -1])
def test_fewer_than_one_attempt_is_refused(attempts: int) -> None:
    with pytest.raises(ValueError, match=f"attempts must be at least 1, got {attempts}"):
        retries.planned(POLICY, attempts=attempts)


def test_a_thousand_attempts_do_not_overflow() -> None:
    plan = retries.planned(RetrySettings(1.0, 10.0), attempts=1000)
    assert plan.backoff_s.iloc[-1] == 100


@pytest.mark.parametrize(
    "policy",
    [
        RetrySettings(timedelta(milliseconds=200), 2.0, maximum_interval=0.5, maximum_attempts=4),
        RetryPolicy(
            initial_interval=timedelta(milliseconds=200),
            maximum_interval=timedelta(milliseconds=500),
            maximum_attempts=4,
        ),
        {
            "initial_interval_s": 0.2,
            "backoff_coefficient": 2.0,
            "maximum_interval_s": 0.5,
            "maximum_attempts": 4,
        },
        SimpleNamespace(
            initial_interval_s=0.2,
            backoff_coefficient=2.0,
            maximum_interval_s=0.5,
            maximum_attempts=4,
        ),
    ],
    ids=["RetrySettings", "RetryPolicy", "mapping", "itertuples"],
)
def test_each_form_of_a_policy_gives_the_same_plan(policy: Any) -> None:
    plan = retries.planned(policy)
    assert plan.backoff_s.tolist()[1:] == pytest.approx([0.2, 0.4, 0.5])


def test_a_row_of_the_activities_table_is_a_policy() -> None:
    names = schema.columns("activities").column
    known = {"run_id": "r", "initial_interval_s": 1.0, "backoff_coefficient": 2.0}
    row = tuple({**dict.fromkeys(names), **known, "maximum_interval_s": 100.0}.values())
    activity = schema.frame("activities", [row]).iloc[0]
    assert retries.planned(activity, attempts=3).backoff_s.tolist()[1:] == [1, 2]
    with pytest.raises(ValueError, match="no maximum_attempts"):
        retries.planned(activity)


def test_an_interval_of_zero_means_the_servers_default_of_one_second() -> None:
    plan = retries.planned(RetryPolicy(initial_interval=timedelta(0)), attempts=9)
    assert plan.backoff_s.tolist()[1:3] == [1, 2]
    assert plan.backoff_s.max() == 100


@pytest.mark.parametrize("thing", [None, 3, {"maximum_attempts": 3}])
def test_what_is_no_policy_is_told_what_a_policy_is(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"no retry policy: .* give RetrySettings\(…\)"):
        retries.planned(thing, attempts=3)


def test_against_plan_has_one_row_per_retry() -> None:
    table = attempts_table([first(), retry(0.2, 0.21), retry(0.4, 0.4)], [first()])
    rows = retries.against_plan(table)
    assert rows.attempt.tolist() == [2, 3]
    assert rows.backoff_planned_s.tolist() == [0.2, 0.4]
    assert rows.backoff_observed_s.tolist() == [0.21, 0.4]
    assert rows.backoff_error_s.tolist() == pytest.approx([0.01, 0.0])
    assert rows.dispatch_lag_s.tolist() == [0.09, 0.09]


def test_the_lag_and_the_backoff_add_up_to_the_gap() -> None:
    rows = retries.against_plan(attempts_table([first(), retry(0.2, 0.21, lag=0.5)]))
    assert rows.gap_s[0] == pytest.approx(rows.backoff_observed_s[0] + rows.dispatch_lag_s[0])


def test_the_quality_of_a_backoff_is_that_of_the_end_before_it() -> None:
    table = attempts_table(
        [
            first(time_quality="inferred"),
            retry(0.2, 0.3, time_quality="measured_worker"),
            retry(0.4, 0.4, time_quality="measured_server"),
        ]
    )
    assert retries.against_plan(table).backoff_quality.tolist() == ["inferred", "measured_worker"]


def test_a_backoff_that_nobody_saw_has_quality_unknown() -> None:
    table = attempts_table([first(), retry(0.2, None)], [{**retry(0.4, 0.4), "attempt": 3}])
    rows = retries.against_plan(table)
    assert rows.backoff_quality.tolist() == ["unknown", "unknown"]
    assert rows.backoff_error_s.isna().tolist() == [True, False]


def test_against_plan_keeps_the_order_and_the_clock_of_the_table() -> None:
    late = attempts_table([first(), retry(0.2, 0.2)], run="z")
    early = attempts_table([first(), retry(0.3, 0.3)], run="a")
    both = pd.concat([late, early])
    assert retries.against_plan(both).run_id.tolist() == ["z", "a"]
    assert retries.against_plan(both).attrs["clock"] == "fast"


def test_a_recorded_run_kept_to_its_plan() -> None:
    log = [json.loads(line) for line in (DATA / "attempts.jsonl").read_text().splitlines()]
    history = histories.load(DATA / "mixed.json")
    table = tables.attempts(history, recorder=log)
    rows = retries.against_plan(table)
    assert len(rows) == 6
    assert rows.backoff_error_s.between(0, 0.05).all()
    assert sorted(rows.backoff_quality.unique()) == ["inferred", "measured_worker"]
    activities = tables.activities(history)
    for (_, event), part in rows.groupby(["run_id", "scheduled_event_id"]):
        policy = activities.set_index("scheduled_event_id").loc[event]
        plan = retries.planned(policy, attempts=len(part) + 1).backoff_s[1:]
        assert part.backoff_planned_s.tolist() == pytest.approx(plan.tolist())


def test_no_attempts_give_no_rows_but_the_same_columns() -> None:
    full = retries.against_plan(attempts_table([first(), retry(0.2, 0.2)]))
    empty = retries.against_plan(attempts_table())
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)


def test_summary_counts_retries_errors_and_endings() -> None:
    table = attempts_table(
        [first(), retry(0.2, 0.23, 0.1), retry(0.4, 0.4, 0.3, server_outcome="COMPLETED")],
        [first(), retry(0.2, 0.19, 0.2, server_outcome="FAILED")],
        [first(server_outcome="TIMED_OUT")],
        [first()],
    )
    row = retries.summary(table).iloc[0]
    assert row.activity_type == "simulate_ai_call"
    assert (row.activities, row.retries, row.observed) == (4, 3, 3)
    assert row.median_abs_error_s == pytest.approx(0.01)
    assert row.max_abs_error_s == pytest.approx(0.03)
    assert row.median_dispatch_lag_s == pytest.approx(0.2)
    endings = row[["completed", "failed", "timed_out", "canceled", "open"]]
    assert endings.tolist() == [1, 1, 1, 0, 1]


def test_the_lag_of_first_attempts_does_not_flatter_the_retries() -> None:
    table = attempts_table([first(0.0), retry(0.2, 0.2, 0.5)])
    assert retries.summary(table).median_dispatch_lag_s[0] == 0.5


def test_summary_has_a_row_per_group() -> None:
    table = attempts_table([first(), retry(0.2, 0.2)], [first(activity_type="validate_input")])
    rows = retries.summary(table).set_index("activity_type")
    assert rows.retries.to_dict() == {"simulate_ai_call": 1, "validate_input": 0}
    assert math.isnan(rows.median_abs_error_s["validate_input"])
    assert len(retries.summary(table, by=["workflow_id", "activity_type"])) == 2


def test_summary_of_nothing_keeps_its_columns_and_types() -> None:
    empty, full = retries.summary(attempts_table()), retries.summary(attempts_table([first()]))
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)
    assert str(full.retries.dtype) == str(empty.retries.dtype) == "Int64"


def test_times_of_several_clocks_are_not_put_together() -> None:
    table = attempts_table([first(), retry(0.2, 0.2)], clock="default, fast")
    for function in (retries.summary, retries.against_plan):
        with pytest.raises(TableError, match=r"clocks \(default, fast\).* one table per clock"):
            function(table)


def test_several_clocks_are_fine_once_they_are_a_column_to_group_by() -> None:
    table = attempts_table([first(), retry(0.2, 0.2)], [first(), retry(0.2, 1.0)])
    table.attrs["clock"] = "default, fast"
    table["clock"] = ["fast", "fast", "default", "default"]
    rows = retries.summary(table, by=["clock", "activity_type"])
    assert rows.max_abs_error_s.tolist() == pytest.approx([0.8, 0.0])
    assert retries.against_plan(table).clock.tolist() == ["fast", "default"]
    assert len(retries.summary(table[table.clock == "fast"])) == 1


def test_the_wrong_table_is_told_what_is_missing_and_how_to_make_the_right_one() -> None:
    events = schema.frame("events", [])
    with pytest.raises(TableError, match="has no column") as caught:
        retries.against_plan(events)
    assert "projectai_lab/events/1" in str(caught.value)
    assert "backoff_planned_s" in str(caught.value)
    assert "tables.attempts(history, recorder=lab.attempts)" in str(caught.value)
    with pytest.raises(TableError, match="expected a DataFrame, got list"):
        retries.summary([])
