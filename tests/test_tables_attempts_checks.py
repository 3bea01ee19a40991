"""The checks on every table of attempts: each is broken here by data, and tells so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from projectai_lab import tables
from projectai_lab.errors import TableError
from projectai_lab.tables._attempt_checks import check_parts, checked
from tests.data import NAMES, attempt_records, golden, goldens
from tests.test_tables_attempts import BUSY, SECOND, TIMEOUT, at, closing, record, run, scheduled
from tests.test_tables_attempts_seen import seen, skip

HISTORY = run(scheduled(), *closing(2, 14, 16, BUSY))


def good(attempt: int, due: float, start: float, exec_s: float, **more: Any) -> dict[str, Any]:
    """Make a record of a worker whose clock is the server's, a millisecond after the start."""
    began = at(start) + 1_000_000
    finished = began + round(exec_s * SECOND)
    clocks = {"worker_started_ns": began, "worker_finished_ns": finished}
    return {**record(attempt, due, start, exec_s), **clocks, **more}


COMPLETED = {"outcome": "COMPLETED", "failure_type": None, "failure_message": None}
GOOD = [good(1, 0, 1, 2.0), good(2, 13.01, 14, 1.9, **COMPLETED)]


def doubts(history: Any, records: Sequence[Any] = (), looks: Sequence[Any] = ()) -> list[str]:
    """Return the doubts of each attempt, "" for none."""
    table = tables.validate(tables.attempts(history, records, seen=looks))
    return list(table.doubt.astype(object).fillna(""))


