"""Percentiles with intervals, the ECDF, and where the time went."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from projectai_lab import histories, latency, tables
from projectai_lab.errors import TableError
from projectai_lab.tables import schema

DATA = Path(__file__).parent / "data"


def activities_table(*rows: dict[str, Any], clock: str = "fast") -> pd.DataFrame:
    """Make an activities table from what matters of each row."""
    blank = dict.fromkeys(schema.columns("activities").column)
    start = {"namespace": "default", "workflow_id": "req", "activity_type": "simulate_ai_call"}
    full = [
        {**blank, **start, "run_id": f"run-{place}", "scheduled_event_id": 5, **row}
        for place, row in enumerate(rows)
    ]
    return schema.frame("activities", [tuple(row.values()) for row in full], clock=clock)


def closed(total: float, run: float, backoff: float, queue: float, **more: Any) -> dict[str, Any]:
    """Make a closed activity's row from its parts."""
    return {
        "total_s": total,
        "exec_s": run,
        "backoff_s": backoff,
        "queue_s": queue,
        "unattributed_s": total - run - backoff - queue,
        **more,
    }


def coverage(n: int, q: float, lower: int, upper: int) -> float:
    """Return P(lower ≤ Binomial(n, q) < upper) with exact integers."""
    return sum(math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(lower, upper))


def ends(n: int, q: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the ranks of the interval's ends: of the values 1 … n each is its own rank."""
    row = latency.percentiles(range(1, n + 1), q=[q], confidence=confidence).iloc[0]
    return row.low_s, row.high_s


@pytest.mark.parametrize(
    ("n", "q", "lower", "upper"), [(10, 0.5, 2, 9), (100, 0.5, 40, 61), (100, 0.9, 84, 96)]
)
def test_the_interval_has_the_ranks_of_the_published_tables(
    n: int, q: float, lower: int, upper: int
) -> None:
    assert ends(n, q) == (lower, upper)


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9, 0.95])
@pytest.mark.parametrize("n", [80, 137, 400])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_covers_as_promised_and_no_rank_could_be_spared(
    n: int, q: float, confidence: float
) -> None:
    lower, upper = map(int, ends(n, q, confidence))
    tail = (1 - confidence) / 2
    assert coverage(n, q, lower, upper) >= confidence
    assert coverage(n, q, 0, lower) <= tail < coverage(n, q, 0, lower + 1)
    assert coverage(n, q, upper, n + 1) <= tail < coverage(n, q, upper - 1, n + 1)


def test_the_interval_catches_the_true_percentile_as_often_as_it_says() -> None:
    draws = np.random.default_rng(7).exponential(size=(400, 80))
    rows = [latency.percentiles(sample, q=[0.9]).iloc[0] for sample in draws]
    caught = np.mean([row.low_s <= math.log(10) <= row.high_s for row in rows])
    assert caught > 0.93


@pytest.mark.parametrize(("q", "enough"), [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368)])
def test_a_percentile_that_n_cannot_support_is_na(q: float, enough: int) -> None:
    assert latency.percentiles(range(enough), q=[q]).value_s.notna().all()
    assert latency.percentiles(range(enough - 1), q=[q]).value_s.isna().all()


def test_an_end_that_the_sample_does_support_stays() -> None:
    row = latency.percentiles(range(1, 21), q=[0.95]).iloc[0]
    assert pd.isna(row.value_s)
    assert pd.isna(row.high_s)
    assert row.low_s == 17


def test_the_value_is_where_the_ecdf_reaches_q() -> None:
    values = np.random.default_rng(3).lognormal(size=400)
    steps = latency.ecdf(values)
    for row in latency.percentiles(values).itertuples():
        assert row.value_s == steps.value_s[steps.share >= row.q - 1e-12].min()


def test_a_million_values_do_not_underflow() -> None:
    row = latency.percentiles(np.arange(1_000_000), q=[0.5]).iloc[0]
    assert row.low_s < row.value_s < row.high_s
    assert row.high_s - row.low_s == pytest.approx(1960, rel=0.01)


def test_missing_values_are_left_out_and_not_counted() -> None:
    row = latency.percentiles([None, math.nan, *range(9)], q=[0.5]).iloc[0]
    assert (row.n, row.value_s) == (9, 4)


def test_percentiles_of_a_table_have_a_row_per_group_and_level() -> None:
    table = activities_table(
        *[closed(total, total, 0, 0) for total in range(1, 8)],
        closed(3, 3, 0, 0, activity_type="validate_input"),
    )
    rows = latency.percentiles(table, by="activity_type", q=[0.5, 0.9])
    assert list(rows.columns) == ["activity_type", "n", "q", "value_s", "low_s", "high_s"]
    assert rows.activity_type.tolist() == ["simulate_ai_call"] * 2 + ["validate_input"] * 2
    assert rows.n.tolist() == [7, 7, 1, 1]
    assert rows.value_s.tolist()[0] == 4
    assert rows.value_s.isna().tolist() == [False, True, True, True]


def test_a_table_without_by_is_one_group() -> None:
    table = activities_table(*[closed(total, 1, 0, 0) for total in range(1, 8)])
    assert latency.percentiles(table, q=[0.5]).value_s.tolist() == [4]
    assert latency.percentiles(table, "exec_s", q=[0.5]).value_s.tolist() == [1]


