"""What a retry policy says, in whatever form it comes, as the server resolves it.

No pandas here: `jittered` reads policies too, and activities import it.
"""

from __future__ import annotations

import math
import sys
from typing import Any, NamedTuple

from projectai_lab.models import seconds


class Policy(NamedTuple):
    """A resolved policy: seconds, and 0 maximum attempts for no limit."""

    first: float
    coefficient: float
    longest: float
    most: int

    def backoff(self, attempt: int) -> float:
        """Return the wait after this attempt failed."""
        # By logarithms first: the power itself overflows after a thousand attempts.
        steps = (attempt - 1) * math.log(self.coefficient)
        if steps > math.log(self.longest / self.first) + 1:
            return self.longest
        return min(self.first * self.coefficient ** (attempt - 1), self.longest)


def resolve(policy: Any) -> Policy:
    """Read a `RetrySettings`, a `RetryPolicy` or a row of `tables.activities`."""
    row = _is_row(policy) or hasattr(policy, "initial_interval_s")
    suffix = "_s" if row else ""
    first = _read(policy, "initial_interval" + suffix) or 1.0
    coefficient = _read(policy, "backoff_coefficient") or 2.0
    longest = _read(policy, "maximum_interval" + suffix) or 100 * first
    return Policy(first, coefficient, longest, int(_read(policy, "maximum_attempts")))


def non_retryable_types(policy: Any) -> frozenset[str]:
    """Return the failure types that end an activity at once; none where the policy names none."""
    if _is_row(policy):
        found = policy.get("non_retryable_types")
    else:
        found = getattr(policy, "non_retryable_error_types", None)
    if _is_missing(found):
        return frozenset()
    return frozenset(found.split(", ") if isinstance(found, str) else found)


def _is_row(policy: Any) -> bool:
    return hasattr(policy, "keys")


def _is_missing(value: Any) -> bool:
    # Where pandas was never loaded nobody holds its NA.
    missing = getattr(sys.modules.get("pandas"), "NA", None)
    return value is None or value is missing or (isinstance(value, float) and math.isnan(value))


def _read(policy: Any, name: str) -> float:
    """Return a field as a number, 0 when it is not set."""
    try:
        value = policy[name] if _is_row(policy) else getattr(policy, name)
    except (KeyError, AttributeError) as cause:
        raise TypeError(
            f"no retry policy: {type(policy).__name__} has no {name}; give RetrySettings(…), a "
            "temporalio RetryPolicy or tables.activities(history).iloc[0]"
        ) from cause
    return 0.0 if _is_missing(value) else seconds(value)
