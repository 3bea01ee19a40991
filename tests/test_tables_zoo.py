"""Every table of histories that a real server makes now, against a plain walk over the protobuf."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.enums.v1 import EventType, TimeoutType
from temporalio.client import WorkflowExecutionDescription
from temporalio.worker import Worker

from projectai_lab import tables
from projectai_lab.histories import History
from tests import zoo_histories as zoo
from tests.data import record

Zoo = tuple[dict[str, History], dict[str, WorkflowExecutionDescription]]
ENDS = ("COMPLETED", "FAILED", "TIMED_OUT", "CANCELED", "TERMINATED")


@pytest.fixture(scope="module")
def animals() -> Zoo:
    """Run the zoo on a server of this module's own."""

    async def scenario() -> Zoo:
        kinds: Any = {"workflows": zoo.WORKFLOWS, "activities": zoo.ACTIVITIES}
        async with record.server() as client, Worker(client, task_queue=zoo.QUEUE, **kinds):
            return await zoo.run_zoo(client)

    return asyncio.run(scenario())


@pytest.fixture(scope="module")
def built(animals: Zoo) -> dict[str, pd.DataFrame]:
    """Return every table of the whole zoo."""
    return tables.build(animals[0].values())


def of(table: pd.DataFrame, history: History) -> pd.DataFrame:
    """Return the rows of one run."""
    return table[table.run_id == history.run_id]


def plain(values: pd.Series) -> list[Any]:
    """Return values with None for NA."""
    return [None if pd.isna(value) else value for value in values.astype(object)]


def told(history: History) -> Iterator[tuple[int, str, Timestamp, Any]]:
    """Yield id, type, time and attributes of each event."""
    for event in history.events:
        name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
        attributes = getattr(event, f"{name.lower()}_event_attributes")
        yield event.event_id, name, event.event_time, attributes


def after(later: Timestamp, earlier: Timestamp) -> float:
    """Return the seconds between two times."""
    return float((later.ToNanoseconds() - earlier.ToNanoseconds()) / 1e9)


def same_seconds(column: pd.Series, expected: list[float | None]) -> None:
    """Compare durations, None being NaN."""
    assert plain(column) == [None if v is None else pytest.approx(v, abs=1e-9) for v in expected]


def test_the_zoo_has_every_kind_of_animal(animals: Zoo) -> None:
    kinds = {kind for history in animals[0].values() for _, kind, _, _ in told(history)}
    wanted = {
        *("WORKFLOW_EXECUTION_SIGNALED", "WORKFLOW_EXECUTION_UPDATE_COMPLETED", "TIMER_CANCELED"),
        *("WORKFLOW_EXECUTION_CONTINUED_AS_NEW", "WORKFLOW_EXECUTION_PAUSED", "MARKER_RECORDED"),
        *("WORKFLOW_EXECUTION_CANCELED", "WORKFLOW_EXECUTION_TERMINATED", "TIMER_STARTED"),
        *("WORKFLOW_EXECUTION_TIMED_OUT", "CHILD_WORKFLOW_EXECUTION_TIMED_OUT", "TIMER_FIRED"),
        *("START_CHILD_WORKFLOW_EXECUTION_FAILED", "WORKFLOW_EXECUTION_UNPAUSED"),
        *("EXTERNAL_WORKFLOW_EXECUTION_SIGNALED", "SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_FAILED"),
        *("UPSERT_WORKFLOW_SEARCH_ATTRIBUTES", "WORKFLOW_PROPERTIES_MODIFIED"),
        *("REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_FAILED", "WORKFLOW_TASK_FAILED"),
    }
    assert wanted - kinds == set()


def test_events_are_those_of_the_walk(animals: Zoo, built: dict[str, pd.DataFrame]) -> None:
    for history in animals[0].values():
        table, walk = of(built["events"], history), list(told(history))
        assert table.event_id.tolist() == [event_id for event_id, *_ in walk]
        assert table.event_type.tolist() == [kind for _, kind, _, _ in walk]
        nanoseconds = [time.ToNanoseconds() for _, _, time, _ in walk]
        assert table.event_time.astype("int64").tolist() == nanoseconds
        begun = walk[0][2]
        same_seconds(table.since_start_s, [after(time, begun) for _, _, time, _ in walk])


