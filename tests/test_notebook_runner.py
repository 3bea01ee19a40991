"""Tiny notebooks in real kernels through `projectai_lab.notebooks`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from projectai_lab import notebooks
from projectai_lab.errors import NotebookError
from projectai_lab.notebooks import NotebookRun

PLOT = """
import matplotlib
import matplotlib.pyplot as plt
matplotlib.rcParams["figure.figsize"] = (2, 1)
plt.plot([1, 2]);
"""
MEET = """
import os, pathlib, time
pathlib.Path(f"{me}.here").touch()
end = time.monotonic() + 30
while not pathlib.Path(f"{other}.here").exists():
    assert time.monotonic() < end, "the other notebook never started"
    time.sleep(0.05)
"""
SLEEP = """
import os, pathlib, time
pathlib.Path("pid.part").write_text(str(os.getpid()))
os.rename("pid.part", "pid")
time.sleep(120)
"""


def write(path: Path, *cells: str, tagged: bool = True) -> Path:
    """Write a notebook of code cells; the first is the one with the parameters."""
    code = [nbformat.v4.new_code_cell(cell.strip()) for cell in cells]
    if tagged:
        code[0].metadata["tags"] = ["parameters"]
    notebook = nbformat.v4.new_notebook(cells=code)
    nbformat.write(notebook, str(path))
    return path


def outputs(path: Path) -> str:
    """Return everything that an executed notebook printed or showed as text."""
    cells = nbformat.read(str(path), as_version=4).cells
    shown = [output for cell in cells for output in cell.get("outputs", [])]
    return "\n".join(o.get("text") or o.get("data", {}).get("text/plain", "") for o in shown)


def facts(error: NotebookError) -> dict[str, Any]:
    """Return what an error carries as attributes."""
    return vars(error)


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def run_quietly(path: Path, **options: Any) -> NotebookRun:
    options.setdefault("output", path.parent / "out" / path.name)
    return notebooks.run(path, progress=False, **options)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    show = "import os, sys; print(n, repr(name), sys.executable, os.getcwd(), sep='|')"
    return write(
        tmp_path_factory.mktemp("a folder") / "good.ipynb", "n = 1\nname = 'x'", show, PLOT
    )


@pytest.fixture(scope="module")
def done(source: Path) -> NotebookRun:
    return run_quietly(source, parameters={"n": 7, "name": "it's"})


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> NotebookError:
    cells = [
        "n = 1",
        "before = 2",
        "def call():\n    raise ValueError(f'no {n}')\ncall()",
        "after = 1",
    ]
    path = write(tmp_path_factory.mktemp("failing") / "bad.ipynb", *cells)
    with pytest.raises(NotebookError) as caught:
        run_quietly(path, parameters={"n": 5})
    return caught.value


def test_a_run_names_its_notebook_copy_page_and_parameters(source: Path, done: NotebookRun) -> None:
    assert done.notebook == source
    assert done.output == source.parent / "out" / "good.ipynb"
    assert done.html == source.parent / "out" / "good.html"
    assert done.parameters == {"n": 7, "name": "it's"}
    assert done.seconds > 0


def test_parameters_replace_the_defaults_in_the_copy_alone(source: Path, done: NotebookRun) -> None:
    assert outputs(done.output).startswith('7|"it\'s"|')
    assert outputs(source) == ""


def test_the_kernel_is_this_python_in_the_notebooks_folder(source: Path, done: NotebookRun) -> None:
    executable, folder = outputs(done.output).splitlines()[0].split("|")[2:]
    assert executable == sys.executable
    assert Path(folder) == source.parent


def test_a_kernelspec_of_another_python_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = tmp_path / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text('{"argv": ["/nowhere/python", "{connection_file}"], "display_name": "Other"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    path = write(tmp_path / "plain.ipynb", "import sys; print(sys.executable)")
    assert outputs(run_quietly(path, html=False).output).strip() == sys.executable


def test_the_page_holds_its_plots_and_loads_nothing(done: NotebookRun) -> None:
    assert done.html is not None
    page = done.html.read_text(encoding="utf-8")
    assert "data:image/png;base64," in page
    assert "<title>good</title>" in page
    assert not re.findall(r"""(?:\ssrc=|import\(|url\()["']?(?:https?:)?//""", page)
    assert "<script src" not in page


def test_without_html_there_is_no_page(tmp_path: Path) -> None:
    run = run_quietly(write(tmp_path / "small.ipynb", "n = 1"), html=False)
    assert run.html is None
    assert [path.name for path in run.output.parent.iterdir()] == ["small.ipynb"]


def test_without_output_the_copy_goes_to_runs_in_the_callers_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = notebooks.run(write(tmp_path / "here.ipynb", "n = 1"), html=False, progress=False)
    assert run.output == Path("runs/here.ipynb")
    assert run.output.exists()


def test_braces_in_a_path_are_only_braces(tmp_path: Path) -> None:
    path = write(tmp_path / "{draft} {}.ipynb", "print('ran')", tagged=False)
    assert outputs(run_quietly(path, html=False).output).strip() == "ran"


def test_a_terminal_gets_a_bar_with_the_notebooks_name(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "shown.ipynb", "n = 1")
    notebooks.run(path, output=tmp_path / "copy.ipynb", html=False)
    shown = capfd.readouterr()
    assert "shown:" in shown.err
    assert "1/1" in shown.err
    assert shown.out == ""


def test_a_quiet_run_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_quietly(write(tmp_path / "quiet.ipynb", "print('kept in the copy')"))
    assert capfd.readouterr() == ("", "")


def test_a_failure_names_notebook_cell_and_parameters(failed: NotebookError) -> None:
    first = str(failed).splitlines()[0]
    assert first.endswith("bad.ipynb failed in cell 3 `def call():` with parameters {'n': 5}:")
    assert facts(failed)["notebook"].name == "bad.ipynb"
    assert facts(failed)["cell"] == 3
    assert facts(failed)["parameters"] == {"n": 5}


def test_a_failure_ends_in_the_tracebacks_last_lines_without_colours(failed: NotebookError) -> None:
    lines = str(failed).splitlines()
    assert lines[-2] == "ValueError: no 5"
    assert lines[-1] == f"executed copy: {facts(failed)['output']}"
    assert len(lines) <= 10
    assert "\x1b" not in str(failed) + facts(failed)["traceback"]
    assert "call()" in facts(failed)["traceback"]


def test_a_failure_leaves_copy_and_page(failed: NotebookError) -> None:
    cells = nbformat.read(str(facts(failed)["output"]), as_version=4).cells
    assert [cell.source for cell in cells if cell.source.startswith(("before", "after"))]
    assert "ValueError" in facts(failed)["output"].with_suffix(".html").read_text(encoding="utf-8")


def test_a_cell_that_takes_too_long_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "slow.ipynb", "n = 1", SLEEP)
    with pytest.raises(NotebookError, match=r"cell 2 `import os.*\n.*not finished after 1 s") as e:
        run_quietly(path, timeout=timedelta(seconds=1), html=False)
    assert facts(e.value)["cell"] == 2
    wait_until(lambda: not psutil.pid_exists(int((tmp_path / "pid").read_text())))


def test_a_kernel_that_dies_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "dies.ipynb", "n = 1", "import os\nos._exit(3)")
    with pytest.raises(NotebookError, match="cell 2 `import os`:\nKernel died") as caught:
        run_quietly(path, html=False)
    assert facts(caught.value)["output"].exists()


