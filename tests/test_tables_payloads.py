"""`tables.payloads`: every payload with size and hash, and contents only as far as asked for."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import pandas as pd
import pytest
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload

from projectai_lab import tables
from projectai_lab.errors import TableError
from projectai_lab.histories import History
from tests.data import NAMES, golden, goldens
from tests.test_tables_every_event import everything, history


def walk(message: Message) -> list[Payload]:
    """Return all payloads in a message, in whatever order."""
    if isinstance(message, Payload):
        return [message]
    found: list[Payload] = []
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            value = [one for one in value.values() if isinstance(one, Message)]
        for one in value if isinstance(value, list) or field.is_repeated else [value]:
            found += walk(one)
    return found


def started(**said: Any) -> History:
    """Return a history whose Started event carries more."""
    made = history()
    ParseDict(said, made.events[0].workflow_execution_started_event_attributes)
    return made


def payload(value: Any, encoding: bytes = b"json/plain") -> dict[str, Any]:
    """Return a value as a payload in protobuf's JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    made = Payload(metadata={"encoding": encoding}, data=data)
    encoded = {key: base64.b64encode(text).decode() for key, text in made.metadata.items()}
    return {"metadata": encoded, "data": base64.b64encode(data).decode()}


@pytest.mark.parametrize("name", NAMES)
def test_every_payload_is_a_row_with_size_and_hash(name: str) -> None:
    table = tables.validate(tables.payloads(golden(name)))
    for event in golden(name).events:
        rows = table[table.event_id == event.event_id]
        expected = [(len(p.data), hashlib.sha256(p.data).hexdigest()) for p in walk(event)]
        assert sorted(zip(rows.bytes, rows.sha256, strict=True)) == sorted(expected)
        assert rows.number.tolist() == list(range(1, len(rows) + 1))


def test_a_generated_history_of_every_event_type_keeps_all_its_payloads() -> None:
    made = everything(full=True)
    made.events[4].user_metadata.summary.data = b"a summary"
    table = tables.validate(tables.payloads(made))
    assert len(table) == sum(len(walk(event)) for event in made.events) > 50
    assert {"input", "result", "details", "failure", "user_metadata"} <= set(table.role)


def test_contents_are_json_text() -> None:
    table = tables.payloads(golden("everything"))
    told = table[table.event_type == "WORKFLOW_EXECUTION_SIGNALED"].iloc[0]
    assert (told.role, told.field, told.encoding) == ("input", "input", "json/plain")
    assert json.loads(told.data) == "a signal"
    local = table[table.event_type == "MARKER_RECORDED"].set_index("name")
    assert local.role.tolist() == ["details", "details"]
    assert json.loads(local.data["data"])["activity_type"] == "fail_until"
    assert local.activity_type.tolist() == ["fail_until"] * 2


def test_each_field_has_its_role_and_the_keys_of_maps_their_name() -> None:
    one = payload({"a": 1})
    made = started(
        input={"payloads": [one, one]},
        memo={"fields": {"b": one, "a": one}},
        header={"fields": {"trace": one}},
        searchAttributes={"indexedFields": {"City": one}},
        lastCompletionResult={"payloads": [one]},
        continuedFailure={
            "activityFailureInfo": {},
            "cause": {"applicationFailureInfo": {"details": {"payloads": [one]}}},
        },
    )
    table = tables.payloads(made)
    found = {(row.role, row.field): row for row in table.itertuples()}
    assert set(found) == {
        ("input", "input"),
        ("memo", "memo.fields"),
        ("header", "header.fields"),
        ("search_attribute", "search_attributes.indexed_fields"),
        ("result", "last_completion_result"),
        ("failure", "continued_failure.cause.application_failure_info.details"),
    }
    assert table[table.role == "memo"].name.tolist() == ["a", "b"]
    assert table[table.role == "input"].position.tolist() == [0, 1]
    assert found["header", "header.fields"].name == "trace"


