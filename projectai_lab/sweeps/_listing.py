"""What the server has of a sweep: one List call, with what each run's memo says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, NamedTuple

from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.client import Client, WorkflowExecutionStatus

from projectai_lab._connect import ANSWER_WITHIN_S, translated
from projectai_lab.errors import SweepError
from projectai_lab.sweeps._identity import MEMO, MEMO_DESIGN, query_of

# A page with its memos stays well below the 4 MiB of a gRPC message, and may take its time.
_PAGE, _RPC_TIMEOUT = 500, timedelta(seconds=3 * ANSWER_WITHIN_S)


class Found(NamedTuple):
    """One run that the server has: the latest under its Workflow Id."""

    status: WorkflowExecutionStatus
    memo: dict[str, Any]
    memo_design: str | None


async def listed(client: Client, name: str) -> dict[str, Found]:
    """Return the runs of a sweep by Workflow Id; raise SweepError for one that is none of ours."""
    found: dict[str, Found] = {}
    runs = client.list_workflows(query_of(name), page_size=_PAGE, rpc_timeout=_RPC_TIMEOUT)
    with translated(client):
        # Newest first; some servers compare ids without regard to case.
        async for run in runs:
            if run.id in found or not run.id.startswith(f"{name}/r"):
                continue
            memo = await memo_of(client, run.raw_info)
            if memo is None:
                raise SweepError(
                    f"Workflow Execution {run.id!r} has an id like those of the sweep {name!r} but "
                    "was not started by a sweep; choose another name=",
                    name=name,
                    workflow_id=run.id,
                )
            design = await _decoded(client, run.raw_info, MEMO_DESIGN)
            status = run.status or WorkflowExecutionStatus.RUNNING
            found[run.id] = Found(status, memo, design)
    return found


async def memo_of(client: Client, info: WorkflowExecutionInfo) -> dict[str, Any] | None:
    """Return what the memo of a run says of its sweep, None when it belongs to none."""
    memo = await _decoded(client, info, MEMO)
    return memo if isinstance(memo, dict) and "digests" in memo else None


async def _decoded(client: Client, info: WorkflowExecutionInfo, key: str) -> Any:
    if key not in info.memo.fields:
        return None
    return (await client.data_converter.decode([info.memo.fields[key]]))[0]