def test_a_parameter_that_the_notebook_lacks_names_near_ones(source: Path) -> None:
    message = r"good.ipynb has no parameter 'nmae', it takes: n, name; did you mean 'name'\?"
    with pytest.raises(NotebookError, match=message):
        run_quietly(source, parameters={"nmae": "x"})


def test_a_parameter_like_none_of_the_notebooks_lists_them(source: Path) -> None:
    with pytest.raises(NotebookError, match=r"no parameter 'zebra', it takes: n, name$"):
        run_quietly(source, parameters={"zebra": "x"})


def test_annotated_parameters_are_parameters(tmp_path: Path) -> None:
    path = write(
        tmp_path / "typed.ipynb", "import os\nn: int = 1\nd = {\n  'a': 1,\n}", "print(n, d)"
    )
    run = run_quietly(path, parameters={"n": 2, "d": {"b": None}}, html=False)
    assert outputs(run.output).strip() == "2 {'b': None}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"no notebook at .*odd.ipynb; in that folder: none"),
        ("", r"odd.ipynb cannot be read as a notebook: Expecting value"),
        ('{"cells": ', r"odd.ipynb cannot be read as a notebook: Expecting value"),
        ("[1, 2]", r"odd.ipynb is not a notebook: it has no list of cells"),
        ('{"worksheets": []}', r"odd.ipynb is not a notebook: it has no list of cells"),
    ],
)
def test_what_is_no_notebook_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "odd.ipynb"
    if text is not None:
        path.write_text(text)
    with pytest.raises(NotebookError, match=message):
        run_quietly(path)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "picture.ipynb"
    path.write_bytes(b"\x89PNG\xff")
    with pytest.raises(NotebookError, match="cannot be read as a notebook"):
        run_quietly(path)


