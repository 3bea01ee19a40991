"""The rules applied to many runs: one finding per rule, Workflow Type and activity type."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import pandas as pd

from projectai_lab import tables
from projectai_lab.lint import _outcome_rules, _policy_rules, _run_rules
from projectai_lab.lint._rule import ACTIVITY, SEVERITIES, Facts, Rule

_RULES = (*_run_rules.RULES, *_policy_rules.RULES, *_outcome_rules.RULES)
_WHERE = ["workflow_type", "activity_type"]
_COLUMNS = [
    *("severity", "rule", *_WHERE, "n", "n_runs", "what", "evidence", "fix"),
    *("workflow_id", "run_id"),
]
_SEVERITY = pd.CategoricalDtype(pd.Index(SEVERITIES, dtype="str"), ordered=True)


def findings(
    histories: tables.Histories,
    *,
    recorder: Iterable[tables.Record] | None = None,
    non_idempotent: Collection[str] = (),
    long_s: float = 60.0,
) -> pd.DataFrame:
    """Return what should be looked at, errors first: one row per rule and type, over all runs.

    `non_idempotent` names the activity types that must not run twice. `recorder` (`lab.attempts`)
    adds the attempts that history leaves out. A finding is no verdict: see `threshold` and `source`
    of its rule in `lint.rules()`.

    Columns: severity (error, warning, hint), rule, workflow_type, activity_type (NA: about the
    run), n (activities, Events or runs), n_runs, what, evidence (the figures of the worst), fix,
    workflow_id and run_id of the worst.

    >>> from projectai_lab import lint
    >>> lint.findings([]).columns.tolist()[:3]
    ['severity', 'rule', 'workflow_type']
    """
    if isinstance(non_idempotent, str):
        raise TypeError(
            "non_idempotent must be a collection of activity types: "
            f"non_idempotent=[{non_idempotent!r}]"
        )
    facts = _facts(histories, recorder, frozenset(non_idempotent), long_s)
    found = [row for rule in _RULES for row in _apply(rule, facts)]
    table = pd.DataFrame(found, columns=_COLUMNS)
    texts = [name for name in _COLUMNS if name not in ("severity", "n", "n_runs")]
    table = table.astype(
        {"severity": _SEVERITY, "n": "Int64", "n_runs": "Int64", **dict.fromkeys(texts, "str")}
    )
    order = table.sort_values(["severity", "n_runs"], ascending=[True, False], kind="stable")
    return order.reset_index(drop=True)


def rules() -> pd.DataFrame:
    """Return all rules: rule, severity, what, threshold, source, fix.

    >>> from projectai_lab import lint
    >>> lint.rules()["rule"].is_unique
    True
    """
    columns = ["severity", "what", "threshold", "source", "fix"]
    found = [(rule.name, *(getattr(rule, name) for name in columns)) for rule in _RULES]
    return pd.DataFrame(found, columns=["rule", *columns]).astype({"severity": _SEVERITY})


def _facts(
    histories: tables.Histories,
    recorder: Iterable[tables.Record] | None,
    non_idempotent: frozenset[str],
    long_s: float,
) -> Facts:
    built = tables.build(histories, recorder)
    runs = tables.validate(built["executions"])
    about = runs[["run_id", "workflow_type", "clock"]]
    events = built["events"].merge(about[["run_id", "workflow_type"]], on="run_id", how="left")
    ends = events[events["event_type"].isin(["ACTIVITY_TASK_FAILED", "ACTIVITY_TASK_TIMED_OUT"])]
    ends = ends[["run_id", "group_id", "failure_type", "timeout_type"]].rename(
        columns={
            **{"group_id": "scheduled_event_id", "failure_type": "end_type"},
            **{"timeout_type": "end_timeout"},
        }
    )
    activities = built["activities"].merge(about, on="run_id", how="left")
    activities = activities.merge(ends, on=ACTIVITY, how="left")
    return Facts(runs, activities, events, built["attempts"], non_idempotent, long_s)


def _apply(rule: Rule, facts: Facts) -> list[tuple[Any, ...]]:
    broken = rule.find(facts)
    if "activity_type" not in broken:
        broken = broken.assign(activity_type=pd.Series(pd.NA, index=broken.index, dtype="str"))
    return [
        _finding(rule, kind, activity, part)
        for (kind, activity), part in broken.groupby(_WHERE, dropna=False, observed=True)
    ]


def _finding(rule: Rule, workflow_type: str, activity_type: str, part: pd.DataFrame) -> Any:
    ranked = part.sort_values(rule.worst, ascending=False, na_position="last", kind="stable")
    worst = next(ranked.itertuples())
    return (
        *(rule.severity, rule.name, workflow_type, activity_type),
        *(len(part), part["run_id"].nunique(), rule.what, rule.say(worst), rule.fix),
        *(worst.workflow_id, worst.run_id),
    )
