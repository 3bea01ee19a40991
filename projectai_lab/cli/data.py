"""`submit`, `status`, `watch`, `history`: send a request, see how it goes, take its data away."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from typing import Any

from temporalio.client import WorkflowExecution

from projectai_lab import histories
from projectai_lab.cli._common import (
    DONE,
    FAILED,
    USAGE,
    Commands,
    add_connection,
    add_json,
    config_of,
    show,
)
from projectai_lab.client import LabClient
from projectai_lab.controller import AIController
from projectai_lab.models import FaultPlan

TABLES = (
    *("events", "activities", "attempts", "executions", "timers", "child_workflows", "messages"),
    "workflow_tasks",
)


def add_commands(commands: Commands) -> None:
    """Add `submit`, `status`, `watch` and `history`."""
    submit = commands.add_parser("submit", help="send one AI request and print its output")
    submit.add_argument("data", help="the request's text")
    submit.add_argument("--user", default="cli", help="user id (default: cli)")
    submit.add_argument("--key", help="idempotency key: the same request twice is one execution")
    submit.add_argument("--seed", type=int, default=0)
    submit.add_argument(
        "--fail-first",
        action="append",
        default=[],
        metavar="ACTIVITY=N",
        type=_count_of,
        help="let the first N attempts of an activity fail",
    )
    status = commands.add_parser("status", help="show one execution, or the latest ones")
    status.add_argument("workflow_id", nargs="?")
    status.add_argument("--limit", type=int, default=10, help="how many of the latest (10)")
    history = commands.add_parser("history", help="print or save the history of an execution")
    history.add_argument("workflow_id", help="Workflow Id, or the path of a saved history (.json)")
    history.add_argument("--table", choices=TABLES, default="events", help="default: events")
    history.add_argument(
        "--format",
        choices=("table", "csv", "json", "parquet"),
        default="table",
        help="json is the history itself, as Web UI and CLI export it; default: table",
    )
    history.add_argument("--output", help="write to this file (needed for parquet)")
    history.add_argument("--attempts", metavar="FOLDER", help="attempt log to join")
    watch = commands.add_parser("watch", help="tell the events of an execution as they happen")
    watch.add_argument("workflow_id")
    runs = {submit: run_submit, status: run_status, history: run_history, watch: run_watch}
    for command, function in runs.items():
        add_connection(command)
        command.set_defaults(run=function)
    add_json(submit)
    add_json(status)


def run_submit(arguments: argparse.Namespace) -> int:
    """Send one request; exit code 1 when it ends without success."""
    faults = FaultPlan(fail_first=dict(arguments.fail_first))
    with AIController(config_of(arguments)) as controller:
        output = controller.process_ai_request_blocking(
            data=arguments.data,
            user_id=arguments.user,
            idempotency_key=arguments.key,
            faults=faults,
            seed=arguments.seed,
        )
    show(dataclasses.asdict(output), as_json=arguments.json)
    return DONE if output.success else FAILED


def run_status(arguments: argparse.Namespace) -> int:
    """Show one execution with what it waits for, or the latest ones."""
    with LabClient.connect(config_of(arguments)) as lab:
        if arguments.workflow_id:
            description = lab.get_workflow_handle(arguments.workflow_id).describe()
            pending = [
                f"{activity.activity_type.name} (attempt {activity.attempt})"
                for activity in description.raw_description.pending_activities
            ]
            facts = {**_facts(description), "pending": ", ".join(pending) or None}
            show(
                {**facts, "url": lab.url(description.id, description.run_id)},
                as_json=arguments.json,
            )
            return DONE
        runs = lab.list_workflows(limit=arguments.limit)
        if arguments.json:
            show({"executions": [_facts(run) for run in runs]}, as_json=True)
            return DONE
        for run in runs:
            facts = _facts(run)
            print(f"{facts['status']:<17} {facts['start_time']}  {facts['workflow_id']}")
        print(f"{lab.count_workflows().count} executions in namespace {lab.namespace!r}")
    return DONE


def run_watch(arguments: argparse.Namespace) -> int:
    """Tell one execution to its end; exit code 1 when it does not complete."""
    with LabClient.connect(config_of(arguments)) as lab:
        try:
            ended = lab.get_workflow_handle(arguments.workflow_id).watch()
        except KeyboardInterrupt:
            again = f"projectai-lab watch {shlex.quote(arguments.workflow_id)}"
            raise KeyboardInterrupt(f"no longer watched; the run goes on: {again}") from None
    return DONE if ended == "COMPLETED" else FAILED


def _facts(run: WorkflowExecution) -> dict[str, Any]:
    return {
        "workflow_id": run.id,
        "run_id": run.run_id,
        "workflow_type": run.workflow_type,
        "status": run.status.name if run.status else None,
        "task_queue": run.task_queue,
        "start_time": run.start_time.isoformat(timespec="milliseconds"),
        "close_time": run.close_time.isoformat(timespec="milliseconds") if run.close_time else None,
    }


def run_history(arguments: argparse.Namespace) -> int:
    """Print one table of a history, or write it, or the history itself, to a file."""
    if arguments.format == "parquet" and not arguments.output:
        print("projectai-lab: parquet needs --output FILE", file=sys.stderr)
        return USAGE
    history = _history(arguments)
    if arguments.format == "json":
        if arguments.output:
            histories.save(history, arguments.output)
        else:
            print(history.to_json())
        return DONE
    _write(_table(history, arguments), arguments)
    return DONE


def _history(arguments: argparse.Namespace) -> histories.History:
    if arguments.workflow_id.endswith(".json"):
        return histories.load(arguments.workflow_id)
    with LabClient.connect(config_of(arguments)) as lab:
        return lab.get_workflow_handle(arguments.workflow_id).fetch_history()


def _table(history: histories.History, arguments: argparse.Namespace) -> Any:
    from projectai_lab import attempts, tables

    make = getattr(tables, arguments.table)
    if arguments.table in ("attempts", "activities"):
        return make(history, attempts.read(arguments.attempts) if arguments.attempts else None)
    return make(history)


def _write(table: Any, arguments: argparse.Namespace) -> None:
    target = arguments.output or sys.stdout
    if arguments.format == "parquet":
        table.to_parquet(target)
    elif arguments.format == "csv":
        table.to_csv(target, index=False)
    else:
        # Columns that hold nothing would push those that do off the screen.
        text = table.dropna(axis="columns", how="all").drop(
            columns=["namespace", "workflow_id", "run_id"], errors="ignore"
        )
        text.to_string(target, index=False, max_colwidth=40)
        print(file=target if target is sys.stdout else None)


def _count_of(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not ACTIVITY=N")
    return name, int(number)
