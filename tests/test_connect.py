"""Whatever stands at an address, connecting ends within 5 s in a client or in a named error."""

from __future__ import annotations

import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest
from temporalio.envconfig import ClientConfigTLS
from temporalio.service import RPCError, RPCStatusCode

from projectai_lab._connect import CORE_LOGGER, is_away, runtime, translated
from projectai_lab.client import LabClient
from projectai_lab.config import LabConfig
from projectai_lab.errors import (
    LabError,
    NamespaceNotFoundError,
    PayloadError,
    ServerUnreachableError,
    WorkflowTimeoutError,
)
from tests import zoo

SETTINGS_FRAME = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@contextmanager
def listener(answer: bytes | None, *, hang_up: bool = False) -> Iterator[str]:
    """Listen, answer each connection with some bytes, and keep it open or hang up."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        kept: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = door.accept()
                except OSError:
                    return
                kept.append(connection)
                if answer:
                    connection.sendall(answer)
                if hang_up:
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{door.getsockname()[1]}"
        # Closing alone does not wake an accept that waits.
        door.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in kept:
            connection.close()


@contextmanager
def web_server() -> Iterator[str]:
    """Serve HTTP/1.1, as somebody does who gives the Web UI's port."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Write nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@contextmanager
def nothing() -> Iterator[str]:
    """Give the address of a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    yield f"127.0.0.1:{port}"


@contextmanager
def bad_name() -> Iterator[str]:
    """Give a host name that no DNS knows (RFC 6761)."""
    yield "nowhere.invalid:7233"


WRONG: dict[str, tuple[Callable[[], AbstractContextManager[str]], str]] = {
    "dead port": (nothing, "Connect call failed"),
    "bad DNS name": (bad_name, "nowhere.invalid"),
    "hangs up": (lambda: listener(None, hang_up=True), ""),
    "half a frame": (lambda: listener(b"abc", hang_up=True), ""),
    "HTTP server": (web_server, "does not speak gRPC"),
}


def connect_fails(config: LabConfig) -> ServerUnreachableError:
    """Connect and return the named error, which must come soon."""
    began = time.monotonic()
    with pytest.raises(ServerUnreachableError) as caught:
        LabClient.connect(config)
    assert time.monotonic() - began < zoo.SOON_S
    return caught.value


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Fail where a failed connect leaves a thread of ours behind."""
    before = threading.enumerate()
    yield
    left = [thread.name for thread in threading.enumerate() if thread not in before]
    assert not [name for name in left if name.startswith("projectai-lab")]


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_address_is_a_named_error_within_five_seconds(name: str) -> None:
    place, why = WRONG[name]
    with place() as address:
        error = connect_fails(LabConfig(address=address))
    assert str(error).startswith(f"no Temporal server answers at {address} (")
    assert why in str(error)
    assert "Check TEMPORAL_HOST, or start a server with Lab.start_local()" in str(error)
    assert vars(error)["address"] == address


def test_a_place_that_stays_mute_is_given_up_within_five_seconds() -> None:
    with listener(None) as mute, listener(SETTINGS_FRAME) as half_mute:
        configs = [
            LabConfig(address=mute),
            LabConfig(address=mute, tls=ClientConfigTLS()),
            LabConfig(address=half_mute),
        ]
        with ThreadPoolExecutor(len(configs)) as threads:
            errors = list(threads.map(connect_fails, configs))
    for config, error in zip(configs, errors, strict=True):
        assert str(error).startswith(
            f"no Temporal server answers at {config.address} (no answer within 4 s)"
        )


def test_a_dead_port_is_as_quick_with_tls() -> None:
    with nothing() as address:
        error = connect_fails(LabConfig(address=address, tls=ClientConfigTLS()))
    assert str(error).startswith(f"no Temporal server answers at {address} (")


def test_tls_to_a_server_without_tls_is_a_named_error(address: str) -> None:
    error = connect_fails(LabConfig(address=address, tls=ClientConfigTLS()))
    assert f"no Temporal server answers at {address}" in str(error)


def test_an_unknown_namespace_is_named_with_the_command_that_creates_it(address: str) -> None:
    with pytest.raises(NamespaceNotFoundError) as caught:
        LabClient.connect(LabConfig(address=address, namespace="nobody-made-this"))
    assert str(caught.value) == (
        f"the server at {address} has no Namespace 'nobody-made-this'. Check TEMPORAL_NAMESPACE, "
        "or create it: temporal operator namespace create -n nobody-made-this"
    )
    assert vars(caught.value)["namespace"] == "nobody-made-this"


def test_a_host_name_reaches_the_server_as_well_as_a_number(address: str) -> None:
    port = address.rpartition(":")[2]
    with LabClient.connect(LabConfig(address=f"localhost:{port}")) as client:
        assert client.namespace == "default"


def test_one_runtime_serves_the_process_and_logs_to_python() -> None:
    assert runtime() is runtime()
    assert CORE_LOGGER.startswith("temporalio")


@pytest.mark.parametrize(
    ("status", "message", "away"),
    [
        (RPCStatusCode.UNAVAILABLE, "tcp connect error", True),
        (RPCStatusCode.DEADLINE_EXCEEDED, "context deadline exceeded", True),
        (RPCStatusCode.CANCELLED, "Timeout expired", True),
        (RPCStatusCode.CANCELLED, "the caller gave up", False),
        (RPCStatusCode.UNKNOWN, "transport error", True),
        (RPCStatusCode.UNKNOWN, "panic", False),
        (
            RPCStatusCode.DEADLINE_EXCEEDED,
            "query timed out before a worker took it",
            False,
        ),
        (RPCStatusCode.NOT_FOUND, "workflow not found for ID: x", False),
    ],
)
def test_a_server_that_does_not_answer_is_told_from_one_that_refuses(
    status: RPCStatusCode, message: str, away: bool
) -> None:
    assert is_away(RPCError(message, status, b"")) is away


@pytest.mark.parametrize(
    ("status", "message", "named"),
    [
        (RPCStatusCode.UNAVAILABLE, "broken pipe", ServerUnreachableError),
        (RPCStatusCode.NOT_FOUND, "Namespace default is not found.", NamespaceNotFoundError),
        (RPCStatusCode.INVALID_ARGUMENT, "Blob data size exceeds limit.", PayloadError),
        (
            RPCStatusCode.RESOURCE_EXHAUSTED,
            "received message after decompression larger than max",
            PayloadError,
        ),
        (RPCStatusCode.NOT_FOUND, "workflow not found for ID: x", RPCError),
    ],
)
def test_what_the_server_says_becomes_our_error_or_passes_through(
    address: str, status: RPCStatusCode, message: str, named: type[Exception]
) -> None:
    with (
        LabClient.connect(LabConfig(address=address)) as client,
        pytest.raises(named) as caught,
        translated(client.client),
    ):
        raise RPCError(message, status, b"")
    if isinstance(caught.value, LabError):
        assert isinstance(caught.value.__cause__, RPCError)


def test_our_own_timeout_is_not_taken_for_a_lost_server(address: str) -> None:
    with (
        LabClient.connect(LabConfig(address=address)) as client,
        pytest.raises(WorkflowTimeoutError, match="still running"),
        translated(client.client),
    ):
        raise WorkflowTimeoutError("still running")
