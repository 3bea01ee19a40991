"""Histories in every form that a tool writes, and what is said of files that are none."""

from __future__ import annotations

import copy
import io
import json
import subprocess
import sys
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from temporalio.api.export.v1 import WorkflowExecution, WorkflowExecutions
from temporalio.api.history.v1 import History as Events
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHistory

from projectai_lab import capsule, histories
from projectai_lab.errors import HistoryFileError
from projectai_lab.histories import History
from projectai_lab.histories._json import events_of
from tests import zoo
from tests.data import attempt_records, golden

NAMES = ["clean", "everything", "mixed", "timeouts"]
GOLDEN = [golden(name) for name in NAMES]


def filled(message: Any, random: Random, depth: int = 4) -> None:
    """Set every field of a message, those of messages in it to some depth."""
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof is not None and field.containing_oneof.name == "attributes":
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            _fill_map(getattr(message, field.name), field, random, depth)
        elif field.message_type is not None and depth == 0:
            continue
        elif field.is_repeated:
            _fill_list(getattr(message, field.name), field, random, depth)
        elif field.message_type is not None:
            _fill_message(getattr(message, field.name), random, depth)
        else:
            setattr(message, field.name, _value(field, random))


def _fill_map(into: Any, field: Any, random: Random, depth: int) -> None:
    value = field.message_type.fields_by_name["value"]
    if value.message_type is None:
        into[f"key {random.random()}"] = _value(value, random)
    elif depth:
        _fill_message(into["a key"], random, depth)


def _fill_list(into: Any, field: Any, random: Random, depth: int) -> None:
    for _ in range(2):
        if field.message_type is None:
            into.append(_value(field, random))
        else:
            _fill_message(into.add(), random, depth)


def _fill_message(message: Any, random: Random, depth: int) -> None:
    kind = message.DESCRIPTOR.full_name
    if kind == "google.protobuf.FieldMask":
        message.FromJsonString("one,twoThree")
    elif kind in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        message.seconds = random.randrange(1_000_000_000, 2_000_000_000)
        message.nanos = random.choice([0, 5, 120_000_000, 999_999_999])
    elif kind == "google.protobuf.Any":
        message.Pack(HistoryEvent(event_id=7))
    elif kind == "temporal.api.common.v1.Payload":
        message.metadata["encoding"] = b"json/plain"
        message.data = random.randbytes(5)
    else:
        filled(message, random, depth - 1)
        message.SetInParent()


def _value(field: Any, random: Random) -> Any:
    if field.enum_type is not None:
        return random.choice(field.enum_type.values).number
    makers: dict[int, Callable[[], Any]] = {
        FieldDescriptor.CPPTYPE_BOOL: lambda: True,
        FieldDescriptor.CPPTYPE_FLOAT: lambda: 0.5,
        FieldDescriptor.CPPTYPE_DOUBLE: lambda: random.random(),
        FieldDescriptor.CPPTYPE_STRING: lambda: f"text ü {random.random()}",
    }
    if field.type == FieldDescriptor.TYPE_BYTES:
        return random.randbytes(3)
    return makers.get(field.cpp_type, lambda: random.randrange(1, 2**31))()


def every_event() -> Iterator[HistoryEvent]:
    """Yield one Event of each kind, with all fields set."""
    random = Random(7)
    kinds = HistoryEvent.DESCRIPTOR.oneofs_by_name["attributes"].fields
    for number, kind in enumerate(kinds, 1):
        event = HistoryEvent(event_id=number)
        filled(event, random)
        filled(getattr(event, kind.name), random)
        event.event_id = number
        yield event


def test_every_field_of_every_event_comes_out_of_its_json() -> None:
    events = list(every_event())
    assert len(events) >= 58
    for event in events:
        for names in (False, True):
            written = MessageToDict(event, preserving_proto_field_name=names)
            assert events_of([json.loads(json.dumps(written))]) == [event]


@pytest.mark.parametrize("history", GOLDEN, ids=NAMES)
def test_json_is_read_as_the_sdk_reads_it(history: History) -> None:
    whole = history.to_json_dict()
    assert events_of(whole["events"]) == list(WorkflowHistory.from_json("", whole).events)
    strange = {"newField": {"a": 1}, "eventType": "EVENT_TYPE_OF_2030", "eventId": 7}
    assert events_of([strange]) == [HistoryEvent(event_id=7)]


