"""A study in one file: opened elsewhere it is equal, draws and replays; changed it is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
import pytest

from projectai_lab import _secrets, capsule, histories, plots, process, tables
from projectai_lab.capsule import _parts
from projectai_lab.errors import CapsuleError, ConfigError, TableError
from projectai_lab.histories import History
from projectai_lab.workflows import ExampleWorkflow
from tests.data import HERE, attempt_records, golden, goldens
from tests.made import Event, history

mpl.use("Agg")

EXAMPLES = HERE / "example_workflow"
FIGURES: dict[str, Any] = {
    "retries.png": ("retries", "attempts"),
    "latency.png": ("latency", "activities", {"by": ["activity_type"]}),
}
NOTEBOOK = json.dumps({"cells": [{"cell_type": "code", "source": ["plots.retries(attempts)\n"]}]})
TOKEN = "Bearer " + "x1" * 12
Change = Callable[[dict[str, bytes]], object]


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    """Close what a test opened."""
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a study with everything in it; read only."""
    folder = tmp_path_factory.mktemp("study")
    notebook = folder / "my study.ipynb"
    notebook.write_text(NOTEBOOK)
    return capsule.save(
        folder / "study.zip",
        [*goldens(), *histories.load_all(EXAMPLES)],
        figures=FIGURES,
        notebook=notebook,
        parameters={"failures": 3, "policies": ["a", "b"]},
        recorder=attempt_records(),
        server="1.32.0",
    )


def runs() -> list[History]:
    """Return the histories of the study."""
    return [*goldens(), *histories.load_all(EXAMPLES)]


def rewritten(source: Path, target: Path, change: Change) -> Path:
    """Write a capsule again, by hand, with a change to its members."""
    with zipfile.ZipFile(source) as old:
        members = {name: old.read(name) for name in old.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)
    return target


def bars(ax: Any) -> list[list[float]]:
    """Return place and size of all that is drawn as a patch."""
    return [[float(side) for side in patch.get_bbox().bounds] for patch in ax.patches]