@pytest.mark.parametrize(
    ("data", "encoding", "expected"),
    [
        (b"{}", b"json/plain", "{}"),
        (b'{"a": 1}', b"json/protobuf", '{"a": 1}'),
        (b"", b"binary/null", "null"),
        (b"\x00\x01", b"binary/plain", None),
        (b"\x08\x01", b"binary/protobuf", None),
        (b"\xff\xfe", b"binary/encrypted", None),
        (b"{broken", b"json/plain", None),
        (b"[" * 100_000, b"json/plain", None),
        (b'"\\ud83d"', b"json/plain", '"\\ud83d"'),
        ('"ä😀"'.encode(), b"json/plain", '"ä😀"'),
        (b"x", b"", None),
        (b"x", b"\xff", None),
    ],
)
def test_what_is_not_json_keeps_size_encoding_and_hash(
    data: bytes, encoding: bytes, expected: str | None
) -> None:
    made = started(input={"payloads": [payload(data, encoding)]})
    (row,) = tables.validate(tables.payloads(made)).itertuples()
    assert (None if pd.isna(row.data) else row.data) == expected
    assert (row.bytes, row.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    told = encoding.decode(errors="replace") or None
    assert (None if pd.isna(row.encoding) else row.encoding) == told


def test_a_protobuf_payload_names_its_message() -> None:
    made = started(input={"payloads": [payload(b"{}", b"json/protobuf")]})
    first = made.events[0].workflow_execution_started_event_attributes.input.payloads[0]
    first.metadata["messageType"] = b"my.Message"
    assert tables.payloads(made).message_type.tolist() == ["my.Message"]


def test_only_what_is_allowed_is_decoded() -> None:
    table = tables.payloads(golden("everything"), allow=["result", "fail_until"])
    open_rows = table[table.data.notna()]
    assert len(open_rows) > 0
    assert ((open_rows.role == "result") | (open_rows.activity_type == "fail_until")).all()
    assert table.sha256.notna().all()
    assert tables.payloads(goldens(), allow=[]).data.isna().all()


def test_keys_are_redacted_at_any_depth_and_in_maps() -> None:
    value = {"user_id": "u-1", "rest": [{"user_id": {"deep": 1}, "kept": 2}]}
    fields = {"user_id": payload("u-1"), "other": payload("u-2")}
    made = started(input={"payloads": [payload(value)]}, memo={"fields": fields})
    table = tables.payloads(made, redact=["user_id"])
    assert "u-1" not in "".join(table.data)
    assert json.loads(table[table.role == "input"].data.iloc[0]) == {
        "user_id": "***",
        "rest": [{"user_id": "***", "kept": 2}],
    }
    assert table[table.role == "memo"].data.tolist() == ['"u-2"', '"***"']


def test_a_function_redacts_what_was_decoded() -> None:
    made = started(input={"payloads": [payload({"secret": 1}), payload(b"x", b"binary/plain")]})
    seen: list[Any] = []

    def hide(value: Any) -> Any:
        seen.append(value)
        return {"kept": list(value)}

    table = tables.payloads(made, redact=hide)
    assert seen == [{"secret": 1}]
    assert table.data[0] == '{"kept": ["secret"]}'
    assert pd.isna(table.data[1])


def test_a_codec_is_undone_for_the_content_alone() -> None:
    made = started(input={"payloads": [payload(b"}{", b"binary/turned")]})

    def turn(one: Payload) -> Payload:
        return Payload(metadata={"encoding": b"json/plain"}, data=one.data[::-1])

    (row,) = tables.payloads(made, decode=turn).itertuples()
    assert (row.encoding, row.data, row.bytes) == ("binary/turned", "{}", 2)


def test_a_lone_text_for_allow_or_redact_is_refused() -> None:
    with pytest.raises(TableError, match=r"allow='input' must be a list .*: \['input'\]"):
        tables.payloads([], allow="input")
    with pytest.raises(TableError, match=r"redact='user_id' must be a function or a list of keys"):
        tables.payloads([], redact="user_id")


def test_the_activity_type_stands_on_every_payload_of_its_activity() -> None:
    table = tables.payloads(golden("clean"))
    about = table[table.event_type.isin(["ACTIVITY_TASK_SCHEDULED", "ACTIVITY_TASK_COMPLETED"])]
    assert about.activity_type.tolist() == ["echo"] * 6