def run_cli(address: str, workflow_id: str, form: str) -> str:
    """Return what the CLI prints."""
    command = [str(Path(sys.executable).with_name("temporal")), "workflow", "show", "-o", form]
    shown = subprocess.run(
        [*command, "-w", workflow_id, "--address", address],
        check=True,
        capture_output=True,
        text=True,
    )
    return shown.stdout


def test_files_of_the_cli_load_also_several_in_one(lab: Any, tmp_path: Path) -> None:
    lab.start_worker(workflows=[zoo.Greeting], activities=[zoo.greet])
    handles = [
        lab.start_workflow(zoo.Greeting.run, "greet", f"you {number}") for number in range(2)
    ]
    for handle in handles:
        handle.result(timeout=20)
    whole = lab.fetch_histories(handles)
    for form in ("json", "jsonl"):
        printed = [run_cli(lab.address, handle.id, form) for handle in handles]
        path = tmp_path / f"one.{form}"
        path.write_text(printed[0])
        assert list(histories.load(path).events) == list(whole[0].events)
        path.write_text("".join(printed))
        assert [list(one.events) for one in histories.load_all(path)] == [
            list(one.events) for one in whole
        ]
        with pytest.raises(HistoryFileError, match=r"holds 2 histories; histories\.load_all"):
            histories.load(path)


def as_shown(content: Any, show: Callable[[dict[str, Any]], Any]) -> Any:
    """Return JSON with each payload as the Web UI shows it in a download."""
    if isinstance(content, list):
        return [as_shown(one, show) for one in content]
    if not isinstance(content, dict):
        return content
    if content.keys() == {"metadata", "data"} or content.keys() == {"metadata"}:
        return show(content)
    return {key: as_shown(value, show) for key, value in content.items()}


