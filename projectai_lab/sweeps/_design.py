"""Designs: which runs, under which parameters, with which seed, in which order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy

from projectai_lab.errors import DesignError
from projectai_lab.sweeps._values import column, plain, whole_number

OWN = ("row", "replicate", "seed", "block", "order")
"""The columns that every design begins with."""
OF_RUNS = (
    *("workflow_id", "run_id", "status", "success", "result", "error"),
    *("start_time", "close_time", "duration_s", "n_activities", "n_attempts", "n_retries"),
    *("failure_type", "skipped_s", "clock"),
)
"""The columns that results have beside those of the design."""
SCHEMA = "projectai_lab/design/1"
# Of a call that names a thousand texts a reader has nothing, and each copy of the design has it.
_LONGEST_CALL = 4000
# JSON numbers are exact to 2**53 in every language.
_SEED_BITS = 53


def grid(
    parameters: Mapping[str, Iterable[Any]], *, replicates: int = 1, seed: int = 0
) -> pd.DataFrame:
    """Return the design of all combinations of some parameters' values, each `replicates` times.

    A parameter is named by its dotted path into the workflow's input, or by the argument of its run
    method. One row a planned run, in the order of starts. Columns: row (design point, from 0),
    replicate (from 0), seed, block, order (from 0), then one a parameter. A block is one replicate
    of every point, shuffled, so that what drifts meanwhile strikes all points alike. The seed is
    the same for the same replicate of every point (common random numbers): the points are compared
    under equal trouble, and differences are paired by replicate.

    The same arguments give the same table. Durations may be timedeltas and become seconds. Errors:
    DesignError.

    >>> from projectai_lab import sweeps
    >>> path = "retry.simulate_ai_call.initial_interval"
    >>> design = sweeps.grid({path: [0.1, 0.5]}, replicates=20, seed=7)
    >>> len(design), design["row"].nunique(), design["seed"].nunique()
    (40, 2, 20)
    """
    names = _names(parameters)
    values = [_values(name, parameters[name]) for name in names]
    points = list(itertools.product(*values))
    shown = dict(zip(names, values, strict=True))
    return _planned(names, points, replicates, seed, f"grid({shown!r}")


def sample(
    parameters: Mapping[str, Any],
    n: int,
    *,
    log: Collection[str] = (),
    replicates: int = 1,
    seed: int = 0,
) -> pd.DataFrame:
    """Return a design of n points spread over ranges of parameters by a Latin hypercube.

    A tuple (low, high) is a range of real numbers, spread evenly or, where `log` names the
    parameter, evenly in its logarithm; a list or a `range` is a choice of values. Real numbers
    have six significant digits. Columns, seeds, order and errors are those of `grid`.

    >>> from projectai_lab import sweeps
    >>> path = "retry.simulate_ai_call.initial_interval"
    >>> design = sweeps.sample({path: (0.05, 2.0)}, n=30, seed=7, log=[path])
    >>> bool(design[path].between(0.05, 2.0).all())
    True
    """
    names = _names(parameters)
    n = whole_number("n", n, 1)
    seed = whole_number("seed", seed, 0)
    if unknown := [name for name in log if name not in names]:
        raise DesignError(f"log names {unknown[0]!r}, which is no parameter of the sample")
    laws = [_law(name, parameters[name], log=name in log) for name in names]
    cube = scipy.stats.qmc.LatinHypercube(d=len(names), rng=np.random.default_rng(seed)).random(n)
    points = [tuple(law(u) for law, u in zip(laws, line, strict=True)) for line in cube.tolist()]
    more = f", log={list(log)!r}" if log else ""
    return _planned(names, points, replicates, seed, f"sample({dict(parameters)!r}, n={n}{more}")


def _planned(
    names: list[str], points: Sequence[tuple[Any, ...]], replicates: int, seed: int, call: str
) -> pd.DataFrame:
    """Return the design of some points: every block holds each point once, shuffled."""
    replicates = whole_number("replicates", replicates, 1)
    seed = whole_number("seed", seed, 0)
    shuffle = np.random.default_rng([seed, len(points)])
    seeds = [_seed(seed, replicate) for replicate in range(replicates)]
    rows = [
        (row, block, seeds[block], block, order, *points[row])
        for block in range(replicates)
        for order, row in enumerate(shuffle.permutation(len(points)).tolist(), block * len(points))
    ]
    made = f"sweeps.{call}, replicates={replicates}, seed={seed})"
    told = {"made": made} if len(made) <= _LONGEST_CALL else {}
    return frame([*OWN, *names], rows, {"seed": seed, **told})


def frame(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], attrs: Mapping[str, Any]
) -> pd.DataFrame:
    """Return a design from its rows."""
    by_column = zip(*rows, strict=True) if rows else ([] for _ in columns)
    made = pd.DataFrame(
        {name: column(list(values)) for name, values in zip(columns, by_column, strict=True)}
    )
    made.attrs = {"schema": SCHEMA, **attrs}
    return made


def _seed(seed: int, replicate: int) -> int:
    drawn = np.random.SeedSequence(seed, spawn_key=(replicate,)).generate_state(1, np.uint64)[0]
    return int(drawn) >> (64 - _SEED_BITS)


def _names(parameters: Any) -> list[str]:
    if not isinstance(parameters, Mapping):
        raise DesignError(
            f"parameters must be a dict of name to values, got {type(parameters).__name__}"
        )
    if not parameters:
        raise DesignError('the design is empty: name a parameter, such as {"data": ["a"]}')
    for name in parameters:
        check_name(name)
    return list(parameters)


def check_name(name: Any) -> None:
    """Raise DesignError for what cannot name a parameter."""
    if not isinstance(name, str) or not all(name.split(".")):
        raise DesignError(
            f"{name!r} is no name of a parameter: give a dotted path into the workflow's input, "
            'such as "retry.simulate_ai_call.initial_interval"'
        )
    if name in OWN:
        raise DesignError(
            f"{name!r} is a column of every design: the seed of each run follows from the "
            "design's seed=, repetitions from replicates="
        )
    if name in OF_RUNS:
        raise DesignError(
            f"{name!r} is a column of every results table, so that no parameter can be called so: "
            f"rename the argument, or make it a field of a record, such as 'request.{name}'",
            parameter=name,
        )


def _values(name: str, values: Any) -> list[Any]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise DesignError(f"the values of {name!r} must be a list, got {values!r}")
    found = [plain(name, value) for value in values]
    if not found:
        raise DesignError(f"the design is empty: {name!r} has no values")
    for position, value in enumerate(found):
        if value in found[:position]:
            raise DesignError(f"{name!r} has the value {value!r} twice; repeat with replicates=")
    return found


def _law(name: str, given: Any, *, log: bool) -> Any:
    """Return what turns a number from 0 to 1 into a value of the parameter."""
    if not isinstance(given, tuple):
        if log:
            raise DesignError(f"log needs a range (low, high), and {name!r} is a choice of values")
        values = _values(name, given)
        return lambda u: values[int(u * len(values))]
    low, high = _range(name, given, log=log)

    def real(u: float) -> float:
        value = low * (high / low) ** u if log else low + (high - low) * u
        return min(max(float(f"{value:.6g}"), low), high)

    return real


def _range(name: str, given: tuple[Any, ...], *, log: bool) -> tuple[float, float]:
    numbers = [plain(name, value) for value in given]
    real = all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
    if len(numbers) != 2 or not real or not all(map(math.isfinite, numbers)):
        raise DesignError(
            f"{name!r} is {given!r}: a tuple is a range (low, high) of two numbers; give a choice "
            "of values as a list"
        )
    low, high = map(float, numbers)
    if not low < high:
        raise DesignError(f"the range of {name!r} is empty or reversed: {given!r}; low < high")
    if log and low <= 0:
        raise DesignError(f"a logarithmic range begins above 0; {name!r} begins at {low:g}")
    return low, high
