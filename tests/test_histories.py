"""Event histories: fetched at once, saved whole, loaded from any of the tools that write them."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowHistory,
)
from temporalio.service import RPCError
from temporalio.worker import Replayer

from projectai_lab import histories, tables
from projectai_lab.attempts import AttemptLog
from projectai_lab.errors import HistoryFileError
from projectai_lab.histories import History
from tests.data import golden, record
from tests.data_workflows import WORKFLOWS, CleanWorkflow


def fresh(name: str) -> str:
    """Return an id that no other test uses."""
    return f"{name}-{uuid.uuid4().hex[:12]}"


async def connect(address: str, *interceptors: Interceptor) -> Client:
    """Connect as the golden histories' client does."""
    return await Client.connect(address, identity="client@lab", interceptors=interceptors)


async def run_clean(client: Client, folder: Path, count: int) -> list[str]:
    """Run some workflows to their end and return their ids."""
    ids, queue = [fresh("clean") for _ in range(count)], fresh("queue")
    async with record.worker(client, AttemptLog(folder), queue):
        await asyncio.gather(
            *(client.execute_workflow(CleanWorkflow.run, id=one, task_queue=queue) for one in ids)
        )
    return ids


async def until(ready: Callable[[], Any]) -> Any:
    """Await a condition of the server's, for at most ten seconds."""
    async with asyncio.timeout(10):
        while not (found := await ready()):
            await asyncio.sleep(0.05)
    return found


