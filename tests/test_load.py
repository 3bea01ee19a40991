"""A load without a server: the schedule, what makes a load valid, and what its report says."""

from __future__ import annotations

import math
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

from projectai_lab import load, tables
from projectai_lab._checks import whole_number
from projectai_lab.errors import TableError
from projectai_lab.load import Load
from projectai_lab.load._schedule import not_negative_s
from projectai_lab.load._sender import Run
from projectai_lab.tables import schema
from tests.made_loads import CLOSED, OPEN, made, run, stalled

LATE = ["intended_s", "latency_s"]
KNOWN = [0.088954663, 0.202345239, 2.568828322]


def test_constant_arrivals_are_evenly_spaced_from_zero_on() -> None:
    times = load.schedule(rate=20, duration=30, arrivals="constant")
    assert len(times) == 600
    assert times == [n / 20 for n in range(600)]


def test_poisson_arrivals_have_exponential_gaps_of_the_rate() -> None:
    times = load.schedule(rate=50, duration=400, seed=3)
    gaps = np.diff([0, *times])
    assert (gaps > 0).all()
    assert times[-1] < 400
    assert kstest(gaps, "expon", args=(0, 1 / 50)).pvalue > 0.01
    assert len(times) == pytest.approx(20_000, abs=4 * math.sqrt(20_000))


def test_poisson_counts_per_second_vary_as_much_as_their_mean() -> None:
    times = load.schedule(rate=30, duration=2000, seed=9)
    counts = Counter(int(time) for time in times)
    per_second = [counts[second] for second in range(2000)]
    assert np.var(per_second) / np.mean(per_second) == pytest.approx(1, abs=0.15)


def test_the_same_seed_gives_the_same_schedule_and_another_another() -> None:
    first = load.schedule(rate=5, duration=60, seed=1)
    assert first == load.schedule(rate=5, duration=timedelta(minutes=1), seed=1)
    assert first != load.schedule(rate=5, duration=60, seed=2)
    # Known values: a baseline holds the schedule, so no new version may draw another.
    known = load.schedule(rate=1, duration=10, seed=7)
    assert known[:3] == pytest.approx(KNOWN, abs=1e-9)


def test_a_longer_load_begins_as_the_shorter_one() -> None:
    short = load.schedule(rate=5, duration=10, seed=4)
    assert load.schedule(rate=5, duration=20, seed=4)[: len(short)] == short


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf, "20", None, True])
def test_what_is_no_rate_is_named(rate: Any) -> None:
    message = f"rate must be starts a second, more than 0; got {rate!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        load.schedule(rate=rate, duration=10)


@pytest.mark.parametrize("duration", [0, -1, math.nan, math.inf, "ten", None, timedelta(0)])
def test_what_is_no_duration_is_named(duration: Any) -> None:
    with pytest.raises(ValueError, match="duration must be a timedelta or seconds"):
        load.schedule(rate=1, duration=duration)


@pytest.mark.parametrize("think", [-0.1, math.nan, math.inf, "long"])
def test_what_is_no_time_to_think_is_named(think: Any) -> None:
    with pytest.raises(ValueError, match="think must be a timedelta or seconds"):
        not_negative_s("think", think)


@pytest.mark.parametrize("clients", [0, -2, 1.5, math.nan, "3", True])
def test_what_is_no_number_of_clients_is_named(clients: Any) -> None:
    with pytest.raises(ValueError, match="clients must be a whole number, 1 or more"):
        whole_number("clients", clients, 1)


def test_unknown_arrivals_are_named_beside_those_that_there_are() -> None:
    with pytest.raises(ValueError, match='must be "poisson" or "constant", got \'uniform\''):
        load.schedule(rate=1, duration=1, arrivals="uniform")  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [1.5, "one", None])
def test_what_is_no_seed_is_named(seed: Any) -> None:
    with pytest.raises(ValueError, match="seed must be a whole number"):
        load.schedule(rate=1, duration=10, seed=seed)


def test_numbers_of_a_table_are_numbers_too() -> None:
    row = pd.DataFrame({"rate": [5], "duration": [20], "seed": [3]}).iloc[0]
    assert load.schedule(**row) == load.schedule(rate=5, duration=20, seed=3)
    count: Any = np.int64(3)
    assert whole_number("clients", count, 1) == 3


def test_a_schedule_without_a_single_run_is_refused() -> None:
    with pytest.raises(ValueError, match=r"give no run with seed 0 \(on average 0\.001\)"):
        load.schedule(rate=0.001, duration=1)


def test_more_runs_than_one_client_can_send_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"are 10,000,000,000 runs, .* several processes"):
        load.schedule(rate=1e9, duration=10)


def test_latency_counts_from_the_intended_start_and_service_from_the_sending() -> None:
    row = made([run(0, 1.0, 0.5, late_s=0.125)]).table.iloc[0]
    assert row.schedule_error_s == pytest.approx(0.125)
    assert row.latency_s == pytest.approx(0.5)
    assert row.service_s == pytest.approx(0.375)


