"""Run notebooks headless with parameters; the executed copy and an HTML page of each are kept."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from projectai_lab._notebook_files import check, last_cell, last_seconds
from projectai_lab.errors import NotebookError

StrPath = str | os.PathLike[str]

# The lab template without what it loads from the network: the page is whole by itself.
_PAGE = """{% extends 'index.html.j2' %}
{% block html_head_js %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block jupyter_widgets %}{% endblock %}
"""
# Facts before widgets, whose code would come from the network.
_PRIORITY = ["text/html", "application/vnd.jupyter.widget-view+json"]
_TRACEBACK_LINES = 8


@dataclass(frozen=True)
class NotebookRun:
    """A notebook that ran to its end; `html` is None when no page was asked for."""

    notebook: Path
    output: Path
    html: Path | None
    seconds: float
    parameters: Mapping[str, Any]


def run(
    path: StrPath,
    *,
    parameters: Mapping[str, Any] | None = None,
    output: StrPath | None = None,
    timeout: timedelta = timedelta(minutes=10),
    html: bool = True,
    progress: bool = True,
    env: Mapping[str, str] | None = None,
) -> NotebookRun:
    """Run a notebook in a fresh kernel of this very Python and return what it left.

    `parameters` replace values of the cell tagged `parameters`; `timeout` holds for each cell. As
    in JupyterLab, the kernel's folder is the notebook's, and JPY_SESSION_NAME names it; `env` adds
    further variables. The executed copy goes to `output`, by default `runs/<name>.ipynb`, with the
    HTML page beside it; both are kept on failure too. Raises `NotebookError`, which carries
    notebook, cell, parameters, output, traceback, error_type and seconds.

        done = notebooks.run("notebooks/01_quickstart.ipynb", parameters={"seed": 7})
        done.html, done.seconds
    """
    source, values = Path(path), dict(parameters or {})
    copy = Path("runs", source.name) if output is None else Path(output)
    check(source, values, copy)
    copy.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    try:
        _execute(source, copy, values, timeout, progress, env or {})
    except NotebookError as error:
        vars(error).update(seconds=time.monotonic() - begun)
        if html and copy.exists():
            _write_page(copy)
        raise
    seconds = time.monotonic() - begun
    return NotebookRun(source, copy, _write_page(copy) if html else None, seconds, values)


def run_many(
    paths: Iterable[StrPath],
    *,
    parameters: Mapping[str, Any] | None = None,
    output_dir: StrPath = "runs",
    jobs: int = 2,
    timeout: timedelta = timedelta(minutes=10),
    html: bool = True,
    progress: bool = True,
    env: Mapping[str, str] | None = None,
) -> list[NotebookRun]:
    """Run several notebooks, `jobs` at a time in processes of their own; results in their order.

    Paths and parameters are checked before anything starts. A failing notebook does not stop the
    others; in the end one `NotebookError` lists all failures (`.failures`; `.runs` is the rest).

        notebooks.run_many(Path("notebooks").glob("*.ipynb"))
    """
    sources, values = [Path(path) for path in paths], dict(parameters or {})
    _check_many(sources, values, Path(output_dir))
    options = {
        "parameters": values,
        "timeout": timeout,
        "html": html,
        "progress": False,
        "env": env,
    }
    calls = [{"path": s, "output": Path(output_dir, s.name), **options} for s in sources]
    outcomes = _run_in_processes(calls, jobs, progress)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    runs = [outcome for outcome in outcomes if isinstance(outcome, NotebookRun)]
    if failures:
        listed = "\n\n".join(str(failure) or repr(failure) for failure in failures)
        message = f"{len(failures)} of {len(sources)} notebooks failed:\n\n{listed}"
        raise NotebookError(message, failures=failures, runs=runs)
    return runs


def _run_in_processes(
    calls: Sequence[dict[str, Any]], jobs: int, progress: bool
) -> list[NotebookRun | BaseException]:
    from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
    from multiprocessing import active_children, get_context

    from tqdm.auto import tqdm

    others = set(active_children())
    # Spawned, not forked: the caller may have threads, a Temporal client among them.
    with ProcessPoolExecutor(jobs, get_context("spawn"), _let_parent_decide) as pool:
        # The longest first, or it would run alone in the end.
        before = sorted(calls, key=lambda call: -last_seconds(call["output"]))
        submitted = {call["output"]: pool.submit(run, **call) for call in before}
        pairs = [(submitted[call["output"]], call) for call in calls]
        try:
            for _ in tqdm(
                as_completed(submitted.values()),
                total=len(calls),
                unit="notebook",
                disable=not progress,
            ):
                pass
        except BaseException:
            # Both are waited for: only a pool that is shut down gives its semaphores back.
            with ThreadPoolExecutor(1) as beside:
                beside.submit(pool.shutdown, cancel_futures=True)
                _end(set(active_children()) - others)
            raise
    return [_outcome(future.exception() or future.result(), call) for future, call in pairs]


def _outcome(ended: Any, call: dict[str, Any]) -> NotebookRun | BaseException:
    """Return how a run ended, as an error that names the notebook also where its process died."""
    if isinstance(ended, NotebookRun | NotebookError):
        return ended
    message = f"{call['path']} did not run to its end: {ended or repr(ended)}"
    return NotebookError(message, notebook=call["path"], cell=None, output=call["output"])


def _end(children: Iterable[Any]) -> None:
    """Let processes end their kernels in good order, and do not leave before they have."""
    for child in children:
        child.terminate()
    for child in children:
        child.join(10)
        child.kill()


def _let_parent_decide() -> None:
    """Leave Ctrl-C to the parent, whose SIGTERM then ends this process's kernel in good order."""
    import signal

    # Not SIG_IGN, which the kernel would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _execute(
    source: Path,
    copy: Path,
    parameters: dict[str, Any],
    timeout: timedelta,
    progress: bool,
    env: Mapping[str, str],
) -> None:
    import papermill

    try:
        papermill.execute_notebook(
            _literal(source),
            _literal(copy),
            parameters,
            kernel_name="python3",
            language="python",
            kernel_manager_class=_kernel_of_this_python(
                {"JPY_SESSION_NAME": str(source.resolve()), **env}
            ),
            resources={"metadata": {"path": str(source.resolve().parent)}},
            execution_timeout=math.ceil(timeout.total_seconds()),
            progress_bar={"desc": source.stem, "leave": False} if progress else False,
        )
    except Exception as error:
        raise _failure(error, source, copy, parameters, timeout) from error