def test_fetch_gives_each_history_in_the_order_asked_for(address: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        client = await connect(address)
        ids = await run_clean(client, tmp_path, 25)
        asked = ids[::-1]
        found = await histories.fetch(client, asked, clock="fast", concurrency=7)
        assert [history.workflow_id for history in found] == asked
        assert {(one.namespace, one.clock) for one in found} == {("default", "fast")}
        raw = await client.get_workflow_handle(asked[0]).fetch_history()
        assert list(found[0].events) == list(raw.events)
        assert found[0].run_id == raw.run_id
        pairs = [(one.workflow_id, one.run_id) for one in found]
        again = await histories.fetch(client, iter(pairs), progress=False)
        assert [one.run_id for one in again] == [one.run_id for one in found]

    asyncio.run(scenario())


def test_fetch_takes_a_list_filter(address: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        client = await connect(address)
        ids = await run_clean(client, tmp_path, 3)
        query = " OR ".join(f"WorkflowId = '{one}'" for one in ids)

        async def all_listed() -> bool:
            return len([run async for run in client.list_workflows(query)]) == 3

        await until(all_listed)
        listed = [run.id async for run in client.list_workflows(query)]
        found = await histories.fetch(client, query)
        assert [history.workflow_id for history in found] == listed

    asyncio.run(scenario())


def test_fetch_of_nothing_is_an_empty_list(address: str) -> None:
    async def scenario() -> list[History]:
        return await histories.fetch(await connect(address), [])

    assert asyncio.run(scenario()) == []


def test_a_run_that_is_gone_is_left_out_and_logged(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        client = await connect(address)
        (kept,) = await run_clean(client, tmp_path, 1)
        gone = (kept, str(uuid.uuid4()))
        found = await histories.fetch(client, [gone, kept, "never-there"])
        assert [history.workflow_id for history in found] == [kept]
        assert f"Workflow Id {kept}, Run Id {gone[1]} is gone: left out" in caplog.text
        assert "Workflow Id never-there, Run Id None is gone: left out" in caplog.text

    with caplog.at_level(logging.WARNING, "projectai_lab.histories"):
        asyncio.run(scenario())


class Counting(Interceptor):
    """Counts how many histories are being fetched at the same time."""

    def __init__(self) -> None:
        self.now = self.most = 0

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        """Wrap the client's calls."""
        return _CountingCalls(next, self)


class _CountingCalls(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, counting: Counting) -> None:
        super().__init__(next)
        self.counting = counting

    def fetch_workflow_history_events(self, input: FetchWorkflowHistoryEventsInput) -> Any:
        pages = super().fetch_workflow_history_events(input)
        fetch_next_page = pages.fetch_next_page

        async def counted() -> None:
            self.counting.now += 1
            self.counting.most = max(self.counting.most, self.counting.now)
            await fetch_next_page()
            self.counting.now -= 1

        vars(pages)["fetch_next_page"] = counted
        return pages


def test_fetch_never_asks_for_more_at_once_than_its_bound(address: str, tmp_path: Path) -> None:
    counting = Counting()

    async def scenario() -> None:
        ids = await run_clean(await connect(address), tmp_path, 12)
        await histories.fetch(await connect(address, counting), ids, concurrency=4)

    asyncio.run(scenario())
    assert counting.most == 4
    assert counting.now == 0


def test_fetch_refuses_a_bound_below_one(address: str) -> None:
    async def scenario() -> None:
        await histories.fetch(await connect(address), ["a"], concurrency=0)

    with pytest.raises(ValueError, match="concurrency must be at least 1, got 0"):
        asyncio.run(scenario())


def test_a_workflow_id_taken_for_a_list_filter_tells_the_way_out(address: str) -> None:
    async def scenario() -> None:
        await histories.fetch(await connect(address), "req-1")

    with pytest.raises(RPCError) as caught:
        asyncio.run(scenario())
    assert 'give Workflow Ids as a list: ["req-1"]' in caught.value.__notes__[0]


def test_a_short_fetch_shows_no_progress_bar(
    address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        client = await connect(address)
        ids = await run_clean(client, tmp_path, 3)
        capsys.readouterr()
        await histories.fetch(client, ids)

    asyncio.run(scenario())
    assert capsys.readouterr() == ("", "")


def test_a_reset_run_has_its_own_run_id(address: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        client = await connect(address)
        (workflow_id,) = await run_clean(client, tmp_path, 1)
        (before,) = await histories.fetch(client, [workflow_id])
        request = ResetWorkflowExecutionRequest(
            namespace="default",
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=before.run_id),
            reason="test",
            workflow_task_finish_event_id=4,
            request_id=fresh("reset"),
        )
        reset = await client.workflow_service.reset_workflow_execution(request)
        (after,) = await histories.fetch(client, [(workflow_id, reset.run_id)])
        assert after.run_id == reset.run_id != before.run_id
        tables.validate(tables.events([before, after]))
        await client.get_workflow_handle(workflow_id).terminate()

    asyncio.run(scenario())


def test_save_and_load_keep_everything(tmp_path: Path) -> None:
    history = golden("mixed", clock="virtual")
    path = histories.save(history, tmp_path / "deep" / "mixed.json")
    back = histories.load(path)
    assert back.workflow_id == "mixed"
    assert (back.namespace, back.clock, back.run_id) == ("default", "virtual", history.run_id)
    assert list(back.events) == list(history.events)
    origin = json.loads(path.read_text())["projectai_lab"]
    assert origin == {
        "workflow_id": "mixed",
        "run_id": history.run_id,
        "namespace": "default",
        "clock": "virtual",
    }


@pytest.mark.parametrize("name", ["clean", "mixed", "timeouts", "everything"])
def test_the_replayer_takes_a_saved_file(name: str, tmp_path: Path) -> None:
    path = histories.save(golden(name), tmp_path / f"{name}.json")
    plain = WorkflowHistory.from_json(name, path.read_text())
    replayer = Replayer(workflows=WORKFLOWS)
    asyncio.run(replayer.replay_workflow(plain))
    asyncio.run(replayer.replay_workflow(histories.load(path)))


def test_a_plain_history_of_the_sdk_is_saved_too(tmp_path: Path) -> None:
    history = golden("clean")
    plain = WorkflowHistory(history.workflow_id, history.events)
    back = histories.load(histories.save(plain, tmp_path / "plain.json"))
    assert (back.namespace, back.clock) == (None, None)
    assert back.run_id == history.run_id


def test_save_replaces_a_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")
    histories.save(golden("clean"), path)
    histories.save(golden("mixed"), str(path))
    assert histories.load(path).workflow_id == "mixed"
    assert list(tmp_path.iterdir()) == [path]


def test_a_save_that_fails_leaves_no_half_file(tmp_path: Path) -> None:
    folder = tmp_path / "run.json"
    folder.mkdir()
    with pytest.raises(OSError, match="directory"):
        histories.save(golden("clean"), folder)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_file_of_the_cli_loads(address: str, tmp_path: Path) -> None:
    async def scenario() -> History:
        client = await connect(address)
        (workflow_id,) = await run_clean(client, tmp_path / "log", 1)
        return (await histories.fetch(client, [workflow_id]))[0]

    history = asyncio.run(scenario())
    beside = Path(sys.executable).with_name("temporal")
    cli = str(beside) if beside.exists() else shutil.which("temporal")
    assert cli
    shown = subprocess.run(
        [cli, "workflow", "show", "-o", "json", "-w", history.workflow_id, "--address", address],
        check=True,
        capture_output=True,
        text=True,
    )
    path = tmp_path / "cli.json"
    path.write_text(shown.stdout)
    loaded = histories.load(path)
    assert loaded.workflow_id == history.workflow_id
    assert list(loaded.events) == list(history.events)


def test_a_file_of_the_sdk_loads(tmp_path: Path) -> None:
    path = tmp_path / "sdk.json"
    path.write_text(golden("everything").to_json())
    assert list(histories.load(path).events) == list(golden("everything").events)


def test_a_download_of_the_web_ui_loads(tmp_path: Path) -> None:
    """Older Web UIs write the words of enumerations without prefix, in Pascal case."""
    short = re.sub(
        r'"EVENT_TYPE_([A-Z_]+)"',
        lambda found: f'"{found[1].title().replace("_", "")}"',
        golden("mixed").to_json(),
    )
    path = tmp_path / "events.json"
    path.write_text(short)
    assert '"ActivityTaskScheduled"' in short
    assert list(histories.load(path).events) == list(golden("mixed").events)


def test_the_workflow_id_comes_from_the_history_else_the_argument_else_the_stem(
    tmp_path: Path,
) -> None:
    named = tmp_path / "stem.json"
    named.write_text(golden("clean").to_json())
    assert histories.load(named, workflow_id="argument").workflow_id == "clean"
    old = json.loads(golden("clean").to_json())
    del old["events"][0]["workflowExecutionStartedEventAttributes"]["workflowId"]
    named.write_text(json.dumps(old))
    assert histories.load(named, workflow_id="argument").workflow_id == "argument"
    assert histories.load(named).workflow_id == "stem"


def test_load_all_reads_a_folder_by_name(tmp_path: Path) -> None:
    for name in ("mixed", "clean"):
        histories.save(golden(name), tmp_path / f"{name}.json")
    assert [one.workflow_id for one in histories.load_all(tmp_path)] == ["clean", "mixed"]


WHOLE = golden("clean").to_json()
HEADLESS = json.dumps({"events": json.loads(WHOLE)["events"][2:]})
DECODED = WHOLE.replace('"ImEi"', '{"decoded": "a"}')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "bad.json is empty; fetch the history again and save it"),
        (" \n", "bad.json is empty"),
        (WHOLE[: len(WHOLE) // 2], "bad.json is not whole JSON .*it may be cut off"),
        ("no json at all", "bad.json is not whole JSON"),
        ('{"a": 1}', 'bad.json is JSON but no history: it has no list "events"'),
        ("[1, 2]", "bad.json is JSON but no history"),
        ('{"events": {}}', "bad.json is JSON but no history"),
        ('{"events": []}', "bad.json does not begin with WorkflowExecutionStarted"),
        (HEADLESS, "bad.json does not begin with WorkflowExecutionStarted; export the whole"),
        (
            '{"events": [1]}',
            r"bad.json holds events that cannot be read \(HistoryEvent is no JSON object",
        ),
        (DECODED, "cannot be read .*in the Web UI download it with the payloads left encoded"),
        (b"\xff\xfe\x00\x9f", "bad.json is not text, so not the JSON of a history"),
        ('{"events": [{"eventId": ' + "9" * 5000 + "}]}", "bad.json is not whole JSON"),
    ],
)
def test_a_file_that_is_no_history_says_why_and_what_to_do(
    content: str | bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(HistoryFileError, match=message) as caught:
        histories.load(path)
    assert vars(caught.value)["path"] == path


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(HistoryFileError, match=r"there is no file .*gone\.json; histories\.save"):
        histories.load(tmp_path / "gone.json")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(HistoryFileError, match=r"is a directory; histories\.load_all\(path\)"):
        histories.load(tmp_path)


@pytest.mark.parametrize("name", ["x" * 300, "nul\0", "file.json/below"])
def test_a_path_that_cannot_be_read_says_so(name: str, tmp_path: Path) -> None:
    histories.save(golden("clean"), tmp_path / "file.json")
    with pytest.raises(HistoryFileError, match=r"cannot be read \(.*name a file you may read"):
        histories.load(tmp_path / name)


@pytest.mark.parametrize("told", ['"text"', "[1]", '{"clock": 7, "namespace": ["a"]}'])
def test_a_foreign_value_where_ours_says_the_origin_counts_as_none(
    told: str, tmp_path: Path
) -> None:
    path = tmp_path / "clean.json"
    path.write_text(f'{{"projectai_lab": {told}, {WHOLE[1:]}')
    loaded = histories.load(path)
    assert (loaded.workflow_id, loaded.namespace, loaded.clock) == ("clean", None, None)
    assert tables.executions(loaded).attrs["clock"] == "unknown"


def test_golden_files_hold_nothing_of_the_machine_that_recorded_them() -> None:
    for path in record.HERE.glob("*.json*"):
        content = path.read_text()
        assert not re.search(r"stackTrace|site-packages|\.py\b", content), path.name
        assert all(host.startswith("lab") for host in re.findall(r"@([\w.-]+)", content))


def test_a_history_shows_itself_in_one_line() -> None:
    shown = repr(golden("clean"))
    assert shown == f"<History of 'clean', {len(golden('clean').events)} events, clock 'fast'>"


def test_a_folder_that_only_looks_like_an_export_is_read_whole(tmp_path: Path) -> None:
    histories.save(golden("clean"), tmp_path / "histories" / "clean.json")
    histories.save(golden("mixed"), tmp_path / "mixed.json")
    (tmp_path / "manifest.json").write_text('{"somebody": "else"}')
    found, bad = histories.scan(tmp_path)
    assert [one.workflow_id for one in found] == ["clean", "mixed"]
    assert [Path(path).name for path in bad["path"]] == ["manifest.json"]
