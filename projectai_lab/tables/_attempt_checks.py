"""Checks on every table of attempts: our own slips are errors, the world's are told in `doubt`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from projectai_lab.errors import TableError

_TOLERANCE_S = 0.005
_EXACT_S = 1e-6
_PARTS = ["exec_s", "backoff_s", "queue_s", "unattributed_s"]
Flags = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]


def checked(attempts: pd.DataFrame, virtual: Flags) -> pd.DataFrame:
    """Return the table with what its rows contradict added to `doubt`.

    `virtual` are the rows whose server skips time, so that its clock is not the workers'. Raises
    TableError where attempts do not count 1..N or a duration is not that of its own clock's times.
    """
    _check_numbers(attempts)
    _check_durations(attempts)
    doubts = attempts["doubt"].to_numpy(dtype=object, na_value="")
    for word, rows in _doubtful(attempts, virtual):
        for place in np.flatnonzero(rows):
            doubts[place] = ", ".join(sorted({*filter(None, doubts[place].split(", ")), word}))
    told = pd.array([doubt or None for doubt in doubts], dtype="str")
    result = attempts.assign(doubt=told)
    result.attrs = attempts.attrs
    return result


def check_parts(activities: pd.DataFrame) -> pd.DataFrame:
    """Return the table of activities if parts + unattributed = total in each row, NA being 0."""
    apart = activities[_PARTS].sum(axis=1) - activities["total_s"]
    wrong = apart.abs() > _EXACT_S
    if wrong.any():
        row = activities.loc[wrong.idxmax()]
        raise TableError(
            f"activity {row.activity_id} of run {row.run_id}: its parts miss its total by "
            f"{apart[wrong.idxmax()]:g} s; this is a fault of the table, please report it",
            table="activities",
        )
    return activities


def _check_numbers(attempts: pd.DataFrame) -> None:
    number = attempts["attempt"].to_numpy(dtype=np.int64)
    wrong = number != np.where(_follows(attempts), _before(number, 0) + 1, 1)
    _refuse(attempts, wrong, "its attempts do not count 1, 2, 3 …")


def _check_durations(attempts: pd.DataFrame) -> None:
    """Compare durations with the times of the one clock that they are said to be of."""
    times = _times(attempts)
    started, due = times["started_time"], times["attempt_scheduled_time"]
    closed = times["closed_time"]
    before = np.where(_follows(attempts), _before(closed, np.nan), np.nan)
    column = {name: attempts[name].to_numpy() for name in attempts if str(name).endswith("_s")}
    for name, expected in (
        ("dispatch_lag_s", started - due),
        ("exec_s", closed - started),
        ("gap_s", started - before),
        ("backoff_observed_s", due - before),
        ("backoff_observed_s", column["gap_s"] - column["dispatch_lag_s"]),
        ("backoff_error_s", column["backoff_observed_s"] - column["backoff_planned_s"]),
    ):
        wrong = np.abs(column[name] - expected) > _EXACT_S
        _refuse(attempts, wrong, f"its {name} is not the difference of the server's times")


def _refuse(attempts: pd.DataFrame, wrong: Flags, why: str) -> None:
    if wrong.any():
        row = attempts.iloc[int(np.argmax(wrong))]
        raise TableError(
            f"attempt {row.attempt} of activity {row.activity_id} of run {row.run_id}: {why}; "
            "this is a fault of the table, please report it",
            table="attempts",
        )


def _doubtful(attempts: pd.DataFrame, virtual: Flags) -> Iterator[tuple[str, Flags]]:
    follows, times = _follows(attempts), _times(attempts)
    started = times["started_time"]
    early = started < np.where(follows, _before(started, np.nan), np.nan)
    yield "out_of_order", early | (attempts["exec_s"].to_numpy() < -_TOLERANCE_S)
    yield "started_early", attempts["dispatch_lag_s"].to_numpy() < -_TOLERANCE_S
    yield "overlap", (attempts["gap_s"].to_numpy() < -_TOLERANCE_S) & ~early
    yield "clock_skew", _skewed(attempts, times, follows) & ~virtual


def _skewed(attempts: pd.DataFrame, times: dict[str, Numbers], follows: Flags) -> Flags:
    """Tell where a worker's time lies outside of what the server's times allow.

    A function begins after the server hands it out; it ends before the server has its report, and
    so before the next attempt is due. Nothing is subtracted to be kept: this is only a question.
    """
    same = attempts["server_outcome"].astype(str) == attempts["worker_outcome"].astype(str)
    closed = np.where(same, times["closed_time"], np.nan)
    measured = (attempts["time_quality"] == "measured_worker").to_numpy()
    followed = np.append(follows[1:], False)[: len(follows)]
    due_after = np.append(times["attempt_scheduled_time"][1:], np.nan)[: len(follows)]
    next_due = np.where(measured & followed, due_after, np.nan)
    latest = np.fmin(closed, next_due)
    early = times["worker_started_time"] < times["started_time"] - _TOLERANCE_S
    return np.asarray(early | (times["worker_finished_time"] > latest + _TOLERANCE_S), dtype=bool)


def _follows(attempts: pd.DataFrame) -> Flags:
    """Tell which rows are of the same activity as the row before."""
    keys = [attempts[name].to_numpy() for name in ("run_id", "scheduled_event_id")]
    # The number is asked too: a run that is given twice begins again.
    same = np.append(False, keys[0][1:] == keys[0][:-1]) if len(attempts) else np.array([], bool)
    same = same & (keys[1] == _before(keys[1], -1))
    return np.asarray(same & (attempts["attempt"].to_numpy() > 1), dtype=bool)


def _before(values: Any, first: Any) -> Any:
    """Return the values of the row before."""
    return np.append(first, values[:-1]) if len(values) else values


def _times(attempts: pd.DataFrame) -> dict[str, Numbers]:
    """Return each column of instants as seconds since one instant near them, NaN for none."""
    columns = {
        str(name): attempts[name].dt.tz_localize(None).to_numpy().astype("M8[ns]")
        for name in attempts
        if str(name).endswith("_time")
    }
    known = [times[~np.isnat(times)].min() for times in columns.values() if not _empty(times)]
    zero = min(known, default=np.datetime64(0, "ns"))
    return {name: (times - zero) / np.timedelta64(1, "s") for name, times in columns.items()}


def _empty(times: npt.NDArray[np.datetime64]) -> bool:
    return bool(np.isnat(times).all())
