"""The figures: from the data of a table to bars, marks, words and limits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import same_color, to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from projectai_lab import _words, histories, plots, tables
from projectai_lab.errors import TableError
from projectai_lab.plots import _style as style
from projectai_lab.tables import schema

mpl.use("Agg")

DATA = Path(__file__).parent / "data"
SECOND = 1_000_000_000
DRAWERS = [plots.timeline, plots.retries, plots.latency, plots.where_time_went]
ATTEMPT_DRAWERS = [plots.timeline, plots.retries]


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Close what a test opened."""
    yield
    plt.close("all")


def activity(
    ends: str,
    *,
    waits: tuple[float, ...] = (0.2, 0.4, 0.8),
    run: float = 0.02,
    at: float = 0.0,
    lag: float = 0.09,
    event: int = 5,
    kind: str = "simulate_ai_call",
    run_id: str = "run-1",
) -> list[dict[str, Any]]:
    """Make an activity's attempts: C completed, F failed, T timed out, ? still running."""
    words = {"C": "COMPLETED", "F": "FAILED", "T": "TIMED_OUT", "?": None}
    rows, due = [], at
    for number, letter in enumerate(ends, start=1):
        last = number == len(ends) and letter != "?"
        retry = number > 1
        wait = waits[number - 2] if retry else None
        started = due + (lag if retry else 0.004)
        ended = started + run
        rows.append(
            {
                "namespace": "default",
                "workflow_id": f"req of {run_id}",
                "run_id": run_id,
                "scheduled_event_id": event,
                "activity_id": str(event),
                "activity_type": kind,
                "attempt": number,
                "is_last": last,
                "attempt_scheduled_time": round(due * SECOND),
                "started_time": round(started * SECOND),
                "closed_time": round(ended * SECOND) if last or letter == "T" else None,
                "dispatch_lag_s": started - due,
                "worker_exec_s": run if letter in "CF" else None,
                "exec_s": run if last else None,
                "backoff_planned_s": wait,
                "backoff_observed_s": wait,
                "backoff_error_s": 0.0 if retry else None,
                "gap_s": wait and wait + lag,
                "server_outcome": words[letter] if last else None,
                "worker_outcome": words[letter] if letter in "CF" else None,
                "timeout_type": "START_TO_CLOSE" if letter == "T" else None,
                "time_quality": "measured_server"
                if last
                else "inferred"
                if letter == "T"
                else "measured_worker",
            }
        )
        due = ended + (waits[number - 1] if number < len(ends) else 0)
    return rows


def attempts_table(*activities: list[dict[str, Any]], clock: str = "fast") -> pd.DataFrame:
    """Make an attempts table of several activities."""
    blank = dict.fromkeys(schema.columns("attempts").column)
    rows = [tuple({**blank, **row}.values()) for rows in activities for row in rows]
    return schema.frame("attempts", rows, clock=clock)


def activities_table(*rows: tuple[str, float, float, float, float]) -> pd.DataFrame:
    """Make an activities table from (type, exec, backoff, queue, unattributed)."""
    blank = dict.fromkeys(schema.columns("activities").column)
    parts = ("exec_s", "backoff_s", "queue_s", "unattributed_s")
    start = {"namespace": "default", "workflow_id": "req", "scheduled_event_id": 5}
    full = [
        {
            **blank,
            **start,
            "run_id": f"run-{place}",
            "activity_type": kind,
            "total_s": sum(spans),
            **dict(zip(parts, spans, strict=True)),
        }
        for place, (kind, *spans) in enumerate(rows)
    ]
    return schema.frame("activities", [tuple(row.values()) for row in full], clock="fast")


def mixed() -> pd.DataFrame:
    """Make the run of issue and demo: 12 attempts of 6 activities."""
    return attempts_table(
        activity("C", event=5, kind="validate_input"),
        activity("FFFC", event=11, at=0.1),
        activity("FFF", event=17, at=2.0, waits=(0.1, 0.2), kind="process_ai_task"),
        activity("TC", event=23, at=2.5, run=1.0),
        activity("C", event=29, at=5.0, kind="validate_input"),
        activity("C", event=35, at=5.2, run=0.2, kind="process_ai_task"),
    )