def test_the_table_keeps_its_schema_and_says_whose_clock_it_has() -> None:
    table = made([run(0, 0.0, 0.1), run(1, 0.1, None, status="RUNNING")]).table
    pd.testing.assert_frame_equal(tables.validate(table), table)
    assert table.attrs["schema"] == "projectai_lab/load/1"
    assert table.attrs["clock"] == "fast"
    assert table.attrs["timer"] == "seconds since the load began, client's monotonic clock"
    assert table.attrs["began"] == "2023-11-14T22:13:20.000+00:00"
    described = schema.columns("load").set_index("column")
    spans = described[described.index.str.endswith("_s")]
    assert set(spans["clock"][:4]) == {"client, monotonic"}
    assert table["done_s"].isna().tolist() == [False, True]


def test_a_load_comes_back_from_a_file(tmp_path: Path) -> None:
    before = made([run(n, n / 20, 0.1, late_s=0.05) for n in range(10)])
    before.table.to_parquet(tmp_path / "load.parquet")
    after = Load(pd.read_parquet(tmp_path / "load.parquet"))
    assert repr(after) == repr(before)
    assert after.why_invalid == before.why_invalid
    assert after.summary().sentence == before.summary().sentence


@pytest.mark.parametrize("table", [pd.DataFrame(), pd.DataFrame({"sent_s": [1.0]}), None])
def test_a_table_that_does_not_say_how_it_was_made_is_no_load(table: Any) -> None:
    with pytest.raises(TableError, match="no table of a load"):
        Load(table)


def test_a_load_that_was_sent_in_time_is_valid() -> None:
    one = made([run(n, n / 20, 0.1, late_s=0.0199) for n in range(200)])
    assert one.valid
    assert one.why_invalid == ()
    assert repr(one) == (
        "<Load 'users', open loop, constant, 20/s for 30 s, seed 0, 200 runs: 200 COMPLETED, valid>"
    )


def test_a_slipped_schedule_is_invalid_and_said_wherever_the_load_is_shown() -> None:
    runs = [run(n, n / 20, 0.1, late_s=0.02 if n < 3 else 0.0) for n in range(200)]
    one = made(runs)
    assert not one.valid
    assert "p99 of the schedule error is 20 ms" in one.why_invalid[0]
    for shown in (repr(one), one._repr_html_(), repr(one.summary()), one.summary()._repr_html_()):
        assert "the schedule slipped" in shown
    assert one.summary().table["valid"].tolist() == [False]
    assert one.summary().sentence.startswith("INVALID, its figures do not count")


def test_one_late_run_in_two_hundred_does_not_make_a_load_invalid() -> None:
    assert made([run(n, n / 20, 0.9, late_s=0.5 * (n == 7)) for n in range(200)]).valid


def test_a_load_that_held_runs_back_is_invalid_and_says_from_when() -> None:
    one = made([run(0, 0.0, 0.1)], full_at_s=12.34)
    assert not one.valid
    assert "from 12.3 s on runs were held back, because 2000 were in flight" in one.why_invalid[0]


def test_an_interrupted_load_is_invalid_and_counts_what_was_sent() -> None:
    one = made([run(0, 0.0, 0.1), Run(1, "users-00001", 0.05)], ended_s=0.04, interrupted=True)
    assert one.why_invalid == ("it was interrupted: 1 of 2 runs were sent",)
    assert one.table.attrs["measured_s"] == 0.04


def test_a_card_escapes_and_says_how_the_load_was_made() -> None:
    card = made([run(0, 0.0, 0.1)], {**CLOSED, "name": "<b>"})._repr_html_()
    assert "<b>" not in card
    assert "closed loop, 2 clients, 0.05 s to think, for 30 s" in card
    assert "client&#x27;s monotonic clock" in card


def test_percentiles_are_those_of_the_latency_summary_and_the_highest_is_named() -> None:
    row = stalled().summary().table.iloc[0]
    assert row.n == row.answered == 600
    assert row.highest == "p99"
    assert pd.isna(row["p99.9_s"])
    assert row.p50_s == pytest.approx(0.05)
    # 40 runs met the stall, the k-th of them for 2 − 0.05 (k − 1) s: the seventh slowest is p99.
    assert row.p99_s == pytest.approx(2 - 6 * 0.05 + 0.05)
    assert row.max_s == pytest.approx(2.05)
    # Those 40, and the one or two that were sent while the 40 were answered.
    assert row.most_in_flight in (41, 42)


@pytest.mark.parametrize(("n", "highest"), [(367, "p95"), (71, "p90"), (35, "p75"), (5, None)])
def test_a_percentile_that_n_cannot_support_is_not_given(n: int, highest: str | None) -> None:
    found = made([run(k, k / 20, 0.1) for k in range(n)]).summary()
    assert found.table["highest"].tolist() == [highest]
    assert found.table["p99_s"].isna().all()
    told = f"percentile {highest} = 100 ms" if highest else "too few answers for any percentile"
    assert told in found.sentence


