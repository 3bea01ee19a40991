"""`server` and `worker`: what runs until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import signal
import sys
import threading
import time
from typing import Any

from projectai_lab._connect import PATIENT, connect, new_identity
from projectai_lab.attempts import AttemptLog, AttemptRecorder
from projectai_lab.cli._common import DONE, TROUBLE, Commands, add_connection, config_of
from projectai_lab.config import LabConfig
from projectai_lab.devserver import CLOCKS, DevServer
from projectai_lab.errors import ServerUnreachableError, WorkflowDefinitionError
from projectai_lab.worker import OneLine, make_worker, until_polling
from projectai_lab.worker_process import READY
from projectai_lab.worker_spec import WorkerSpec

_GRACE_S = 10.0


def add_commands(commands: Commands) -> None:
    """Add `server` and `worker`."""
    server = commands.add_parser("server", help="run a Temporal dev server until Ctrl-C")
    server.add_argument("--port", type=int, default=7233, help="gRPC port (default 7233)")
    server.add_argument("--ui-port", type=int, default=8233, help="Web UI port (default 8233)")
    server.add_argument("--clock", choices=list(CLOCKS), default="fast", help="default: fast")
    server.add_argument("--db-filename", help="keep Workflow Executions in this file")
    server.add_argument("--namespace", default="default")
    server.set_defaults(run=run_server)

    worker = commands.add_parser("worker", help="run a worker until SIGTERM or Ctrl-C, then drain")
    add_connection(worker)
    worker.add_argument("--workflow", action="append", default=[], metavar="MODULE:CLASS")
    worker.add_argument("--activity", action="append", default=[], metavar="MODULE:FUNCTION")
    worker.add_argument("--ai", metavar="MODULE:FUNCTION", help="takes the simulated call's place")
    worker.add_argument("--attempts", metavar="FOLDER", help="write the attempt log there")
    worker.add_argument("--wait", type=float, default=60, metavar="S", help="for the server (60)")
    worker.add_argument("--grace", type=float, default=_GRACE_S, metavar="S", help="to drain (10)")
    worker.add_argument("--with-parent", action="store_true", help="end when stdin closes")
    worker.set_defaults(run=run_worker)


def run_server(arguments: argparse.Namespace) -> int:
    """Run a dev server in the foreground."""
    with DevServer.start(
        clock=arguments.clock,
        db_filename=arguments.db_filename,
        namespace=arguments.namespace,
        port=arguments.port,
        ui_port=arguments.ui_port,
    ) as server:
        try:
            print(f"Temporal server  {server.address}  (clock: {server.clock})")
            print(f"Web UI           {server.ui_url}")
            print(
                f"stop with Ctrl-C; use it with  export TEMPORAL_HOST={server.address}", flush=True
            )
            while server.alive:
                time.sleep(0.2)
        except KeyboardInterrupt:
            return DONE
        print(f"the server ended by itself:\n{server.log()[-2000:]}", file=sys.stderr)
        return TROUBLE


def run_worker(arguments: argparse.Namespace) -> int:
    """Run a worker in the foreground."""
    to_terminal = logging.StreamHandler()
    to_terminal.setFormatter(OneLine("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[to_terminal])
    # Modules of the folder we were started in, as `python -m` would find them.
    sys.path.insert(0, os.getcwd())
    spec = WorkerSpec.build(
        [load(path) for path in arguments.workflow],
        [load(path) for path in arguments.activity],
        load(arguments.ai) if arguments.ai else None,
    )
    if arguments.with_parent:
        threading.Thread(target=_end_with_parent, args=(arguments.grace,), daemon=True).start()
    return asyncio.run(_poll(config_of(arguments), spec, arguments))


async def _poll(config: LabConfig, spec: WorkerSpec, arguments: argparse.Namespace) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    client = await _connect_within(config, arguments.wait, stop)
    if client is None:
        return DONE
    identity = new_identity()
    log = AttemptLog(arguments.attempts) if arguments.attempts else None
    recorder = AttemptRecorder(log, identity) if log else None
    worker = make_worker(
        client,
        spec,
        config.task_queue,
        recorder=recorder,
        # Only a worker of one Lab: others serve more than the run that asks for it.
        may_kill=arguments.with_parent,
        grace=arguments.grace,
        identity=identity,
    )
    polling = asyncio.create_task(worker.run())
    await until_polling(worker, polling)
    stopping = asyncio.create_task(stop.wait())
    print(f"{READY} Task Queue {config.task_queue!r} at {config.address} as {identity}", flush=True)
    await asyncio.wait({polling, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not polling.done():
        print("draining", flush=True)
        await worker.shutdown()
    await polling
    return DONE


async def _connect_within(config: LabConfig, wait_s: float, stop: asyncio.Event) -> Any:
    """Connect, trying again for a while: in Compose the worker may be up before the server."""
    deadline = time.monotonic() + wait_s
    while not stop.is_set():
        try:
            return await connect(config, PATIENT)
        except ServerUnreachableError as error:
            if time.monotonic() > deadline:
                raise
            logging.warning("%s; trying again", error)
            await asyncio.wait({asyncio.create_task(stop.wait())}, timeout=1)
    return None


def _end_with_parent(grace_s: float) -> None:
    while os.read(sys.stdin.fileno(), 64):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_s + 10)
    os._exit(1)


def load(path: str) -> Any:
    """Return what `module:name` names."""
    module, _, name = path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise WorkflowDefinitionError(
            f"cannot load {path!r} ({error}); it must be MODULE:NAME, importable from here"
        ) from error
