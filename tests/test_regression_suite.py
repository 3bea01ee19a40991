"""Suites of real notebooks: green on an unchanged tree, red when behaviour changes, and why."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from projectai_lab import notebooks, regression
from projectai_lab.cli import main
from projectai_lab.errors import NotebookError
from projectai_lab.regression import Outcome
from tests.regression_notebooks import copy_baselines, study, write

FRAME = """
import pandas as pd
from projectai_lab import errors, regression
df = pd.DataFrame({"workflow_id": ["a", "b"], "status": ["DONE", status]})
rules = [regression.exact("status")]
"""
CHECK = 'regression.check(df, rules, key="workflow_id", name="status")'
MORE = 'regression.check(df, rules, name="more")'


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Run one study unchanged twice and changed in three ways, against one baseline."""
    folder = tmp_path_factory.mktemp("studies")
    first = study(folder / "same-1.ipynb")
    made = regression.run([first], update="first", output_dir=folder / "made", progress=False)
    assert [outcome.state for outcome in made] == ["green"], regression.digest(made[0])
    changed = [
        study(folder / "same-2.ipynb"),
        study(folder / "slower.ipynb", call_s=0.26),
        study(folder / "lost.ipynb", failures=1),
        study(folder / "renamed.ipynb", renamed={"source": "told_by"}),
    ]
    for one in changed:
        copy_baselines(first, one)
    ended = regression.run([folder], jobs=2, output_dir=folder / "runs", progress=False)
    assert {outcome.notebook for outcome in ended} == {first, *changed}
    return {outcome.notebook.stem: outcome for outcome in ended}


@pytest.mark.parametrize("name", ["same-1", "same-2"])
def test_an_unchanged_tree_is_green(studies: dict[str, Outcome], name: str) -> None:
    assert studies[name].state == "green", regression.digest(studies[name])
    assert [check.name for check in studies[name].checks] == ["attempts", "calls"]


def lines_of(outcome: Outcome) -> list[str]:
    return [line.strip() for line in regression.digest(outcome).splitlines()]


def test_a_slower_activity_is_red_with_cell_rule_expected_and_seen(
    studies: dict[str, Outcome],
) -> None:
    told = lines_of(studies["slower"])
    assert told[0].startswith(f"red     {studies['slower'].notebook}  1 of 2 checks broken")
    assert told[1].startswith("cell 6 `of_calls = ")
    assert told[1].endswith("check 'calls':")
    assert told[2] == "rule      quantile_band(q=0.25, relative=0.15) of worker_exec_s"
    assert re.fullmatch(r"expected  0\.2\d* ± 0\.03\d*", told[3])
    assert re.fullmatch(r"seen      0\.2[67]\d* \(n = 20; shift 0\.0[56]\d*, .*\)", told[4])
    assert told[5] == "workflows call-0, call-1, call-2 and 17 more"
    assert len(told) == 6


def test_a_lost_retry_is_red_with_cell_rule_expected_and_seen(studies: dict[str, Outcome]) -> None:
    told = lines_of(studies["lost"])
    assert told[1].startswith("cell 5 `regression.check(`, check 'attempts':")
    assert told[2:7] == [
        "rule      rows of workflow_id, activity_type, attempt",
        "where     workflow_id=retried, activity_type=simulate_ai_call, attempt=3",
        "expected  the row",
        "seen      no such row",
        "workflows retried",
    ]


def test_a_renamed_column_is_red_with_cell_rule_expected_and_seen(
    studies: dict[str, Outcome],
) -> None:
    told = lines_of(studies["renamed"])
    assert told[1].startswith("cell 5 `regression.check(`, check 'attempts':")
    assert told[2:5] == [
        "rule      columns of source",
        "expected  category",
        "seen      no such column",
    ]
    assert told[5:8] == [
        "rule      exact of source",
        "expected  the column",
        "seen      no such column",
    ]


