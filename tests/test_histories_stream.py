"""Histories as they come from the server: a bounded number ahead, cached, never a wrong listing."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import uuid
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import (
    Client,
    DescribeWorkflowInput,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
)
from temporalio.service import RPCError
from temporalio.worker import Replayer

from projectai_lab import Lab, LabConfig, WorkflowInput, histories, tables
from projectai_lab.client import LabClient
from projectai_lab.devserver import DevServer
from projectai_lab.errors import HistoryFileError, ServerUnreachableError
from projectai_lab.histories import History, _fetch, _remembered
from projectai_lab.histories import _listing as listing
from projectai_lab.histories._cache import Cache
from projectai_lab.histories._fetch import whole
from projectai_lab.workflows import ExampleWorkflow
from tests import zoo
from tests.test_histories import connect, fresh, run_clean, until


class Asking(Interceptor):
    """Notes which Workflow Ids the server was asked for."""

    def __init__(self) -> None:
        self.histories: list[str] = []
        self.described: list[str] = []

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Wrap the client's calls."""
        return _AskingCalls(next, self)


class _AskingCalls(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, asking: Asking) -> None:
        super().__init__(next)
        self.asking = asking

    def fetch_workflow_history_events(self, input: FetchWorkflowHistoryEventsInput) -> Any:
        self.asking.histories.append(input.id)
        return super().fetch_workflow_history_events(input)

    async def describe_workflow(self, input: DescribeWorkflowInput) -> Any:
        self.asking.described.append(input.id)
        return await super().describe_workflow(input)


def of(ids: list[str]) -> str:
    """Return the List Filter that finds these."""
    return " OR ".join(f"WorkflowId = '{one}'" for one in ids)


async def closed(client: Client, ids: list[str]) -> None:
    """Await that the server lists all of them as closed."""
    query = f"({of(ids)}) AND CloseTime IS NOT NULL"

    async def all_closed() -> bool:
        return (await client.count_workflows(query)).count == len(ids)

    await until(all_closed)


def ids_of(found: list[History]) -> list[str]:
    """Return their Workflow Ids."""
    return [one.workflow_id for one in found]


async def streamed(client: Client, asked: Any, **options: Any) -> list[History]:
    """Collect a stream."""
    return [history async for history in histories.stream(client, asked, **options)]


def test_a_slow_consumer_holds_the_stream_back(address: str, tmp_path: Path) -> None:
    asking = Asking()

    async def scenario() -> None:
        ids = await run_clean(await connect(address), tmp_path, 12)
        client = await connect(address, asking)
        coming = histories.stream(client, ids, concurrency=2)
        async with aclosing(coming):
            assert (await anext(coming)).workflow_id == ids[0]
            for _ in range(50):
                await client.workflow_service.get_system_info(GetSystemInfoRequest())
            assert len(asking.histories) <= 4
            assert ids_of([one async for one in coming]) == ids[1:]
        assert asking.histories == ids

    asyncio.run(scenario())


