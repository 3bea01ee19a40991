"""The benchmark measures what it says, on sizes too small to say anything of speed."""

from __future__ import annotations

import math
import re
import types
from pathlib import Path

import psutil
import pytest

from projectai_lab import tables
from projectai_lab.devserver import DevServer
from tests.bench import __main__ as bench
from tests.bench import (
    cells,
    decode,
    explorer,
    export,
    fetch,
    form,
    load,
    monitor,
    nested,
    opening,
    regress,
    simulate,
    stall,
    sweep,
    throughput,
    virtual,
)
from tests.bench.rounds import Row, in_turns, timed, typical_ratio
from tests.bench.sides import Side
from tests.regression_notebooks import write


def positive(rows: list[Row]) -> list[str]:
    """Return what the rows tell of, having seen that they hold figures."""
    for row in rows:
        assert row.ours > 0, row
        assert row.other > 0, row
        assert row.ratio > 0, row
    return [row.what for row in rows]


def fake(*rows: Row) -> types.ModuleType:
    """Return a measurement that needs no time."""
    module = types.ModuleType("fake")
    module.__dict__.update(measure=lambda: list(rows), METHOD="by invention")
    return module


def test_throughput_measures_lab_and_recorder_against_their_others() -> None:
    rows = throughput.measure(rounds=1, runs=2)
    assert positive(rows) == [
        "throughput: Lab to plain SDK script",
        "throughput: attempt recorder on to off",
    ]
    assert [row.at_least for row in rows] == [0.95, 0.95]


def test_open_measures_with_and_without_imports() -> None:
    without, with_imports = opening.measure(rounds=1)
    positive([without, with_imports])
    assert without.at_most == 1.2
    assert with_imports.ours > without.ours
    assert with_imports.other > without.other


def test_form_measures_the_first_and_a_further_form_of_a_kernel() -> None:
    rows = form.measure(rounds=1)
    assert positive(rows) == ["form: a kernel's first, with imports", "form: a further"]
    assert {(row.other, row.at_most) for row in rows} == {(0.3, 1)}


def test_form_reports_a_cell_that_fails_or_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    with form.kernel() as client:
        with pytest.raises(RuntimeError, match="the cell failed: no luck"):
            form.run(client, "raise ValueError('no luck')")
        monkeypatch.setattr(form, "FORM", "1")
        with pytest.raises(RuntimeError, match="the cell showed no form"):
            form.until_shown(client)


def test_open_reports_what_a_failed_side_wrote() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)the side 'nonsense' failed:.*KeyError"):
        opening.in_fresh_interpreter("nonsense", "")


def test_simulate_measures_a_million_requests_against_limit_and_loop() -> None:
    rows = simulate.measure(n=1000, rounds=1)
    assert len(positive(rows)) == 3
    assert [row.at_most for row in rows] == [1.0, None, 1.0]
    assert len(simulate.loop(7)) == 7


def test_cells_measures_an_edit_with_stored_runs_replayed() -> None:
    rows = cells.measure(histories=2, rounds=2)
    assert positive(rows) == [
        "cells: edit to polling, 2 runs replayed",
        "cells: the same, and 10 open runs pinned",
    ]
    assert [row.at_most for row in rows] == [1.0, 1.0]


def test_nested_measures_a_lab_with_and_without_nest_asyncio() -> None:
    (row,) = nested.measure(rounds=1, runs=2)
    assert positive([row]) == ["nested: nest_asyncio to without"]
    assert row.at_least == 0.9


def test_virtual_measures_a_month_alone_and_some_at_once() -> None:
    rows = virtual.measure(together=2, rounds=1)
    assert positive(rows) == ["virtual: a month", "virtual: 2 months at once"]
    assert [(row.other, row.at_most) for row in rows] == [(2.0, 1.0), (15.0, 1.0)]


def test_virtual_does_not_count_a_month_that_went_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(virtual, "ATTEMPTS", 6)
    with pytest.raises(RuntimeError, match="month-0 did not take 6 attempts"):
        virtual.measure(together=1, rounds=1)


def test_decode_measures_four_tables_against_normalizing_and_parsing() -> None:
    rows = decode.measure(events=50, rounds=1)
    assert len(positive(rows)) == 4
    assert [row.at_least for row in rows] == [8, 100, 0.4, None]


def test_decode_copies_a_run_under_ids_of_their_own_until_there_are_enough_events() -> None:
    runs = decode.copies(60)
    events = tables.events(runs)
    assert len(events) >= 60
    assert events.workflow_id.nunique() == len(runs) == events.run_id.nunique()
    assert len(decode.normalized([event for run in runs for event in run.events])) == len(events)


def test_fetch_measures_with_and_without_tables_and_again() -> None:
    rows = fetch.measure(runs=3, rounds=1)
    assert positive(rows) == [
        "fetch: 3 histories and their tables",
        "fetch: 3 histories alone",
        "fetch: 3 histories again, nothing new",
        "fetch: 3 histories again, and parsed",
    ]
    assert [(row.at_most, row.at_least) for row in rows] == [
        *((1.15, None), (None, None)),
        *((None, 20), (None, None)),
    ]


def test_explorer_measures_a_history_and_a_long_one() -> None:
    rows = explorer.measure(events=12, many=30, rounds=1)
    assert positive(rows) == ["explorer: 12 events", "explorer: 30 events"]
    assert [row.at_most for row in rows] == [1.0, None]


def test_load_measures_json_and_an_export() -> None:
    rows = load.measure(events=60, rounds=1)
    assert len(positive(rows)) == 2
    assert [row.at_most for row in rows] == [2, 2]