def policies() -> pd.DataFrame:
    """Make three policies by three runs; the first run of each needs one retry less."""
    return attempts_table(
        *[
            activity("FFC" if run == 0 else "FFFC", waits=waits, run_id=f"{name}-{run}")
            for name, waits in (
                ("a", (0.1, 0.1, 0.1)),
                ("b", (0.2, 0.4, 0.8)),
                ("c", (0.1, 0.4, 1.6)),
            )
            for run in range(3)
        ]
    )


def bars(ax: Axes, label: str) -> list[Rectangle]:
    """Return the bars under a label, in the order drawn."""
    return [bar for group in ax.containers if group.get_label() == label for bar in group]


def gap_lines(ax: Axes) -> list[tuple[float, float]]:
    """Return the dashed or dotted lines as (start, end)."""
    groups = [group for group in ax.collections if isinstance(group, LineCollection)]
    lines = [np.asarray(line) for group in groups for line in group.get_segments()]
    return [(float(line[0, 0]), float(line[1, 0])) for line in lines]


def xs(line: Line2D) -> list[float]:
    """Return the places of a line on the time axis."""
    return [float(value) for value in np.asarray(line.get_xdata(), dtype=float)]


def ys(line: Line2D) -> list[float]:
    """Return the heights of a line."""
    return [float(value) for value in np.asarray(line.get_ydata(), dtype=float)]


def words(ax: Axes) -> str:
    """Return all that is written on the Axes."""
    legend = ax.get_legend()
    return "\n".join(
        [
            *(ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel()),
            *(text.get_text() for text in ax.texts),
            *(label.get_text() for label in ax.get_yticklabels()),
            *(text.get_text() for text in (legend.get_texts() if legend else [])),
        ]
    )


def legend_of(ax: Axes) -> list[str]:
    """Return the words of the legend."""
    legend = ax.get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def table_for(draw: Callable[..., Axes]) -> pd.DataFrame:
    """Return a table that the function draws."""
    if draw in ATTEMPT_DRAWERS:
        return mixed()
    return activities_table(("a", 0.1, 0, 0.01, 0), ("b", 0.2, 0.5, 0.01, 0.1))


# Every figure


@pytest.mark.parametrize("draw", DRAWERS)
def test_the_callers_axes_is_used_and_returned(draw: Callable[..., Axes]) -> None:
    figure, ax = plt.subplots()
    open_before = plt.get_fignums()
    assert draw(table_for(draw), ax=ax) is ax
    assert plt.get_fignums() == open_before
    assert figure.axes == [ax]


@pytest.mark.parametrize("draw", DRAWERS)
def test_without_axes_one_figure_opens_at_notebook_width(draw: Callable[..., Axes]) -> None:
    ax = draw(table_for(draw))
    assert len(plt.get_fignums()) == 1
    assert plt.gcf().axes == [ax]
    assert plt.gcf().get_figwidth() == 9.0


@pytest.mark.parametrize("draw", DRAWERS)
def test_no_setting_of_matplotlib_is_changed(draw: Callable[..., Axes]) -> None:
    before = dict(mpl.rcParams)
    draw(table_for(draw)).figure.canvas.draw()
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("draw", DRAWERS)
def test_the_table_is_left_as_it_was(draw: Callable[..., Axes]) -> None:
    table = table_for(draw)
    before = table.copy()
    draw(table)
    pd.testing.assert_frame_equal(table, before)
    assert table.attrs == before.attrs


@pytest.mark.parametrize("draw", DRAWERS)
def test_an_empty_table_gives_axes_that_say_so(draw: Callable[..., Axes]) -> None:
    ax = draw(table_for(draw).iloc[:0])
    assert "the table is empty" in words(ax)
    assert "tables." in words(ax)
    assert not ax.containers