def by_s(number: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Set the worker's clock forward by so many seconds."""
    moved = {
        name: number[name] + round(seconds * SECOND)
        for name in ("worker_started_ns", "worker_finished_ns")
    }
    return {**number, **moved}


def test_what_agrees_is_not_doubted() -> None:
    assert doubts(HISTORY, GOOD) == ["", ""]
    assert doubts(HISTORY, GOOD, [seen(2, 13.01, 14, 3.01)]) == ["", ""]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_recorded_from_a_real_server_is_doubted(name: str) -> None:
    assert set(doubts(golden(name), attempt_records())) == {""}


def test_a_worker_whose_clock_is_behind_is_flagged_and_its_times_stay() -> None:
    records = [by_s(GOOD[0], -0.02), GOOD[1]]
    assert doubts(HISTORY, records) == ["clock_skew", ""]
    table = tables.attempts(HISTORY, records)
    assert table.worker_started_time[0] == pd.Timestamp(at(1) - 19_000_000, tz="UTC")
    columns = ["gap_s", "backoff_observed_s", "exec_s", "worker_exec_s"]
    pd.testing.assert_frame_equal(table[columns], tables.attempts(HISTORY, GOOD)[columns])


def test_a_worker_whose_clock_is_ahead_is_flagged_by_the_close_or_the_next_due() -> None:
    assert doubts(HISTORY, [by_s(GOOD[0], 11), GOOD[1]]) == ["clock_skew", ""]
    assert doubts(HISTORY, [GOOD[0], by_s(GOOD[1], 0.2)]) == ["", "clock_skew"]
    polled = [seen(2, 13.01, 14, 3.01)]
    assert doubts(HISTORY, [by_s(GOOD[0], 0.2), GOOD[1]], polled) == ["clock_skew", ""]


def test_a_few_milliseconds_are_no_skew() -> None:
    assert doubts(HISTORY, [by_s(GOOD[0], -0.004), by_s(GOOD[1], 0.1)]) == ["", ""]


def test_a_late_report_is_no_skew() -> None:
    records = [good(1, 0, 1, 150.0, outcome="COMPLETED"), good(2, 111.25, 112, 0.9)]
    late = run(scheduled(), *closing(2, 112, 113, TIMEOUT))
    first = tables.attempts(late, records).iloc[0]
    assert bool(first.late_report)
    assert pd.isna(first.doubt)


def test_a_server_that_skips_time_has_no_clock_to_compare_with() -> None:
    skipping = run(scheduled(), *closing(2, 14, 16, BUSY), clock="virtual")
    assert doubts(skipping, [by_s(one, -3600) for one in GOOD]) == ["", ""]
    # Also where only the history says that it may skip.
    unnamed = run(scheduled(), *closing(2, 14, 16, BUSY))
    begun = unnamed.events[0].workflow_execution_started_event_attributes
    begun.time_skipping_config.enabled = True
    assert doubts(unnamed, [by_s(one, -3600) for one in GOOD]) == ["", ""]


def test_a_start_before_it_was_due_is_flagged_beyond_five_milliseconds() -> None:
    assert doubts(HISTORY, [GOOD[0], good(2, 14.004, 14, 1.9)])[1] == ""
    assert doubts(HISTORY, [GOOD[0], good(2, 14.006, 14, 1.9)])[1] == "started_early"


def test_a_start_before_the_end_of_the_attempt_before_is_flagged() -> None:
    assert doubts(HISTORY, [], [seen(1, 0, 1), seen(2, 13, 14, 14.5)])[1] == "overlap"


def test_attempts_that_begin_out_of_order_are_flagged() -> None:
    assert doubts(HISTORY, [good(1, 0, 20, 0.1), GOOD[1]])[1] == "out_of_order"


def test_an_attempt_that_ends_before_it_begins_is_flagged() -> None:
    assert doubts(run(scheduled(), *closing(1, 5, 4)))[0] == "out_of_order"


def test_sources_that_tell_different_times_are_flagged_and_the_trusted_one_stands() -> None:
    looks = [seen(2, 13.02, 14, 3.01)]
    assert doubts(HISTORY, GOOD, looks)[1] == "sources_disagree"
    table = tables.attempts(HISTORY, GOOD, seen=looks)
    assert table.attempt_scheduled_time[1] == pd.Timestamp(at(13.01), tz="UTC")
    assert doubts(HISTORY, [GOOD[0], good(2, 13.01, 14.5, 0.5)])[1] == "sources_disagree"
    skipped = run(scheduled(), skip(10, 3, 13.5), *closing(2, 14, 16, BUSY), clock="virtual")
    assert doubts(skipped, GOOD)[1] == "sources_disagree"


def test_an_activity_that_was_reset_counts_anew_and_is_flagged() -> None:
    records = [good(1, 0, 1, 2.0), good(2, 13, 14, 1.0), good(3, 35, 36, 1.0)]
    history = run(scheduled(), *closing(1, 50, 51))
    assert all("sources_disagree" in doubt for doubt in doubts(history, records))


def parts(**changed: Any) -> pd.DataFrame:
    """Return a table of attempts with some columns changed."""
    return tables.attempts(HISTORY, GOOD, seen=[seen(2, 13.01, 14, 3.01)]).assign(**changed)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("dispatch_lag_s", "attempt 1 of activity 1 of run run: its dispatch_lag_s is not"),
        ("exec_s", "its exec_s is not the difference of the server's times; this is a fault of"),
        ("gap_s", "attempt 2 of activity 1 of run run: its gap_s is not the difference"),
        ("backoff_observed_s", "its backoff_observed_s is not the difference"),
        ("backoff_error_s", "its backoff_error_s is not the difference"),
    ],
)
def test_a_duration_of_other_clocks_is_our_error(column: str, message: str) -> None:
    table = parts()
    with pytest.raises(TableError, match=message):
        checked(table.assign(**{column: table[column] + 0.001}), np.zeros(2, dtype=bool))


def test_attempts_that_do_not_count_on_are_our_error() -> None:
    wrong = parts(attempt=pd.array([1, 3], dtype="Int64"))
    with pytest.raises(TableError, match=r"attempt 3 .* do not count 1, 2, 3 …; this is a fault"):
        checked(wrong, np.zeros(2, dtype=bool))
    with pytest.raises(TableError, match="attempt 2 of activity 1"):
        checked(parts().iloc[1:], np.zeros(1, dtype=bool))


def test_doubts_that_were_known_before_are_kept() -> None:
    told = checked(parts(doubt=pd.array(["sources_disagree", None], dtype="str")), np.array([0, 0]))
    assert told.doubt.tolist()[0] == "sources_disagree"
    assert told.attrs == parts().attrs


def test_a_table_without_rows_has_nothing_to_check() -> None:
    assert len(checked(tables.attempts([]), np.zeros(0, dtype=bool))) == 0


def test_a_run_that_is_given_twice_is_two_times_one_to_n() -> None:
    assert len(tables.attempts([HISTORY, HISTORY], GOOD)) == 4


def test_parts_and_rest_must_make_the_total() -> None:
    table = tables.activities(goldens(), recorder=attempt_records())
    assert check_parts(table) is table
    with pytest.raises(
        TableError, match=r"activity 1 of run .*: its parts miss its total by 0\.5 s"
    ):
        check_parts(table.assign(exec_s=table.exec_s + 0.5))
    assert len(check_parts(tables.activities([]))) == 0
