"""Connect to a Temporal server, or say within seconds why not."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import logging
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from projectai_lab.config import LabConfig
from projectai_lab.errors import (
    LabError,
    NamespaceNotFoundError,
    PayloadError,
    ServerUnreachableError,
)

ANSWER_WITHIN_S = 4.0
_SILENT_AFTER_S = 2.0
CORE_LOGGER = "temporalio.core"
_BROKEN = ("transport error", "h2 protocol error", "error reading a body from connection")
# Client preface and an empty SETTINGS frame: RFC 9113, sections 3.4 and 6.5.
_NOT_GRPC = "something listens there but does not speak gRPC"
HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@functools.cache
def runtime() -> Runtime:
    """Return the process's one SDK runtime: its logs go to Python's logging, workers heartbeat."""
    # A handler keeps Python from printing what nobody handles; the worker keeps these logs.
    logging.getLogger("temporalio").addHandler(logging.NullHandler())
    forwarding = LogForwardingConfig(logger=logging.getLogger(CORE_LOGGER))
    log_filter = TelemetryFilter(core_level="WARN", other_level="ERROR")
    made = Runtime(
        telemetry=TelemetryConfig(logging=LoggingConfig(filter=log_filter, forwarding=forwarding)),
        worker_heartbeat_interval=timedelta(seconds=1),
    )
    # Never freed: at the interpreter's end that waits for native threads which, where a server was
    # lost, may be waiting for the interpreter: for ever, in 2 of 12 exits.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
    return made


def new_identity() -> str:
    """Return `pid-random@host`: unlike the SDK's own, unique in containers and across restarts."""
    return f"{os.getpid()}-{uuid.uuid4().hex[:6]}@{socket.gethostname()}"


def is_our_identity(identity: str) -> bool:
    """Whether a worker of this kit has that identity; all of them send heartbeats."""
    return re.match(r"\d+-[0-9a-f]{6}@", identity) is not None


# People want to hear of a lost server within 5 s; a worker must ride out its restart, because an
# activity whose completion cannot be delivered runs again, and be back a second after the server.
PROMPT = RetryConfig(max_elapsed_time_millis=3_500)
PATIENT = RetryConfig(max_interval_millis=1_000, max_elapsed_time_millis=120_000, max_retries=1_000)


async def connect(config: LabConfig, retry: RetryConfig = PROMPT) -> Client:
    """Return a connected client whose Namespace exists.

    Raises `ServerUnreachableError` or `NamespaceNotFoundError`, within some 5 s.
    """
    options = config.connect_options()
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await _greet(config.address, tls=bool(options.get("tls")))
            client = await Client.connect(**options, retry_config=retry, runtime=runtime())
            await _check_namespace(client)
    except (RuntimeError, OSError) as error:
        raise unreachable(config.address, error) from error
    return client


async def _greet(address: str, *, tls: bool) -> None:
    """Check that something at the address speaks HTTP/2.

    The SDK's own connect has no timeout against a port that accepts and stays mute, and cannot be
    abandoned there; a plain socket can.
    """
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    try:
        if not tls:
            writer.write(HTTP2_HELLO)
            frame = await reader.readexactly(9)
            # Every HTTP/2 server begins with a SETTINGS frame (type 4).
            if frame[3] != 4:
                raise ConnectionError(_NOT_GRPC)
    except asyncio.IncompleteReadError as error:
        raise ConnectionError(_NOT_GRPC) from error
    finally:
        writer.close()


async def silent(config: LabConfig) -> None:
    """Return once nothing has answered at the address for `_SILENT_AFTER_S`."""
    heard = time.monotonic()
    while time.monotonic() - heard < _SILENT_AFTER_S:
        try:
            async with asyncio.timeout(1):
                await _greet(config.address, tls=bool(config.connect_options().get("tls")))
        except (OSError, TimeoutError):
            await asyncio.sleep(0.1)
        else:
            await asyncio.sleep(0.5)
            heard = time.monotonic()


async def _check_namespace(client: Client) -> None:
    request = DescribeNamespaceRequest(namespace=client.namespace)
    try:
        await client.workflow_service.describe_namespace(request)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            raise no_namespace(client) from error
        # Without permission to describe, the first real call will tell.
        if error.status != RPCStatusCode.PERMISSION_DENIED:
            raise unreachable(client.service_client.config.target_host, error) from error


def unreachable(address: str, error: BaseException) -> ServerUnreachableError:
    """Return the error for an address at which no Temporal server answers."""
    why = str(error) or f"no answer within {ANSWER_WITHIN_S:g} s"
    return ServerUnreachableError(
        f"no Temporal server answers at {address} ({why[:160]}). Check TEMPORAL_HOST, or start a "
        "server with Lab.start_local() or `projectai-lab server`",
        address=address,
    )


def no_namespace(client: Client) -> NamespaceNotFoundError:
    """Return the error for an unknown Namespace."""
    name = client.namespace
    return NamespaceNotFoundError(
        f"the server at {client.service_client.config.target_host} has no Namespace {name!r}. "
        f"Check TEMPORAL_NAMESPACE, or create it: temporal operator namespace create -n {name}",
        namespace=name,
    )


def is_away(error: RPCError) -> bool:
    """Tell whether a call failed because no server answered, not because one refused it."""
    text = error.message.lower()
    if error.status == RPCStatusCode.CANCELLED:
        # So the SDK reports its own time limit of a call.
        return text == "timeout expired"
    if error.status == RPCStatusCode.UNKNOWN:
        # A call under way when the server was killed: the connection broke, and nobody refused it.
        return text.startswith(_BROKEN)
    away = (RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED)
    # The server's verdict on a query that no worker took is a DEADLINE_EXCEEDED too.
    return error.status in away and "query" not in text


def lost_worker(error: RPCError) -> bool:
    """Tell whether a query failed because the worker that had it has gone; another may answer."""
    return error.status == RPCStatusCode.CANCELLED and error.message == "context canceled"


@contextmanager
def translated(client: Client) -> Iterator[None]:
    """Turn what the server says of lost connections, namespaces and sizes into our errors."""
    try:
        yield
    except TimeoutError as error:
        if isinstance(error, LabError):
            raise
        raise unreachable(client.service_client.config.target_host, error) from error
    except RPCError as error:
        text = error.message.lower()
        if error.status == RPCStatusCode.NOT_FOUND and "namespace" in text:
            raise no_namespace(client) from error
        if "size exceeds limit" in text or "larger than max" in text:
            raise PayloadError(
                f"the server refused the size of an argument ({error.message}): Temporal takes "
                "2 MiB a payload and 4 MiB a request; pass a reference to the data instead"
            ) from error
        if is_away(error):
            raise unreachable(client.service_client.config.target_host, error) from error
        raise
