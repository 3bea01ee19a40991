"""Designs: the same seed gives the same table, every block is whole, bad input is named."""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from projectai_lab import sweeps
from projectai_lab.errors import DesignError
from projectai_lab.models import Latency
from projectai_lab.sweeps._checked import checked, planned, summary
from projectai_lab.sweeps._design import OWN, frame

FIRST, FAILING = "retry.simulate_ai_call.initial_interval", "faults.fail_probability.x"


def a_grid(**options: Any) -> pd.DataFrame:
    return sweeps.grid({FIRST: [0.1, 0.5], FAILING: [0.2, 0.5, 0.8]}, **options)


def a_sample(**options: Any) -> pd.DataFrame:
    given = {FIRST: (0.05, 2.0), FAILING: ["a", "b"], "data": range(1, 5)}
    return sweeps.sample(given, **{"n": 12, "log": [FIRST], "replicates": 2, **options})


@pytest.mark.parametrize("make", [a_grid, a_sample])
def test_the_same_seed_gives_the_same_table_and_another_gives_another(
    make: Callable[..., pd.DataFrame],
) -> None:
    assert make(seed=7).to_csv() == make(seed=7).to_csv()
    assert make(seed=7).to_csv() != make(seed=8).to_csv()


def test_another_process_makes_the_same_table_byte_for_byte() -> None:
    code = (
        "import sys; from tests.test_sweeps_design import a_grid, a_sample\n"
        "sys.stdout.write(a_grid(seed=7, replicates=3).to_csv() + a_sample(seed=7).to_csv())"
    )
    path = os.pathsep.join(filter(None, [os.getcwd(), *sys.path]))
    env = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "3"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=True)
    assert done.stdout.decode() == a_grid(seed=7, replicates=3).to_csv() + a_sample(seed=7).to_csv()


def test_a_grid_holds_every_combination_once_a_replicate() -> None:
    design = a_grid(replicates=4, seed=7)
    assert list(design.columns) == [*OWN, FIRST, FAILING]
    assert len(design) == 6 * 4
    points = design.groupby("row")[[FIRST, FAILING]].nunique()
    assert (points == 1).all().all()
    assert design[["row", FIRST, FAILING]].drop_duplicates().shape[0] == 6
    assert sorted(design.drop_duplicates("row")[FIRST]) == [0.1, 0.1, 0.1, 0.5, 0.5, 0.5]


def test_every_block_is_one_replicate_of_all_points_in_an_order_of_its_own() -> None:
    design = a_grid(replicates=6, seed=7)
    assert design["order"].tolist() == list(range(36))
    assert (design["block"] == design["replicate"]).all()
    orders = [block["row"].tolist() for _, block in design.groupby("block")]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_arms_share_the_seed_of_a_replicate_and_replicates_do_not() -> None:
    design = a_grid(replicates=50, seed=7)
    assert (design.groupby("replicate")["seed"].nunique() == 1).all()
    assert design["seed"].nunique() == 50
    assert design["seed"].between(0, 2**53 - 1).all()


def test_more_replicates_keep_the_seeds_of_those_before() -> None:
    few, many = a_grid(replicates=2, seed=7), a_grid(replicates=5, seed=7)
    assert set(few["seed"]) < set(many["seed"])


def test_the_design_says_what_made_it_and_that_line_makes_it_again() -> None:
    for design in (a_grid(replicates=2, seed=7), a_sample(seed=7)):
        assert design.attrs["seed"] == 7
        assert design.attrs["schema"] == "projectai_lab/design/1"
        again = eval(design.attrs["made"], {"sweeps": sweeps})
        pd.testing.assert_frame_equal(again, design)


