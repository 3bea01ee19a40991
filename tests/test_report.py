"""A report is one file that tells a sweep whole, needs nothing else, and believes no text."""

from __future__ import annotations

import ast
import base64
import html as web
import io
import re
import threading
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from projectai_lab import (
    FaultPlan,
    Lab,
    Latency,
    RetrySettings,
    WorkflowInput,
    latency,
    plots,
    report,
    sweeps,
)
from projectai_lab.errors import ReportError, TableError
from projectai_lab.report._pairs import DIFFERS, FEW, HINT, NOTHING, compared, pairs
from projectai_lab.report._points import points
from projectai_lab.report._redo import lines, remade
from projectai_lab.report._sentences import ranks
from projectai_lab.report._study import Study, study_of
from projectai_lab.sweeps import Sweep
from projectai_lab.workflows import ExampleWorkflow

mpl.use("Agg")

CALL = "simulate_ai_call"
FAILING, MOST = f"faults.fail_first.{CALL}", f"retry.{CALL}.maximum_attempts"
VOID = {"meta", "img", "link", "br", "hr"}
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)> & $\\frac{x}$ \N{SNOWMAN}'


class Page(HTMLParser):
    """What a browser would make of a report: tags, their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == [], "unclosed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for found, attrs in self.tags if found == tag]

    def downloads(self) -> dict[str, str]:
        """Return the files that the page carries, by name."""
        return {
            str(one["download"]): base64.b64decode(str(one["href"]).partition(",")[2]).decode()
            for one in self.all("a")
        }


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def made(
    parameters: dict[str, list[Any]], replicates: int = 20, *, clock: str = "fast", **given: Any
) -> pd.DataFrame:
    """Return results as `sweep.results()` has them; the first parameter's last level is slower."""
    design = sweeps.grid(parameters, replicates=replicates, seed=5)
    draw = np.random.default_rng(1)
    first, levels = next(iter(parameters.items()))
    slow = np.array([1.0 if value == levels[-1] else 0.0 for value in design[first].tolist()])
    n = len(design)
    begun = pd.Timestamp("2026-01-02", tz="UTC") + pd.to_timedelta(np.arange(n), unit="s")
    took = draw.lognormal(0, 0.3, n) + 2 * slow
    columns: dict[str, Any] = {
        "workflow_id": [f"s/r{row}/n{one}" for row, one in design[["row", "replicate"]].to_numpy()],
        "run_id": [f"run-{place}" for place in range(n)],
        "status": pd.Categorical(["COMPLETED"] * n, ["NOT_STARTED", "RUNNING", "COMPLETED"]),
        "success": pd.array(draw.random(n) < 0.8, dtype="boolean"),
        "result": [None] * n,
        "error": [None] * n,
        "start_time": begun,
        "close_time": begun + pd.to_timedelta(took, unit="s"),
        "duration_s": took,
        "n_activities": pd.array([3] * n, dtype="Int64"),
        "n_attempts": pd.array(3 + (slow + draw.random(n)).astype(int), dtype="Int64"),
        "n_retries": pd.array([0] * n, dtype="Int64"),
        "failure_type": [None] * n,
        "skipped_s": [0.0] * n,
    }
    results = pd.concat([design, pd.DataFrame({**columns, **given})], axis=1)
    results.attrs = {
        "schema": "projectai_lab/results/1",
        "clock": clock,
        "sweep": "policies-1",
        "made": design.attrs["made"],
        "workflow_type": "ExampleWorkflow",
    }
    return results


@pytest.fixture
def sweep(lab: Lab, new_id: Callable[[str], str]) -> Sweep:
    """Return a real sweep of six finished runs, of which three gave up."""
    base = WorkflowInput(
        "text",
        "u-1",
        faults=FaultPlan(latency=Latency(a=0), fail_first={CALL: 1}),
        retry={CALL: RetrySettings(0.01)},
    )
    design = sweeps.grid({MOST: [1, 2]}, replicates=3, seed=7)
    name = new_id("sweep")
    return sweeps.run(lab, ExampleWorkflow.run, design, name=name, base=base, progress=False)


