"""A suite's outcome as JUnit XML, which continuous integration reads."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from projectai_lab.regression._digest import told_check
from projectai_lab.regression._suite import RED, Check, Outcome
from projectai_lab.regression._verdict import told

# What XML 1.0 cannot hold, however escaped; a kernel's text may have it.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(outcomes: Sequence[Outcome], path: str | os.PathLike[str]) -> Path:
    """Write a JUnit XML file: a suite per notebook, a case per check and one for the notebook.

    A broken check or cell is a failure; what could not be judged is an error. The form is that of
    JUnit's Ant task, which Jenkins, GitLab and others read.

    >>> regression.junit(outcomes, "out.xml")                                  # doctest: +SKIP
    """
    path = Path(path)
    top = Element("testsuites", name="projectai-lab regress")
    for outcome in outcomes:
        _suite(top, outcome)
    for name in ("tests", "failures", "errors"):
        top.set(name, str(sum(int(suite.get(name, 0)) for suite in top)))
    top.set("time", f"{sum(outcome.seconds for outcome in outcomes):.3f}")
    indent(top)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree(top).write(path, encoding="utf-8", xml_declaration=True)
    return path


def _suite(top: Element, outcome: Outcome) -> None:
    name = _text(outcome.notebook.with_suffix("").as_posix().replace("/", "."))
    suite = SubElement(top, "testsuite", name=name)
    case = SubElement(suite, "testcase", classname=name, name="runs to its end")
    case.set("time", f"{outcome.seconds:.3f}")
    if outcome.error:
        broken = outcome.state == RED
        text = str(outcome.error)
        _fault(case, broken, "NotebookError", text.splitlines()[0], text)
    for check in outcome.checks:
        case = SubElement(suite, "testcase", classname=name, name=_text(check.name), time="0")
        if not check.ok:
            first = check.error.splitlines()[0] if check.error else told(check.rows[0])
            _fault(case, not check.error, _kind(check), first, "\n".join(told_check(check)))
    faults = [len(suite.findall(f"testcase/{kind}")) for kind in ("failure", "error")]
    counts = {"tests": len(suite), "failures": faults[0], "errors": faults[1], "skipped": 0}
    for key, count in counts.items():
        suite.set(key, str(count))
    suite.set("time", f"{outcome.seconds:.3f}")
    suite.set("timestamp", f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}")
    if outcome.notes:
        SubElement(suite, "system-out").text = _text("\n".join(outcome.notes))


def _fault(case: Element, broken: bool, kind: str, message: str, text: str) -> None:
    fault = SubElement(case, "failure" if broken else "error", type=kind)
    fault.set("message", _text(message))
    fault.text = _text(text)


def _kind(check: Check) -> str:
    return "BaselineError" if check.error else "RegressionError"


def _text(text: str) -> str:
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", text)