def test_a_red_study_still_closes_its_lab_and_shows_the_verdict(
    studies: dict[str, Outcome],
) -> None:
    page = studies["lost"].page
    assert page
    assert re.search(r"is broken: \d of \d findings", page.read_text(encoding="utf-8"))
    servers = [p for p in psutil.Process().children(recursive=True) if "temporal" in p.name()]
    parents = [" ".join(server.parent().cmdline()) for server in servers]
    assert not [command for command in parents if "ipykernel" in command]


def quick(folder: Path, *cells: str, name: str = "quick", status: str = "DONE") -> Path:
    """Write a notebook that needs no server."""
    return write(folder / f"{name}.ipynb", f"status = {status!r}", FRAME, *cells)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Outcome]]:
    """Run notebooks that are odd each in its way, after an update of those that have baselines."""
    folder = tmp_path_factory.mktemp("odd")
    good = quick(folder, CHECK, name="good")
    [made] = regression.run([good], update="first", output_dir=folder / "made", progress=False)
    assert made.state == "green", regression.digest(made)
    for name in ("twice", "damaged", "both", "stale", "broken"):
        copy_baselines(good, folder / f"{name}.ipynb")
    file = folder / "baselines" / "damaged" / "status.json"
    file.write_text(file.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    (folder / "baselines" / "stale" / "old.json").touch()
    quick(folder, CHECK, CHECK, name="twice")
    quick(folder, CHECK, name="damaged")
    quick(folder, MORE, CHECK, name="missing")
    quick(folder, CHECK, MORE, name="both", status="LOST")
    quick(folder, CHECK, name="stale")
    quick(folder, "assert df is not None", name="unchecked")
    quick(folder, CHECK, "raise ValueError('\\x1b[31m<no> \\x00')", name="broken")
    quick(folder, "raise errors.ServerUnreachableError('no server')", name="offline")
    ended = regression.run([folder], jobs=2, output_dir=folder / "runs", progress=False)
    return folder, {outcome.notebook.stem: outcome for outcome in ended}


STATES = {
    "good": "green",
    "twice": "trouble",
    "damaged": "trouble",
    "missing": "trouble",
    "both": "red",
    "stale": "green",
    "unchecked": "green",
    "broken": "red",
    "offline": "trouble",
}
SAID = {
    "twice": r"2 checks have the name 'status' \(cells 4, 5\), so they would share one baseline",
    "damaged": r"the baseline .*status\.json cannot be read .* --update --reason",
    "missing": r"(?s)check 'more' has no baseline.*missing\.ipynb --update.*check 'status' has no",
    "both": r"(?s)cell 4 .*exact of status.*where +workflow_id=b\n +expected  DONE\n +seen  "
    r"    LOST.*cell 5 .*check 'more' has no baseline",
    "stale": r"note: no check uses the baseline .*old\.json: delete it, or bring the check back",
    "unchecked": r"note: it has no check: nothing but its own assertions can turn it red",
    "broken": r"(?s)broken\.ipynb failed in cell 5 `raise ValueError",
    "offline": r"(?s)failed in cell 4 .*ServerUnreachableError: no server",
}


@pytest.mark.parametrize("name", STATES)
def test_each_odd_notebook_is_told_for_what_it_is(
    odd: tuple[Path, dict[str, Outcome]], name: str
) -> None:
    outcome = odd[1][name]
    assert outcome.state == STATES[name], regression.digest(outcome)
    assert re.search(SAID.get(name, "1 check "), regression.digest(outcome))


def test_junit_counts_what_it_holds_and_is_xml_whatever_a_kernel_says(
    odd: tuple[Path, dict[str, Outcome]], tmp_path: Path
) -> None:
    outcomes = list(odd[1].values())
    top = ElementTree.parse(regression.junit(outcomes, tmp_path / "deep" / "out.xml")).getroot()
    assert (top.tag, top.get("tests")) == ("testsuites", str(len(top.findall(".//testcase"))))
    assert top.get("failures") == str(len(top.findall(".//failure"))) == "2"
    assert top.get("errors") == str(len(top.findall(".//error"))) == "6"
    for suite in top:
        cases = suite.findall("testcase")
        assert {*suite.attrib} == {
            *("name", "tests", "failures", "errors", "skipped", "time", "timestamp")
        }
        assert suite.get("tests") == str(len(cases))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
        assert suite.get("errors") == str(len(suite.findall("testcase/error")))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
        assert all({*case.attrib} == {"classname", "name", "time"} for case in cases)
        assert all(float(case.get("time", "")) >= 0 for case in cases)
        # The order that the usual schema asks for: output after the cases.
        assert [part.tag for part in suite][: len(cases)] == ["testcase"] * len(cases)
        for fault in [*suite.findall("testcase/failure"), *suite.findall("testcase/error")]:
            assert {*fault.attrib} == {"type", "message"}
            assert fault.text
    messages = {fault.get("message") for fault in top.findall(".//failure")}
    assert any("expected DONE, seen LOST (workflows: b)" in str(one) for one in messages)


def test_a_check_by_hand_raises_at_once(tmp_path: Path) -> None:
    path = quick(tmp_path, CHECK, "after = 1")
    regression.run([path], update="first", output_dir=tmp_path / "made", progress=False)
    options = {"output": tmp_path / "out" / "quick.ipynb", "html": False, "progress": False}
    notebooks.run(path, **options)  # type: ignore[arg-type]
    with pytest.raises(NotebookError, match=r"cell 4 .*(?s:.*)expected DONE, seen LOST"):
        notebooks.run(path, parameters={"status": "LOST"}, **options)  # type: ignore[arg-type]


def baseline(notebook: Path) -> Path:
    return notebook.parent / "baselines" / notebook.stem / "status.json"


def test_an_update_keeps_the_reason_and_changes_nothing_that_is_the_same(tmp_path: Path) -> None:
    def update(path: Path, reason: str) -> Outcome:
        out = tmp_path / "out"
        [ended] = regression.run([path], update=reason, output_dir=out, progress=False)
        return ended

    path = quick(tmp_path, CHECK)
    assert update(path, "the first $HOME").notes == [f"wrote the baseline {baseline(path)}"]
    before = baseline(path).read_bytes()
    assert update(path, "again").notes == ["the baseline of check 'status' is as it was"]
    assert baseline(path).read_bytes() == before
    update(quick(tmp_path, CHECK, status="LOST"), "it gets lost now")
    assert [one["reason"] for one in regression.load(baseline(path)).reasons] == [
        "the first $HOME",
        "it gets lost now",
    ]
    assert [p.name for p in baseline(path).parent.iterdir()] == ["status.json"]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("raise ValueError('late')", r"ValueError: late"),
        ('regression.check(df, [regression.exact("statsu")], name="x")', r"did you mean status\?"),
        (
            'regression.check(df, [regression.distribution("n")], name="x")',
            r"names column 'n', which",
        ),
        (
            'df["n"] = 1\nregression.check(df, [regression.distribution("n")], name="x")',
            r"this table cannot be a baseline: (?s:.*)too few for p < 0\.001",
        ),
    ],
)
def test_an_update_writes_nothing_for_a_notebook_that_does_not_end_well(
    tmp_path: Path, cell: str, said: str
) -> None:
    path = quick(tmp_path, CHECK, cell)
    [ended] = regression.run([path], update="x", output_dir=tmp_path / "out", progress=False)
    assert ended.state in ("red", "trouble")
    assert re.search(said, regression.digest(ended))
    assert "its baselines were left as they are" in regression.digest(ended)
    assert not (tmp_path / "baselines").exists()