@pytest.mark.parametrize("draw", DRAWERS)
def test_the_wrong_table_is_an_error_that_names_columns_and_the_right_call(
    draw: Callable[..., Axes],
) -> None:
    wrong = schema.frame("timers", [])
    kind = "attempts" if draw in ATTEMPT_DRAWERS else "activities"
    with pytest.raises(TableError, match=rf"tables\.{kind}\(history"):
        draw(wrong)
    assert not plt.get_fignums()


@pytest.mark.parametrize("draw", DRAWERS)
def test_the_clock_stands_on_the_axis(draw: Callable[..., Axes]) -> None:
    table = table_for(draw)
    assert "fast clock" in draw(table).get_xlabel()
    table.attrs["clock"] = "unknown"
    assert "clock unknown" in draw(table).get_xlabel()


@pytest.mark.parametrize("draw", DRAWERS)
def test_nothing_is_cut_off_at_the_edge_of_the_figure(draw: Callable[..., Axes]) -> None:
    ax = draw(table_for(draw))
    ax.figure.canvas.draw()
    drawn, page = ax.get_tightbbox(), ax.figure.bbox
    assert drawn is not None
    assert drawn.x0 >= page.x0
    assert drawn.x1 <= page.x1
    assert drawn.y0 >= page.y0
    assert drawn.y1 <= page.y1


@pytest.mark.parametrize("draw", DRAWERS)
def test_the_legend_does_not_cover_the_data(draw: Callable[..., Axes]) -> None:
    ax = draw(table_for(draw))
    ax.figure.canvas.draw()
    legend = ax.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= ax.bbox.y1 - 1


@pytest.mark.parametrize("draw", DRAWERS)
def test_words_take_the_colour_of_the_readers_theme(draw: Callable[..., Axes]) -> None:
    with plt.style.context("dark_background"):
        ax = draw(table_for(draw))
    assert same_color(ax.xaxis.label.get_color(), "white")
    legend = ax.get_legend()
    assert legend is not None
    assert all(same_color(text.get_color(), "white") for text in legend.get_texts())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 s"),
        (4e-7, "0.4 µs"),
        (0.0004, "400 µs"),
        (0.0852, "85.2 ms"),
        (0.9999, "1 s"),
        (1.5, "1.5 s"),
        (599, "599 s"),
        (5400, "90 min"),
        (86400, "24 h"),
        (2_592_000, "30 d"),
        (-0.003, "−3 ms"),
    ],
)
def test_durations_read_with_three_digits_and_a_unit(value: float, shown: str) -> None:
    assert _words.duration(value) == shown


# A recorded run: four retries and a failure, a timeout, three clean activities


@pytest.fixture
def recorded() -> pd.DataFrame:
    """Read the attempts of the golden run `mixed`."""
    log = [json.loads(line) for line in (DATA / "attempts.jsonl").read_text().splitlines()]
    return tables.attempts(histories.load(DATA / "mixed.json"), recorder=log)


def test_a_recorded_run_shows_all_twelve_attempts(recorded: pd.DataFrame) -> None:
    ax = plots.timeline(recorded)
    assert sum(len(bars(ax, outcome)) for outcome in style.OUTCOMES) == 12
    assert len(bars(ax, "TIMED_OUT")) == 1
    assert "6 activities, 12 attempts" in ax.get_title(loc="left")


def test_a_recorded_run_shows_its_three_ladders(recorded: pd.DataFrame) -> None:
    ax = plots.retries(recorded)
    assert len(bars(ax, "observed backoff")) == len(bars(ax, "planned backoff")) == 6
    assert "fail_until · 200 ms → 300 ms → 450 ms" in words(ax)
    assert "inferred: at most this" in legend_of(ax)


def test_a_history_without_its_recorder_is_drawn_with_what_it_has() -> None:
    history = histories.load(DATA / "mixed.json")
    ax = plots.timeline(tables.attempts(history))
    assert "3 without times" in words(ax)
    assert words(plots.retries(tables.attempts(history))).count("not observed") == 6
    shares = plots.where_time_went(tables.activities(history))
    assert sum(bar.get_width() for bar in bars(shares, "backoff")) == 0
    assert sum(bar.get_width() for bar in bars(shares, "unattributed")) > 0