def test_export_measures_time_memory_and_size() -> None:
    rows = export.measure(events=200)
    assert positive(rows) == [
        "export: 200 events to 20, CPU",
        "export: 200 events to 20, wall",
        "export: peak memory of 200 events to 1 GiB",
        "export: size per event, tables to JSON",
    ]
    assert [row.at_most for row in rows] == [11, None, 1, None]
    assert 50 < rows[2].ours < 1024


def test_sweep_measures_against_a_plain_loop_and_itself_again() -> None:
    rows = sweep.measure(runs=3, rounds=1)
    assert positive(rows) == ["sweep: 3 runs to a plain loop", "sweep: 3 runs again, finished"]
    assert [(row.at_least, row.at_most) for row in rows] == [(0.95, None), (None, 0.02)]


def test_monitor_measures_a_tick_and_the_worker_beside_it() -> None:
    rows = monitor.measure(executions=30, looks=2, rounds=1, runs=3)
    assert positive(rows) == [
        "monitor: kernel time of a tick, 30 executions",
        "monitor: throughput with to without",
    ]
    assert [(row.at_least, row.at_most) for row in rows] == [(None, 1), (0.95, None)]


def test_regress_measures_two_notebooks_at_a_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / f"{name}.ipynb", "n = 1")
    [row] = regress.measure(tmp_path, rounds=1)
    assert positive([row]) == ["regress: --jobs 2 to --jobs 1"]
    assert row.at_least == 1.5


def test_regress_measures_no_suite_that_is_not_green(tmp_path: Path) -> None:
    write(tmp_path / "red.ipynb", "assert False")
    with pytest.raises(RuntimeError, match=r"red .*red\.ipynb"):
        regress.measure(tmp_path, rounds=1)


def test_the_raw_side_starts_its_server_with_the_flags_of_our_own(server: DevServer | None) -> None:
    if server is None:
        pytest.skip("the server of --address was started by somebody else")
    ours = psutil.Process(server.pid).cmdline()
    begin = ours.index(opening.FLAGS[0])
    assert sorted(ours[begin:]) == sorted(opening.FLAGS)


def test_a_side_that_dies_is_an_error_and_not_a_wait(capfd: pytest.CaptureFixture[str]) -> None:
    with Side("sdk", "127.0.0.1:1") as side, pytest.raises(RuntimeError, match="'sdk' died"):
        side.seconds(1)
    assert "Failed client connect" in capfd.readouterr().err


def test_works_take_turns_in_mirrored_order(capsys: pytest.CaptureFixture[str]) -> None:
    order: list[str] = []

    def work(name: str) -> float:
        order.append(name)
        return len(order)

    seconds = in_turns("demo", {"a": lambda: work("a"), "b": lambda: work("b")}, rounds=2)
    assert order == ["a", "b", "b", "a"]
    assert seconds == {"a": [1, 4], "b": [2, 3]}
    assert capsys.readouterr().err.splitlines() == [
        "bench: demo: round 1 of 2",
        "bench: demo: round 2 of 2",
    ]


def test_a_stall_without_enough_runs_for_p99_is_no_ratio(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (row,) = stall.measure(rate=10, duration=3, stall_s=0.5)
    assert row.what == "stall: p99 of an open loop to a closed one"
    assert all(map(math.isnan, (row.ours, row.other, row.ratio)))
    assert not row.ok
    told = capsys.readouterr().err
    assert "users (open loop): " in told
    assert "feel the open loop" in told


def test_a_slow_round_cancels_out_of_the_ratio() -> None:
    assert typical_ratio([2.0, 20.0, 2.0, 3.0], [1.0, 10.0, 1.0, 1.5]) == (2.0, 0.0)


def test_the_error_of_a_ratio_grows_with_the_spread_of_the_rounds() -> None:
    ratio, error = typical_ratio([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0])
    assert ratio == 2.5
    assert error == pytest.approx(1.253 * 1.5 / 1.349 / 2)
    assert typical_ratio([1.0], [2.0]) == (0.5, math.inf)


def test_timed_work_returns_its_seconds() -> None:
    done: list[int] = []
    assert timed(lambda: done.append(1))() > 0
    assert done == [1]


@pytest.mark.parametrize(
    ("ratio", "wanted", "ok"),
    [
        (0.95, {"at_least": 0.95}, True),
        (0.94, {"at_least": 0.95}, False),
        (1.2, {"at_most": 1.2}, True),
        (1.21, {"at_most": 1.2}, False),
        (99.0, {}, True),
    ],
)
def test_a_row_is_ok_when_its_ratio_is_as_wanted(
    ratio: float, wanted: dict[str, float], ok: bool
) -> None:
    assert Row("x", 1, 1, "s", ratio, **wanted).ok is ok


def test_one_missed_ratio_makes_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good = Row("good", 12345, 2, "events/s", 2.0, at_least=1)
    bad = Row("bad", 0.3124, 0.2, "s", 1.562, 0.03, at_most=1.2)
    monkeypatch.setattr(bench, "MEASUREMENTS", {"good": fake(good), "bad": fake(bad)})
    assert bench.main(["good"]) == 0
    assert bench.main([]) == 1
    told = capsys.readouterr().out
    assert re.search(r"^good +12,345 +2 +events/s +2\.00 +>= 1 +yes$", told, re.MULTILINE)
    assert re.search(r"^bad +0\.312 +0\.2 +s +1\.56 +0\.03 +<= 1\.2 +NO$", told, re.MULTILINE)
    assert "bad: by invention" in told
    assert "load" in told


def test_an_unknown_name_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["speed"]) == 2
    known = "decode, open, throughput, fetch, load, export, simulate, virtual, regress, "
    known += "stall, sweep, cells, nested, explorer, form, monitor"
    assert f"no measurement speed; there are {known}" in (capsys.readouterr().err)