def test_a_capsule_opens_in_a_fresh_process_with_no_server_and_no_environment(study: Path) -> None:
    code = """
import json, sys
import pandas as pd
from projectai_lab import capsule
from projectai_lab.workflows import ExampleWorkflow
study = capsule.open(sys.argv[1])
study.tables["attempts"].to_parquet(sys.argv[2])
ax = study.draw("retries")
replayed = study.replay([ExampleWorkflow]).set_index("workflow_id")["ok"]
print(json.dumps({
    "bars": [list(map(float, patch.get_bbox().bounds)) for patch in ax.patches],
    "events": [len(run.events) for run in study.histories],
    "replayed": {key: bool(value) for key, value in replayed.items()},
}))
"""
    back = study.with_name("back.parquet")
    done = subprocess.run(
        [sys.executable, "-c", code, str(study), str(back)],
        env={"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "MPLBACKEND": "Agg"},
        cwd=study.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    attempts = tables.attempts(runs(), attempt_records())
    pd.testing.assert_frame_equal(tables.validate(pd.read_parquet(back)), attempts)
    assert told["bars"] == bars(plots.retries(attempts))
    assert told["events"] == [len(run.events) for run in runs()]
    examples = {run.workflow_id for run in histories.load_all(EXAMPLES)}
    assert {name for name, fine in told["replayed"].items() if fine} == examples


def test_everything_comes_back_equal(study: Path) -> None:
    found = capsule.open(study)
    assert found.parameters == {"failures": 3, "policies": ["a", "b"]}
    assert found.notebook == NOTEBOOK
    assert found.recorder == attempt_records()
    assert [run.events for run in found.histories] == [run.events for run in runs()]
    assert [(r.workflow_id, r.run_id, r.namespace, r.clock) for r in found.histories] == [
        (r.workflow_id, r.run_id, r.namespace, r.clock) for r in runs()
    ]
    built = tables.build(runs(), attempt_records())
    assert list(found.tables) == list(built)
    for name, frame in built.items():
        pd.testing.assert_frame_equal(found.tables[name], frame)
        assert found.tables[name].attrs == frame.attrs


def test_the_tables_can_be_made_anew_from_what_is_kept(study: Path) -> None:
    found = capsule.open(study)
    again = tables.build(found.histories, found.recorder)
    for name, frame in again.items():
        pd.testing.assert_frame_equal(found.tables[name], frame)


def test_the_manifest_says_by_what_when_and_on_which_clock(study: Path) -> None:
    manifest = capsule.open(study).manifest
    assert manifest["format"] == "projectai_lab/capsule/1"
    assert manifest["clock"] == "fast"
    assert manifest["runs"] == 7
    assert manifest["created"].endswith("+00:00")
    assert manifest["accepted_secrets"] == []
    assert {"python", "projectai_lab", "temporalio"} < set(manifest["versions"])
    assert manifest["versions"]["server"] == "1.32.0"


def test_a_figure_may_be_named_without_its_suffix(tmp_path: Path) -> None:
    capsule.save(tmp_path / "s.zip", goldens(), figures={"ladder": ("retries", "attempts")})
    assert list(capsule.open(tmp_path / "s.zip").figures) == ["ladder.png"]


def test_a_figure_drawn_again_is_the_picture_that_was_kept(study: Path) -> None:
    found = capsule.open(study)
    assert set(found.figures) == set(FIGURES)
    for name, kept in found.figures.items():
        assert kept.startswith(b"\x89PNG")
        assert _parts.png(found.manifest["figures"][name], found.tables) == kept
    _, mine = plt.subplots()
    assert found.draw("retries.png", ax=mine) is mine
    with pytest.raises(CapsuleError, match=r"no figure 'gantt'; it has retries\.png, latency\.png"):
        found.draw("gantt")


def test_saving_leaves_no_figure_open(tmp_path: Path) -> None:
    capsule.save(tmp_path / "s.zip", golden("mixed"), figures=FIGURES)
    assert plt.get_fignums() == []


def test_replay_tells_the_code_that_no_longer_fits(tmp_path: Path) -> None:
    whole = histories.load(EXAMPLES / "success.json")
    other = History("other", [type(e).FromString(e.SerializeToString()) for e in whole.events])
    for event in other.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            event.activity_task_scheduled_event_attributes.activity_type.name = "renamed"
    other.events[0].workflow_execution_started_event_attributes.original_execution_run_id = "r"
    path = capsule.save(tmp_path / "s.zip", [whole, other])
    table = capsule.open(path).replay([ExampleWorkflow])
    assert table["ok"].tolist() == [True, False]
    assert pd.isna(table["message"][0])
    assert "Nondeterminism" in table["message"][1]


def test_two_saves_differ_in_nothing_but_when(study: Path, tmp_path: Path) -> None:
    one = capsule.open(study)
    notebook = study.with_name("my study.ipynb")
    again = capsule.save(
        tmp_path / "again.zip",
        iter(runs()),
        figures=FIGURES,
        notebook=notebook,
        parameters=one.parameters,
        recorder=iter(attempt_records()),
        server="1.32.0",
    )
    other = capsule.open(again)
    assert dict(one.members) == dict(other.members)
    assert {**one.manifest, "created": ""} == {**other.manifest, "created": ""}
    with zipfile.ZipFile(again) as archive:
        names = archive.namelist()
        assert names[1:] == sorted(names[1:])
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_own_tables_and_figures_of_them_are_kept_too(tmp_path: Path) -> None:
    edges = process.directly_follows(goldens())
    sweep = pd.DataFrame({"policy": ["a", "b"], "median_s": [0.1, float("nan")]})
    path = capsule.save(
        tmp_path / "s.zip",
        goldens(),
        tables={"edges": edges, "sweep": sweep, "timers": tables.timers(goldens())},
        figures={"graph.png": ("directly_follows", "edges")},
    )
    found = capsule.open(path)
    assert list(found.tables) == ["edges", "sweep", "timers"]
    pd.testing.assert_frame_equal(found.tables["edges"], edges)
    pd.testing.assert_frame_equal(found.tables["sweep"], sweep)
    assert found.draw("graph").get_title(loc="left") == "What follows what: 6 activity types"


def test_a_capsule_of_one_history_alone_has_the_rest_empty(tmp_path: Path) -> None:
    found = capsule.open(capsule.save(tmp_path / "deep" / "s.zip", golden("clean")))
    assert (found.figures, found.notebook, found.parameters, found.recorder) == ({}, None, {}, None)
    assert len(found.tables["activities"]) == 3


def test_extract_writes_all_members_into_a_new_folder_only(study: Path, tmp_path: Path) -> None:
    found = capsule.open(study)
    folder = found.extract(tmp_path / "out")
    assert (folder / "notebook" / "my_study.ipynb").read_text() == NOTEBOOK
    assert histories.load(folder / "histories" / "000001.json").events == found.histories[0].events
    with pytest.raises(CapsuleError, match="not an empty folder"):
        found.extract(folder)


def test_the_card_tells_what_is_in_it_escaped(tmp_path: Path) -> None:
    path = capsule.save(tmp_path / "s.zip", golden("clean"), parameters={"p": "<b>x</b>"})
    html = capsule.open(path)._repr_html_()
    assert "activities (3)" in html
    assert "&lt;b&gt;x" in html
    assert "<b>x" not in html
    assert repr(capsule.open(path)) == f"Capsule(path={path!r})"


def drop(name: str) -> Change:
    """Take a member away."""
    return lambda members: members.pop(name)


def swap(name: str, data: bytes) -> Change:
    """Change or add a member."""
    return lambda members: members.update({name: data})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (swap("parameters.json", b'{"failures": 4}'), "parameters.json is not what the manifest"),
        (swap("parameters.json", b"x" * 10_000_000), "parameters.json is not what the manifest"),
        (drop("tables/attempts.parquet"), "no tables/attempts.parquet"),
        (swap("extra.json", b"{}"), "also extra.json"),
        (swap("../../evil.sh", b"rm"), "a name that no capsule has: do not unpack it"),
        (swap("/etc/passwd", b"x"), "a name that no capsule has"),
        (swap("a\\b.json", b"x"), "a name that no capsule has"),
        (drop("manifest.json"), "is a zip but no capsule"),
        (swap("manifest.json", b"[]"), "manifest.json that is none of a capsule"),
        (swap("manifest.json", b"{"), "manifest.json that is none of a capsule"),
        (
            swap("manifest.json", b'{"format": "projectai_lab/capsule/2", "members": {}}'),
            "of format 'projectai_lab/capsule/2'; this kit reads 'projectai_lab/capsule/1'",
        ),
    ],
)
def test_what_was_changed_is_refused_by_name(
    study: Path, tmp_path: Path, change: Change, words: str
) -> None:
    path = rewritten(study, tmp_path / "changed.zip", change)
    with pytest.raises(CapsuleError) as caught:
        capsule.open(path)
    assert words in str(caught.value)
    assert caught.value.path == path
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_member_that_is_there_twice_is_refused(study: Path, tmp_path: Path) -> None:
    path = tmp_path / "twice.zip"
    path.write_bytes(study.read_bytes())
    with (
        zipfile.ZipFile(path, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("parameters.json", b"{}")
    with pytest.raises(CapsuleError, match="holds a member twice"):
        capsule.open(path)


def test_a_manifest_rewritten_to_match_still_cannot_call_what_is_no_figure(
    study: Path, tmp_path: Path
) -> None:
    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        manifest["figures"]["retries.png"]["plot"] = "__loader__"
        members["manifest.json"] = json.dumps(manifest).encode()

    with pytest.raises(CapsuleError, match="figures drawn by __loader__"):
        capsule.open(rewritten(study, tmp_path / "changed.zip", change))


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99])
def test_what_is_cut_off_is_refused(study: Path, tmp_path: Path, keep: float) -> None:
    data = study.read_bytes()
    path = tmp_path / "cut.zip"
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    with pytest.raises(CapsuleError, match="is no whole zip"):
        capsule.open(path)


