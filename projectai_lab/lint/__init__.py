"""Findings over many runs: what an experienced eye sees in policies, timeouts and histories.

A rule is one entry of RULES in `_policy_rules`, `_outcome_rules` or `_run_rules`; `rules()` lists
all, each with its threshold and the source of that.
"""

from __future__ import annotations

from projectai_lab.lint._findings import findings, rules

__all__ = ["findings", "rules"]