def test_a_stream_left_early_leaves_nothing_running(address: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        client = await connect(address)
        ids = await run_clean(client, tmp_path, 5)
        await closed(client, ids)
        before = asyncio.all_tasks()
        async with aclosing(histories.stream(client, of(ids))) as coming:
            await anext(coming)
        assert asyncio.all_tasks() == before

    asyncio.run(scenario())


def test_gone_runs_are_told_in_order(address: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        client = await connect(address)
        ids = await run_clean(client, tmp_path, 3)
        gone: list[histories.Ids] = []
        old = (ids[1], str(uuid.uuid4()))
        for cache in (None, tmp_path / "cache"):
            gone.clear()
            asked = [ids[0], old, "never", ids[2]]
            found = await streamed(client, asked, gone=gone, cache=cache)
            assert ids_of(found) == [ids[0], ids[2]]
            assert gone == [old, ("never", None)]

    asyncio.run(scenario())


def test_pages_of_the_listing_follow_each_other(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_PAGE", 2)

    async def scenario() -> None:
        client = await connect(address)
        ids = await run_clean(client, tmp_path, 5)
        await closed(client, ids)
        listed = [run.id async for run in client.list_workflows(of(ids))]
        assert ids_of(await streamed(client, of(ids))) == listed
        assert sorted(listed) == sorted(ids)

    asyncio.run(scenario())


def test_a_run_that_closes_while_it_is_listed_comes_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_PAGE", 1)
    lab.start_worker(workflows=[zoo.Counter])
    ids = [lab.start_workflow(zoo.Counter.run, id=fresh("open")).id for _ in range(4)]

    async def scenario() -> list[str]:
        client = await connect(lab.address)

        async def all_listed() -> bool:
            return (await client.count_workflows(of(ids))).count == 4

        await until(all_listed)
        seen: list[str] = []
        async with aclosing(listing.listed(client, of(ids))) as runs:
            seen.append((await anext(runs))[0])
            first = client.get_workflow_handle(seen[0])
            await first.signal("stop")
            await first.result()
            await closed(client, seen)
            seen += [workflow_id async for workflow_id, _ in runs]
        return seen

    seen = asyncio.run(scenario())
    assert sorted(seen) == sorted(ids)
    for one in seen[1:]:
        lab.get_workflow_handle(one).signal("stop")


def test_a_history_that_grows_while_it_is_read_is_its_beginning(lab: Lab) -> None:
    lab.start_worker(workflows=[zoo.Counter])
    handle = lab.start_workflow(zoo.Counter.run, id=fresh("growing"))
    handle.query(zoo.Counter.total)

    async def scenario() -> None:
        client = await connect(lab.address)
        one = client.get_workflow_handle(handle.id)
        pages = one.fetch_history_events(page_size=1)
        fetch_next_page = pages.fetch_next_page

        async def then_signal() -> None:
            await fetch_next_page()
            await one.signal("add", 1)

        vars(pages)["fetch_next_page"] = then_signal
        events = await whole(pages)
        await one.signal("stop")
        await one.result()
        assert len(events) > 3
        assert events == list((await one.fetch_history()).events)[: len(events)]

    asyncio.run(scenario())


def test_a_closed_run_is_fetched_once_and_an_open_one_each_time(lab: Lab, tmp_path: Path) -> None:
    lab.start_worker(workflows=[zoo.Counter])
    handles = [lab.start_workflow(zoo.Counter.run, id=fresh("cached")) for _ in range(3)]
    for handle in handles[:2]:
        handle.signal("add", 1)
        handle.signal("stop")
        handle.result(timeout=20)
    ids, asking = [handle.id for handle in handles], Asking()

    async def scenario() -> None:
        client = await connect(lab.address, asking)
        await closed(client, ids[:2])
        options: dict[str, Any] = {"clock": "fast", "cache": tmp_path / "cache"}
        first = await streamed(client, of(ids), **options)
        second = await streamed(client, of(ids), **options)
        assert second == first
        assert [(one.clock, one.namespace) for one in second] == [("fast", "default")] * 3
        assert [one.run_id for one in second] == [one.run_id for one in first]
        assert sorted(asking.histories) == sorted([*ids, ids[2]])
        assert len(list((tmp_path / "cache").glob("*.history"))) == 2

    asyncio.run(scenario())
    handles[2].signal("stop")


def test_a_bare_workflow_id_means_the_latest_run_also_with_a_cache(
    address: str, tmp_path: Path
) -> None:
    asking = Asking()

    async def scenario() -> None:
        client = await connect(address, asking)
        (one,) = await run_clean(client, tmp_path / "log", 1)
        asking.histories.clear()  # the SDK waits for a result by them, too
        first = await streamed(client, [one], cache=tmp_path)
        assert await streamed(client, [one], cache=tmp_path) == first
        assert asking.histories == [one]
        again = await client.start_workflow("CleanWorkflow", id=one, task_queue="nobody")
        (latest,) = await streamed(client, [one], cache=tmp_path)
        assert latest.run_id == again.result_run_id != first[0].run_id
        assert await streamed(client, [(one, first[0].run_id)], cache=tmp_path) == first
        await again.terminate()

    asyncio.run(scenario())


def test_what_the_cache_keeps_is_as_good_as_what_was_fetched(lab: Lab, tmp_path: Path) -> None:
    lab.start_worker(workflows=[zoo.Greeting], activities=[zoo.greet])
    handles = [lab.start_workflow(zoo.Greeting.run, "greet", "you") for _ in range(3)]
    for handle in handles:
        handle.result(timeout=20)
    first = lab.fetch_histories(handles, cache=tmp_path)
    kept = lab.fetch_histories(handles, cache=tmp_path)
    assert pickle.loads(pickle.dumps(kept)) == first
    of_kept = tables.build(lab.fetch_histories(handles, cache=tmp_path))
    for name, frame in tables.build(first).items():
        pd.testing.assert_frame_equal(of_kept[name], frame)
    saved = histories.save(kept[0], tmp_path / "saved.json")
    assert histories.load(saved) == first[0]
    replayer = Replayer(workflows=[zoo.Greeting])
    asyncio.run(replayer.replay_workflow(lab.fetch_histories([handles[0]], cache=tmp_path)[0]))


def test_a_cache_that_is_a_file_is_refused(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "cache"
    file.touch()
    with pytest.raises(HistoryFileError, match=r"is a folder, and .*cache is a file: name another"):
        lab.fetch_histories(["any"], cache=file)


def test_equal_histories_have_one_hash(lab: Lab, tmp_path: Path) -> None:
    handle = lab.start_workflow(ExampleWorkflow.run, WorkflowInput("a", "u"), id=fresh("hashed"))
    handle.terminate()
    first, again = (lab.fetch_histories([handle], cache=tmp_path)[0] for _ in range(2))
    assert {first, again} == {first}


def test_a_long_read_of_the_cache_lets_others_run_and_can_be_cancelled(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_fetch, "_LET_OTHERS_EVERY", 2)

    async def scenario() -> None:
        client = await connect(address)
        (one,) = await run_clean(client, tmp_path / "log", 1)
        (found,) = await streamed(client, [one], cache=tmp_path)
        often = [(one, found.run_id)] * 100_000
        reading = asyncio.create_task(streamed(client, often, cache=tmp_path, concurrency=1))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    asyncio.run(scenario())


def test_a_clock_that_was_not_known_is_taken_from_the_caller(address: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        client = await connect(address)
        (one,) = await run_clean(client, tmp_path / "log", 1)
        for clock in (None, "fast"):
            (found,) = await streamed(client, [one], cache=tmp_path, clock=clock)
            assert found.clock == clock

    asyncio.run(scenario())


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "swapped"])
def test_a_damaged_file_of_the_cache_is_fetched_again(
    damage: str, address: str, tmp_path: Path
) -> None:
    asking = Asking()

    async def scenario() -> None:
        client = await connect(address, asking)
        ids = await run_clean(client, tmp_path / "log", 2)
        first = await streamed(client, ids, cache=tmp_path)
        one, other = tmp_path.glob("*.history")
        whole = one.read_bytes()
        damaged = {
            "cut": whole[:-5],
            "changed": whole.replace(b"clean", b"claen", 1),
            "emptied": b"",
            "swapped": other.read_bytes(),
        }
        one.write_bytes(damaged[damage])
        asking.histories.clear()
        assert await streamed(client, ids, cache=tmp_path) == first
        assert len(asking.histories) == 1
        assert one.read_bytes() == whole

    asyncio.run(scenario())


def test_the_cache_of_one_namespace_does_not_serve_another(address: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        client = await connect(address)
        (one,) = await run_clean(client, tmp_path / "log", 1)
        (found,) = await streamed(client, [one], cache=tmp_path)
        elsewhere = await Client.connect(address, namespace="elsewhere")
        with pytest.raises(RPCError, match="Namespace elsewhere is not found"):
            await streamed(elsewhere, [(one, found.run_id)], cache=tmp_path)

    asyncio.run(scenario())


def test_an_interrupted_fetch_goes_on_where_it_stopped(address: str, tmp_path: Path) -> None:
    asking = Asking()

    async def scenario() -> None:
        client = await connect(address, asking)
        ids = await run_clean(client, tmp_path / "log", 6)
        await closed(client, ids)
        coming = histories.stream(client, of(ids), concurrency=1, cache=tmp_path)
        async with aclosing(coming):
            await anext(coming)
            await anext(coming)
        kept = len(list(tmp_path.glob("*.history")))
        assert kept >= 2
        asking.histories.clear()
        assert len(await streamed(client, of(ids), cache=tmp_path)) == 6
        assert len(asking.histories) == 6 - kept

    asyncio.run(scenario())


def test_two_at_once_share_a_cache(address: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        client = await connect(address)
        ids = await run_clean(client, tmp_path / "log", 8)
        await closed(client, ids)
        both = await asyncio.gather(
            *(streamed(client, of(ids), cache=tmp_path / "cache") for _ in range(2))
        )
        assert both[0] == both[1] == await streamed(client, of(ids), cache=tmp_path / "cache")
        files = sorted(path.suffix for path in (tmp_path / "cache").iterdir())
        assert files == [".history"] * 8 + [".listing"]

    asyncio.run(scenario())


async def remembered(client: Client, query: str, cache: Path) -> tuple[list[str], int]:
    """List with a cache; return the Workflow Ids and how many of them the server listed."""
    asked: list[str] = []
    pages = listing._pages

    async def counting(client: Client, query: str) -> Any:
        async for run in pages(client, query):
            asked.append(run.execution.workflow_id)
            yield run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(listing, "_pages", counting)
        known = Cache(cache, client.namespace)
        found = [one async for one, _ in listing.listed(client, query, known)]
    return found, len(asked)


def test_a_listing_asks_only_for_what_changed_and_is_always_the_servers(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With this margin all that closed before now is old.
    monkeypatch.setattr(_remembered, "_MARGIN_S", -1)

    async def scenario() -> None:
        client = await connect(address)
        kind = fresh("queue")
        query = f"TaskQueue = '{kind}'"

        async def check(listed: int) -> None:
            found = await remembered(client, query, tmp_path)
            assert found == ([run.id async for run in client.list_workflows(query)], listed)

        handles = [
            await client.start_workflow("Any", id=fresh("listed"), task_queue=kind)
            for _ in range(4)
        ]
        ids = [handle.id for handle in handles]

        async def all_listed() -> bool:
            return (await client.count_workflows(query)).count == 4

        await until(all_listed)
        for handle in handles[:3]:
            await handle.terminate()
        await closed(client, ids[:3])
        await check(4)
        await check(1)
        (file,) = tmp_path.glob("*.listing")
        whole = file.read_bytes()
        cut, rest = whole[:12], whole[25:]
        # As if one had been deleted, damaged, and of a later format.
        for other in (b"%b %012d%b" % (cut, 4, rest), whole[:-4], b"", b"something else\n"):
            file.write_bytes(other)
            await check(4)
            await check(1)
        await handles[3].terminate()
        await closed(client, ids)
        await check(1 if int(cut) <= await newest(client, query) else 4)
        await check(0)

    asyncio.run(scenario())


async def newest(client: Client, query: str) -> int:
    """Return the second in which the last of the runs closed."""
    runs = [run async for run in client.list_workflows(query)]
    return max(run.raw_info.close_time.seconds for run in runs)


def test_a_fetch_takes_handles_and_says_what_it_takes(lab: Lab) -> None:
    lab.start_worker(workflows=[zoo.Greeting], activities=[zoo.greet])
    handle = lab.start_workflow(zoo.Greeting.run, "greet", "you", id=fresh("handle"))
    handle.result(timeout=20)
    expected = handle.fetch_history()
    for ref in (handle, handle.handle, handle.describe(), handle.id, (handle.id, handle.run_id)):
        assert lab.fetch_histories([ref]) == [expected]
    wrong: Any
    for wrong in (handle, [7], [("a", "b", "c")], [{"id": 1}], None):
        with pytest.raises(TypeError, match=r"a list of Workflow Ids, .* pairs or handles; got "):
            lab.fetch_histories(wrong)


def test_an_unknown_namespace_is_no_gone_run(address: str) -> None:
    async def scenario() -> None:
        await histories.fetch(await Client.connect(address, namespace="nowhere"), ["req-1"])

    with pytest.raises(RPCError, match="Namespace nowhere is not found"):
        asyncio.run(scenario())


def test_a_server_that_falls_silent_is_a_named_error() -> None:
    with DevServer.start() as server, LabClient.connect(LabConfig(address=server.address)) as lab:
        handle = lab.start_workflow("Any", id="silent")
        assert server.pid
        zoo.freeze(server.pid)
        try:
            for asked in ([handle], "WorkflowType = 'Any'"):
                with pytest.raises(ServerUnreachableError, match=lab.address):
                    lab.fetch_histories(asked)
        finally:
            os.kill(server.pid, signal.SIGCONT)