def test_a_real_sweep_becomes_one_file_with_all_that_a_reader_asks(
    sweep: Sweep, tmp_path: Path
) -> None:
    path = report.html(sweep, tmp_path, question="Does one retry pay?")
    assert path == tmp_path / f"{sweep.name}.html"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    page = read(path)
    for words in (
        *("Does one retry pay?", sweep.name, "6 of 6 planned runs ended", "3 succeeded (50 %)"),
        *("maximum_attempts", MOST, "seed=7", "digest of the design", "fast clock", "temporalio"),
        *("COMPLETED: 6", "3 runs ended without success", "InjectedFault", sweep.query),
        *("fewer than 6 runs", "simulate_ai_call: 3 retries"),
    ):
        assert words in page.text, words
    assert re.search(r"Temporal server \d+\.\d+\.\d+", page.text)


def test_the_page_loads_nothing_and_runs_nothing(sweep: Sweep, tmp_path: Path) -> None:
    page = read(report.html(sweep, tmp_path))
    assert not page.all("script")
    assert not page.all("link")
    images = [str(one["src"]) for one in page.all("img")]
    assert len(images) == 6
    assert all(one.startswith("data:image/svg+xml;base64,") for one in images)
    assert all(str(one["href"]).startswith("data:text/csv;base64,") for one in page.all("a"))
    policy = next(one for one in page.all("meta") if "http-equiv" in one)
    assert str(policy["content"]).startswith("default-src 'none'; img-src data:;")
    pictures = [base64.b64decode(one.partition(",")[2]).decode() for one in images]
    assert all("<svg" in one and "<script" not in one for one in pictures)


def test_the_lines_of_the_page_take_the_sweep_up_and_start_nothing_twice(
    sweep: Sweep, lab: Lab, tmp_path: Path
) -> None:
    text = lines(study_of(sweep, None, None))
    page = read(report.html(sweep, tmp_path))
    assert re.sub(r"\s+", " ", text) in page.text
    before = {(run.id, run.run_id) for run in lab.list_workflows(sweep.query)}
    # The Lab of this test stands in for the one that the first line opens.
    typed = text.replace("lab = Lab.open()", "lab = given")
    cell: dict[str, Any] = {"given": lab}
    exec(compile(typed, "redo", "exec"), cell)
    assert {(run.id, run.run_id) for run in lab.list_workflows(sweep.query)} == before
    pd.testing.assert_frame_equal(cell["results"], sweep.results())


def test_the_design_in_the_page_is_the_design(sweep: Sweep, tmp_path: Path) -> None:
    files = read(report.html(sweep, tmp_path)).downloads()
    again = pd.read_csv(io.StringIO(files[f"{sweep.name}-design.csv"]))
    pd.testing.assert_frame_equal(again, sweep.design, check_dtype=False)
    told = pd.read_csv(io.StringIO(files[f"{sweep.name}-results.csv"]))
    assert told["workflow_id"].tolist() == sweep.workflow_ids


def test_results_from_a_file_are_reported_without_a_server(sweep: Sweep, tmp_path: Path) -> None:
    sweep.results().to_parquet(tmp_path / "results.parquet")
    loaded = pd.read_parquet(tmp_path / "results.parquet")
    attempts = sweep.tables(only=["attempts"])["attempts"]
    page = read(report.html(loaded, tmp_path / "offline.html", attempts=attempts))
    assert "Temporal server not asked" in page.text
    assert len(page.all("img")) == 6
    live, offline = (study_of(one, None, attempts) for one in (sweep, loaded))
    assert live.digest == offline.digest
    assert len(read(report.html(loaded, tmp_path / "bare.html")).all("img")) == 4


def test_the_results_that_a_page_offers_as_csv_make_the_page_again(tmp_path: Path) -> None:
    results = made({MOST: [1, 2]})
    first = read(report.html(results, tmp_path / "first.html"))
    table = first.downloads()["policies-1-results.csv"]
    again = read(report.html(pd.read_csv(io.StringIO(table)), tmp_path))
    for words in ("40 of 40 planned runs ended", "first start 2026-01-02 00:00:00 UTC"):
        assert words in first.text
        assert words in again.text