def test_a_missing_notebook_names_near_ones(source: Path) -> None:
    with pytest.raises(NotebookError, match=r"no notebook at .*; in that folder: good.ipynb"):
        run_quietly(source.with_name("goood.ipynb"))


def test_parameters_need_a_tagged_cell(tmp_path: Path) -> None:
    path = write(tmp_path / "untagged.ipynb", "n = 1", tagged=False)
    with pytest.raises(NotebookError, match="has no cell tagged `parameters`, so it takes none"):
        run_quietly(path, parameters={"n": 2})


def test_a_parameters_cell_must_be_plain_python(tmp_path: Path) -> None:
    path = write(tmp_path / "magic.ipynb", "%time n = 1")
    with pytest.raises(NotebookError, match=r"`parameters` of .*magic.ipynb is not plain"):
        run_quietly(path, parameters={"n": 2})


def test_the_source_is_never_overwritten(source: Path) -> None:
    with pytest.raises(NotebookError, match=r"output would overwrite .*good.ipynb"):
        run_quietly(source, output=source.parent / "." / "good.ipynb")


def test_the_copy_is_a_notebook_file(source: Path, tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match=r"output must end in .ipynb, got .*copy.html"):
        run_quietly(source, output=tmp_path / "copy.html")


def test_a_run_from_a_notebook_cell_works(tmp_path: Path) -> None:
    inner = write(tmp_path / "inner.ipynb", "n = 1", "print('inner', n)")
    call = "done = notebooks.run('inner.ipynb', parameters={'n': 2}, progress=False)"
    outer = write(
        tmp_path / "outer.ipynb", "from projectai_lab import notebooks", call, "print(done.output)"
    )
    assert outputs(run_quietly(outer, html=False).output).strip() == "runs/inner.ipynb"
    assert outputs(inner.parent / "runs" / "inner.ipynb").strip() == "inner 2"


def test_several_run_at_the_same_time_and_come_back_in_order(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"{me}.ipynb", f"me, other = {me!r}, {other!r}\nn = 1", MEET, "print(n)")
        for me, other in [("second", "first"), ("first", "second")]
    ]
    runs = notebooks.run_many(
        paths, parameters={"n": 4}, output_dir=tmp_path / "out", html=False, progress=False
    )
    assert [run.notebook for run in runs] == paths
    assert [outputs(run.output).strip() for run in runs] == ["4", "4"]


