"""Servers between a client and a plain loopback server: a TLS front, and a proxy that routes by target."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from typing import TYPE_CHECKING, Self

from tests.support.relay import relay_connection

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

_CONNECTED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class TlsFront:
    """Terminates TLS on each connection and forwards the content to a plain port of this machine."""

    def __init__(self, context: ssl.SSLContext, to_port: int) -> None:
        self.context = context
        self.to_port = to_port
        self._server = _Server(self._lead)
        self.port = self._server.port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    def _lead(self, connection: socket.socket) -> None:
        with self.context.wrap_socket(connection, server_side=True) as plain:
            relay_connection(plain, self.to_port)


class RoutingProxy:
    """A proxy that connects CONNECT requests to a port of this machine by the target's `host:port`.

    `asked` has all requested targets. If `refusal` is set, every client gets it as the status line.
    """

    def __init__(self, routes: Mapping[str, int]) -> None:
        self.routes = dict(routes)
        self.asked: list[str] = []
        self.refusal = ""
        self._server = _Server(self._lead)
        self.port = self._server.port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        """The value for HTTPS_PROXY."""
        return f"http://127.0.0.1:{self.port}"

    def _lead(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(4096)
            if not piece:
                return
            head += piece
        target = head.split()[1].decode()
        self.asked.append(target)
        port = self.routes.get(target)
        if self.refusal or port is None:
            connection.sendall(f"HTTP/1.1 {self.refusal or '502 Bad Gateway'}\r\nContent-Length: 0\r\n\r\n".encode())
            return
        connection.sendall(_CONNECTED)
        relay_connection(connection, port)


class Sayer:
    """Sends the same bytes to every client, independent of the request."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self._server = _Server(lambda connection: connection.sendall(self.said))
        self.port = self._server.port

    def __exit__(self, *_: object) -> None:
        self._server.stop()


class _Server(socketserver.ThreadingTCPServer):
    """Calls `lead` for each connection, in a thread. `stop` closes connections that are still open."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, lead: Callable[[socket.socket], None]) -> None:
        self.lead = lead
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Connection)
        self.port = int(self.server_address[1])
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        assert isinstance(request, socket.socket)
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        assert isinstance(request, socket.socket)
        self._open.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        """Stop listening, and close every connection."""
        self.shutdown()
        self._thread.join(5)
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(
            OSError
        ):  # including ssl's errors: the client doesn't trust the certificate, or is gone
            self.request.settimeout(30)
            self.server.lead(self.request)
