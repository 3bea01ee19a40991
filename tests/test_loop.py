"""The loop thread: what it runs, what it refuses, and what an interrupt or a close leaves."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import pytest

from projectai_lab import _loop
from projectai_lab._loop import LoopThread, Say
from projectai_lab.errors import BlockingCallError, LabClosedError
from tests import zoo

PATIENCE_S = 20


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    """Return a running loop thread of this test's own."""
    thread = LoopThread("projectai-lab-test")
    yield thread
    thread.close()


async def value(result: Any = 7) -> Any:
    """Return the result after one turn of the loop."""
    await asyncio.sleep(0)
    return result


class Waiting:
    """A coroutine that waits for ever and notes that it began and how it ended."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.canceled = threading.Event()

    async def __call__(self) -> None:
        self.begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.canceled.set()
            raise


def in_thread(call: Callable[[], object]) -> tuple[threading.Thread, list[BaseException]]:
    """Run a call in a thread; return the thread and the list that will hold its error."""
    errors: list[BaseException] = []

    def main() -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=main)
    thread.start()
    return thread, errors


def test_a_call_returns_what_its_coroutine_returns(loop: LoopThread) -> None:
    assert loop.run(value) == 7


def test_a_call_raises_what_its_coroutine_raises(loop: LoopThread) -> None:
    async def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        loop.run(fail)
    assert loop.run(value) == 7


def test_coroutines_run_on_the_named_daemon_thread(loop: LoopThread) -> None:
    async def where() -> threading.Thread:
        return threading.current_thread()

    thread = loop.run(where)
    assert (thread.name, thread.daemon) == ("projectai-lab-test", True)


def test_calls_of_several_threads_run_side_by_side(loop: LoopThread) -> None:
    meeting = asyncio.Barrier(3)
    threads = [in_thread(lambda: loop.run(meeting.wait)) for _ in range(3)]
    for thread, errors in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        assert errors == []


def test_a_blocking_call_on_the_loop_thread_is_refused_instead_of_waiting_for_itself(
    loop: LoopThread,
) -> None:
    async def inside() -> None:
        loop.run(value)

    with pytest.raises(BlockingCallError, match=r"would wait for itself.*await lab\.client inst"):
        loop.run(inside)
    assert loop.run(value) == 7


def test_close_from_the_loop_thread_does_nothing(loop: LoopThread) -> None:
    async def inside() -> None:
        loop.close()

    loop.run(inside)
    assert loop.run(value) == 7


def test_a_call_after_close_says_so(loop: LoopThread) -> None:
    loop.close()
    assert loop.closed
    with pytest.raises(LabClosedError, match=r"the Lab is closed: open a new one with Lab\.open"):
        loop.run(value)


def test_closing_twice_is_harmless_and_ends_the_thread(loop: LoopThread) -> None:
    loop.close()
    loop.close()
    assert "projectai-lab-test" not in [thread.name for thread in threading.enumerate()]


def test_close_cancels_what_runs_and_frees_who_waits(loop: LoopThread) -> None:
    waiting = Waiting()
    thread, errors = in_thread(lambda: loop.run(waiting))
    assert waiting.begun.wait(PATIENCE_S)
    loop.close()
    thread.join(PATIENCE_S)
    assert waiting.canceled.is_set()
    assert isinstance(errors[0], LabClosedError)
    assert "closed while this call was waiting" in str(errors[0])


def test_a_call_that_comes_while_the_loop_closes_is_refused(loop: LoopThread) -> None:
    closing, go_on = threading.Event(), threading.Event()

    async def slow_to_go() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            closing.set()
            await asyncio.to_thread(go_on.wait, PATIENCE_S)

    waiting, _ = in_thread(lambda: loop.run(slow_to_go))
    closer, _ = in_thread(loop.close)
    assert closing.wait(PATIENCE_S)
    with pytest.raises(LabClosedError):
        loop.run(value)
    go_on.set()
    for thread in (waiting, closer):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def test_a_coroutine_that_cancels_itself_is_not_taken_for_a_closed_lab(loop: LoopThread) -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    with pytest.raises(BaseException, match=r"^$") as caught:
        loop.run(give_up)
    assert not isinstance(caught.value, LabClosedError)
    assert loop.run(value) == 7


@pytest.mark.parametrize("turn", range(10))
def test_an_interrupt_cancels_the_coroutine_and_leaves_the_loop_usable(
    loop: LoopThread, turn: int
) -> None:
    waiting = Waiting()

    def interrupt() -> None:
        waiting.begun.wait(PATIENCE_S)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread, _ = in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run(waiting)
    assert waiting.canceled.wait(PATIENCE_S)
    assert loop.run(value) == 7
    thread.join()


def test_an_error_that_comes_after_an_interrupt_is_nobodys(
    loop: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    begun, over = threading.Event(), threading.Event()

    async def stubborn() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            over.set()
            raise ValueError("nobody asked") from None

    def interrupt() -> None:
        begun.wait(PATIENCE_S)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread, _ = in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        loop.run(stubborn)
    assert over.wait(PATIENCE_S)
    thread.join()
    loop.close()
    gc.collect()
    assert zoo.told(caplog) == []


def test_notes_are_logged_from_the_waiting_thread_in_order_and_before_the_result(
    loop: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(say: Say) -> str:
        say("first: 100 % of a queue waits")
        await asyncio.sleep(0)
        say("second")
        return "done"

    with caplog.at_level(logging.WARNING, "projectai_lab"):
        assert loop.call(talk) == "done"
    assert zoo.told(caplog) == ["first: 100 % of a queue waits", "second"]
    assert {record.thread for record in caplog.records} == {threading.get_ident()}
    assert {record.levelname for record in caplog.records} == {"WARNING"}


def test_a_note_reaches_only_the_call_that_it_is_about(
    loop: LoopThread, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(say: Say) -> None:
        say("for the other thread")

    idents: list[int] = []

    def other() -> None:
        idents.append(threading.get_ident())
        loop.call(talk)

    thread, _ = in_thread(other)
    assert loop.run(value) == 7
    thread.join(PATIENCE_S)
    assert [record.thread for record in caplog.records] == idents


def test_a_blocked_loop_is_spoken_of(
    loop: LoopThread, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_loop, "_UNRESPONSIVE_AFTER_S", 0.1)
    spoken = threading.Event()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            spoken.set()

    async def block() -> None:
        spoken.wait(PATIENCE_S)

    listener = Listener()
    logging.getLogger("projectai_lab").addHandler(listener)
    try:
        loop.run(block)
    finally:
        logging.getLogger("projectai_lab").removeHandler(listener)
    assert "the Lab's event loop has not answered for 0.1 s" in zoo.told(caplog)[0]
    assert "make that activity a plain `def`, which runs in a thread" in zoo.told(caplog)[0]


def test_a_long_wait_on_a_loop_that_answers_is_silent(
    loop: LoopThread, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_loop, "_UNRESPONSIVE_AFTER_S", 0.1)

    async def wait() -> None:
        await asyncio.sleep(0.8)

    loop.run(wait)
    assert zoo.told(caplog) == []


def python(code: str, *arguments: str) -> str:
    """Run code in a fresh interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