# Timeline


def test_the_timeline_has_a_bar_per_attempt_in_its_outcomes_look() -> None:
    ax = plots.timeline(mixed())
    counts = {outcome: len(bars(ax, outcome)) for outcome in style.OUTCOMES}
    assert counts == {"COMPLETED": 5, "FAILED": 6, "TIMED_OUT": 1, "CANCELED": 0, "UNKNOWN": 0}
    looks = [bars(ax, outcome)[0] for outcome in ("COMPLETED", "FAILED", "TIMED_OUT")]
    assert len({bar.get_edgecolor() for bar in looks}) == 3
    assert [bar.get_hatch() or "" for bar in looks] == ["", "////", "...."]


def test_the_timeline_counts_seconds_from_the_first_schedule() -> None:
    ax = plots.timeline(attempts_table(activity("FC", at=100.0, run=0.5)))
    failed, done = bars(ax, "FAILED")[0], bars(ax, "COMPLETED")[0]
    assert failed.get_x() == pytest.approx(0.004)
    assert failed.get_width() == pytest.approx(0.5)
    assert done.get_x() == pytest.approx(0.004 + 0.5 + 0.2 + 0.09)
    assert ax.get_xlabel().startswith("seconds since the first activity was scheduled")
    assert ax.get_xlim()[1] > done.get_x() + done.get_width()


def test_the_timeline_shows_backoff_as_dashes_and_dispatch_lag_as_a_thin_bar() -> None:
    ax = plots.timeline(attempts_table(activity("FFC", run=0.5)))
    lags = [bar.get_width() for bar in bars(ax, "dispatch lag")]
    assert lags == pytest.approx([0.004, 0.09, 0.09])
    gaps = [end - start for start, end in gap_lines(ax)]
    assert gaps == pytest.approx([0.2, 0.4])
    assert legend_of(ax) == ["completed", "failed", "backoff", "dispatch lag"]


def test_the_timeline_has_its_rows_in_the_order_of_scheduling_first_on_top() -> None:
    ax = plots.timeline(mixed())
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[:3] == ["validate_input #5", "simulate_ai_call #11", "process_ai_task #17"]
    assert list(ax.get_yticks()) == sorted(ax.get_yticks())
    bottom, top = ax.get_ylim()
    assert bottom > top


def test_an_activity_type_that_occurs_once_needs_no_activity_id() -> None:
    ax = plots.timeline(attempts_table(activity("C"), activity("C", event=11, kind="other")))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["simulate_ai_call", "other"]


def test_the_timeline_numbers_attempts_and_says_how_long_each_row_took() -> None:
    ax = plots.timeline(attempts_table(activity("FFFC")))
    texts = [text.get_text() for text in ax.texts]
    assert texts[:4] == ["1", "2", "3", "4"]
    assert texts[4] == "4 attempts · 1.75 s"


def test_attempt_numbers_that_would_overlap_are_left_out() -> None:
    waits = tuple(min(2.0**step, 100) for step in range(11))
    ax = plots.timeline(attempts_table(activity("F" * 11 + "C", waits=waits)))
    numbers = [int(text.get_text()) for text in ax.texts if text.get_text().isdigit()]
    assert numbers[0] == 1
    assert numbers[-1] == 12
    assert len(numbers) < 12


def test_the_shortest_bar_keeps_an_edge_that_can_be_seen() -> None:
    short = activity("C", run=0.0003)
    ax = plots.timeline(attempts_table(short, activity("C", event=11, run=30.0, at=0.01)))
    narrow = bars(ax, "COMPLETED")[0]
    assert narrow.get_width() == pytest.approx(0.0003)
    assert narrow.get_linewidth() >= 1
    assert to_rgba(narrow.get_edgecolor())[3] == 1


