"""The one background event-loop thread: blocking calls in, coroutines inside."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Iterable
from typing import Any, TypeVar

from projectai_lab.errors import BlockingCallError, LabClosedError

T = TypeVar("T")
Say = Callable[[str], None]
"""Takes one line for the user; in a blocking call it is logged from the caller's own thread, so
that a notebook shows it under the cell that waits."""

logger = logging.getLogger("projectai_lab")

_UNRESPONSIVE_AFTER_S = 2.0
# What looks without a pause would leave the loop to nobody else.
_LEAST_PAUSE_S = 0.001
_BLOCKED_LOOP = (
    "the Lab's event loop has not answered for %g s: an `async def` activity blocks it; "
    "make that activity a plain `def`, which runs in a thread"
)
_CLOSED_MEANWHILE = "the Lab was closed while this call was waiting: open a new one with Lab.open()"


class LoopThread:
    """A daemon thread that runs one event loop until `close`; closing twice is harmless."""

    def __init__(self, name: str = "projectai-lab") -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)
        self._pid = os.getpid()
        self._closing = False
        self._thread.start()

    def _main(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(_cancel_all())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called or the thread has ended (in a forked child it never ran)."""
        return self._closing or not self._thread.is_alive() or self._pid != os.getpid()

    def call(self, coroutine: Callable[[Say], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function on the loop and wait; its `say` reaches the waiting thread.

        Raises `BlockingCallError` on the loop thread and `LabClosedError` after close. An
        interrupt cancels the coroutine and leaves the loop usable.
        """
        self.refuse_own_thread()
        if self.closed:
            raise LabClosedError("the Lab is closed: open a new one with Lab.open()")
        inbox: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        work = coroutine(inbox.put)
        tasks: list[asyncio.Task[T]] = []

        def start() -> None:
            tasks.append(self._loop.create_task(work))
            tasks[0].add_done_callback(done)

        def done(task: asyncio.Task[T]) -> None:
            # Asked for here, because asyncio complains of an error that an interrupted call leaves.
            _ = task.cancelled() or task.exception()
            inbox.put(None)

        try:
            self._loop.call_soon_threadsafe(start)
            self._wait(inbox)
        except BaseException:
            # An interrupt can come at any instant, but on the loop this comes after `start`.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_cancel, tasks)
            raise
        try:
            return tasks[0].result()
        except asyncio.CancelledError:
            if not self.closed:
                raise concurrent.futures.CancelledError from None
            raise LabClosedError(_CLOSED_MEANWHILE) from None

    def run(self, make: Callable[[], Awaitable[T]]) -> T:
        """Call `make` on the loop and wait for what it awaits; guarded like `call`."""

        async def without_notes(_: Say) -> T:
            return await make()

        return self.call(without_notes)

    def spawn(self, make: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        """Run a coroutine function on the loop and go on; what is returned cancels it.

        It may be called on any thread, often, and after `close`.
        """
        if self.closed:
            raise LabClosedError("the Lab is closed: open a new one with Lab.open()")
        tasks: list[asyncio.Task[None]] = []
        self._loop.call_soon_threadsafe(lambda: tasks.append(self._loop.create_task(make())))

        def stop() -> None:
            # After `close` nothing of it runs any more.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_cancel, tasks)

        return stop

    def iterate(self, make: Callable[[], AsyncGenerator[T, None]]) -> Generator[T, None, None]:
        """Yield what an async generator yields that runs on the loop; each step is guarded."""

        async def begin() -> tuple[AsyncGenerator[T, None], asyncio.Lock]:
            return make(), asyncio.Lock()

        async def step() -> tuple[T, ...]:
            async with turn:
                async for value in coming:
                    return (value,)
            return ()

        async def close() -> None:
            # An interrupted step may still be on its way out.
            async with turn:
                await coming.aclose()

        coming, turn = self.run(begin)
        try:
            while found := self.run(step):
                yield found[0]
        finally:
            if not self.closed:
                self.run(close)

    def refuse_own_thread(self) -> None:
        """Raise `BlockingCallError` for a blocking call made on the loop thread."""
        if threading.current_thread() is self._thread:
            raise BlockingCallError(
                "this blocking call runs on the Lab's own event loop and would wait for itself: "
                "inside an activity or a coroutine on that loop, await lab.client instead"
            )

    def _wait(self, inbox: queue.SimpleQueue[str | None]) -> None:
        ping: threading.Event | None = None
        while True:
            try:
                line = inbox.get(timeout=_UNRESPONSIVE_AFTER_S)
            except queue.Empty:
                if self._loop.is_closed():
                    raise LabClosedError(_CLOSED_MEANWHILE) from None
                if ping is not None and not ping.is_set():
                    logger.warning(_BLOCKED_LOOP, _UNRESPONSIVE_AFTER_S)
                ping = threading.Event()
                self._loop.call_soon_threadsafe(ping.set)
                continue
            if line is None:
                return
            logger.warning(line)

    def close(self) -> None:
        """Stop the loop, cancel what still runs on it and end the thread."""
        if self.closed or threading.current_thread() is self._thread:
            return
        self._closing = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)


class LazyLoop:
    """A loop thread that is made when it is first needed: one, however many threads ask at once."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._made: LoopThread | None = None

    def get(self) -> LoopThread:
        """Return the loop thread; a new one after `close` and in a forked child."""
        with self._lock:
            if self._made is None or self._made.closed:
                self._made = LoopThread(self._name)
            return self._made

    def close(self) -> None:
        """End the thread, if there is one."""
        with self._lock:
            if self._made:
                self._made.close()


async def repeat(look: Callable[[], Awaitable[bool]], seconds: Callable[[], float]) -> None:
    """Await `look` until it answers False: one at a time, each `seconds()` after the one before.

    Counted from where the one before began; at once where that one took longer.
    """
    began = time.monotonic()
    while await look():
        await asyncio.sleep(max(_LEAST_PAUSE_S, began + seconds() - time.monotonic()))
        began = time.monotonic()


def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    _cancel(tasks)
    await asyncio.gather(*tasks, return_exceptions=True)


# An interpreter that exits right after the SDK was used aborts now and then (sdk-python issue
# 300): its native threads outlive the interpreter. A short pause lets them finish.
atexit.register(time.sleep, 0.1)


def allow_nested_asyncio() -> None:
    """Let pasted `asyncio.run(...)` code work in a notebook cell (nest_asyncio, opt-in).

    The kit itself never needs it, and a cell can simply `await`.
    """
    import nest_asyncio

    nest_asyncio.apply()