def test_a_sample_spreads_each_range_evenly_over_its_strata() -> None:
    design = sweeps.sample({"a": (10.0, 20.0), "b": (1.0, 10_000.0)}, n=20, log=["b"], seed=1)
    strata_a = ((design["a"] - 10) / 10 * 20).astype(int)
    strata_b = (np.log10(design["b"]) / 4 * 20).astype(int)
    assert sorted(strata_a) == list(range(20))
    assert sorted(strata_b) == list(range(20))
    assert design["a"].between(10, 20).all()


def test_a_sample_takes_choices_and_whole_numbers_equally_often() -> None:
    design = sweeps.sample({"word": ["x", "y"], "count": range(1, 5)}, n=16, seed=1)
    assert design["word"].value_counts().to_dict() == {"x": 8, "y": 8}
    assert design["count"].value_counts().to_dict() == {1: 4, 2: 4, 3: 4, 4: 4}
    assert design["count"].dtype == np.int64


def test_durations_become_seconds_and_none_stays() -> None:
    design = sweeps.grid({"a": [timedelta(minutes=1), 2], "b": [None, 3]})
    assert sorted(design["a"]) == [2.0, 2.0, 60.0, 60.0]
    assert [value for value in design["b"].tolist() if value is not None] == [3, 3]
    assert design["b"].tolist().count(None) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sweeps.grid({}), "the design is empty: name a parameter"),
        (lambda: sweeps.grid({"a": []}), "the design is empty: 'a' has no values"),
        (lambda: sweeps.sample({}, n=3), "the design is empty: name a parameter"),
        (lambda: sweeps.grid({"a": [1]}, replicates=0), "replicates must be a whole number, 1 or"),
        (lambda: sweeps.grid({"a": [1]}, replicates=-2), "replicates must be .* got -2"),
        (lambda: sweeps.grid({"a": [1]}, replicates=1.5), "replicates must be .* got 1.5"),  # type: ignore[arg-type]
        (lambda: sweeps.grid({"a": [1]}, seed=-1), "seed must be a whole number, 0 or more"),
        (lambda: sweeps.sample({"a": [1]}, n=0), "n must be a whole number, 1 or more; got 0"),
        (lambda: sweeps.sample({"a": (2.0, 1.0)}, n=3), r"range of 'a' is empty or reversed: \(2"),
        (lambda: sweeps.sample({"a": (1, 1)}, n=3), "is empty or reversed"),
        (lambda: sweeps.sample({"a": (1, math.inf)}, n=3), "'a' cannot be serialised"),
        (lambda: sweeps.sample({"a": ("x", "y")}, n=3), "give a choice of values as a list"),
        (lambda: sweeps.sample({"a": (1, 2, 3)}, n=3), "give a choice of values as a list"),
        (lambda: sweeps.sample({"a": (0.0, 2.0)}, n=3, log=["a"]), "begins above 0"),
        (lambda: sweeps.sample({"a": [1, 2]}, n=3, log=["a"]), "log needs a range"),
        (lambda: sweeps.sample({"a": (1, 2)}, n=3, log=["b"]), "log names 'b', which is no param"),
        (lambda: sweeps.grid({"a": [1, 1]}), "'a' has the value 1 twice; repeat with replicates="),
        (lambda: sweeps.grid({"a": "text"}), "the values of 'a' must be a list, got 'text'"),
        (lambda: sweeps.grid({"a": 5}), "the values of 'a' must be a list, got 5"),  # type: ignore[dict-item]
        (lambda: sweeps.grid([("a", [1])]), "parameters must be a dict"),  # type: ignore[arg-type]
        (lambda: sweeps.grid({"seed": [1]}), "'seed' is a column of every design"),
        (lambda: sweeps.grid({"a..b": [1]}), "'a..b' is no name of a parameter"),
        (lambda: sweeps.grid({"a": [{1, 2}]}), r"the value \{1, 2\} of 'a' cannot be serialised"),
        (
            lambda: sweeps.grid({"faults.latency": [Latency()]}),
            "vary its fields, such as 'faults.l",
        ),
    ],
)
def test_what_is_no_design_is_refused_by_name(make: Callable[[], object], message: str) -> None:
    with pytest.raises(DesignError, match=message):
        make()