def test_an_axis_under_a_second_is_labelled_in_milliseconds() -> None:
    ax = plots.timeline(attempts_table(activity("C", run=0.012)))
    assert ax.get_xlabel().startswith("milliseconds since")
    assert ax.xaxis.get_major_formatter()(0.004, 0) == "4"
    assert bars(ax, "COMPLETED")[0].get_width() == pytest.approx(0.012)


def test_an_end_that_only_the_worker_measured_is_start_plus_duration() -> None:
    table = attempts_table(activity("FC", run=0.3))
    assert table.closed_time.isna().tolist() == [True, False]
    assert bars(plots.timeline(table), "FAILED")[0].get_width() == pytest.approx(0.3)


def test_attempts_that_history_dropped_are_a_dotted_line_and_a_count() -> None:
    table = attempts_table(activity("FFFC"))
    unseen = table.attempt.isin([2, 3])
    table.loc[unseen | (table.attempt == 1), ["started_time", "closed_time", "worker_exec_s"]] = (
        None
    )
    table.loc[unseen | (table.attempt == 4), "attempt_scheduled_time"] = None
    ax = plots.timeline(table)
    assert "3 without times" in words(ax)
    assert "times not known" in legend_of(ax)
    assert len(bars(ax, "COMPLETED")) == 1
    assert [start for start, _ in gap_lines(ax)] == [0]


def test_the_run_time_of_a_function_that_outlived_its_timeout_does_not_end_its_bar() -> None:
    table = attempts_table(activity("TC", run=1.0))
    table.loc[0, "closed_time"] = None
    table.loc[0, "worker_exec_s"] = 7.0
    ax = plots.timeline(table)
    assert bars(ax, "TIMED_OUT")[0].get_width() == 0
    (stretch,) = gap_lines(ax)
    assert stretch == pytest.approx((0.004, 0.004 + 1.0 + 0.2))
    assert "times not known" in legend_of(ax)


def test_an_activity_without_any_time_keeps_its_row() -> None:
    table = attempts_table(activity("C"), activity("FFC", event=11, kind="local"))
    table.loc[table.activity_type == "local", ["attempt_scheduled_time", "started_time"]] = None
    ax = plots.timeline(table)
    assert "3 attempts, no times" in words(ax)
    assert len(ax.get_yticks()) == 2


def test_a_running_attempt_is_marked_where_it_started() -> None:
    ax = plots.timeline(attempts_table(activity("F?")))
    assert len(bars(ax, "UNKNOWN")) == 1
    assert "2 attempts · end not known" in words(ax)
    assert "end not known" in legend_of(ax)


def test_the_servers_timeout_wins_over_a_late_report_of_success() -> None:
    table = attempts_table(activity("TC", run=1.0))
    table.loc[0, ["worker_outcome", "timeout_type"]] = ["COMPLETED", None]
    table.loc[0, "late_report"] = True
    ax = plots.timeline(table)
    assert (len(bars(ax, "TIMED_OUT")), len(bars(ax, "COMPLETED"))) == (1, 1)


def test_color_by_another_column_keeps_hatch_and_marker_for_the_outcome() -> None:
    ax = plots.timeline(mixed(), color_by="activity_type")
    failed = bars(ax, "FAILED")
    assert len({bar.get_edgecolor() for bar in failed}) == 2
    assert {bar.get_hatch() for bar in failed} == {"////"}
    assert legend_of(ax)[:3] == ["validate_input", "simulate_ai_call", "process_ai_task"]
    with pytest.raises(TableError, match="no column colour"):
        plots.timeline(mixed(), color_by="colour")


def test_several_executions_each_start_at_zero_under_their_workflow_id() -> None:
    one, two = activity("C", at=50.0, run_id="b"), activity("FC", at=900.0, run_id="a")
    ax = plots.timeline(attempts_table(one, two))
    assert bars(ax, "FAILED")[0].get_x() == pytest.approx(0.004)
    texts = [text.get_text() for text in ax.texts]
    assert texts.index("req of b") < texts.index("req of a")
    assert "each execution's first activity" in ax.get_xlabel()
    assert ax.get_title(loc="left") == "2 executions · 2 activities, 3 attempts"


