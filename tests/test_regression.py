"""Each rule holds where it should, breaks where it should, and says where it cannot tell."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from projectai_lab import regression, tables
from projectai_lab.errors import BaselineError, RegressionError, TableError
from projectai_lab.regression import Verdict
from projectai_lab.regression._sides import Rule
from tests.data import attempt_records, golden, goldens

KEY = ["workflow_id", "activity_type", "attempt"]
RNG = np.random.default_rng(5)


def steps(**columns: Any) -> pd.DataFrame:
    """Make a table of four steps in two runs, with columns in the place of its own."""
    data: dict[str, Any] = {
        "workflow_id": ["a", "a", "b", "b"],
        "step": ["one", "two", "one", "two"],
        "status": ["DONE", "DONE", "DONE", None],
        "took": [0.1, 0.2, 0.1, None],
        "attempts": pd.array([1, 2, 1, None], dtype="Int64"),
    }
    return pd.DataFrame({**data, **columns})


def check(now: pd.DataFrame, then: pd.DataFrame, *rules: Rule, **options: Any) -> Verdict:
    """Check, and return the verdict whether or not it is broken."""
    try:
        return regression.check(now, rules, baseline=then, **options)
    except RegressionError as error:
        return error.verdict  # type: ignore[no-any-return]


def broken(now: pd.DataFrame, then: pd.DataFrame, *rules: Rule, **options: Any) -> list[list[str]]:
    """Return column, expected, seen and where of all that is broken."""
    table = check(now, then, *rules, **options).table
    columns = ["column", "expected", "seen", "where"]
    rows: list[list[str]] = table.loc[~table["ok"], columns].to_numpy().tolist()
    return rows


ALL = [
    regression.exact(["status", "attempts"]),
    regression.tolerance("took", absolute=0.01),
    regression.same_set("status"),
    regression.event_order("step"),
    regression.columns(),
]


def test_an_unchanged_table_holds_to_every_rule() -> None:
    found = regression.check(steps(), ALL, baseline=steps(), key=["workflow_id", "step"])
    assert found.ok
    assert found.table["ok"].all()
    assert {*found.table["rule"]} == {
        *("rows", "exact", "tolerance(absolute=0.01)", "same_set", "columns"),
        "event_order(by=workflow_id)",
    }
    assert found.table["cell"].isna().all()


def test_an_empty_table_holds_to_an_empty_baseline() -> None:
    nothing = steps().iloc[:0]
    assert regression.check(nothing, ALL, baseline=nothing, key=["workflow_id", "step"]).ok


def test_rows_match_by_key_whatever_their_order() -> None:
    rules = [regression.exact(["status", "attempts"]), regression.tolerance("took", absolute=0.01)]
    shuffled = steps().iloc[[2, 0, 3, 1]]
    assert broken(shuffled, steps(), *rules, key=["workflow_id", "step"]) == []
    assert broken(shuffled, steps(), regression.exact("attempts")) != []


def test_exact_names_the_value_its_row_and_its_run() -> None:
    now = steps(status=["DONE", "FAILED", "DONE", None])
    rule = regression.exact("status")
    with pytest.raises(RegressionError) as caught:
        regression.check(now, [rule], baseline=steps(), key=["workflow_id", "step"], name="mine")
    assert str(caught.value) == (
        "check 'mine' is broken: 1 of 2 findings\n"
        "  exact of status at workflow_id=a, step=two: expected DONE, seen FAILED (workflows: a)"
    )
    row = caught.value.verdict.table.iloc[0]
    assert (row["rule"], row["ok"], row["workflow_ids"]) == ("exact", False, "a")


def test_missing_equals_missing_and_nothing_else() -> None:
    assert broken(steps(attempts=[1, 2, 1, 0]), steps(), regression.exact("attempts")) == [
        ["attempts", "NA", "0", "row 4"]
    ]
    assert broken(
        steps(took=[0.1, np.nan, 0.1, 0.1]), steps(), regression.tolerance("took", absolute=9)
    ) == [["took", "0.2 ± 9", "NA", "row 2"], ["took", "NA", "0.1", "row 4"]]


@pytest.mark.parametrize(
    ("options", "value", "ok"),
    [
        ({"absolute": 0.05}, 0.25, True),
        ({"absolute": 0.05}, 0.26, False),
        ({"relative": 0.25}, 0.25, True),
        ({"relative": 0.25}, 0.149, False),
        ({"absolute": 0.05, "relative": 0.25}, 0.3, True),
    ],
)
def test_a_tolerance_ends_where_it_says(options: dict[str, float], value: float, ok: bool) -> None:
    now = steps(took=[0.1, value, 0.1, None])
    assert check(now, steps(), regression.tolerance("took", **options)).ok is ok


def test_a_row_that_is_gone_and_one_that_is_new_are_named() -> None:
    now = steps(step=["one", "three", "one", "two"])
    found = broken(now, steps(), regression.exact("status"), key=["workflow_id", "step"])
    assert found == [
        ["workflow_id, step", "the row", "no such row", "workflow_id=a, step=two"],
        ["workflow_id, step", "no such row", "a new row", "workflow_id=a, step=three"],
    ]
    assert broken(steps().iloc[:3], steps(), regression.exact("status")) == [
        ["", "the row", "no such row", "row 4"]
    ]


def test_rows_that_are_all_gone_break_the_check() -> None:
    assert len(broken(steps().iloc[:0], steps(), regression.exact("status"))) == 4


def test_same_set_tells_new_values_from_gone_ones() -> None:
    now = steps(status=["DONE", "LATE", "LATE", "DONE"])
    table = check(now, steps(), regression.same_set("status")).table
    assert table["expected"].tolist() == ["DONE, NA"]
    assert table["seen"].tolist() == ["new: LATE; gone: NA"]
    assert table["workflow_ids"].tolist() == ["a, b"]
    assert broken(now.iloc[::-1], now, regression.same_set("status")) == []


def test_event_order_names_the_first_step_out_of_order() -> None:
    now = steps(step=["one", "two", "two", "one"])
    assert broken(now, steps(), regression.event_order("step")) == [
        ["step", "one", "two", "workflow_id=b, row 1"]
    ]
    assert broken(steps().iloc[[2, 3, 0, 1]], steps(), regression.event_order("step")) == []
    assert broken(now, steps(), regression.event_order("step", by=None)) == [
        ["step", "one", "two", "row 3"]
    ]


def test_event_order_names_a_sequence_that_is_shorter_or_gone() -> None:
    assert broken(steps().iloc[:1], steps(), regression.event_order("step")) == [
        ["step", "two", "the end", "workflow_id=a, row 2"],
        ["step", "one", "the end", "workflow_id=b, row 1"],
    ]


def test_a_renamed_column_is_named_by_every_rule_that_needs_it() -> None:
    now = steps().rename(columns={"status": "state"})
    rules = [regression.columns(), regression.exact(["status", "attempts"])]
    seen = "no such column; is it state now?"
    assert broken(now, steps(), *rules) == [
        ["status", "str", seen, ""],
        ["status", "the column", seen, ""],
    ]
    gone = "no such column"
    assert broken(now, steps(), regression.event_order("status", by="step")) == [
        ["status", "the column", seen, ""]
    ]
    assert broken(steps().drop(columns="took"), steps(), regression.columns()) == [
        ["took", "float64", gone, ""]
    ]


def test_a_key_column_that_is_gone_breaks_the_check_once() -> None:
    now = steps().rename(columns={"step": "steps"})
    rules = [regression.exact("status"), regression.exact("attempts")]
    assert broken(now, steps(), *rules, key=["workflow_id", "step"]) == [
        ["step", "the key column", "no such column; is it steps now?", ""]
    ]


def test_columns_tells_a_dtype_and_lets_a_new_column_be() -> None:
    now = steps(attempts=["1", "2", "1", None]).assign(more=1)
    assert broken(now, steps(), regression.columns()) == [["attempts", "Int64", "str", ""]]
    assert broken(steps().assign(more=1), steps(), regression.columns()) == []


def test_a_column_that_holds_no_numbers_any_more_is_a_change() -> None:
    now = steps(took=["0.1", "0.2", "0.1", None])
    for rule in (regression.tolerance("took", absolute=1), regression.distribution("took")):
        assert broken(now, steps(), rule) == [["took", "numbers (float64)", "str", ""]]


def timed(length: float, n: int = 20) -> pd.DataFrame:
    """Make times as a busy machine gives them: noise comes on top, and some of it is large."""
    noise = RNG.exponential(0.004, n) + np.where(RNG.random(n) < 0.2, 0.1, 0.0)
    ids = [f"r{k}" for k in range(n)]
    return pd.DataFrame({"workflow_id": ids, "worker_exec_s": length + noise})


BAND = regression.quantile_band("worker_exec_s", q=0.25, relative=0.15)


def test_a_slower_activity_is_told_from_noise() -> None:
    then = timed(0.2)
    assert [check(timed(0.2), then, BAND).ok for _ in range(20)] == [True] * 20
    assert [check(timed(0.26), then, BAND).ok for _ in range(20)] == [False] * 20
    row = check(timed(0.26), then, BAND).table.iloc[0]
    assert re.fullmatch(r"0\.2\d* ± 0\.03\d*", row["expected"])
    assert re.fullmatch(r"0\.2\d+ \(n = 20; shift 0\.0\d+, 0\.0\d+ to 0\.0\d+\)", row["seen"])
    assert row["workflow_ids"].startswith("r0, r1, ")


def test_a_faster_activity_is_a_change_too() -> None:
    assert not check(timed(0.14), timed(0.2), BAND).ok


def test_a_shift_that_is_real_and_small_is_let_be() -> None:
    exactly = [pd.DataFrame({"took": np.linspace(x, x + 1e-6, 20)}) for x in (0.2, 0.21)]
    assert check(*exactly, regression.quantile_band("took", q=0.25, relative=0.15)).ok
    assert not check(*exactly, regression.quantile_band("took", q=0.25, absolute=0.005)).ok


def test_a_quantile_that_n_does_not_support_breaks_the_rule() -> None:
    found = broken(timed(0.2, 19), timed(0.2, 18), BAND)
    told = "n = 18 then, 19 now: too few to know the quantile 0.25"
    assert found == [["worker_exec_s", "enough values to judge", told, ""]]
    assert check(timed(0.2, 19), timed(0.2, 19), BAND).ok


def test_the_same_values_give_the_same_verdict() -> None:
    now, then = timed(0.2), timed(0.21)
    one, other = (check(now, then, BAND).table for _ in range(2))
    pd.testing.assert_frame_equal(one, other)


def test_distribution_tells_another_law_and_knows_when_it_cannot() -> None:
    rule = regression.distribution("x", alpha=0.001)
    then = pd.DataFrame({"x": RNG.normal(0, 1, 200)})
    assert check(pd.DataFrame({"x": RNG.normal(0, 1, 200)}), then, rule).ok
    found = broken(pd.DataFrame({"x": RNG.normal(0, 3, 200)}), then, rule)
    assert found[0][1] == "p >= 0.001"
    assert re.fullmatch(r"p = \S+e-\d+, D = 0\.\d+ \(n = 200 then, 200 now\)", found[0][2])
    few = then.iloc[:5]
    assert broken(few, few, rule)[0][2] == "n = 5 then, 5 now: too few for p < 0.001"
    assert broken(few.iloc[:0], then, rule)[0][2].startswith("n = 200 then, 0 now: too few")


def attempts() -> pd.DataFrame:
    return tables.attempts(goldens(), attempt_records())


def test_a_retry_schedule_holds_to_the_policy_without_a_baseline() -> None:
    found = regression.check(attempts(), [regression.retry_schedule(absolute=0.3)])
    assert found.ok
    assert re.fullmatch(r"\d+ of \d+ retries measured, all in time", found.table["seen"].iloc[0])


def test_a_retry_that_waited_otherwise_is_named() -> None:
    late = attempts()
    place = late["backoff_error_s"].first_valid_index()
    late.loc[place, ["backoff_observed_s", "backoff_error_s"]] = [9.0, 8.8]
    with pytest.raises(RegressionError, match=r"expected 0\.\d+ ± 0\.3, seen 9 ") as caught:
        regression.check(late, [regression.retry_schedule(absolute=0.3)])
    row = caught.value.verdict.table.iloc[0]
    assert row["workflow_ids"] == late["workflow_id"][place]
    assert row["where"] == f"activity_type={late['activity_type'][place]}, attempt=" + str(
        late["attempt"][place]
    )


def test_a_table_without_measured_retries_cannot_hold_to_a_schedule() -> None:
    clean = tables.attempts(golden("clean"), attempt_records())
    first = clean[clean["attempt"] == 1]
    with pytest.raises(RegressionError, match="expected the plan, seen 0 of 0 retries measured"):
        regression.check(first, [regression.retry_schedule()])


def test_a_table_of_ours_is_named_by_its_schema_and_holds_to_itself() -> None:
    rules = [regression.columns(), regression.exact("worker_outcome")]
    key = ["workflow_id", "scheduled_event_id", "attempt"]
    found = regression.check(attempts(), rules, key=key, baseline=attempts())
    assert (found.name, found.ok) == ("attempts", True)


def test_a_lost_retry_is_a_row_that_is_gone() -> None:
    now = attempts()
    lost = now[now["attempt"] == 2].index[0]
    key = ["workflow_id", "scheduled_event_id", "attempt"]
    found = broken(now.drop(index=lost), now, regression.exact("worker_outcome"), key=key)
    assert [row[1:3] for row in found] == [["the row", "no such row"]]
    assert found[0][3].endswith("attempt=2")


def test_a_verdict_shows_itself_escaped_and_honest() -> None:
    now = steps(status=["<b>", "DONE", "DONE", None])
    found = check(now, steps(), regression.exact("status"), name="x")
    assert repr(found) == "<Verdict check 'x' is broken: 1 of 2 findings>"
    assert "<b>" not in found._repr_html_()
    assert "&lt;b&gt;" in found._repr_html_()
    good = check(steps(), steps(), regression.exact("status"), name="x")
    assert repr(good) == "<Verdict check 'x' holds: 2 findings, all as expected>"


def test_a_long_list_of_differences_is_cut_in_the_message_alone() -> None:
    then = pd.DataFrame({"workflow_id": [f"r{n}" for n in range(30)], "x": range(30)})
    now = then.assign(x=-1)
    with pytest.raises(RegressionError, match="and 24 more: the verdict's table has them all") as e:
        regression.check(now, [regression.exact("x")], baseline=then)
    assert len(e.value.verdict.table) == 31


def use(*rules: Any, df: Any = None, then: Any = None, **options: Any) -> Callable[[], Verdict]:
    """Return a call of check."""
    now = steps() if df is None else df
    before = steps() if then is None else then
    return lambda: regression.check(now, rules, **{"baseline": before, **options})


COUNTED = steps().assign(attempts_s=1.0)
BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no rules": (use(), ValueError, r"no rules, so it would hold whatever happens; give some: "),
    "no rule": (use("exact"), TypeError, r"'exact' is no rule; call one, as in regression\.exact"),
    "uncalled rule": (use(regression.columns), TypeError, r"is no rule; call one"),
    "no columns": (lambda: regression.exact([]), ValueError, r"compares nothing; name the columns"),
    "no tolerance": (lambda: regression.tolerance("x"), ValueError, r"more than 0; for equal"),
    "negative": (lambda: regression.tolerance("x", absolute=-1), ValueError, r"be 0 or more"),
    "q": (
        lambda: regression.quantile_band("x", q=95, relative=1),
        ValueError,
        r"between 0 and 1, got 95",
    ),
    "alpha": (lambda: regression.distribution("x", alpha=0), ValueError, r"got 0"),
    "no DataFrame": (use(*ALL, df=[1]), TableError, r"takes a DataFrame, got list"),
    "unknown column": (
        use(regression.exact("statsu")),
        TableError,
        r"exact names column 'statsu', which the table lacks; did you mean status\? It has: work",
    ),
    "unlike any": (use(regression.exact("zzz")), TableError, r"the table lacks\. It has: "),
    "unknown key": (
        use(regression.exact("status"), key="workflow"),
        TableError,
        r"key names column 'workflow', which the table lacks; did you mean workflow_id\?",
    ),
    "new to the baseline": (
        use(regression.exact("more"), df=steps().assign(more=1)),
        BaselineError,
        r"'more', which the baseline does not hold; make it anew",
    ),
    "rows of one key": (
        use(regression.exact("status"), key="workflow_id"),
        TableError,
        r"two rows of one key: workflow_id=a; add a column .* key=\['workflow_id', '…'\]",
    ),
    "columns of one name": (
        use(*ALL, df=pd.concat([steps(), steps()], axis=1)),
        TableError,
        r"two columns of one name: workflow_id",
    ),
    "text in a tolerance": (
        use(regression.tolerance("status", absolute=1)),
        TableError,
        r"tolerance\(absolute=1\) compares numbers, and status is str; .*: exact\('status'\)",
    ),
    "text in a quantile": (
        use(regression.quantile_band("step", relative=1)),
        TableError,
        r"step is str",
    ),
    "a name for no file": (use(*ALL, name="../x"), ValueError, r"of letters, digits.*'\.\./x'"),
    "another schema": (
        use(regression.columns(), df=attempts(), then=tables.timers(goldens())),
        BaselineError,
        r"is of schema projectai_lab/timers/1, the table of projectai_lab/attempts/1; make it anew",
    ),
    "no baseline": (
        use(regression.columns(), name="x", baseline=None),
        BaselineError,
        r"check 'x' does not know its notebook, so not its baseline: give baseline=",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_with_the_next_step(case: str) -> None:
    call, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        call()


def test_times_of_two_clocks_are_not_compared_but_all_else_is() -> None:
    fast = tables.attempts(golden("clean"), attempt_records())
    default = tables.attempts(golden("clean", clock="default"), attempt_records())
    fine = [regression.exact("worker_outcome"), regression.tolerance("worker_exec_s", absolute=1)]
    assert regression.check(fast, fine, baseline=default).ok
    with pytest.raises(
        BaselineError, match="on the clock default, the table on fast, and exec_s of two clocks"
    ):
        regression.check(fast, [regression.tolerance("exec_s", absolute=1)], baseline=default)
