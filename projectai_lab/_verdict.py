"""How an attempt ended, in the words that history will have for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio.activity import _CompleteAsyncError
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    FailureError,
    NexusOperationError,
    ServerError,
    TerminatedError,
    TimeoutError,
    is_cancelled_exception,
)

_MESSAGE_CHARS = 500
_WRAPPERS = (ActivityError, ChildWorkflowError, NexusOperationError)
# The SDK's exceptions, and the failures that its converter makes of them.
_WORDS: dict[type[FailureError], str] = {
    ApplicationError: "ApplicationFailure",
    CancelledError: "CanceledFailure",
    TimeoutError: "TimeoutFailure",
    TerminatedError: "TerminatedFailure",
    ServerError: "ServerFailure",
    ActivityError: "ActivityFailure",
    ChildWorkflowError: "ChildWorkflowExecutionFailure",
    NexusOperationError: "NexusOperationExecutionFailure",
}


def verdict(error: BaseException | None) -> dict[str, Any]:
    """Return outcome and failure of an attempt whose function returned or raised.

    An activity that somebody else completes has no outcome yet: only its function ended.

    >>> verdict(ValueError("no number"))["failure_type"]
    'ValueError'
    """
    if error is None:
        return {"outcome": "COMPLETED"}
    if isinstance(error, _CompleteAsyncError):
        return {"outcome": None, "completes_elsewhere": True}
    application = error if isinstance(error, ApplicationError) else None
    delay = application.next_retry_delay if application else None
    told = _below_wrappers(error)
    return {
        "outcome": "CANCELED" if is_cancelled_exception(error) else "FAILED",
        "failure_type": _type(told),
        "failure_message": _message(told),
        "non_retryable": bool(application and application.non_retryable),
        "next_retry_delay_s": delay.total_seconds() if isinstance(delay, timedelta) else None,
    }


def _below_wrappers(error: BaseException) -> BaseException:
    while isinstance(error, _WRAPPERS) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _type(error: BaseException) -> str:
    if isinstance(error, ApplicationError) and error.type:
        return str(error.type)
    if not isinstance(error, FailureError):
        return type(error).__name__
    return next((word for kind, word in _WORDS.items() if isinstance(error, kind)), "Failure")


def _message(error: BaseException) -> str | None:
    try:
        text = str(error.message if isinstance(error, FailureError) else error)
    except Exception as broken:
        # An exception may fail to describe itself; its end is worth a row all the same.
        return f"(its message cannot be read: {type(broken).__name__})"
    return text[:_MESSAGE_CHARS] or None
