"""What differs: between two runs, step by step, and between two cohorts of runs, in distribution.

Each answer is a `Comparison`: a sentence that claims no more than the data support, and the table
behind it. `variants` is a plain table.
"""

from __future__ import annotations

from projectai_lab.compare._cohorts import cohorts
from projectai_lab.compare._comparison import Comparison
from projectai_lab.compare._runs import runs
from projectai_lab.compare._variants import variants

__all__ = ["Comparison", "cohorts", "runs", "variants"]
