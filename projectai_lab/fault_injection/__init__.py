"""Fault plans carried to every activity of a Workflow Execution, and carried out there."""

from projectai_lab.fault_injection._carry import HEADER, Carried, CarriesFaults, carrying
from projectai_lab.fault_injection._injector import FaultInjector
from projectai_lab.fault_injection._start import check_names, planned, plans_of

__all__ = [
    "HEADER",
    "Carried",
    "CarriesFaults",
    "FaultInjector",
    "carrying",
    "check_names",
    "planned",
    "plans_of",
]