def _literal(path: Path) -> str:
    """Return the path as papermill wants it, which takes braces for a template."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _kernel_of_this_python(env: Mapping[str, str]) -> type[Any]:
    """Return a kernel manager that asks no kernelspec, which may belong to another Python."""
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager

    # Log level: the kernel would warn in every run that its local socket is not encrypted.
    launch = "-m ipykernel_launcher -f {connection_file} --log-level=CRITICAL"
    argv = [sys.executable, *launch.split()]
    # What begins with a dollar would be taken for another variable.
    plain = {name: value.replace("$", "$$") for name, value in env.items()}

    class ThisPython(AsyncKernelManager):
        kernel_spec = KernelSpec(argv=argv, display_name="Python 3", language="python", env=plain)

    return ThisPython


def _write_page(copy: Path) -> Path:
    from nbconvert.exporters import HTMLExporter

    config = HTMLExporter().default_config
    usual = config.NbConvertBase.display_data_priority
    later = [one for one in usual if one not in _PRIORITY]
    config.NbConvertBase.display_data_priority = [*_PRIORITY, *later]
    body, _ = HTMLExporter(raw_template=_PAGE, config=config).from_filename(str(copy))
    page = copy.with_suffix(".html")
    page.write_text(body, encoding="utf-8")
    return page


def _failure(
    error: Exception, source: Path, copy: Path, parameters: dict[str, Any], timeout: timedelta
) -> NotebookError:
    """Return what papermill or the kernel reported as our error."""
    from papermill.exceptions import strip_color

    text = strip_color("\n".join(getattr(error, "traceback", None) or [str(error) or repr(error)]))
    if isinstance(error, TimeoutError):
        text = f"not finished after {timeout.total_seconds():g} s; allow more with timeout="
    number, line = last_cell(copy)
    place = f" in cell {number} `{line}`" if number else ""
    given = f" with parameters {parameters}" if parameters else ""
    tail = "\n".join(text.strip().splitlines()[-_TRACEBACK_LINES:])
    kept = f"\nexecuted copy: {copy}" if copy.exists() else ""
    return NotebookError(
        f"{source} failed{place}{given}:\n{tail}{kept}",
        notebook=source,
        cell=number,
        parameters=parameters,
        output=copy,
        traceback=text,
        error_type=getattr(error, "ename", type(error).__name__),
    )


def _check_many(sources: Sequence[Path], parameters: dict[str, Any], output_dir: Path) -> None:
    problems = []
    for source in sources:
        try:
            check(source, parameters, output_dir / source.name)
        except NotebookError as error:
            problems.append(error)
    names = [source.name for source in sources]
    for name in sorted({name for name in names if names.count(name) > 1}):
        message = f"two notebooks would both be written to {output_dir / name}"
        problems.append(NotebookError(message))
    if problems:
        message = "nothing was started:\n" + "\n".join(map(str, problems))
        raise NotebookError(message, failures=problems, runs=[])