def test_runs_of_one_workflow_id_are_told_apart_by_run_id() -> None:
    table = attempts_table(activity("C", run_id="0123456789"), activity("C", run_id="abcdefghij"))
    table["workflow_id"] = "same"
    assert "same · run 01234567" in words(plots.timeline(table))


def test_more_rows_than_can_be_read_are_cut_and_the_title_says_so() -> None:
    table = attempts_table(*[activity("C", event=5 + 6 * n, at=n) for n in range(50)])
    ax = plots.timeline(table)
    assert len(ax.get_yticks()) == style.MOST_ROWS == 40
    assert "50 activities, 50 attempts (the first 40 rows)" in ax.get_title(loc="left")


def test_long_names_are_cut_in_the_middle() -> None:
    name = "fetch_customer_documents_from_the_archive_service"
    (label,) = plots.timeline(attempts_table(activity("C", kind=name))).get_yticklabels()
    assert label.get_text() == "fetch_customer_d…_archive_service"


def test_attempts_without_any_start_say_so() -> None:
    table = attempts_table(activity("C"))
    table.loc[:, "started_time"] = None
    assert "No attempt has a start time" in words(plots.timeline(table))


# Retries


def test_the_ladder_puts_planned_beside_observed() -> None:
    ax = plots.retries(attempts_table(activity("FFFC")))
    assert [bar.get_width() for bar in bars(ax, "planned backoff")] == pytest.approx(
        [0.2, 0.4, 0.8]
    )
    observed = bars(ax, "observed backoff")
    assert [bar.get_width() for bar in observed] == pytest.approx([0.2, 0.4, 0.8])
    for outline, bar in zip(bars(ax, "planned backoff"), observed, strict=True):
        assert outline.get_y() < bar.get_y()
        assert bar.get_y() + bar.get_height() < outline.get_y() + outline.get_height()
    assert not bars(ax, "planned backoff")[0].get_fill()


def test_the_dispatch_lag_begins_where_the_observed_backoff_ends() -> None:
    ax = plots.retries(attempts_table(activity("FC", lag=0.3)))
    (lag,) = bars(ax, "dispatch lag")
    assert (lag.get_x(), lag.get_width()) == pytest.approx((0.2, 0.3))
    assert ax.get_xlim()[1] >= 0.5


def test_the_figures_of_each_row_stand_beside_it() -> None:
    table = attempts_table(activity("FC"))
    table.loc[1, ["backoff_observed_s", "backoff_error_s"]] = [0.25, 0.05]
    assert "+50 ms, 90 ms" in words(plots.retries(table))
    assert "observed − planned, lag" in words(plots.retries(table))


def test_runs_of_one_policy_share_a_ladder_and_policies_do_not() -> None:
    ax = plots.retries(policies())
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["attempt 2", "attempt 3", "attempt 4"] * 3
    assert len(bars(ax, "planned backoff")) == 9
    assert len(bars(ax, "observed backoff")) == 24
    assert "simulate_ai_call · 200 ms → 400 ms → 800 ms · 3 activities" in words(ax)
    assert ax.get_title(loc="left") == "24 retries of 9 activities"


def test_a_run_that_needed_fewer_retries_joins_the_ladder_that_begins_like_it() -> None:
    short, long = activity("FC", run_id="short"), activity("FFFC", run_id="long")
    ax = plots.retries(attempts_table(short, long))
    assert len(bars(ax, "planned backoff")) == 3
    assert "2 activities" in words(ax)


def test_each_runs_bar_keeps_its_place_in_all_rows_of_the_ladder() -> None:
    ax = plots.retries(policies().query("run_id.str.startswith('b')"))
    rows: dict[int, list[float]] = {}
    for bar in bars(ax, "observed backoff"):
        middle = bar.get_y() + bar.get_height() / 2
        row = min(ax.get_yticks(), key=lambda y: abs(y - middle))
        rows.setdefault(round(row * 10), []).append(round(middle - row, 4))
    second, third, fourth = (sorted(places) for places in rows.values())
    assert second == third
    assert fourth == second[1:]


