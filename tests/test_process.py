"""The process view: what follows what, which sequences occur, which runs keep to an order."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pandas as pd
import pytest
from temporalio.api.enums.v1 import EventType

from projectai_lab import process
from projectai_lab.errors import TableError
from projectai_lab.histories import History
from tests.data import golden, goldens
from tests.made import Step, history

ORDER = ["validate", {"fetch+", "score"}, "store?"]


def edges(*runs: Any) -> dict[tuple[Any, Any], int]:
    """Return count by (source, target), None where a run begins or ends."""
    table = process.directly_follows(runs)
    ends = [[None if pd.isna(end) else end for end in table[name]] for name in table.columns[:2]]
    return dict(zip(zip(*ends, strict=True), table["count"].tolist(), strict=True))


def walked(run: History) -> Counter[tuple[Any, Any]]:
    """Count neighbours by a walk over the raw events; of a closed run without Local Activities."""
    kind = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    found = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in run.events
        if event.event_type == kind
    ]
    return Counter(pairwise([None, *found, None]))


def verdicts(order: Any, *runs: History) -> list[Any]:
    """Return `fits` of each run, None for NA."""
    fits = process.conformance(runs, order)["fits"]
    return [None if pd.isna(one) else one for one in fits]


@pytest.mark.parametrize("name", ["clean", "mixed", "timeouts"])
def test_neighbours_are_those_of_an_independent_walk(name: str) -> None:
    assert edges(golden(name)) == walked(golden(name))


def test_as_many_come_to_an_activity_type_as_leave_it_and_as_ran() -> None:
    table = process.directly_follows(goldens())
    came = table.dropna(subset=["target"]).groupby("target")["count"].sum()
    left = table.dropna(subset=["source"]).groupby("source")["count"].sum()
    pd.testing.assert_series_equal(came, left, check_names=False)
    assert came["echo"] == 6
    assert table.loc[table["source"].isna(), "count"].sum() == len(goldens())


def test_an_activity_of_unknown_type_is_told_apart_from_where_runs_begin_and_end() -> None:
    run = history("r", "a", "b")
    kind = EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    first = next(event for event in run.events if event.event_type == kind)
    first.activity_task_scheduled_event_attributes.activity_type.name = ""
    assert edges(run) == {(None, "?"): 1, ("?", "b"): 1, ("b", None): 1}
    assert process.variants(run)["variant"].tolist() == ["? → b"]
    assert process.conformance(run, ["a", "b"])["found"].tolist() == ["?"]


def test_the_shares_of_what_follows_a_source_sum_to_one() -> None:
    shares = process.directly_follows(goldens()).groupby("source", dropna=False)["share"].sum()
    assert shares.tolist() == pytest.approx([1.0] * len(shares))


def test_a_wait_runs_from_closed_to_scheduled_and_its_median_is_told() -> None:
    table = process.directly_follows([history(str(n), Step("a", took=n), "b") for n in (1, 5, 9)])
    row = table[(table["source"] == "a") & (table["target"] == "b")].iloc[0]
    assert row["wait_s"] == pytest.approx(0.01)
    assert row["concurrent"] == 0


def test_activities_at_the_same_time_follow_by_event_id_and_are_counted_as_concurrent() -> None:
    table = process.directly_follows(history("r", [Step("a", took=2), Step("b", took=1)], "c"))
    told = table.set_index(["source", "target"])
    assert told.loc[("a", "b"), "concurrent"] == 1
    assert pd.isna(told.loc[("a", "b"), "wait_s"])
    # b had closed for a second when a let c begin.
    assert told.loc[("b", "c"), "concurrent"] == 0
    assert told.loc[("b", "c"), "wait_s"] == pytest.approx(1.01)


def test_an_activity_that_never_closed_is_concurrent_with_what_follows() -> None:
    table = process.directly_follows(history("r", Step("a", status=None), "b", status=None))
    row = table[table["source"] == "a"].iloc[0]
    assert (row["target"], row["concurrent"]) == ("b", 1)


def test_nothing_follows_the_last_activity_of_an_open_run() -> None:
    assert edges(history("r", "a", "b", status=None)) == {(None, "a"): 1, ("a", "b"): 1}


def test_a_run_without_activities_goes_from_begin_to_end() -> None:
    assert edges(history("r"), history("s", status=None)) == {(None, None): 1}


def test_edges_do_not_cross_from_one_run_to_the_next() -> None:
    assert ("b", "a") not in edges(history("1", "a", "b"), history("2", "a", "b"))


def test_the_most_frequent_edge_comes_first() -> None:
    table = process.directly_follows([history("1", "a", "a", "a"), history("2", "a")])
    assert table["count"].tolist() == sorted(table["count"], reverse=True)


def test_times_of_several_clocks_give_counts_but_no_times() -> None:
    runs = [history("1", "a", "b"), history("2", "a", "b", clock="default")]
    table = process.directly_follows(runs)
    assert table["count"].tolist() == [2, 2, 2]
    assert table["wait_s"].isna().all()
    assert process.variants(runs)["duration_s"].isna().all()
    assert process.variants(runs[:1])["duration_s"].notna().all()
    assert table.attrs["clock"] == "default, fast"


def test_a_known_clock_and_an_unknown_one_are_two_clocks() -> None:
    runs = [history("1", "a"), history("2", "a", clock=None)]
    assert process.variants(runs)["duration_s"].isna().all()


@pytest.mark.parametrize("make", [process.directly_follows, process.variants])
def test_nothing_gives_no_rows_but_the_same_columns(make: Any) -> None:
    empty, full = make([]), make(goldens())
    assert len(empty) == 0
    pd.testing.assert_series_equal(empty.dtypes, full.dtypes)


def test_variants_are_counted_and_name_an_example() -> None:
    runs = [history("1", "a", "b"), history("2", "a"), history("3", "a", "b"), history("4")]
    table = process.variants(runs)
    assert table["variant"].tolist() == ["a → b", "a", ""]
    assert table["count"].tolist() == [2, 1, 1]
    assert table["share"].tolist() == [0.5, 0.25, 0.25]
    assert table["activities"].tolist() == [2, 1, 0]
    assert table["workflow_id"].tolist() == ["1", "2", "4"]
    assert table["run_id"].tolist() == ["run-1", "run-2", "run-4"]


def test_a_repeated_type_is_written_once_with_how_often() -> None:
    (variant,) = process.variants(history("1", "a", "b", "b", "b", "a"))["variant"]
    assert variant == "a → b ×3 → a"


def test_the_duration_of_a_variant_is_the_median_of_its_closed_runs() -> None:
    runs = [history(str(n), Step("a", took=n)) for n in (1, 2, 9)]
    open_run = history("open", Step("a", took=100), status=None)
    (row,) = process.variants([*runs, open_run]).itertuples()
    assert row.count == 4
    assert row.duration_s == pytest.approx(2.02)


@pytest.mark.parametrize(
    ("kinds", "fits"),
    [
        (["validate", "fetch", "score", "store"], True),
        (["validate", "score", "fetch"], True),
        (["validate", "fetch", "score", "fetch", "fetch"], True),
        (["validate", "score", "store"], False),
        (["validate", "fetch", "score", "score"], False),
        (["fetch", "validate", "score"], False),
        (["validate", "fetch", "score", "store", "store"], False),
        ([], False),
    ],
)
def test_an_order_with_optional_repeated_and_parallel_parts(kinds: list[str], fits: bool) -> None:
    assert verdicts(ORDER, history("r", *kinds)) == [fits]


@pytest.mark.parametrize(
    ("order", "kinds", "fits"),
    [
        (["a*"], [], True),
        (["a*"], ["a"] * 7, True),
        (["a+"], [], False),
        (["a?", "a"], ["a"], True),
        (["a*", "a", "b"], ["a", "a", "a", "b"], True),
        ([("a", "a")], ["a", "a"], True),
        ([], [], True),
        ([], ["a"], False),
    ],
)
def test_an_ambiguous_order_fits_when_any_reading_of_it_does(
    order: Any, kinds: list[str], fits: bool
) -> None:
    assert verdicts(order, history("r", *kinds)) == [fits]


def test_the_first_deviation_is_named_with_what_was_expected() -> None:
    (row,) = process.conformance(history("r", "validate", "fetch", "store"), ORDER).itertuples()
    assert (row.fits, row.position, row.found) == (False, 3, "store")
    assert row.expected == "fetch or score"
    assert row.scheduled_event_id == 8
    assert (row.workflow_id, row.run_id, row.status) == ("r", "run-r", "COMPLETED")


def test_a_run_that_closed_too_early_has_found_nothing() -> None:
    (row,) = process.conformance(history("r", "validate", status="FAILED"), ORDER).itertuples()
    assert (row.fits, row.position, row.status) == (False, 2, "FAILED")
    assert pd.isna(row.found)
    assert pd.isna(row.scheduled_event_id)


def test_what_may_end_is_expected_to_end() -> None:
    (row,) = process.conformance(history("r", "a", "b"), ["a+"]).itertuples()
    assert row.expected == "a or the end"


def test_an_open_run_neither_fits_nor_not_until_it_deviates() -> None:
    so_far = history("1", "validate", "fetch", status=None)
    wrong = history("2", "score", status=None)
    assert verdicts(ORDER, so_far, wrong) == [None, False]


def test_conformance_of_nothing_keeps_its_columns() -> None:
    empty, full = process.conformance([], ORDER), process.conformance(goldens(), ORDER)
    assert len(empty) == 0
    pd.testing.assert_series_equal(empty.dtypes, full.dtypes)


@pytest.mark.parametrize("order", ["validate", 3, [3], [["a", 3]]])
def test_what_is_no_order_is_told_what_an_order_is(order: Any) -> None:
    with pytest.raises(TypeError, match="order must be"):
        process.conformance([], order)


def test_a_sign_without_a_type_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'\?' names no activity type"):
        process.conformance([], ["a", "?"])


@pytest.mark.parametrize(
    "make", [process.directly_follows, process.variants, lambda h: process.conformance(h, ["a"])]
)
def test_a_run_given_twice_is_refused_and_so_is_what_is_no_history(make: Any) -> None:
    with pytest.raises(TableError, match="give each run once"):
        make([golden("clean"), golden("clean")])
    with pytest.raises(TableError, match="expected histories, found str"):
        make(["clean"])