def test_executions_say_what_the_server_says(animals: Zoo, built: dict[str, pd.DataFrame]) -> None:
    for name, history in animals[0].items():
        (row,) = of(built["executions"], history).itertuples()
        said = animals[1][name]
        info = said.raw_description.workflow_execution_info
        assert said.status is not None
        assert row.status == said.status.name
        assert (row.workflow_id, row.run_id) == (said.id, said.run_id)
        assert row.workflow_type == said.workflow_type
        assert row.history_length == said.history_length == len(history.events)
        assert abs(row.history_size_bytes - info.history_size_bytes) < 0.2 * info.history_size_bytes
        assert row.close_time.value == info.close_time.ToNanoseconds()
        assert row.first_run_id == info.first_run_id
        # A reset run begins a little before the first Event that tells of the reset.
        within = 0.1 if name == "reset" else 1e-9
        server = info.execution_duration.ToNanoseconds() / 1e9
        assert row.duration_s == pytest.approx(server, abs=within)
        assert abs(row.start_time.value - info.start_time.ToNanoseconds()) <= within * 1e9


def test_a_reset_run_counts_from_the_reset(animals: Zoo, built: dict[str, pd.DataFrame]) -> None:
    history = animals[0]["reset"]
    (row,) = of(built["executions"], history).itertuples()
    events = of(built["events"], history)
    assert row.duration_s < 1.5 < events.since_start_s.max()
    failed = of(built["workflow_tasks"], history).query("status == 'FAILED'")
    assert failed.failure_cause.tolist() == ["RESET_WORKFLOW"]
    assert failed.exec_s.isna().all()


def test_executions_count_what_the_walk_counts(
    animals: Zoo, built: dict[str, pd.DataFrame]
) -> None:
    for history in animals[0].values():
        (row,) = of(built["executions"], history).itertuples()
        kinds = [kind for _, kind, _, _ in told(history)]
        assert row.n_timers == kinds.count("TIMER_STARTED")
        assert row.n_signals == kinds.count("WORKFLOW_EXECUTION_SIGNALED")
        assert row.n_updates == kinds.count("WORKFLOW_EXECUTION_UPDATE_ACCEPTED")
        assert row.n_children == kinds.count("START_CHILD_WORKFLOW_EXECUTION_INITIATED")
        assert row.n_workflow_tasks == kinds.count("WORKFLOW_TASK_SCHEDULED")
        failures = kinds.count("WORKFLOW_TASK_FAILED") + kinds.count("WORKFLOW_TASK_TIMED_OUT")
        assert row.n_workflow_task_failures == failures
        local = of(built["activities"], history).is_local.sum()
        assert row.n_activities == kinds.count("ACTIVITY_TASK_SCHEDULED") + local


def test_activities_are_those_of_the_walk(animals: Zoo, built: dict[str, pd.DataFrame]) -> None:
    for history in animals[0].values():
        found: dict[int, dict[str, Any]] = {}
        for event_id, kind, time, said in told(history):
            if kind == "ACTIVITY_TASK_SCHEDULED":
                found[event_id] = {"type": said.activity_type.name, "at": time, "end": "PENDING"}
            elif kind == "ACTIVITY_TASK_STARTED":
                found[said.scheduled_event_id] |= {"begun": time, "attempts": said.attempt}
            elif kind.removeprefix("ACTIVITY_TASK_") in ENDS and kind.startswith("ACTIVITY"):
                end = kind.removeprefix("ACTIVITY_TASK_")
                found[said.scheduled_event_id] |= {"end": end, "closed": time}
        table = of(built["activities"], history)
        table = table[~table.is_local]
        walk = list(found.values())
        assert table.scheduled_event_id.tolist() == list(found)
        assert table.activity_type.tolist() == [one["type"] for one in walk]
        assert table.status.tolist() == [one["end"] for one in walk]
        assert plain(table.attempts) == [one.get("attempts") for one in walk]
        ended = [after(one["closed"], one["at"]) if "closed" in one else None for one in walk]
        same_seconds(table.total_s, ended)
        once = [one.get("attempts") == 1 and "closed" in one for one in walk]
        pairs = zip(walk, once, strict=True)
        queue = [after(one["begun"], one["at"]) if sure else None for one, sure in pairs]
        same_seconds(table.queue_s.where(once), queue)


