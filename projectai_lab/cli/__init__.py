"""`projectai-lab …`: the kit from a terminal.

Exit codes: 0 done; 1 what was asked for failed (a request, an execution, a notebook, a check);
2 the call's words are off; 3 infrastructure trouble (server, worker, settings); 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab import __version__
from projectai_lab.cli import check, data, export, papers, regress, serve
from projectai_lab.cli._common import DONE, FAILED, INTERRUPTED, TROUBLE
from projectai_lab.errors import LabError, NotebookError


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="projectai-lab",
        description="A research kit for Temporal.",
        epilog="exit codes: 0 done, 1 what was asked for failed, 2 wrong usage, "
        "3 server, worker or settings trouble, 130 interrupted",
    )
    top.add_argument("--version", action="version", version=f"projectai-lab {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (papers, regress, serve, data, export, check):
        module.add_commands(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; errors become one line on stderr."""
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as end:
        return int(end.code or 0)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`… | head`): not an error, and nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (NotebookError, WorkflowFailureError, ValueError) as error:
        return _complain(error, FAILED)
    except (LabError, RPCError, OSError) as error:
        if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
            error.add_note("See what there is: projectai-lab status")
        return _complain(error, TROUBLE)


def _complain(error: BaseException, code: int) -> int:
    print(f"projectai-lab: {error}", file=sys.stderr)
    for note in getattr(error, "__notes__", ()):
        print(f"  {note}", file=sys.stderr)
    return code


def run() -> NoReturn:
    """Be the process: SIGTERM ends like an interrupt, and the exit code survives the exit.

    Everything is closed by then, so the interpreter's own teardown, in which the SDK's native
    threads abort now and then (sdk-python issue 300), is passed over.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    code = main(sys.argv[1:])
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