def readable(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload as the setting "readable" has it: metadata as text, data as a value."""
    metadata = {key: b64decode(text).decode() for key, text in payload["metadata"].items()}
    data = b64decode(payload.get("data", ""))
    return {"metadata": metadata, "data": json.loads(data) if data else None}


def bare(payload: dict[str, Any]) -> Any:
    """Return the value alone, as older Web UIs have it."""
    return readable(payload)["data"]


def short(content: Any) -> Any:
    """Return JSON with the list alone for Payloads: the CLI's and HTTP API's short form."""
    if isinstance(content, list):
        return [short(one) for one in content]
    if not isinstance(content, dict):
        return content
    if content.keys() == {"payloads"}:
        return short(content["payloads"])
    return {key: short(value) for key, value in content.items()}


@pytest.mark.parametrize("history", GOLDEN, ids=NAMES)
@pytest.mark.parametrize("show", [readable, bare])
@pytest.mark.parametrize("shape", [copy.deepcopy, short])
def test_decoded_payloads_are_encoded_again(
    history: History,
    show: Callable[[dict[str, Any]], Any],
    shape: Callable[[Any], Any],
    tmp_path: Path,
) -> None:
    path = tmp_path / "events.json"
    whole = history.to_json_dict()
    path.write_text(json.dumps(shape(as_shown(whole, show))))
    assert b"payloads" in path.read_bytes() or shape is short
    back = WorkflowHistory("", histories.load(path).events).to_json_dict()
    assert as_shown(back, bare) == as_shown(whole, bare)
    if show is readable:
        assert as_shown(back, readable) == as_shown(whole, readable)


def with_payload(payload: Any) -> str:
    """Return a history as JSON whose input is one payload."""
    whole = GOLDEN[0].to_json_dict()
    started = whole["events"][0]["workflowExecutionStartedEventAttributes"]
    started["input"] = {"payloads": [payload]}
    return json.dumps(whole)


def encoded(encoding: str, data: bytes) -> dict[str, Any]:
    """Return the JSON of a payload."""
    metadata = {"encoding": b64encode(encoding.encode()).decode()}
    return {"metadata": metadata, "data": b64encode(data).decode()}


@pytest.mark.parametrize("encoding", ["binary/encrypted", "binary/plain", "my/codec", "json/plain"])
def test_a_payload_of_any_codec_stays_bytes(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    data = b'\x00\xff "not JSON'
    path.write_text(with_payload(encoded(encoding, data)))
    started = histories.load(path).events[0].workflow_execution_started_event_attributes
    (payload,) = started.input.payloads
    assert (payload.metadata["encoding"], payload.data) == (encoding.encode(), data)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (
            {"metadata": {"encoding": "binary/plain"}, "data": 7},
            r"encoding 'binary/plain' was decoded, its bytes are lost\); in the Web UI download it "
            "with the payloads left encoded",
        ),
        (encoded("json/plain", b"") | {"data": "!"}, "cannot be read"),
        (encoded("json/plain", b"") | {"data": 7}, "no base64 but 7"),
    ],
)
def test_a_payload_that_cannot_be_restored_is_said(
    payload: Any, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    path.write_text(with_payload(payload))
    with pytest.raises(HistoryFileError, match=message):
        histories.load(path)


def export(*found: History) -> bytes:
    """Return histories as Temporal Cloud exports them."""
    items = [WorkflowExecution(history=Events(events=one.events)) for one in found]
    return WorkflowExecutions(items=items).SerializeToString()


def test_an_export_of_temporal_cloud_loads_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_bytes(export(*GOLDEN))
    assert [one.workflow_id for one in histories.load_all(path)] == NAMES
    assert [list(one.events) for one in histories.load_all(path)] == [
        list(one.events) for one in GOLDEN
    ]
    path.write_bytes(export(GOLDEN[1]))
    assert histories.load(path).workflow_id == "everything"
    path.write_bytes(export(GOLDEN[1]) + export(GOLDEN[2]))
    assert [one.workflow_id for one in histories.load_all(path)] == NAMES[1:3]


def test_a_history_that_comes_twice_is_read_once_and_two_states_of_it_are_told(
    tmp_path: Path,
) -> None:
    (tmp_path / "a").write_bytes(export(*GOLDEN))
    histories.save(GOLDEN[0], tmp_path / "b.json")
    assert [one.workflow_id for one in histories.load_all(tmp_path)] == NAMES
    histories.save(golden("mixed", events=9), tmp_path / "c.json")
    found, bad = histories.scan(tmp_path)
    assert [one.workflow_id for one in found] == NAMES
    (reason,) = bad["reason"]
    assert f"holds another state of run {golden('mixed').run_id}, which is in" in reason


def test_a_printed_history_may_begin_with_the_newest_event(tmp_path: Path) -> None:
    whole = GOLDEN[0].to_json_dict()
    path = tmp_path / "reverse.json"
    path.write_text(json.dumps({"events": whole["events"][::-1]}))
    assert list(histories.load(path).events) == list(GOLDEN[0].events)


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (lambda ids: ids[:3] + ids[4:], "misses Event 4; export the whole history"),
        (lambda ids: ids[:3] + ids[7:], "misses Event 4 to 7; export the whole history"),
        (lambda ids: ids[:3] + ids[2:], "has Event 3 twice; export the whole history"),
        (lambda ids: ids[1:], "does not begin with WorkflowExecutionStarted"),
    ],
)
def test_a_history_with_a_hole_is_none(
    keep: Callable[[list[Any]], list[Any]], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "hole"
    for content in (
        json.dumps({"events": keep(GOLDEN[1].to_json_dict()["events"])}).encode(),
        export(History("hole", keep(list(GOLDEN[1].events)))),
    ):
        path.write_bytes(content)
        with pytest.raises(HistoryFileError, match=f"hole {message}"):
            histories.load(path)


def zipped(**files: bytes) -> bytes:
    """Return a zip of files."""
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return whole.getvalue()


def plain(name: str) -> bytes:
    """Return a golden history as plain JSON."""
    return golden(name).to_json().encode()


BAD: dict[str, tuple[bytes, str]] = {
    "cut.json": (plain("mixed")[:-9], "is not whole JSON"),
    "cut.binpb": (export(GOLDEN[0])[:-9], "begins like a Cloud export but is no whole one"),
    "cut.jsonl": (b'{"events": []}\n{"eve', "is not whole JSON"),
    "cut.zip": (zipped(a=b"{}")[:-9], "is no whole zip"),
    "empty": (b"", "is empty"),
    "empty.zip": (zipped(), "is a zip with no file in it"),
    "list.json": (b"[1]", 'has no list "events"'),
    "picture.png": (b"\x89PNG\r\n\x1a\n\x00\xff", "is not text, so not the JSON of a history"),
    "readme.md": (b"# Notes", "is not whole JSON"),
    "deep.json": (b"[" * 100_000, "is not whole JSON"),
}


def test_a_mixed_folder_gives_the_good_ones_and_a_table_of_the_bad(tmp_path: Path) -> None:
    for name, (content, _) in BAD.items():
        (tmp_path / name).write_bytes(content)
    deep = tmp_path / "run-1" / "events.json"
    deep.parent.mkdir()
    deep.write_bytes(plain("clean"))
    (tmp_path / "some.zip").write_bytes(
        zipped(x__mixed=plain("mixed"), inner=zipped(t=plain("timeouts")), bad=b"?")
    )
    (tmp_path / ".hidden").write_bytes(b"half")
    found, bad = histories.scan(tmp_path)
    assert [one.workflow_id for one in found] == ["clean", "timeouts", "mixed"]
    reasons = dict(zip(bad["path"], bad["reason"], strict=True))
    for name, (_, reason) in BAD.items():
        told = [why for path, why in reasons.items() if path == str(tmp_path / name)]
        assert told, name
        assert reason in " ".join(told), name
    assert "is not whole JSON" in reasons[f"{tmp_path}/some.zip/bad"]
    assert bad.dtypes.astype(str).tolist() == ["str", "str"]
    with pytest.raises(HistoryFileError) as caught:
        histories.load_all(tmp_path)
    message = str(caught.value)
    assert f"{len(bad)} of {len(bad) + 3} in {tmp_path} cannot be used; histories.scan" in message
    for path, reason in reasons.items():
        assert f"{path} {reason}" in message


def test_what_is_in_a_hidden_folder_is_passed_over(tmp_path: Path) -> None:
    whole = tmp_path / ".cache" / "runs"
    histories.save(GOLDEN[0], whole / "a.json")
    older = {"events": GOLDEN[0].to_json_dict()["events"][:5]}
    (whole / ".ipynb_checkpoints").mkdir()
    (whole / ".ipynb_checkpoints" / "a-checkpoint.json").write_text(json.dumps(older))
    (whole / "z.zip").write_bytes(zipped(**{".hidden/b": json.dumps(older).encode()}))
    assert [list(one.events) for one in histories.load_all(whole)] == [list(GOLDEN[0].events)]


def test_an_export_and_a_capsule_are_read_like_what_they_were_made_of(tmp_path: Path) -> None:
    records = attempt_records()
    histories.export(GOLDEN, tmp_path / "export", recorder=records, progress=False)
    study = capsule.save(tmp_path / "study.zip", GOLDEN, recorder=records)
    for place in (tmp_path / "export", study):
        found, bad = histories.scan(place)
        assert {one.run_id: list(one.events) for one in found} == {
            one.run_id: list(one.events) for one in GOLDEN
        }
        assert bad.empty


def test_a_scan_without_bad_files_has_an_empty_table_of_the_same_columns(tmp_path: Path) -> None:
    histories.save(GOLDEN[0], tmp_path / "a.json")
    found, bad = histories.scan(tmp_path)
    assert len(found) == 1
    assert (list(bad.columns), len(bad)) == (["path", "reason"], 0)
    assert bad.dtypes.astype(str).tolist() == ["str", "str"]


def test_a_long_list_of_bad_files_is_cut(tmp_path: Path) -> None:
    for number in range(25):
        (tmp_path / f"{number}.json").write_text("?")
    with pytest.raises(HistoryFileError, match=r"(?s)25 of 25 .*\n  and 5 more$"):
        histories.load_all(tmp_path)


def test_a_folder_that_is_not_there_or_empty_is_an_error(tmp_path: Path) -> None:
    for read in (histories.load_all, histories.scan):
        with pytest.raises(HistoryFileError, match=r"there is no file .*absent"):
            read(tmp_path / "absent")
        with pytest.raises(HistoryFileError, match="there is no file in the folder"):
            read(tmp_path)


def test_a_zip_is_read_by_load_all(tmp_path: Path) -> None:
    path = tmp_path / "runs.zip"
    path.write_bytes(zipped(clean=plain("clean")))
    assert [one.workflow_id for one in histories.load_all(path)] == ["clean"]
    with pytest.raises(HistoryFileError, match=r"is a zip; histories\.load_all\(path\)"):
        histories.load(path)
    path.write_bytes(zipped(clean=plain("clean")).replace(b"events", b"ev\xffnts", 1))
    assert len(histories.scan(path).bad) == 1