def test_a_damaged_byte_is_found_in_whichever_member(study: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(study) as archive:
        # A member's data stand behind its header of 30 bytes and its name.
        places = [
            info.header_offset + 30 + len(info.filename) + info.compress_size // 2
            for info in archive.infolist()
        ]
    path = tmp_path / "damaged.zip"
    for place in places:
        damaged = bytearray(study.read_bytes())
        damaged[place] ^= 0x55
        path.write_bytes(damaged)
        with pytest.raises(CapsuleError):
            capsule.open(path)


def test_a_file_that_is_not_there_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CapsuleError, match=r"there is no file .*capsule\.save\(path, histories\)"):
        capsule.open(tmp_path / "none.zip")
    with pytest.raises(CapsuleError, match="is a directory"):
        capsule.open(tmp_path)


def signal(text: str) -> Event:
    """Make a Signal with a payload, which a file holds in base64."""
    payload = {"data": b64encode(text.encode()).decode()}
    return Event("WORKFLOW_EXECUTION_SIGNALED", {"input": {"payloads": [payload]}})


SECRETS = {
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a bearer token": TOKEN,
    "a JSON Web Token": "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0In0." + "s" * 20,
    "a literal secret": 'api_key = "' + "k" * 12 + '"',
    "an AWS access key": "AKIA" + "ABCDEFGHIJKLMNOP",
    "a GitHub token": "ghp_" + "a" * 36,
    "an API key": "sk-" + "a" * 24,
}