def test_each_of_the_four_timeouts_is_told(animals: Zoo, built: dict[str, pd.DataFrame]) -> None:
    events = of(built["events"], animals[0]["timeouts"])
    fired = events[events.event_type == "ACTIVITY_TASK_TIMED_OUT"]
    words = {word.removeprefix("TIMEOUT_TYPE_") for word, number in TimeoutType.items() if number}
    assert set(fired.timeout_type) == words


def test_local_activities_and_patches_are_told(
    animals: Zoo, built: dict[str, pd.DataFrame]
) -> None:
    table = of(built["activities"], animals[0]["locals"])
    assert table.is_local.all()
    assert list(zip(table.activity_type, table.status, table.attempts, strict=True)) == [
        ("say", "COMPLETED", 1),
        ("stumble", "FAILED", 2),
        ("oversleep", "TIMED_OUT", 1),
        ("stumble", "COMPLETED", 3),
    ]
    assert plain(table.result_bytes) == [4, None, None, 1]
    events = of(built["events"], animals[0]["locals"])
    assert events.change_id.dropna().tolist() == ["new-way", "old-way"]
    local = events[events.marker_name == "core_local_activity"]
    # Two tries of the last one ended in a timer: each has a Marker, but is no activity of its own.
    assert local.activity_type.tolist() == ["say", "stumble", "oversleep", *["stumble"] * 3]


def test_timers_are_those_of_the_walk(animals: Zoo, built: dict[str, pd.DataFrame]) -> None:
    for history in animals[0].values():
        found: dict[int, dict[str, Any]] = {}
        for event_id, kind, time, said in told(history):
            if kind == "TIMER_STARTED":
                wanted = said.start_to_fire_timeout.ToNanoseconds() / 1e9
                found[event_id] = {"at": time, "wanted": wanted, "end": "PENDING"}
            elif kind in ("TIMER_FIRED", "TIMER_CANCELED"):
                end = kind.removeprefix("TIMER_")
                found[said.started_event_id] |= {"end": end, "closed": time}
        table = of(built["timers"], history)
        assert table.started_event_id.tolist() == list(found)
        assert table.status.tolist() == [one["end"] for one in found.values()]
        same_seconds(table.timeout_s, [one["wanted"] for one in found.values()])
        lags = [
            after(one["closed"], one["at"]) - one["wanted"] if one["end"] == "FIRED" else None
            for one in found.values()
        ]
        same_seconds(table.lag_s, lags)


def test_children_are_those_of_the_walk(animals: Zoo, built: dict[str, pd.DataFrame]) -> None:
    table = of(built["child_workflows"], animals[0]["family"])
    assert table.status.tolist() == ["COMPLETED", "CANCELED", "TIMED_OUT", "START_FAILED"]
    ends = [
        (said.initiated_event_id, kind.rpartition("CHILD_WORKFLOW_EXECUTION_")[2], time)
        for _, kind, time, said in told(animals[0]["family"])
        if "CHILD_WORKFLOW" in kind and not kind.endswith(("INITIATED", "STARTED"))
    ]
    by_id = table.set_index("initiated_event_id")
    for initiated, end, time in ends:
        assert by_id.status[initiated].removeprefix("START_") == end
        assert by_id.closed_time[initiated].value == time.ToNanoseconds()


def test_a_chain_of_continue_as_new_is_one_first_run(
    animals: Zoo, built: dict[str, pd.DataFrame]
) -> None:
    first, last = animals[0]["chain-first"], animals[0]["chain-last"]
    (one,), (two,) = (of(built["executions"], run).itertuples() for run in (first, last))
    assert (one.status, two.status) == ("CONTINUED_AS_NEW", "COMPLETED")
    assert one.first_run_id == two.first_run_id == one.run_id != two.run_id
    ends = [said for _, kind, _, said in told(first) if kind.endswith("CONTINUED_AS_NEW")]
    assert [said.new_execution_run_id for said in ends] == [two.run_id]


