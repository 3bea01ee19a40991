"""The workflows of the system under study, one a file."""

from projectai_lab.workflows.example import ExampleWorkflow

__all__ = ["ExampleWorkflow"]