@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_in_a_payload_is_found_and_nothing_is_written(kind: str, tmp_path: Path) -> None:
    run = history("r", signal(f'{{"text": "{SECRETS[kind]}"}}'))
    with pytest.raises(CapsuleError) as caught:
        capsule.save(tmp_path / "s.zip", run)
    assert caught.value.secrets == [f"history of r, Event 2: {kind}"]
    assert SECRETS[kind] not in str(caught.value)
    assert "accept_secrets=True" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        'api_key = os.environ["MY_API_KEY"]',
        'api_key="$API_KEY"',
        'password: "********"',
        "the secret of the token is patience",
        "bearer of good news",
        '"token": ""',
    ],
)
def test_what_only_speaks_of_secrets_is_none(words: str, tmp_path: Path) -> None:
    notebook = tmp_path / "n.ipynb"
    notebook.write_text(json.dumps({"cells": [{"source": [words]}]}))
    capsule.open(capsule.save(tmp_path / "s.zip", history("r", signal(words)), notebook=notebook))


def test_secrets_in_notebook_parameters_tables_and_attempts_are_found_by_place(
    tmp_path: Path,
) -> None:
    notebook = tmp_path / "n.ipynb"
    notebook.write_text(json.dumps({"cells": [{"source": [SECRETS["a literal secret"]]}]}))
    with pytest.raises(CapsuleError) as caught:
        capsule.save(
            tmp_path / "s.zip",
            golden("clean"),
            tables={"own": pd.DataFrame({"said": [TOKEN, "x"], "n": [1, 2]})},
            notebook=notebook,
            parameters={"headers": {"token": "abcdefgh12345678"}},
            recorder=[{"failure_message": TOKEN}],
        )
    assert caught.value.secrets == [
        "attempts.jsonl, line 1: a bearer token",
        "notebook/n.ipynb, line 1: a literal secret",
        "parameters.json, line 3: a literal secret",
        "table own, column said: a bearer token",
    ]


def test_the_values_of_this_environment_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", "plainword42")
    monkeypatch.setenv("TEMPORAL_GRPC_META_ORG", "fifty-two-words")
    monkeypatch.setenv("MY_DB_PASSWORD", "tr0ub4dor")
    run = history("r", signal("plainword42"), signal("fifty-two-words"), signal("tr0ub4dor"))
    with pytest.raises(CapsuleError) as caught:
        capsule.save(tmp_path / "s.zip", run)
    told = " ".join(caught.value.secrets)
    for name in ("TEMPORAL_API_KEY", "TEMPORAL_GRPC_META_ORG", "MY_DB_PASSWORD"):
        assert f"the value of {name}" in told


