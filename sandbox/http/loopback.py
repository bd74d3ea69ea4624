"""A small threaded HTTP/1.1 server on loopback, for the simulated issuer, STS and Kubernetes API.

It binds only 127.0.0.1, keeps connections alive, and sends a response in one write. `stop()` returns when every
connection is closed and every thread has ended, including threads that a fault delays. One callable answers every
request, and can drip, reset or withhold the response. The standard `http.server` is not used, because its header parser
takes more time than the rest of an exchange.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import struct
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_MAX_BODY_BYTES = 1_048_576
_JOIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """The server's side of one connection: sends, closes or resets it."""

    def __init__(self, connection: socket.socket, reader: BinaryIO, stopping: threading.Event) -> None:
        self._connection = connection
        self._reader = reader
        self.stopping = stopping
        self.is_open = True

    def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole response. Raises OSError if the client is gone."""
        self.send_raw(render(status, headers, body))

    def send_raw(self, payload: bytes) -> None:
        """Send bytes unchanged. Raises OSError if the client is gone."""
        self._connection.sendall(payload)

    def pause(self, seconds: float) -> bool:
        """Wait. Return True if the server is stopping, so that the caller should return."""
        return self.stopping.wait(seconds)

    def client_is_gone(self) -> bool:
        """Return whether the client has closed its side. Does not block."""
        try:
            return self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        """Close the connection (FIN) after the current request."""
        self.is_open = False

    def reset(self) -> None:
        """Reset the connection (RST). The client's read fails with "connection reset by peer"."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._reader.close()
        self._connection.close()  # before socketserver's shutdown(), which would send a FIN first
        self.is_open = False


def render(status: int, headers: Mapping[str, str], body: bytes) -> bytes:
    """Return the bytes of a response, with its Content-Length."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def _read_request(reader: BinaryIO) -> Request | None:
    words = reader.readline(65_536).decode("latin-1").split()
    if len(words) != 3:  # noqa: PLR2004 - method, path, version; otherwise the stream has ended or isn't HTTP
        return None
    headers: dict[str, str] = {}
    while line := reader.readline(65_536).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= _MAX_BODY_BYTES:
        return None
    return Request(method=words[0], path=words[1], headers=headers, body=reader.read(length) if length else b"")


class _Connection(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)  # noqa: FBT003 - setsockopt's signature
        with contextlib.suppress(OSError, ValueError), self.request.makefile("rb") as reader:
            wire = Wire(self.request, reader, self.server.stopping)
            if isinstance(self.request, ssl.SSLSocket):
                self.request.do_handshake()
            while wire.is_open and not wire.stopping.is_set():
                request = _read_request(reader)
                if request is None:
                    return
                self.server.answer(request, wire)
                if request.headers.get("connection", "").lower() == "close":
                    return


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, port: int, answer: Callable[[Request, Wire], None], tls: Callable[[], ssl.SSLContext] | None
    ) -> None:
        self.answer = answer
        self.tls = tls
        self.stopping = threading.Event()
        self._open: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Connection)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.tls is not None:  # the connection's own thread does the handshake
            connection = self.tls().wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        assert isinstance(request, socket.socket)
        thread = threading.Thread(target=self._serve, args=(request, client_address), daemon=True)
        with self._lock:
            self._open[thread] = request
        thread.start()

    def _serve(self, request: socket.socket, client_address: object) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.pop(threading.current_thread(), None)

    def hang_up(self) -> None:
        self.stopping.set()
        with self._lock:
            connections = dict(self._open)
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections:
            thread.join(_JOIN_SECONDS)


@dataclass(slots=True, kw_only=True)
class LoopbackServer:
    """Serves on 127.0.0.1 from construction until `stop()`. Port 0 means any free port.

    `answer` is called for each request, in one thread for each connection, so it must be thread-safe. `tls` returns the
    TLS context of each new connection; None means plain HTTP.
    """

    answer: Callable[[Request, Wire], None]
    port: int = 0
    tls: Callable[[], ssl.SSLContext] | None = None
    _server: _Server = field(init=False, repr=False)
    _thread: threading.Thread = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Bind and listen. Raises OSError if the port is in use."""
        self._server = _Server(self.port, self.answer, self.tls)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The base URL, without a trailing slash."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Close the listener and every connection, and wait for their threads."""
        self._server.stopping.set()
        self._server.shutdown()
        self._thread.join(_JOIN_SECONDS)
        self._server.hang_up()
        self._server.server_close()