def test_runs_that_did_not_end_are_counted_and_in_no_share(tmp_path: Path) -> None:
    results = made({MOST: [1, 2]}, replicates=10)
    results.loc[:4, "status"] = "RUNNING"
    results.loc[5:6, "status"] = "NOT_STARTED"
    results.loc[:6, ["success", "duration_s", "n_attempts"]] = pd.NA
    page = read(report.html(results, tmp_path))
    assert "13 of 20 planned runs ended" in page.text
    assert "7 runs did not end" in page.text
    assert "RUNNING: 5" in page.text
    assert "NOT_STARTED: 2" in page.text
    table = points(study_of(results, None, None))
    assert (table["ended"].sum(), table["planned"].sum()) == (13, 20)


def test_failed_runs_are_listed_by_kind_with_an_example(tmp_path: Path) -> None:
    results = made({MOST: [1, 2]}, replicates=30)
    results["success"] = pd.array([place >= 50 for place in range(60)], dtype="boolean")
    results["error"] = [f"error {place % 25}" if place < 50 else None for place in range(60)]
    page = read(report.html(results, tmp_path))
    assert "50 runs ended without success" in page.text
    assert "error 0" in page.text
    assert "5 further kinds of error 10" in page.text


def test_the_results_table_has_the_figures_of_the_kit() -> None:
    results = made({MOST: [1, 2]}, replicates=80)
    table = points(study_of(results, None, None)).set_index("row")
    for row, part in results.groupby("row"):
        assert table.loc[row, "success"] == part["success"].mean()
        assert table.loc[row, "success_low"] < table.loc[row, "success"]
        assert table.loc[row, "attempts"] == part["n_attempts"].mean()
        summary = latency.summary(part["duration_s"], q=[0.5, 0.95]).iloc[0]
        assert table.loc[row, "p50_s"] == summary["p50_s"]
        assert table.loc[row, "p95_s"] == summary["p95_s"]
        assert pd.isna(table.loc[row, "p99_s"])


def judged(results: pd.DataFrame) -> tuple[Study, pd.DataFrame]:
    study = study_of(results, None, None)
    return study, compared(study, pairs(study)[0])


def test_what_differs_is_told_with_interval_and_effect_size(tmp_path: Path) -> None:
    results = made({MOST: [1, 2]}, replicates=40)
    _, table = judged(results)
    verdicts = table.set_index("measure")["verdict"]
    assert verdicts["duration"] == verdicts["attempts"] == DIFFERS
    row = table.set_index("measure").loc["duration"]
    known = latency.difference(
        *(results.loc[results[MOST] == most, "duration_s"] for most in (1, 2)), q=[0.5]
    ).iloc[0]
    assert row["shift"] == known["shift_s"]
    assert (row["low"], row["high"]) == (known["low_s"], known["high_s"])
    assert (row["delta_low"], row["delta_high"]) == (known["delta_low"], known["delta_high"])
    page = read(report.html(results, tmp_path))
    told = r"maximum_attempts 2 against 1: .*median duration \+[12]\.\d+ s \[\+1\.\d+ s, \+2"
    assert re.search(told, page.text)


def test_where_nothing_differs_the_report_says_so_plainly(tmp_path: Path) -> None:
    results = made({MOST: [1, 2]}, replicates=20)
    same = results["replicate"].map(lambda one: one / 10 + 1).astype(float)
    results = results.assign(duration_s=same, n_attempts=3, success=True)
    results.attrs = made({MOST: [1, 2]}, replicates=1).attrs
    _, table = judged(results)
    assert set(table["verdict"]) == {NOTHING}
    page = read(report.html(results, tmp_path))
    assert "No difference shown once all comparisons are allowed for." in page.text
    assert "No difference shown, in any measure: maximum_attempts 2 against 1." in page.text


