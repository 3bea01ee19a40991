"""The three activities of the system under study."""

from projectai_lab.activities.process_ai_task import process_ai_task
from projectai_lab.activities.simulate_ai_call import (
    SIMULATES,
    AICallable,
    make_ai_call,
    simulate_ai_call,
)
from projectai_lab.activities.validate_input import MAX_DATA_CHARS, validate_input

__all__ = [
    "MAX_DATA_CHARS",
    "SIMULATES",
    "AICallable",
    "make_ai_call",
    "process_ai_task",
    "simulate_ai_call",
    "validate_input",
]