def test_the_command_is_green_red_or_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["regress", str(quick(tmp_path, CHECK)), "--output", str(tmp_path / "out")]
    assert main(words) == 3
    assert "trouble" in capsys.readouterr().out
    assert main([*words, "--update", "--reason", "first"]) == 0
    assert f"wrote the baseline {baseline(tmp_path / 'quick.ipynb')}" in capsys.readouterr().out
    assert main([*words, "--junit", str(tmp_path / "out.xml")]) == 0
    quick(tmp_path, CHECK, status="LOST")
    assert main([*words, "--junit", str(tmp_path / "out.xml")]) == 1
    assert "expected  DONE" in capsys.readouterr().out
    assert ElementTree.parse(tmp_path / "out.xml").getroot().get("failures") == "1"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--update"], "an update needs a reason"),
        (["--update", "--reason", "  "], "an update needs a reason"),
        (["--reason", "x"], "--reason belongs to --update"),
        (["--jobs", "0"], "--jobs must be 1 or more"),
        (["empty"], "no notebooks in empty: nothing to run"),
        (["qick.ipynb"], "there is no qick.ipynb; did you mean 'quick.ipynb'?"),
    ],
)
def test_wrong_usage_is_exit_code_2_and_starts_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    quick(tmp_path, CHECK)
    paths = [] if words[0] in ("empty", "qick.ipynb") else ["quick.ipynb"]
    assert main(["regress", *paths, *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_an_update_in_a_program_needs_a_reason_too(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="an update needs a reason"):
        regression.run([quick(tmp_path, CHECK)], update=" ", output_dir=tmp_path / "out")


def test_several_are_checked_before_any_starts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick(tmp_path, CHECK)
    (tmp_path / "none.ipynb").write_text(json.dumps({"cells": None}))
    assert main(["regress", str(tmp_path), "--output", str(tmp_path / "out")]) == 1
    assert "nothing was started" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_notebook_that_a_notebook_runs_fails_there(tmp_path: Path) -> None:
    inner = quick(tmp_path, CHECK, name="inner")
    regression.run([inner], update="first", output_dir=tmp_path / "made", progress=False)
    quick(tmp_path, CHECK, name="inner", status="LOST")
    call = "notebooks.run('inner.ipynb', progress=False, html=False)"
    outer = quick(tmp_path, f"from projectai_lab import notebooks\n{call}", name="outer")
    [ended] = regression.run([outer], output_dir=tmp_path / "out", progress=False)
    assert ended.state == "red"
    assert "expected DONE, seen LOST" in regression.digest(ended)


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_ends_kernels_and_servers_and_leaves_the_baselines(
    tmp_path: Path, jobs: int
) -> None:
    opened = (
        "from pathlib import Path\nfrom projectai_lab import Lab\nlab = Lab.start_local()\n"
        "Path(f'{name}.here').touch()\nimport time\ntime.sleep(120)"
    )
    names = ["one", "two"][:jobs]
    for name in names:
        write(tmp_path / f"{name}.ipynb", f"name = {name!r}", opened)
    command = [sys.executable, "-m", "projectai_lab", "regress", *(f"{n}.ipynb" for n in names)]
    words = [*command, "--jobs", str(jobs), "--update", "--reason", "x", "--junit", "out.xml"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=tmp_path, stdout=pipe, stderr=pipe, text=True) as caller:
        end = time.monotonic() + 60
        while not all((tmp_path / f"{name}.here").exists() for name in names):
            assert caller.poll() is None, caller.communicate()
            assert time.monotonic() < end, "the notebooks never opened their Labs"
            time.sleep(0.05)
        family = psutil.Process(caller.pid).children(recursive=True)
        servers = [process for process in family if "temporal" in process.name()]
        assert len(servers) == jobs
        caller.send_signal(signal.SIGINT)
        _, errors = caller.communicate(timeout=60)
    assert caller.returncode == 130
    assert errors.endswith("interrupted\n")
    assert psutil.wait_procs(family, timeout=20)[1] == []
    assert not (tmp_path / "baselines").exists()
    assert not (tmp_path / "out.xml").exists()