def test_different_activity_types_never_share_a_ladder() -> None:
    ax = plots.retries(attempts_table(activity("FC"), activity("FC", event=11, kind="other")))
    assert len(bars(ax, "planned backoff")) == 2


def test_a_backoff_after_an_inferred_end_is_marked_as_an_upper_bound() -> None:
    ax = plots.retries(attempts_table(activity("TFC", run=1.0)))
    (marks,) = ax.lines
    assert xs(marks) == pytest.approx([0.2])
    assert "inferred: at most this" in legend_of(ax)
    assert "≤ 0 s, 90 ms" in words(ax)
    assert "inferred" not in words(plots.retries(attempts_table(activity("FFC"))))


def test_retries_that_nobody_saw_show_the_plan_alone() -> None:
    table = attempts_table(activity("FFC"))
    table[["backoff_observed_s", "backoff_error_s", "dispatch_lag_s"]] = np.nan
    ax = plots.retries(table)
    assert len(bars(ax, "planned backoff")) == 2
    assert not bars(ax, "observed backoff")
    assert words(ax).count("not observed") == 2
    table["backoff_planned_s"] = np.nan
    assert "2 retries without a planned or an observed backoff" in words(plots.retries(table))


def test_no_retries_is_good_news_and_said() -> None:
    ax = plots.retries(attempts_table(activity("C")))
    assert "each activity ended with its first attempt" in words(ax)


def test_several_clocks_are_not_drawn_into_one_ladder() -> None:
    table = attempts_table(activity("FC", run_id="a"), activity("FC", run_id="b"))
    table.attrs["clock"] = "default, fast"
    with pytest.raises(TableError, match="one table per clock"):
        plots.retries(table)
    table["clock"] = ["fast", "fast", "default", "default"]
    ax = plots.retries(table)
    assert "fast · simulate_ai_call · 200 ms" in words(ax)
    assert "default · simulate_ai_call · 200 ms" in words(ax)


# Latency


def spread(*groups: tuple[str, np.ndarray[Any, Any]]) -> pd.DataFrame:
    """Make an activities table from values per type."""
    return activities_table(
        *[(kind, float(value), 0, 0, 0) for kind, values in groups for value in values]
    )


def test_latency_draws_the_ecdf_of_each_group() -> None:
    ax = plots.latency(spread(("a", np.array([0.1, 0.2, 0.3])), ("b", np.array([0.5]))))
    first, second = ax.lines
    assert xs(first) == pytest.approx([0.1, 0.1, 0.2, 0.3])
    assert ys(first) == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert first.get_drawstyle() == "steps-post"
    assert second.get_color() != first.get_color()


def test_latency_says_n_and_percentiles_in_the_legend() -> None:
    ax = plots.latency(spread(("a", np.arange(1, 101) / 100), ("b", np.arange(1, 11) / 10)))
    assert legend_of(ax)[:2] == [
        "a: n = 100, p50 500 ms, p95 950 ms",
        "b: n = 10, p50 500 ms (too few for p95)",
    ]
    assert legend_of(ax)[2:] == ["p50 with its 95 % interval", "p95 with its 95 % interval"]


def test_a_percentile_that_n_cannot_support_is_not_marked() -> None:
    few = plots.latency(spread(("a", np.array([0.1, 0.2, 0.3]))))
    assert legend_of(few) == ["a: n = 3 (too few for p50, p95)"]
    assert len(few.lines) == 1
    enough = plots.latency(spread(("a", np.arange(1, 101) / 100)))
    marks = [line for line in enough.lines if line.get_marker() in ("o", "D")]
    assert [(xs(mark)[0], ys(mark)[0]) for mark in marks] == [
        (0.5, 0.5),
        (0.95, 0.95),
    ]


