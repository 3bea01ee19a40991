"""Calls to the server that say, when they fail, which execution it was and what to do."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import (
    CancelledError,
    TerminatedError,
    TimeoutError,
    WorkflowAlreadyStartedError,
)
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab._checks import did_you_mean
from projectai_lab._connect import ANSWER_WITHIN_S, translated
from projectai_lab.errors import PayloadError

T = TypeVar("T")

_ENDS: tuple[tuple[type[BaseException], str], ...] = (
    (CancelledError, "CANCELED"),
    (TerminatedError, "TERMINATED"),
    (TimeoutError, "TIMED_OUT"),
)
# What the kit passes itself, once a start.
_PASSED = {"self", "workflow", "arg", "args", "id", "result_type"}


async def start(client: Client, workflow: Any, options: dict[str, Any]) -> WorkflowHandle[Any, Any]:
    """Start a Workflow Execution; say what to do when the server refuses."""
    arguments = options.get("args", [options.get("arg")])
    try:
        with translated(client):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await sent(client, arguments, client.start_workflow(workflow, **options))
    except WorkflowAlreadyStartedError as error:
        error.add_note(
            f"Workflow Id {options['id']!r} is in use: take the running execution with "
            f"get_workflow_handle({options['id']!r}), or choose another id or id_conflict_policy"
        )
        raise


def check_start_options(options: Iterable[str], own: Collection[str], what: str) -> None:
    """Raise TypeError for an option that the SDK would refuse at every single start.

    `own` are the options of the caller, which is called `what`: they may have been meant.
    """
    known = {*inspect.signature(Client.start_workflow).parameters} - _PASSED
    for option in options:
        if option not in known:
            hint = did_you_mean(option, sorted({*known, *own} - {option}))
            wrong = f"neither {what} nor start_workflow has an option {option!r}"
            raise TypeError(f"{wrong}; {hint}" if hint else wrong)


async def sent(client: Client, arguments: Sequence[Any], call: Awaitable[T]) -> T:
    """Await a call that sends arguments; name the one that cannot be serialised."""
    try:
        return await call
    except (TypeError, ValueError, RecursionError) as error:
        # Asked only on the way out: encoding twice on every call would cost.
        for argument in arguments:
            await _check_serialisable(client, argument, error)
        raise


async def _check_serialisable(client: Client, argument: Any, error: Exception) -> None:
    try:
        await client.data_converter.encode([argument])
    except (TypeError, ValueError, RecursionError):
        raise PayloadError(
            f"an argument of type {type(argument).__name__} cannot be serialised to JSON "
            f"({error}): pass text, numbers, lists, dicts or dataclasses of these"
        ) from error


@contextmanager
def explained(handle: WorkflowHandle[Any, Any], url: str | None) -> Iterator[None]:
    """Add to an unhappy end which execution it was, its root cause and where to look."""
    try:
        yield
    except WorkflowFailureError as error:
        error.add_note(f"Workflow Execution {handle.id!r} ended: {cause_in_words(error)}")
        error.add_note(f"Next step: handle.fetch_history(){f', or {url}' if url else ''}")
        raise
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            error.add_note(f"There is no Workflow Execution {handle.id!r} in this Namespace")
        raise


def status_of(error: WorkflowFailureError) -> str:
    """Return the status in which the Workflow Execution closed, in Temporal's word."""
    return next((word for kind, word in _ENDS if isinstance(error.cause, kind)), "FAILED")


def cause_in_words(error: BaseException) -> str:
    """Return type and message of the error that all others were raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