def test_many_comparisons_of_noise_differ_seldom_once_all_are_allowed_for() -> None:
    found = []
    for seed in range(30):
        results = made({MOST: [1, 2, 3]}, replicates=20)
        draw = np.random.default_rng(seed)
        n = len(results)
        results["duration_s"] = draw.lognormal(0, 0.5, n)
        results["n_attempts"] = pd.array(draw.integers(3, 6, n), dtype="Int64")
        results["success"] = pd.array(draw.random(n) < 0.5, dtype="boolean")
        found.append(judged(results)[1]["verdict"].value_counts())
    counts = pd.DataFrame(found).fillna(0)
    # Of 30 families 5 % err; more than 5 would have a probability of 0.003. The seeds are fixed.
    assert (counts.get(DIFFERS, pd.Series([0])) > 0).sum() <= 5
    assert counts[HINT].sum() > 0, "the uncorrected level shows some by chance"


def test_fewer_than_six_runs_are_not_compared(tmp_path: Path) -> None:
    results = made({MOST: [1, 2]}, replicates=5)
    _, table = judged(results)
    assert set(table["verdict"]) == {FEW}
    page = read(report.html(results, tmp_path))
    assert "not compared one by one, since fewer than 6 runs of a point have ended" in page.text
    assert "All comparisons" not in page.text
    results = made({MOST: [1, 2, 3]}, replicates=8)
    results.loc[results[MOST] == 3, "status"] = "RUNNING"
    page = read(report.html(results, tmp_path))
    assert "Not compared, with fewer than 6 runs in a point: maximum_attempts 3" in page.text


def test_pairs_differ_in_one_parameter_alone_and_are_never_too_many() -> None:
    def of(parameters: dict[str, list[Any]]) -> tuple[int, str]:
        some, words = pairs(study_of(made(parameters, replicates=1), None, None))
        return len(some), words

    assert of({MOST: [1, 2, 3], FAILING: [0, 1]})[0] == 9
    count, words = of({MOST: [*range(8)], FAILING: [0, 1]})
    assert (count, "with its first" in words) == (22, True)
    assert of({MOST: [*range(100)]})[0] == 0
    assert of({MOST: [*range(30)], FAILING: [0, 1, 2]})[0] <= 60
    assert of({MOST: [1]}) == (0, "")


def test_a_parameter_of_many_numbers_is_told_by_rank(tmp_path: Path) -> None:
    results = made({MOST: [*range(1, 61)]}, replicates=1)
    results["n_attempts"] = pd.array(results[MOST].tolist(), dtype="Int64")
    page = read(report.html(results, tmp_path))
    assert "attempts by maximum_attempts: rises (Spearman's rho +1.00" in page.text


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    results = made({MOST: [HOSTILE, "b"], f"x.{HOSTILE}": [1, 2]}, replicates=6)
    results["error"] = HOSTILE
    results["failure_type"] = "<b>Bold</b>"
    results["success"] = pd.array([False] * len(results), dtype="boolean")
    results["workflow_id"] = [f"{HOSTILE}{place}" for place in range(len(results))]
    results.attrs |= {"sweep": HOSTILE, "made": HOSTILE, "workflow_type": HOSTILE}
    path = report.html(results, tmp_path, question=HOSTILE, figures={HOSTILE: plt.figure()})
    assert path.parent == tmp_path
    page = read(path)
    assert not page.all("script")
    assert all("onerror" not in attrs for _, attrs in page.tags)
    assert page.text.count("<script>alert(1)</script>") >= 6
    assert "<b>Bold</b>" in page.text
    assert {tag for tag, _ in page.tags} <= {
        *("html", "head", "meta", "title", "style", "body", "section", "h1", "h2", "h3", "p"),
        *("ul", "li", "strong", "div", "table", "caption", "thead", "tbody", "tr", "th", "td"),
        *("figure", "img", "figcaption", "pre", "code", "a", "span"),
    }


@pytest.mark.parametrize(
    "secret",
    ["sk-abcdefghijklmnopqrstuvwx", "Bearer abcdefghijklmnop1234", "AKIAABCDEFGHIJKLMNOP"],
)
def test_what_looks_like_a_secret_is_masked_wherever_it_stands(tmp_path: Path, secret: str) -> None:
    results = made({"data": [f"use {secret}", "b"]}, replicates=3)
    results.loc[0, ["error", "result"]] = f"failed with {secret}"
    results.attrs["made"] = f"sweeps.grid({{'data': ['use {secret}', 'b']}})"
    page = read(report.html(results, tmp_path, question=f"Why {secret}?"))
    shown = [page.text, *page.downloads().values(), path_text(tmp_path)]
    assert not any(secret in one for one in shown)
    assert "look like secrets stand here as stars" in page.text