_FORK = """
import os, sys
from projectai_lab._loop import LoopThread
from projectai_lab.errors import LabClosedError
loop = LoopThread()
child = os.fork()
if not child:
    async def nothing(): pass
    try:
        loop.run(nothing)
    except LabClosedError:
        print("refused", flush=True)
    loop.close()
    os._exit(0)
os.waitpid(child, 0)
async def value(): return "parent works"
print(loop.run(value))
loop.close()
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="forking with threads warns there")
def test_a_forked_child_is_refused_instead_of_waiting_for_a_thread_it_does_not_have() -> None:
    assert python(_FORK).splitlines() == ["refused", "parent works"]


def test_a_loop_left_open_does_not_keep_the_interpreter_alive() -> None:
    started = time.monotonic()
    python("from projectai_lab._loop import LoopThread; LoopThread()")
    assert time.monotonic() - started < PATIENCE_S


_NESTED = """
import asyncio, sys
from projectai_lab import Lab, LabConfig, WorkflowInput, allow_nested_asyncio
from projectai_lab.workflows import ExampleWorkflow

async def cell():
    allow_nested_asyncio()
    config = LabConfig(address=sys.argv[1], task_queue=sys.argv[2])
    with Lab.connect(config) as lab:
        async def pasted(n):
            await asyncio.sleep(0.01)
            handle = await lab.client.start_workflow(
                ExampleWorkflow.run, WorkflowInput("text", f"u-{n}"),
                id=f"nested-{n}-{sys.argv[2]}", task_queue=sys.argv[2])
            return (await handle.result()).success
        return [asyncio.run(pasted(n)) for n in range(5)]

print("five in a cell:", asyncio.run(cell()))
"""


def test_pasted_asyncio_run_works_in_a_cell_after_opting_in_beside_a_running_worker(
    address: str, new_id: Callable[[str], str]
) -> None:
    assert python(_NESTED, address, new_id("nested")).strip() == f"five in a cell: {[True] * 5}"


def test_nest_asyncio_is_never_applied_on_import() -> None:
    told = """
