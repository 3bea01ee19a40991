"""`Connection`: an SDK client on a loop of its own, which the client and its handles share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar
from urllib.parse import quote

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client

from projectai_lab._connect import ANSWER_WITHIN_S, connect, translated
from projectai_lab._loop import LoopThread
from projectai_lab.config import LabConfig
from projectai_lab.errors import LabClosedError

logger = logging.getLogger("projectai_lab")
T = TypeVar("T")


class Connection:
    """A connected SDK client, the loop that its blocking calls run on, and where it all is."""

    def __init__(self, loop: LoopThread, client: Client, config: LabConfig) -> None:
        self._loop = loop
        self.client = client
        self.config = config
        self.ui_url = _guess_ui_url(config.address)
        self.clock: str | None = None
        self._farewells: dict[object, Callable[[], None]] = {}

    @classmethod
    def connect(cls, config: LabConfig | None = None) -> Self:
        """Connect to a server that runs elsewhere; `close` leaves it running."""
        config = LabConfig.of(config)
        loop = LoopThread()
        try:
            return cls(loop, loop.run(lambda: connect(config)), config)
        except BaseException:
            loop.close()
            raise

    @property
    def address(self) -> str:
        """Where the server listens, host:port."""
        return self.config.address

    @property
    def namespace(self) -> str:
        """Namespace of every call."""
        return self.client.namespace

    @property
    def task_queue(self) -> str:
        """Task Queue of every start that names none."""
        return self.config.task_queue

    def server_version(self) -> str:
        """Ask the server for its version, such as "1.29.0"."""
        request = GetSystemInfoRequest()
        return self.within(
            lambda: self.client.workflow_service.get_system_info(request)
        ).server_version

    @property
    def loop(self) -> LoopThread:
        """The thread that the blocking calls run on."""
        return self._loop

    def before_close(self, call: Callable[[], None]) -> Callable[[], None]:
        """Have `call` made first when this closes; what is returned takes that back."""
        key = object()
        self._farewells[key] = call
        return lambda: self._farewells.pop(key, None) and None

    def close(self) -> None:
        """Close the connection's loop; the server goes on. Closing twice is harmless."""
        self._say_farewell()
        self._loop.close()

    def _say_farewell(self) -> None:
        while self._farewells:
            try:
                self._farewells.popitem()[1]()
            except Exception:
                # Whoever cannot say farewell must not keep the server and the worker alive.
                logger.warning("what was open did not close cleanly", exc_info=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = ", closed" if self._loop.closed else ""
        where = f"{self.address}, namespace {self.namespace!r}, task queue {self.task_queue!r}"
        return f"<{type(self).__name__} {where}{state}>"

    def url(self, workflow_id: str, run_id: str | None = None) -> str | None:
        """Return the Web UI's page of a Workflow Execution, None where no Web UI is known."""
        if not self.ui_url:
            return None
        page = f"{self.ui_url}/namespaces/{quote(self.namespace, '')}/workflows/"
        return page + quote(workflow_id, "") + (f"/{quote(run_id, '')}/history" if run_id else "")

    def _check_open(self) -> None:
        if self._loop.closed:
            raise LabClosedError(f"{self!r}: open a new one, with Lab.open()")

    def within(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run one short call; a server that does not answer is an error, not a wait."""

        async def bounded() -> T:
            with translated(self.client):
                async with asyncio.timeout(ANSWER_WITHIN_S):
                    return await call()

        return self._loop.run(bounded)


def _guess_ui_url(address: str) -> str | None:
    """Return the Web UI of a server on this machine: `temporal server start-dev` adds 1000."""
    host, _, port = address.rpartition(":")
    local = host in ("localhost", "127.0.0.1") and int(port) + 1000 < 65536
    return f"http://{host}:{int(port) + 1000}" if local else None