def test_the_time_axis_is_logarithmic_only_when_the_spread_demands_it() -> None:
    near = plots.latency(spread(("a", np.array([0.1, 0.2]))))
    wide = plots.latency(spread(("a", np.array([0.0005, 30.0]))))
    assert (near.get_xscale(), wide.get_xscale()) == ("linear", "log")
    assert near.get_xlabel().startswith("milliseconds from scheduled to closed")
    assert wide.get_xlabel().endswith("logarithmic")
    assert wide.xaxis.get_major_formatter()(0.001, 0) == "1 ms"
    assert wide.get_xlim()[0] < 0.0005
    assert wide.get_xlim()[1] > 30


def test_a_latency_of_zero_stands_at_the_left_edge_of_a_logarithmic_axis() -> None:
    ax = plots.latency(spread(("a", np.array([0.0, 0.001, 1.0]))))
    assert ax.get_xscale() == "log"
    assert xs(ax.lines[0])[0] == ax.get_xlim()[0]


def test_latency_of_a_named_column_and_group() -> None:
    table = mixed()
    ax = plots.latency(table, column="worker_exec_s", by=["workflow_id", "activity_type"])
    assert any(label.startswith("req of run-1 · process_ai_task: n = 4") for label in legend_of(ax))
    assert "measured by the worker" in ax.get_xlabel()
    assert ax.get_title(loc="left") == "Latency by workflow_id, activity_type"


def test_latency_draws_a_group_whose_name_is_missing() -> None:
    table = pd.DataFrame(
        {"total_s": [0.1, 0.2] * 8, "p": [1.0, None] * 8, "r": ["a", "a", "b", "b"] * 4}
    )
    ax = plots.latency(table, column="total_s", by=["p", "r"])
    labels = [str(line.get_label()) for line in ax.get_lines()]
    assert sum("n = 4" in label for label in labels) == 4


def test_latency_without_values_says_so() -> None:
    table = spread(("a", np.array([0.1])))
    table["total_s"] = np.nan
    assert "total_s holds no values" in words(plots.latency(table))


def test_more_groups_than_colours_differ_by_line_style() -> None:
    ax = plots.latency(spread(*[(f"type-{n}", np.array([0.1, 0.2])) for n in range(8)]))
    looks = {(line.get_color(), line.get_linestyle()) for line in ax.lines}
    assert len(looks) == 8


# Where the time went


def test_the_parts_of_each_bar_fill_a_hundred_percent() -> None:
    ax = plots.where_time_went(activities_table(("a", 1, 2, 0.5, 0.5), ("b", 9, 0, 1, 0)))
    parts = ["running", "backoff", "dispatch lag", "unattributed"]
    widths = np.array([[bar.get_width() for bar in bars(ax, part)] for part in parts])
    assert widths.sum(axis=0) == pytest.approx([1, 1])
    assert widths[:, 1] == pytest.approx([0.25, 0.5, 0.125, 0.125])
    assert legend_of(ax) == parts
    assert ax.get_xlim() == (0, 1)


def test_the_longest_total_stands_on_top_with_its_size() -> None:
    ax = plots.where_time_went(
        activities_table(("a", 1, 0, 0, 0), ("b", 5, 1, 0, 0), ("b", 4, 0, 0, 0))
    )
    assert [label.get_text() for label in ax.get_yticklabels()] == ["b", "a"]
    assert "10 s in 2 activities" in words(ax)
    assert "1 s in 1 activity" in words(ax)


def test_a_share_is_written_into_its_bar_where_there_is_room() -> None:
    ax = plots.where_time_went(activities_table(("a", 95, 0, 3, 2)))
    shares = [text.get_text() for text in ax.texts if text.get_text().endswith("%")]
    assert shares == ["95 %"]


def test_where_time_went_by_another_column_and_with_none_closed() -> None:
    table = activities_table(("a", 1, 0, 0, 0), ("b", 5, 1, 0, 0))
    ax = plots.where_time_went(table, by=["workflow_id", "activity_type"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["req · b", "req · a"]
    table["total_s"] = np.nan
    assert "no activity has closed" in words(plots.where_time_went(table))