def test_one_failure_among_several_stops_none_and_is_listed(tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.ipynb", "n = 1", "1 / 0")
    worse = write(tmp_path / "worse.ipynb", "n = 1", "import os; os._exit(1)")
    good = write(tmp_path / "good.ipynb", "n = 1", "print('good')")
    with pytest.raises(NotebookError, match=r"^2 of 3 notebooks failed:") as caught:
        notebooks.run_many([bad, worse, good], output_dir=tmp_path / "out", progress=False)
    assert "bad.ipynb failed in cell 2 `1 / 0`" in str(caught.value)
    assert "worse.ipynb failed in cell 2 `import os; os._exit(1)`" in str(caught.value)
    assert [facts(failure)["cell"] for failure in facts(caught.value)["failures"]] == [2, 2]
    assert [run.notebook for run in facts(caught.value)["runs"]] == [good]
    kept = sorted(path.name for path in (tmp_path / "out").glob("*.html"))
    assert kept == ["bad.html", "good.html", "worse.html"]


def test_several_are_checked_before_any_starts(tmp_path: Path) -> None:
    good = write(tmp_path / "good.ipynb", "n = 1")
    other = write(tmp_path / "other.ipynb", "m = 1")
    missing = tmp_path / "missing.ipynb"
    with pytest.raises(NotebookError, match=r"^nothing was started:") as caught:
        notebooks.run_many([good, other, missing], parameters={"n": 2}, output_dir=tmp_path / "out")
    assert "other.ipynb has no parameter 'n', it takes: m" in str(caught.value)
    assert "no notebook at" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_two_notebooks_of_one_name_do_not_share_a_copy(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    twins = [write(tmp_path / "x.ipynb", "n = 1"), write(tmp_path / "a" / "x.ipynb", "n = 1")]
    with pytest.raises(NotebookError, match=r"two notebooks would both be written to .*x.ipynb"):
        notebooks.run_many(twins, output_dir=tmp_path / "out")


def test_the_longest_of_the_last_time_is_started_first(tmp_path: Path) -> None:
    stamp = "import time; from pathlib import Path; Path(f'{me}.at').write_text(str(time.time()))"
    for me in ("a", "b"):
        write(tmp_path / f"{me}.ipynb", f"me = {me!r}", stamp)
    paths = [tmp_path / "a.ipynb", tmp_path / "b.ipynb"]

    def order() -> list[str]:
        notebooks.run_many(paths, output_dir=tmp_path / "out", jobs=1, html=False, progress=False)
        stamps = {float(path.read_text()): path.stem for path in tmp_path.glob("*.at")}
        return [stamps[at] for at in sorted(stamps)]

    assert order() == ["a", "b"]
    copy = tmp_path / "out" / "b.ipynb"
    before = nbformat.read(copy, as_version=4)
    # Said, not measured: on a busy machine a kernel's start alone differs by seconds.
    before.metadata.papermill["duration"] += 1000
    nbformat.write(before, copy)
    assert order() == ["b", "a"]


def test_a_kernel_is_told_its_notebook_and_what_env_adds(tmp_path: Path) -> None:
    names = "JPY_SESSION_NAME", "MINE"
    path = write(tmp_path / "it's $HOME.ipynb", f"import os; print(*map(os.environ.get, {names}))")
    run = run_quietly(path, env={"MINE": "5 $ and ${HOME}"}, html=False)
    assert outputs(run.output).strip() == f"{path} 5 $ and ${{HOME}}"


def test_a_process_that_dies_with_its_notebook_is_named(tmp_path: Path) -> None:
    kill = "import os, signal; os.kill(os.getppid(), signal.SIGKILL)"
    path = write(tmp_path / "kills.ipynb", "n = 1", kill)
    with pytest.raises(NotebookError, match=r"kills.ipynb did not run to its end: .*terminated"):
        notebooks.run_many([path], output_dir=tmp_path / "out", html=False, progress=False)


def test_no_notebooks_give_no_runs(tmp_path: Path) -> None:
    assert notebooks.run_many([], output_dir=tmp_path / "out", progress=False) == []


@pytest.mark.parametrize("call", ["run('slow.ipynb')", "run_many(['slow.ipynb'])"])
def test_an_interrupt_ends_the_kernel_and_leaves_no_process(tmp_path: Path, call: str) -> None:
    write(tmp_path / "slow.ipynb", SLEEP)
    code = f"from projectai_lab import notebooks\nnotebooks.{call}"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as caller:
        wait_until((tmp_path / "pid").exists)
        kernel = int((tmp_path / "pid").read_text())
        family = psutil.Process(caller.pid).children(recursive=True)
        assert kernel in [process.pid for process in family]
        caller.send_signal(signal.SIGINT)
        _, errors = caller.communicate(timeout=30)
    assert caller.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert psutil.wait_procs(family, timeout=30)[1] == []
    assert (tmp_path / "runs" / "slow.ipynb").exists()


def test_a_finished_run_leaves_no_process(done: NotebookRun) -> None:
    commands = [" ".join(p.cmdline()) for p in psutil.Process(os.getpid()).children(recursive=True)]
    assert not [command for command in commands if "ipykernel_launcher" in command]


def test_importing_the_runner_loads_no_papermill() -> None:
    heavy = "{'papermill', 'nbconvert', 'jupyter_client'}"
    code = f"import sys, projectai_lab.notebooks\nprint(sorted({heavy} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