def test_messages_are_those_of_the_walk(animals: Zoo, built: dict[str, pd.DataFrame]) -> None:
    table = of(built["messages"], animals[0]["talk"])
    assert list(zip(table.kind, table.name, table.status, strict=True)) == [
        ("UPDATE", "double", "COMPLETED"),
        ("UPDATE", "double", "FAILED"),
        ("SIGNAL", "stop", "RECEIVED"),
    ]
    assert plain(table.failure_type) == [None, "Superstition", None]
    accepted = {
        said.protocol_instance_id: (event_id, time)
        for event_id, kind, time, said in told(animals[0]["talk"])
        if kind == "WORKFLOW_EXECUTION_UPDATE_ACCEPTED"
    }
    updates = table[table.kind == "UPDATE"].set_index("message_id")
    for _, kind, time, said in told(animals[0]["talk"]):
        if kind == "WORKFLOW_EXECUTION_UPDATE_COMPLETED":
            event_id, begun = accepted.pop(said.meta.update_id)
            assert updates.event_id[said.meta.update_id] == event_id
            assert updates.lag_s[said.meta.update_id] == pytest.approx(after(time, begun))
    assert not accepted


def test_messages_sent_to_others_are_told_on_both_sides(
    animals: Zoo, built: dict[str, pd.DataFrame]
) -> None:
    sent = of(built["messages"], animals[0]["family"])
    friend = animals[0]["friend"].workflow_id
    assert {(m.kind, m.other_workflow_id, m.status) for m in sent.itertuples()} == {
        ("EXTERNAL_CANCEL", f"{animals[0]['family'].workflow_id}-idle", "DELIVERED"),
        ("EXTERNAL_SIGNAL", friend, "DELIVERED"),
        ("EXTERNAL_SIGNAL", "nobody-here", "FAILED"),
        ("EXTERNAL_CANCEL", friend, "DELIVERED"),
        ("EXTERNAL_CANCEL", "nobody-here", "FAILED"),
    }
    unheard = sent[sent.status == "FAILED"]
    assert set(unheard.failure_type) == {"EXTERNAL_WORKFLOW_EXECUTION_NOT_FOUND"}
    (heard,) = of(built["messages"], animals[0]["friend"]).itertuples()
    assert heard.other_workflow_id == animals[0]["family"].workflow_id
    assert heard.input_bytes == len('"bye"')


def test_workflow_tasks_are_those_of_the_walk(animals: Zoo, built: dict[str, pd.DataFrame]) -> None:
    for name, history in animals[0].items():
        found: dict[int, dict[str, Any]] = {}
        for event_id, kind, time, said in told(history):
            word = kind.removeprefix("WORKFLOW_TASK_")
            if kind == "WORKFLOW_TASK_SCHEDULED":
                sticky = bool(said.task_queue.normal_name)
                found[event_id] = {"at": time, "end": word, "sticky": sticky}
            elif kind.startswith("WORKFLOW_TASK_"):
                found[said.scheduled_event_id] |= {"end": word, word: time}
        table = of(built["workflow_tasks"], history)
        walk = list(found.values())
        assert table.scheduled_event_id.tolist() == list(found)
        assert table.status.tolist() == [one["end"] for one in walk]
        assert table.is_sticky.tolist() == [one["sticky"] for one in walk]
        begun = [after(one["STARTED"], one["at"]) if "STARTED" in one else None for one in walk]
        same_seconds(table.lag_s, begun)
        if name != "reset":
            # On a busy machine a Workflow Task may be cut off by the end of its run.
            took = [
                after(one[one["end"]], one["STARTED"])
                if "STARTED" in one and one["end"] not in ("SCHEDULED", "STARTED")
                else None
                for one in walk
            ]
            same_seconds(table.exec_s, took)


def test_every_table_of_the_zoo_keeps_its_schema_also_through_parquet(
    animals: Zoo, built: dict[str, pd.DataFrame], tmp_path: Any
) -> None:
    for name, table in {**built, "payloads": tables.payloads(animals[0].values())}.items():
        tables.validate(table)
        assert len(table) > 0
        table.to_parquet(tmp_path / name)
        back = tables.validate(pd.read_parquet(tmp_path / name))
        pd.testing.assert_frame_equal(back, table)