def test_the_api_key_of_the_profile_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = tmp_path / "temporal.toml"
    profile.write_text('[profile.default]\napi_key = "plainword42"\n')
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(profile))
    with pytest.raises(CapsuleError, match="Event 2: the value of the API key in use"):
        capsule.save(tmp_path / "s.zip", history("r", signal("plainword42")))
    profile.write_text("[profile.default\n")
    with pytest.raises(ConfigError, match="cannot read"):
        capsule.save(tmp_path / "s.zip", golden("clean"))


def test_short_values_and_the_namespace_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_NAMESPACE", "my-namespace")
    monkeypatch.setenv("TEMPORAL_GRPC_META_TEMPORAL_NAMESPACE", "my-namespace")
    monkeypatch.setenv("SOME_TOKEN", "short")
    monkeypatch.setenv("SSH_KEY_TOKEN_PATH", "/home/somebody/key")
    found = _secrets.known()
    assert {b"my-namespace", b"short", b"/home/somebody/key"}.isdisjoint(found.values())


def test_secrets_may_be_accepted_and_the_manifest_says_so(tmp_path: Path) -> None:
    run = history("r", signal(TOKEN))
    found = capsule.open(capsule.save(tmp_path / "s.zip", run, accept_secrets=True))
    assert found.manifest["accepted_secrets"] == ["history of r, Event 2: a bearer token"]
    assert "a bearer token" in found._repr_html_()


def test_a_failed_save_leaves_the_capsule_before_it_as_it_was(tmp_path: Path) -> None:
    path = capsule.save(tmp_path / "s.zip", golden("clean"))
    before = path.read_bytes()
    with pytest.raises(CapsuleError):
        capsule.save(path, history("r", signal(TOKEN)))
    assert path.read_bytes() == before
    assert capsule.save(path, golden("mixed")) == path
    assert capsule.open(path).histories[0].workflow_id == "mixed"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"figures": {"x.png": ("gantt", "attempts")}}, "plots has no 'gantt'; it has"),
        ({"figures": {"x.png": ("retries", "edges")}}, "the capsule has no table 'edges'"),
        ({"figures": {"x.png": "retries"}}, r'\("retries", "attempts"\), and options if any'),
        ({"figures": {"../x.png": ("retries", "attempts")}}, "cannot be a member of a capsule"),
        ({"figures": {"x.png": ("latency", "activities", {"by": {1}})}}, "kept as JSON"),
        ({"tables": {"own": pd.DataFrame({"a": [1, "x"]})}}, "table 'own' does not come back"),
        ({"tables": {"own": pd.DataFrame({"a": [{"b"}]})}}, "table 'own' does not come back"),
        ({"tables": {"own": [1]}}, "table 'own' is a list, not a DataFrame"),
        ({"tables": {"a/b": pd.DataFrame()}}, "cannot be a member of a capsule"),
        ({"parameters": {"a": {1, 2}}}, "parameters cannot be kept as JSON"),
        ({"parameters": {"a": float("nan")}}, "parameters cannot be kept as JSON"),
        ({"notebook": "none.ipynb"}, "the notebook none.ipynb cannot be read"),
    ],
)
def test_what_cannot_be_kept_is_refused(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(CapsuleError, match=words):
        capsule.save(tmp_path / "s.zip", golden("clean"), **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["folder", "x" * 300, "file/below.zip"])
def test_a_path_that_cannot_be_written_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(CapsuleError, match=f"cannot write .*{name}: .*; make room, or name a file"):
        capsule.save(tmp_path / name, golden("clean"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_histories_that_are_none_or_empty_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CapsuleError, match="there are no histories to save"):
        capsule.save(tmp_path / "s.zip", [])
    with pytest.raises(CapsuleError, match="1 of 2 histories have no events"):
        capsule.save(tmp_path / "s.zip", [golden("clean"), golden("mixed", events=0)])
    with pytest.raises(TableError, match="give each run once"):
        capsule.save(tmp_path / "s.zip", [golden("clean"), golden("clean")])


def test_a_table_of_ours_that_breaks_its_schema_is_refused(tmp_path: Path) -> None:
    broken = tables.timers(goldens()).drop(columns=["lag_s"])
    with pytest.raises(TableError, match="timers has no column lag_s"):
        capsule.save(tmp_path / "s.zip", golden("clean"), tables={"timers": broken})