def test_each_table_has_its_own_latency_unless_a_column_is_named() -> None:
    assert latency.measure(schema.frame("activities", [])) == "total_s"
    assert latency.measure(schema.frame("attempts", [])) == "exec_s"
    assert latency.measure(schema.frame("executions", [])) == "duration_s"
    assert latency.measure(schema.frame("attempts", []), "worker_exec_s") == "worker_exec_s"


def test_nothing_in_gives_na_out_and_no_groups() -> None:
    rows = latency.percentiles([])
    assert rows.n.tolist() == [0, 0, 0, 0]
    assert rows.value_s.isna().all()
    empty = latency.percentiles(activities_table(), by="activity_type")
    assert len(empty) == 0
    assert str(empty.n.dtype) == "Int64"


@pytest.mark.parametrize("q", [0, 1, 95, -0.1])
def test_a_level_outside_0_and_1_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match=r"q must lie between 0 and 1, as in 0\.95; got"):
        latency.percentiles([1, 2, 3], q=[q])


def test_a_confidence_outside_0_and_1_is_refused() -> None:
    with pytest.raises(ValueError, match="confidence must lie between 0 and 1"):
        latency.percentiles([1, 2, 3], confidence=95)


def test_a_table_without_a_latency_is_told_what_to_name() -> None:
    with pytest.raises(TableError, match=r"none of the columns total_s, exec_s, duration_s; name"):
        latency.percentiles(schema.frame("events", []))


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(TableError, match=r"no column worker_exec_s; .*tables\.activities"):
        latency.percentiles(activities_table(), "worker_exec_s")
    with pytest.raises(TableError, match="no column colour"):
        latency.percentiles(activities_table(), by="colour")


def test_ecdf_climbs_to_one_over_the_distinct_values() -> None:
    steps = latency.ecdf([0.3, 0.1, 0.3, None, 0.2])
    assert steps.value_s.tolist() == [0.1, 0.2, 0.3]
    assert steps.share.tolist() == [0.25, 0.5, 1.0]


def test_ecdf_of_nothing_is_empty() -> None:
    assert latency.ecdf([]).shape == (0, 2)
    assert latency.ecdf([None]).shape == (0, 2)


def test_the_parts_sum_to_the_total_and_the_shares_to_one() -> None:
    table = activities_table(closed(2.0, 0.5, 1.0, 0.25), closed(4.0, 3.0, 0.5, 0.5))
    row = latency.where_time_went(table).iloc[0]
    assert (row.activities, row.total_s) == (2, 6.0)
    assert row[["exec_s", "backoff_s", "queue_s", "unattributed_s"]].tolist() == [
        3.5,
        1.5,
        0.75,
        0.25,
    ]
    shares = row[["exec_share", "backoff_share", "queue_share", "unattributed_share"]]
    assert shares.sum() == pytest.approx(1.0)
    assert row.exec_share == pytest.approx(3.5 / 6)


def test_a_recorded_run_is_accounted_for_to_the_nanosecond() -> None:
    log = [json.loads(line) for line in (DATA / "attempts.jsonl").read_text().splitlines()]
    history = histories.load(DATA / "mixed.json")
    with_log = latency.where_time_went(tables.activities(history, recorder=log))
    without = latency.where_time_went(tables.activities(history))
    for rows in (with_log, without):
        parts = rows[["exec_s", "backoff_s", "queue_s", "unattributed_s"]].sum(axis=1)
        assert parts.tolist() == pytest.approx(rows.total_s.tolist(), abs=1e-9)
    assert with_log.unattributed_s.sum() < without.unattributed_s.sum()


def test_a_rounding_error_is_not_shown_as_unattributed_time() -> None:
    rows = latency.where_time_went(activities_table(closed(0.1 + 0.2 + 0.3, 0.1, 0.2, 0.3)))
    assert rows.unattributed_s.tolist() == [0.0]


def test_what_is_not_known_is_unattributed() -> None:
    unknown = {"total_s": 2.0, "exec_s": 0.5, "unattributed_s": None}
    row = latency.where_time_went(activities_table(unknown)).iloc[0]
    assert row.unattributed_s == pytest.approx(1.5)


def test_open_activities_have_no_total_yet() -> None:
    rows = latency.where_time_went(activities_table(closed(2, 2, 0, 0), {"exec_s": 5.0}))
    assert rows.activities.tolist() == [1]
    assert rows.exec_share.tolist() == [1.0]


def test_where_time_went_of_nothing_keeps_its_columns() -> None:
    empty = latency.where_time_went(activities_table())
    full = latency.where_time_went(activities_table(closed(1, 1, 0, 0)))
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)


def test_times_of_several_clocks_are_not_put_together() -> None:
    table = activities_table(closed(1, 1, 0, 0), clock="fast, virtual")
    for call in (latency.percentiles, latency.where_time_went):
        with pytest.raises(TableError, match=r"several clocks \(fast, virtual\)") as caught:
            call(table)
        assert 'by=["clock", …]' in str(caught.value)


def test_several_clocks_are_fine_once_they_are_a_column_to_group_by() -> None:
    table = activities_table(closed(1, 1, 0, 0), closed(9, 9, 0, 0), clock="fast, virtual")
    table["clock"] = ["fast", "virtual"]
    assert len(latency.percentiles(table, by=["clock", "activity_type"], q=[0.5])) == 2
    assert latency.where_time_went(table, by="clock").total_s.tolist() == [1, 9]


def test_where_time_went_of_the_wrong_table_names_the_right_one() -> None:
    with pytest.raises(TableError, match=r"no column total_s, .*tables\.activities\(history\)"):
        latency.where_time_went(schema.frame("attempts", []))