import asyncio, sys
import projectai_lab, projectai_lab.lab, projectai_lab.cells, projectai_lab.widgets
print("nest_asyncio" in sys.modules, hasattr(asyncio, "_nest_patched"))
projectai_lab.allow_nested_asyncio()
print("nest_asyncio" in sys.modules, hasattr(asyncio, "_nest_patched"))
"""
    assert python(told).splitlines() == ["False False", "True True"]


class Counting:
    """An async generator of numbers that notes how it ended."""

    def __init__(self, stop: int = 3) -> None:
        self.stop = stop
        self.waiting = threading.Event()
        self.closed = threading.Event()

    async def __call__(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(self.stop):
                yield await value(number)
            self.waiting.set()
            await asyncio.sleep(3600 if self.stop > 3 else 0)
        finally:
            await asyncio.sleep(0)
            self.closed.set()


def test_iterate_yields_what_the_generator_yields(loop: LoopThread) -> None:
    counting = Counting()
    assert list(loop.iterate(counting)) == [0, 1, 2]
    assert counting.closed.is_set()


def test_iterate_closes_the_generator_when_the_caller_stops_early(loop: LoopThread) -> None:
    counting = Counting()
    for number in loop.iterate(counting):
        if number == 1:
            break
    gc.collect()
    assert counting.closed.is_set()


def test_iterate_hands_the_generator_s_error_on(loop: LoopThread) -> None:
    async def failing() -> AsyncGenerator[int, None]:
        yield 1
        raise ZeroDivisionError("in the generator")

    coming = loop.iterate(failing)
    assert next(coming) == 1
    with pytest.raises(ZeroDivisionError, match="in the generator"):
        next(coming)


def test_an_interrupt_within_iterate_closes_the_generator_and_leaves_the_loop_usable(
    loop: LoopThread,
) -> None:
    counting = Counting(stop=4)
    coming = loop.iterate(counting)
    assert [next(coming) for _ in range(4)] == [0, 1, 2, 3]

    def interrupt() -> None:
        counting.waiting.wait(PATIENCE_S)
        os.kill(os.getpid(), signal.SIGINT)

    in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        next(coming)
    assert counting.closed.wait(PATIENCE_S)
    assert loop.run(value) == 7


def test_iterate_after_the_loop_was_closed_ends_in_an_error(loop: LoopThread) -> None:
    coming = loop.iterate(Counting())
    assert next(coming) == 0
    loop.close()
    with pytest.raises(LabClosedError):
        next(coming)


class Looks:
    """Looks that take some time each, write down when they ran, and answer True `most` times."""

    def __init__(self, most: int, takes_s: float = 0.0) -> None:
        self.most, self.takes_s = most, takes_s
        self.began: list[float] = []
        self.ended: list[float] = []

    async def __call__(self) -> bool:
        self.began.append(time.monotonic())
        await asyncio.sleep(self.takes_s)
        self.ended.append(time.monotonic())
        return len(self.began) < self.most

    @property
    def pauses(self) -> list[float]:
        """Seconds from where each look began to where the next did."""
        return [b - a for a, b in itertools.pairwise(self.began)]


def test_a_look_is_repeated_until_it_answers_false(loop: LoopThread) -> None:
    looks = Looks(most=3)
    loop.run(lambda: _loop.repeat(looks, lambda: 0.05))
    assert len(looks.began) == 3
    assert min(looks.pauses) >= 0.045


def test_a_look_that_answers_false_at_once_is_the_only_one(loop: LoopThread) -> None:
    looks = Looks(most=1)
    loop.run(lambda: _loop.repeat(looks, lambda: 3600.0))
    assert len(looks.began) == 1


def test_a_look_that_takes_longer_than_the_pause_is_followed_at_once_by_one_other(
    loop: LoopThread,
) -> None:
    looks = Looks(most=4, takes_s=0.1)
    loop.run(lambda: _loop.repeat(looks, lambda: 0.02))
    # One at a time: each began after the one before had ended.
    assert all(b >= a for a, b in zip(looks.ended, looks.began[1:], strict=False))


def test_the_pause_may_change_between_looks(loop: LoopThread) -> None:
    looks = Looks(most=3)
    pauses = iter([0.1, 0.2])
    loop.run(lambda: _loop.repeat(looks, lambda: next(pauses)))
    first, second = looks.pauses
    assert first >= 0.09
    assert second >= 0.19


def test_looks_without_a_pause_leave_the_loop_to_others(loop: LoopThread) -> None:
    looks = Looks(most=10**9)
    stop = loop.spawn(lambda: _loop.repeat(looks, lambda: 0.0))
    assert loop.run(value) == 7
    stop()
    loop.run(value)
    seen = len(looks.began)
    assert loop.run(value) == 7
    assert len(looks.began) == seen


def test_an_error_of_a_look_ends_the_looking_and_is_raised(loop: LoopThread) -> None:
    async def look() -> bool:
        raise ValueError("a slip")

    with pytest.raises(ValueError, match="a slip"):
        loop.run(lambda: _loop.repeat(look, lambda: 0.0))
