"""Retry policies and timeouts of Scheduled events as columns."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter, methodcaller
from typing import Any

from projectai_lab.tables._runs import seconds

POLICY = (
    *("initial_interval_s", "backoff_coefficient", "maximum_interval_s", "maximum_attempts"),
    *("non_retryable_types", "schedule_to_close_timeout_s", "schedule_to_start_timeout_s"),
    *("start_to_close_timeout_s", "heartbeat_timeout_s"),
)
_SETTINGS = attrgetter("retry_policy", *(name.removesuffix("_s") for name in POLICY[5:]))
_bytes_of = methodcaller("SerializeToString")


def policies(scheduled: Iterable[Any]) -> dict[str, list[Any]]:
    """Return the columns of policy and timeouts, decoded once for each that occurs."""
    known: dict[tuple[bytes, ...], tuple[Any, ...]] = {}
    rows = []
    for attributes in scheduled:
        settings = _SETTINGS(attributes)
        key = tuple(map(_bytes_of, settings))
        if key not in known:
            known[key] = _decoded(*settings)
        rows.append(known[key])
    return {name: [row[at] for row in rows] for at, name in enumerate(POLICY)}


def _decoded(policy: Any, *timeouts: Any) -> tuple[Any, ...]:
    return (
        seconds(policy.initial_interval),
        policy.backoff_coefficient or None,
        seconds(policy.maximum_interval),
        policy.maximum_attempts or None,
        ", ".join(policy.non_retryable_error_types) or None,
        *map(seconds, timeouts),
    )
