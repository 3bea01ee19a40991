"""Numbers in words, for sentences and figures."""

from __future__ import annotations


def many(number: int, noun: str) -> str:
    """Return "1 attempt", "2 attempts", "3 activities", "1,200 runs"."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"
