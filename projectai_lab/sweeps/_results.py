"""One tidy row a planned run, out of the design and the histories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType

from projectai_lab import tables
from projectai_lab.histories import History
from projectai_lab.sweeps._design import OF_RUNS

if TYPE_CHECKING:
    from projectai_lab.sweeps._sweep import Sweep

SCHEMA = "projectai_lab/results/1"
NOT_STARTED = "NOT_STARTED"
_COMPLETED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED
_OF_ENDS = ("success", "result", "error")


def results(sweep: Sweep, found: Sequence[History]) -> pd.DataFrame:
    """Return the results table; its columns and dtypes are the same whatever was found."""
    runs = tables.executions(found)
    ends = _ends(sweep, found, runs)
    both = sweep.design.assign(workflow_id=pd.array(sweep.workflow_ids, dtype="str"))
    wanted = runs[[name for name in OF_RUNS if name not in (*_OF_ENDS, "clock")]]
    both = both.merge(wanted.merge(ends, on="workflow_id"), on="workflow_id", how="left")
    both["status"] = _statuses(runs["status"].dtype, both["status"])
    clock = runs.attrs["clock"] if len(runs) else sweep.clock or "unknown"
    # A column too, since attrs do not survive `pd.concat` of sweeps on two clocks.
    both["clock"] = pd.array([clock] * len(both), dtype="str")
    both = both[[*sweep.design.columns, *OF_RUNS]]
    both.attrs = {
        "schema": SCHEMA,
        "clock": clock,
        "sweep": sweep.name,
        "made": sweep.design.attrs.get("made"),
        "workflow_type": sweep.workflow_type,
    }
    return both


def _statuses(dtype: Any, status: pd.Series) -> pd.Series:
    words = pd.CategoricalDtype(pd.Index([NOT_STARTED, *dtype.categories], dtype="str"))
    return status.astype(object).where(status.notna(), NOT_STARTED).astype(words)


def _ends(sweep: Sweep, found: Sequence[History], runs: pd.DataFrame) -> pd.DataFrame:
    """Return what each run itself says of its success, result and error."""
    values = _values(sweep, found)
    rows = [
        (history.workflow_id, *_end(status, values.get(history.workflow_id), failure))
        for history, status, failure in zip(
            found, runs["status"].tolist(), runs["failure_message"].tolist(), strict=True
        )
    ]
    columns = list(zip(*rows, strict=True)) or [(), (), (), ()]
    return pd.DataFrame(
        {
            "workflow_id": pd.array(columns[0], dtype="str"),
            "success": pd.array(columns[1], dtype="boolean"),
            "result": pd.array(columns[2], dtype="str"),
            "error": pd.array(columns[3], dtype="str"),
        }
    )


def _end(status: str, value: Any, failure: Any) -> tuple[bool | None, str | None, str | None]:
    error = None if pd.isna(failure) else str(failure)
    if status != "COMPLETED":
        return (None if status in ("RUNNING", "PAUSED") else False), None, error
    if not isinstance(value, dict) or not isinstance(value.get("success"), bool):
        return True, _json(value), None
    error = value.get("error")
    result = value.get("result", {k: v for k, v in value.items() if k not in ("success", "error")})
    return value["success"], _json(result), None if error is None else str(error)


def _json(value: Any) -> str | None:
    return None if value is None else json.dumps(value, sort_keys=True, default=repr)


def _values(sweep: Sweep, found: Sequence[History]) -> dict[str, Any]:
    """Return what the completed runs returned, by Workflow Id."""
    payloads = {
        history.workflow_id: last.workflow_execution_completed_event_attributes.result.payloads
        for history in found
        if history.events and (last := history.events[-1]).event_type == _COMPLETED
    }

    async def decode() -> dict[str, Any]:
        return {key: await _decoded(sweep, one) for key, one in payloads.items()}

    return sweep.lab.loop.run(decode)


async def _decoded(sweep: Sweep, payloads: Sequence[Payload]) -> Any:
    values = await sweep.lab.client.data_converter.decode(payloads)
    return values[0] if values else None
