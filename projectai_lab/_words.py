"""Numbers, durations and names in words, for sentences and figures."""

from __future__ import annotations

from typing import Any

_UNITS = (
    (1e-3, 1e-6, "µs"),
    (1, 1e-3, "ms"),
    (600, 1, "s"),
    (7200, 60, "min"),
    (172800, 3600, "h"),
)
_DAY = (86400, "d")


def many(number: int, noun: str) -> str:
    """Return "1 attempt", "2 attempts", "3 activities", "1,200 runs"."""
    plural = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"


def percentile(level: float) -> str:
    """Return "p50", "p99.9" for 0.5, 0.999."""
    return f"p{100 * level:.10g}"


def duration(value: float) -> str:
    """Return a duration in three significant digits with its unit.

    >>> duration(0.0004), duration(0.0852), duration(1.5), duration(5400), duration(-0.003)
    ('400 µs', '85.2 ms', '1.5 s', '90 min', '−3 ms')
    >>> duration(3600), duration(86400), duration(3 * 86400)
    ('1 h', '24 h', '3 d')
    """
    size, sign = abs(value), "−" if value < 0 else ""
    if size < 1e-9:
        return "0 s"
    unit, words = unit_of(size)
    if size >= 3600 and size % 3600 == 0:
        # A policy's hour is an hour, and no 60 min.
        unit, words = max((unit, words), (3600, "h"))
    # Rounding first keeps 3 digits of 9.996 at "10"; fixed point keeps the exponent out.
    shown = float(f"{size / unit:.3g}")
    return f"{sign}{f'{shown:,.3f}'.rstrip('0').rstrip('.')} {words}"


def unit_of(size: float) -> tuple[float, str]:
    """Return the unit that suits a duration, in seconds, and its sign."""
    return next(((unit, name) for limit, unit, name in _UNITS if size < 0.9995 * limit), _DAY)


def told(value: Any) -> str:
    """Return a parameter's value as a reader would write it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def shorten(words: str, most: int = 34) -> str:
    """Cut a long name in its middle, where names differ least."""
    keep = (most - 1) // 2
    return words if len(words) <= most else f"{words[:keep]}…{words[-keep:]}"


def cut(words: str, most: int) -> str:
    """Cut a long content at its end, and say how long it is.

    >>> cut("abc", 3), cut("abcd", 3)
    ('abc', 'abc… (4 characters)')
    """
    return words if len(words) <= most else f"{words[:most]}… ({len(words):,} characters)"