def path_text(folder: Path) -> str:
    (path,) = folder.iterdir()
    return web.unescape(path.read_text(encoding="utf-8"))


def test_secrets_of_the_environment_and_of_the_base_are_masked(
    lab: Lab, new_id: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", "plainwordsonly")
    base = WorkflowInput({"api_key": "hunter2", "n": "plainwordsonly"}, "u-1")
    design = sweeps.grid({MOST: [1]}, replicates=1)
    sweep = sweeps.run(
        lab, ExampleWorkflow.run, design, name=new_id("sweep"), base=base, progress=False
    )
    page = read(report.html(sweep, tmp_path))
    assert "hunter2" not in page.text
    assert "plainwordsonly" not in page.text
    assert "'api_key': '********'" in page.text
    assert "2 values that look like secrets" in page.text


def test_figures_of_ones_own_stand_in_the_report_and_stay_open(tmp_path: Path) -> None:
    _, ax = plt.subplots()
    before, look = plt.get_fignums(), dict(mpl.rcParams)
    page = read(report.html(made({MOST: [1, 2]}), tmp_path, figures={"Mine & yours": ax}))
    assert "Mine & yours" in page.text
    assert plt.get_fignums() == before
    assert dict(mpl.rcParams) == look
    plt.close("all")
    with pytest.raises(ReportError, match=r"figures\['x'\] is a str; give Axes"):
        report.html(made({MOST: [1, 2]}), tmp_path, figures={"x": "no figure"})  # type: ignore[dict-item]


def test_the_clock_is_told_and_never_mixed(tmp_path: Path) -> None:
    virtual = read(report.html(made({MOST: [1, 2]}, clock="virtual"), tmp_path))
    assert "virtual clock" in virtual.text
    assert "idle time was skipped" in virtual.text
    assert 'Lab.open(clock="virtual")' in virtual.text
    with pytest.raises(TableError, match="several clocks"):
        report.html(made({MOST: [1, 2]}, clock="fast, virtual"), tmp_path)


def test_it_prints_and_reads_on_a_phone_in_light_and_dark(tmp_path: Path) -> None:
    path = report.html(made({MOST: [1, 2]}), tmp_path)
    text, page = path.read_text(encoding="utf-8"), read(path)
    for rule in (
        *("@media print", "@page", "break-inside:avoid", "table-header-group"),
        *("prefers-color-scheme:dark", "color-scheme:light dark", "overflow-x:auto"),
    ):
        assert rule in text
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )
    assert all(one["alt"] for one in page.all("img"))
    assert page.all("html") == [{"lang": "en"}]


def test_a_sweep_without_a_finished_run_has_no_report(tmp_path: Path) -> None:
    results = made({MOST: [1, 2]}, replicates=2)
    results["status"] = "RUNNING"
    with pytest.raises(
        ReportError, match=r"'policies-1' has no finished run \(4 RUNNING\)"
    ) as told:
        report.html(results, tmp_path)
    assert "sweeps.run(lab, …, design, name='policies-1')" in str(told.value)
    with pytest.raises(ReportError, match="no runs at all"):
        report.html(results.iloc[:0], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [None, "policies-1", [1, 2], sweeps])
def test_what_is_no_sweep_is_refused_with_the_call_to_type(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"got \w+: report\.html\(sweeps\.load\(lab, name\)\)"):
        report.html(wrong, tmp_path)


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"no column .*workflow_id.*sweeps\.load"):
        report.html(sweeps.grid({MOST: [1, 2]}), tmp_path)


def test_a_missing_folder_and_one_that_may_not_be_written_are_named(tmp_path: Path) -> None:
    results = made({MOST: [1, 2]}, replicates=2)
    with pytest.raises(ReportError, match=r"there is no folder .*gone; make it first: Path\("):
        report.html(results, tmp_path / "gone" / "report.html")
    (tmp_path / "taken.html").mkdir()
    (tmp_path / "taken.html" / "policies-1.html").mkdir()
    with pytest.raises(ReportError, match=r"cannot be written to .*choose a place"):
        report.html(results, tmp_path / "taken.html")
    assert [one.name for one in tmp_path.rglob("*")] == ["taken.html", "policies-1.html"]


