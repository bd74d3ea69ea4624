"""The HTTP server under the simulated services: keep-alive, invalid requests, and a prompt stop."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from sandbox.http.loopback import LoopbackServer, Request, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator


def echo(request: Request, wire: Wire) -> None:
    wire.send(200, {"X-Path": request.path}, request.body)


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    running = LoopbackServer(answer=echo)
    yield running
    running.stop()


def raw(server: LoopbackServer, payload: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(payload)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
    return answer


def test_connection_is_kept_alive(server: LoopbackServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.connect()
    kept = connection.sock
    for body in (b"one", b"", b"three"):
        connection.request("POST", "/path?x=1", body)
        response = connection.getresponse()
        assert (response.status, response.read(), response.getheader("X-Path")) == (200, body, "/path?x=1")
    assert connection.sock is kept
    connection.close()


def test_connection_closes_when_asked(server: LoopbackServer) -> None:
    assert raw(server, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n").count(b"200 OK") == 1


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_invalid_request_gets_no_response(server: LoopbackServer, payload: bytes) -> None:
    assert raw(server, payload) == b""


def test_unknown_status_is_sent() -> None:
    server = LoopbackServer(answer=lambda _, wire: wire.send(599, {}, b""))
    assert raw(server, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 599 Unknown\r\n")
    server.stop()


def test_reset_closes_the_connection_with_rst() -> None:
    server = LoopbackServer(answer=lambda _, wire: wire.reset())
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    server.stop()


def test_port_in_use_is_an_error(server: LoopbackServer) -> None:
    with pytest.raises(OSError, match="in use"):
        LoopbackServer(answer=echo, port=server.port)


def test_stop_ends_waiting_responses_and_idle_connections() -> None:
    waiting = threading.Event()

    def wait_long(request: Request, wire: Wire) -> None:
        if request.path == "/idle":
            wire.send(200, {}, b"")
            return
        waiting.set()
        wire.pause(600)

    before = set(threading.enumerate())
    server = LoopbackServer(answer=wait_long)
    with (
        socket.create_connection(("127.0.0.1", server.port)) as busy,
        socket.create_connection(("127.0.0.1", server.port)) as idle,
    ):
        idle.sendall(b"GET /idle HTTP/1.1\r\n\r\n")
        assert idle.recv(100)
        busy.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert waiting.wait(5)
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 1
        assert idle.recv(1) == b""
    assert set(threading.enumerate()) <= before
