"""The laws of latency in numpy: draws, and the moments below a limit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from projectai_lab.errors import PolicyError
from projectai_lab.models import Latency, seconds

Values = NDArray[np.float64]


def draw(latency: Latency, size: int, rng: np.random.Generator) -> Values:
    """Draw latencies in seconds, as `faults.sample` does one by one."""
    a, b = seconds(latency.a), seconds(latency.b)
    if is_constant(latency):
        return np.full(size, a)
    if latency.law == "uniform":
        return rng.uniform(a, b, size)
    if latency.law == "pareto":
        return np.asarray(a * (1 + rng.pareto(b, size)))
    return rng.lognormal(math.log(a), b, size)


def is_constant(latency: Latency) -> bool:
    """Whether the law always gives its `a`; PolicyError for a law that is not known here."""
    if latency.law not in ("constant", "uniform", "lognormal", "pareto"):
        raise PolicyError(
            f"the latency law {latency.law!r} cannot be simulated yet; "
            "take constant, uniform, lognormal or pareto"
        )
    a, b = seconds(latency.a), seconds(latency.b)
    if latency.law == "uniform":
        return a == b
    if latency.law == "pareto":
        return False
    return latency.law == "constant" or a == 0 or b == 0


def below(latency: Latency, limit: float) -> tuple[float, float]:
    """Return P(L < limit), and E[L | L < limit] (NaN where that cannot be).

    Source: for the lognormal law Johnson, Kotz & Balakrishnan, Continuous Univariate Distributions
    1, 2nd ed. (1994), chapter 14: E[L; L < t] = a · exp(b²/2) · Φ(ln(t/a)/b − b).
    """
    a, b = seconds(latency.a), seconds(latency.b)
    if is_constant(latency):
        return (1.0, a) if a < limit else (0.0, math.nan)
    if latency.law == "uniform":
        share = min(max((limit - a) / (b - a), 0.0), 1.0)
        return share, (a + min(limit, b)) / 2 if share else math.nan
    if latency.law == "pareto":
        return _pareto_below(a, b, limit)
    z = (math.log(limit) - math.log(a)) / b if math.isfinite(limit) else math.inf
    share = float(scipy.special.ndtr(z))
    whole = a * math.exp(b * b / 2)
    return share, _safe(whole * float(scipy.special.ndtr(z - b)), share)


def _pareto_below(a: float, b: float, limit: float) -> tuple[float, float]:
    """Integrate t times the density b·a^b/t^(b+1) from a to the limit; without one b <= 1 has none.

    Source: Johnson, Kotz & Balakrishnan, chapter 20.
    """
    if limit <= a:
        return 0.0, math.nan
    share = 1 - (a / limit) ** b
    if math.isinf(limit):
        return 1.0, a * b / (b - 1) if b > 1 else math.inf
    whole = a * math.log(limit / a) if b == 1 else (a - a**b * limit ** (1 - b)) * b / (b - 1)
    return share, _safe(whole, share)


def _safe(above: float, under: Any) -> float:
    return above / under if under > 0 else math.nan