def test_writing_again_replaces_the_file_and_leaves_no_other(tmp_path: Path) -> None:
    results = made({MOST: [1, 2]}, replicates=2)
    threads = threading.active_count()
    first = report.html(results, tmp_path / "r.html").read_text()
    again = report.html(results, tmp_path / "r.html", question="Other?").read_text()
    assert first != again
    assert [one.name for one in tmp_path.iterdir()] == ["r.html"]
    assert threading.active_count() == threads


def test_the_call_that_made_a_design_is_told_only_where_it_does() -> None:
    design = sweeps.grid({MOST: [1, 2]}, replicates=2, seed=3)
    assert remade(design.attrs["made"], design)
    assert remade(*[(one := sweeps.sample({"a.b": (0.1, 2.0)}, n=4, seed=1)).attrs["made"], one])
    assert not remade(design.attrs["made"], design.iloc[1:])
    for wrong in ("", "print(1)", "sweeps.grid(open('x'))", "sweeps.grid({})", "sweeps.grid("):
        assert not remade(wrong, design)
    edited = made({MOST: [1, 2]}, replicates=2).iloc[1:]
    text = lines(study_of(edited, None, None))
    assert 'design = pd.read_csv("policies-1-design.csv")' in text


def test_no_text_of_a_table_becomes_a_line_to_type() -> None:
    results = made({MOST: [1, 2]}, replicates=2)
    evil = "x\nimport os"
    results.attrs |= {"workflow_type": evil, "sweep": f"a'\n{evil}", "clock": f'"\n{evil}'}
    results.attrs["made"] += f"\n{evil}"
    typed = ast.parse(lines(study_of(results, None, None)).replace("…", "..."))
    names = {
        one.name for node in ast.walk(typed) if isinstance(node, ast.Import) for one in node.names
    }
    assert names == {"pandas"}


def test_short_names_are_used_only_where_they_tell_parameters_apart() -> None:
    twice = {f"retry.{CALL}.maximum_attempts": [1, 2], "retry.validate_input.maximum_attempts": [1]}
    assert list(study_of(made(twice), None, None).parameters) == list(twice)
    assert list(study_of(made({MOST: [1, 2]}), None, None).parameters) == ["maximum_attempts"]
    taken = {"x.status": [1, 2], "x.seed": [1]}
    assert list(study_of(made(taken), None, None).parameters) == list(taken)


@pytest.mark.parametrize("name", ["attempts", "duration", "n", "p50_s"])
def test_a_parameter_named_as_a_figure_keeps_its_levels_beside_that_figure(name: str) -> None:
    results = made({name: list(range(100, 109))}, replicates=7)
    study = study_of(results, None, None)
    [short] = study.parameters
    table = points(study)
    assert table[short].tolist() == list(range(100, 109))
    other = made({"wait": list(range(100, 109))}, replicates=7)
    plain = study_of(other, None, None)
    pd.testing.assert_frame_equal(table.drop(columns=short), points(plain).drop(columns="wait"))
    said = [line.replace(short, "wait") for line in ranks(study, table)]
    assert said == ranks(plain, points(plain))
    assert list(study.results.rename(columns=study.parameters).columns) == list(results.columns)


def test_results_of_two_clocks_are_told_apart_after_they_were_put_together(
    sweep: Sweep, tmp_path: Path
) -> None:
    here = sweep.results()
    both = pd.concat([here, here.assign(clock="virtual")])
    both.attrs = {}
    with pytest.raises(TableError, match="several clocks"):
        report.html(both, tmp_path)
    with pytest.raises(TableError, match="several clocks"):
        plots.sweep(both, "row", "duration_s")


def test_a_design_of_lists_and_of_nothing_is_reported(tmp_path: Path) -> None:
    page = read(report.html(made({"data": [["a", "b"], None, {"k": 1}]}, replicates=7), tmp_path))
    assert '["a", "b"]' in page.text
    assert "nothing" in page.text
