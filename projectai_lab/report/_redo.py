"""The lines to type to read the sweep again, to take it up, and to do it anew."""

from __future__ import annotations

import ast
import json
from typing import Any

import pandas as pd

from projectai_lab import sweeps
from projectai_lab.errors import DesignError
from projectai_lab.report._study import Study

_CALLS: dict[str, Any] = {"sweeps.grid": sweeps.grid, "sweeps.sample": sweeps.sample}
_OWN = "ExampleWorkflow"


def lines(study: Study) -> str:
    """Return a cell that carries the sweep out again, or finds that nothing is missing.

    The design is the call that made it where that gives the same design, else its CSV.
    """
    base, workflow = _base(study)
    takes = ["from projectai_lab import Lab, sweeps", *base.imports, *workflow.imports]
    made = study.made if study.made and remade(study.made, study.design) else None
    if made is None:
        takes.insert(0, "import pandas as pd\n")
    design = made or f'pd.read_csv("{file_name(study)}")  # the download below'
    clock = f'clock="{study.clock}"' if study.clock in ("default", "virtual") else ""
    return "\n".join(
        [
            *takes,
            "",
            f"lab = Lab.open({clock})",
            f"design = {design}",
            f"base = {base.code}",
            f"sweep = sweeps.run(lab, {workflow.code}, design, name={study.name!r}, base=base)",
            "results = sweep.results()",
        ]
    )


def reading(study: Study) -> str:
    """Return the lines that read the sweep where its server still has it."""
    return (
        "from projectai_lab import Lab, report, sweeps\n\n"
        "lab = Lab.open()  # TEMPORAL_HOST=host:port names the server that ran it\n"
        f"sweep = sweeps.load(lab, {study.name!r})\n"
        "report.html(sweep)"
    )


def file_name(study: Study) -> str:
    """Return what the design's CSV is called."""
    return f"{safe(study.name)}-design.csv"


def safe(name: str) -> str:
    """Return a name as part of a file's."""
    kept = "".join(
        one if one.isascii() and (one.isalnum() or one in "._-") else "_" for one in name
    )
    return kept.lstrip(".")[:100] or "sweep"


def remade(call: str, design: pd.DataFrame) -> bool:
    """Whether a call of `grid` or `sample` makes this design; literals alone are read from it."""
    try:
        tree = ast.parse(call, mode="eval").body
        if not isinstance(tree, ast.Call) or ast.unparse(tree.func) not in _CALLS:
            return False
        given = [ast.literal_eval(one) for one in tree.args]
        named = {one.arg: ast.literal_eval(one.value) for one in tree.keywords if one.arg}
        again: pd.DataFrame = _CALLS[ast.unparse(tree.func)](*given, **named)
        pd.testing.assert_frame_equal(again, design, check_dtype=False)
    except (ValueError, SyntaxError, TypeError, AssertionError, DesignError):
        return False
    return True


class _Code:
    def __init__(self, code: str, *imports: str) -> None:
        self.code, self.imports = code, imports


def _base(study: Study) -> tuple[_Code, _Code]:
    """Return the lines of the base input and of the workflow."""
    # A name and nothing else: these lines are there to be pasted.
    kind = study.workflow_type or ""
    kind = kind if kind.isidentifier() else "MyWorkflow"
    if kind == _OWN:
        workflow = _Code(f"{_OWN}.run", f"from projectai_lab.workflows import {_OWN}")
        if study.base is not None:
            return _of_kit(study.base), workflow
        return _Code(
            "WorkflowInput(…)  # as it was", "from projectai_lab import WorkflowInput"
        ), workflow
    workflow = _Code(f"{kind}.run", f"from my_workflows import {kind}  # wherever yours is")
    if study.base is None:
        return _Code("…  # the input before the parameters"), workflow
    return _Code(f"{_python(study.base)}  # as the type that your workflow takes"), workflow


def _of_kit(base: Any) -> _Code:
    return _Code(
        f"value_to_type(WorkflowInput, {_python(base)})",
        "from projectai_lab import WorkflowInput",
        "from temporalio.converter import value_to_type",
    )


def _python(value: Any) -> str:
    """Return plain JSON as Python that has the same value."""
    return repr(json.loads(json.dumps(value)))