@pytest.mark.parametrize("status", ["FAILED", "NOT_STARTED", "TIMED_OUT"])
def test_a_run_without_an_answer_counts_as_longer_than_all_others(status: str) -> None:
    quick = [run(n, n / 20, 0.1) for n in range(380)]
    # A failure that comes at once must not make the load look quick.
    failed = [run(380 + n, 19 + n / 20, 0.001, status=status) for n in range(20)]
    row = made([*quick, *failed]).summary().table.iloc[0]
    assert (row.n, row.answered) == (400, 380)
    assert row.min_s == pytest.approx(0.1)
    assert row.p90_s == pytest.approx(0.1)
    assert row[["p99_s", "max_s"]].isna().all()
    assert "20 runs without an answer count as longer than all others" in (
        made([*quick, *failed]).summary().sentence
    )


def test_a_percentile_above_what_an_unfinished_run_was_waited_for_is_not_known() -> None:
    runs = [run(n, n / 20, 0.1 if n < 360 else 5.0) for n in range(399)]
    unfinished = run(399, 29.0, None, status="RUNNING")
    # Waited for 1 s: it may end before the runs of 5 s do.
    short = made([*runs, unfinished], ended_s=30.0).summary().table.iloc[0]
    assert short.p75_s == pytest.approx(0.1)
    assert short[["p95_s", "p99_s"]].isna().all()
    assert short.highest in ("p75", "p90")
    # Waited for 31 s: it took longer than all others.
    long = made([*runs, unfinished], ended_s=60.0).summary().table.iloc[0]
    assert long.p95_s == pytest.approx(5.0)
    assert pd.isna(long.max_s)


def test_a_load_that_nobody_answered_has_no_percentile_and_says_so() -> None:
    found = made([run(n, n / 20, None, status="UNKNOWN") for n in range(400)]).summary()
    assert found.table["highest"].tolist() == [None]
    assert "400 runs without an answer" in found.sentence
    assert "too few answers for any percentile" in found.sentence


def test_rates_count_what_was_sent_and_what_was_answered_within_the_duration() -> None:
    runs = [run(n, n / 20, 0.1 if n < 300 else 40.0) for n in range(600)]
    row = made(runs, ended_s=75.0).summary().table.iloc[0]
    assert row.asked_per_s == 20
    assert row.sent_per_s == pytest.approx(20)
    assert row.reached_per_s == pytest.approx(10)


def test_open_beside_closed_says_which_one_a_user_feels_and_why() -> None:
    found = load.report(stalled(), stalled(clients=2))
    slow, quick = found.table["p99_s"]
    assert slow / quick >= 5
    for told in (
        f"p99 is {slow:.3g} s in the open loop and {1000 * quick:.3g} ms in the closed one",
        "feel the open loop",
        "In the closed loop at most 2 runs waited at a time, in the open one 4",
        "coordinated omission",
    ):
        assert told in found.sentence
    met = stalled(clients=2).table["latency_s"] > 1
    assert met.sum() == 2, "each client met the stall once"


def test_the_order_of_the_loads_does_not_change_what_is_said_of_both() -> None:
    told = load.report(stalled(clients=2), stalled()).sentence
    assert told.endswith(load.report(stalled(), stalled(clients=2)).sentence[-300:])


def test_two_loops_that_agree_are_said_to_agree() -> None:
    calm = made([run(n, n / 20, 0.1) for n in range(600)])
    told = load.report(calm, made([run(n, n / 20, 0.1) for n in range(600)], CLOSED)).sentence
    assert "p99 is much the same, 100 ms open and 100 ms closed" in told
    assert "coordinated omission" not in told


def test_loops_without_a_common_percentile_are_not_compared() -> None:
    few = made([run(n, n / 20, 0.1) for n in range(3)])
    told = load.report(few, stalled(clients=2)).sentence
    assert "No percentile is valid in both loops" in told


def test_a_verdict_on_a_load_that_is_not_valid_says_so() -> None:
    rows = stalled().table[LATE].itertuples(name=None)
    runs = [run(number, at, took, late_s=0.05) for number, at, took in rows]
    told = load.report(made(runs), stalled(clients=2)).sentence
    assert "\nAs far as loads that are not valid tell: p99 is" in told


def test_each_load_has_a_line_of_its_own_and_both_together_one() -> None:
    lines = load.report(stalled(), stalled(clients=2)).sentence.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["users", "clients", "p99"]


def test_two_open_loops_are_reported_without_a_verdict() -> None:
    found = load.report(stalled(), stalled())
    assert len(found.table) == 2
    assert "feel" not in found.sentence


def test_loads_of_two_clocks_are_not_put_together() -> None:
    loads = [made([run(0, 0.0, 0.1)], clock=clock) for clock in ("fast", "default")]
    with pytest.raises(TableError, match=r"several clocks \(default, fast\)"):
        load.report(*loads)


@pytest.mark.parametrize("loads", [(), (pd.DataFrame(),), ("users",)])
def test_what_is_no_load_is_not_reported(loads: Any) -> None:
    with pytest.raises(TypeError, match="takes loads"):
        load.report(*loads)


def test_a_report_shows_its_sentence_and_a_column_a_load() -> None:
    shown = load.report(made([run(0, 0.0, 0.1)], {**OPEN, "name": "<i>"}))._repr_html_()
    assert "<i>" not in shown
    assert "schedule_p99_s" in shown