def test_a_design_survives_csv_and_a_shuffle() -> None:
    design = a_grid(replicates=3, seed=7)
    read = pd.read_csv(io.StringIO(design.to_csv(index=False)))
    shuffled = checked(read.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(shuffled, checked(design))
    assert [run.label for run in planned(shuffled)] == [run.label for run in planned(design)]


def test_a_part_of_a_design_is_a_design_and_keeps_its_origin() -> None:
    design = a_grid(replicates=3, seed=7)
    part = checked(design[design[FIRST] < 0.3])
    assert len(part) == 9
    assert part.attrs["made"] == design.attrs["made"]
    assert part["order"].is_monotonic_increasing


def edited(**changes: Any) -> pd.DataFrame:
    return a_grid(replicates=2).assign(**changes)


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ({"a": [1]}, "a design is a DataFrame, got dict; make one with sweeps.grid"),
        (a_grid().head(0), "the design is empty: it has no rows"),
        (a_grid()[list(OWN)], "the design is empty: it has no column for a parameter"),
        (a_grid().drop(columns=["seed", "order"]), "the design has no column seed, order: begin"),
        (pd.concat([a_grid(), a_grid()[[FIRST]]], axis=1), f"the column '{FIRST}' twice"),
        (a_grid().rename(columns={FIRST: 5}), "5 is no name of a parameter"),
        (edited(replicate=0), "the design has row 4, replicate 0 twice"),
        (edited(order=1), "the design has order 1 twice"),
        (edited(seed=-1), r"row \d, replicate 0: seed must be a whole number, 0 or more; got -1"),
        (edited(row="x"), "row x, replicate 0: row must be a whole number"),
        (edited(word=[object()] * 12), r"row \d, replicate 0: the value <object .* cannot be ser"),
    ],
)
def test_a_design_edited_by_hand_is_checked(design: Any, message: str) -> None:
    with pytest.raises(DesignError, match=message):
        checked(design)


def test_the_summary_tells_points_replicates_and_values() -> None:
    assert summary(a_grid(replicates=2, seed=7)) == (
        f"6 points, 2 replicates, 12 runs, seed 7; {FIRST}: 0.1, 0.5; {FAILING}: 0.2, 0.5, 0.8"
    )
    many = sweeps.sample({"a": (0.05, 2.0), "b": [chr(97 + n) for n in range(9)]}, n=9)
    assert "a: 0.0" in summary(many)
    assert "(9 values)" in summary(many)


def test_columns_of_one_kind_have_its_dtype_and_mixed_ones_keep_their_values() -> None:
    rows = [[0, 0, 1, 0, 0, 1, 1.5, "x", True, [1]], [1, 0, 1, 0, 1, 2, 2, "y", False, None]]
    made = frame([*OWN, "int", "float", "text", "flag", "any"], rows, {})
    assert [str(made[name].dtype) for name in ("int", "float", "text", "flag", "any")] == [
        *("int64", "float64", "str", "bool", "object"),
    ]
    assert made["any"].tolist() == [[1], None]


@pytest.mark.parametrize("name", ["status", "result", "error", "workflow_id", "clock"])
def test_a_parameter_named_as_a_column_of_the_results_is_refused_before_anything_runs(
    name: str,
) -> None:
    with pytest.raises(DesignError, match=f"'{name}' is a column of every results table"):
        sweeps.grid({name: [1, 2]})
    assert f"request.{name}" in sweeps.grid({f"request.{name}": [1, 2]}).columns


def test_the_call_is_told_while_a_reader_can_read_it() -> None:
    assert "grid({'data': ['a', 'b']}" in sweeps.grid({"data": ["a", "b"]}).attrs["made"]
    assert "made" not in sweeps.grid({"data": [f"{number:0100}" for number in range(50)]}).attrs
