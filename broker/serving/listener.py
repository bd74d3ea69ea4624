"""Serves an application on one socket, on the event loop of the process. Each client is bounded in cost.

Bounded are the number of connections, the time that a client may take for a request or for reading the answer, and (by
`http_connection`) the size of a request and the number of requests at a time. When all places or all file descriptors
are taken, the client that has kept the broker waiting the longest makes room for the next one, so slow clients lock
nobody out. This module refuses to know what is served.
"""

from __future__ import annotations

import errno
import logging
import socket
from typing import TYPE_CHECKING

from broker.loop.event_loop import READ, WRITE
from broker.serving.http_connection import HttpConnection

if TYPE_CHECKING:
    from broker.loop.event_loop import EventLoop
    from broker.serving.http_messages import Application, Recorder

CLIENT_PATIENCE_SECONDS = 10.0
"""How long a client may be idle, take for its request, or take for reading the response."""
_READ_BYTES = 4096
_BACKLOG = 128
_ACCEPTS_PER_TURN = 32
_NO_DESCRIPTOR_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PAUSE_SECONDS = 0.1
"""How long to accept nobody where the system gives no descriptor and no client can make room."""
_log = logging.getLogger(__name__)


class Listener:
    """Serves an application on one listening socket. `name` is its name in logs.

    `connections` is how many clients are held at once. `patience_seconds` is how long one may keep the broker waiting.
    `record` gets each response.
    """

    def __init__(  # noqa: PLR0913 - all but three have defaults
        self,
        application: Application,
        listening: socket.socket,
        loop: EventLoop,
        *,
        name: str,
        connections: int = 200,
        patience_seconds: float = CLIENT_PATIENCE_SECONDS,
        record: Recorder | None = None,
    ) -> None:
        self.name = name
        self.address: tuple[str, int] = listening.getsockname()[:2]
        self._application = application
        self._listening = listening
        self._loop = loop
        self._connections = connections
        self._patience_seconds = patience_seconds
        self._record = record
        self._clients: dict[_Client, None] = {}
        """In the order in which they began to keep the broker waiting, the first one longest."""
        self._accepts_again_at: float | None = None
        listening.settimeout(0)

    @property
    def client_count(self) -> int:
        """How many clients are connected now."""
        return len(self._clients)

    def start(self) -> None:
        """Begin to answer."""
        self._loop.add_timed(self)
        self._listen()

    def close(self) -> None:
        """Stop answering, and close the socket and all connections."""
        for client in list(self._clients):
            self._drop(client)
        if self._listening.fileno() >= 0:
            self._loop.ignore(self._listening.fileno())
            self._listening.close()
        self._accepts_again_at = None

    def get_deadline(self) -> float | None:
        """Return when a client has waited too long, or accepting goes on, in seconds of the loop's clock."""
        slowest = self._find_slowest()
        limits = [] if slowest is None else [slowest.since + self._patience_seconds]
        if self._accepts_again_at is not None:
            limits.append(self._accepts_again_at)
        return min(limits, default=None)

    def meet_deadline(self, now: float) -> None:
        """Drop slow clients, and accept new ones again."""
        while (slowest := self._find_slowest()) is not None and now >= slowest.since + self._patience_seconds:
            self._drop(slowest)
        if self._accepts_again_at is not None and now >= self._accepts_again_at:
            self._accepts_again_at = None
            self._listen()

    def _listen(self) -> None:
        self._loop.watch(self._listening.fileno(), READ, self._accept)

    def _find_slowest(self) -> _Client | None:
        """Return the client that has kept the broker waiting the longest."""
        return next(iter(self._clients), None)

    def _accept(self, _: int) -> None:
        for _turn in range(_ACCEPTS_PER_TURN):  # then clients that are connected get their turn
            try:
                connected, _address = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTOR_LEFT:
                    self._make_room_or_pause()
                    return
                continue  # the client has gone already
            self._add(connected)

    def _add(self, connected: socket.socket) -> None:
        slowest = self._find_slowest()
        if slowest is not None and len(self._clients) >= self._connections:
            self._drop(slowest)
        connected.settimeout(0)
        connection = HttpConnection(self._application, self._record)
        client = _Client(connected, connection, since=self._loop.monotonic())
        self._clients[client] = None
        self._watch(client, READ)

    def _watch(self, client: _Client, events: int) -> None:
        self._loop.watch(client.socket.fileno(), events, lambda _: self._serve(client))

    def _make_room_or_pause(self) -> None:
        """Drop the client that has waited longest, so that its descriptor serves the next one."""
        slowest = self._find_slowest()
        if slowest is not None:
            self._drop(slowest)
            return
        self._accepts_again_at = self._loop.monotonic() + _PAUSE_SECONDS
        self._loop.ignore(self._listening.fileno())

    def _serve(self, client: _Client) -> None:
        """Read from the client, or go on sending what it has not taken yet."""
        try:
            if not client.connection.output and not self._read(client):
                return
            self._send(client)
        except BlockingIOError:
            return
        except OSError:  # reset, or gone
            self._drop(client)

    def _read(self, client: _Client) -> bool:
        """Read what has arrived. Return whether the client is still connected."""
        data = client.socket.recv(_READ_BYTES)
        if not data:
            self._drop(client)
            return False
        if client.is_draining:
            return True
        had_begun = client.connection.has_begun
        client.connection.receive(data)
        if client.connection.has_begun and not had_begun:
            self._restart_wait(client)
        return True

    def _send(self, client: _Client) -> None:
        connection = client.connection
        if not connection.output:
            return
        try:
            sent = client.socket.send(connection.output)
        except BlockingIOError:
            sent = 0
        connection.output = connection.output[sent:]
        if connection.output:  # nothing is read meanwhile: a client that does not read gets no second answer
            self._watch(client, WRITE)
            client.is_writing = True
        elif connection.has_unread_input:
            self._drain(client)
        elif connection.is_finished:
            self._drop(client)
        else:
            self._restart_wait(client)
            if client.is_writing:
                self._watch(client, READ)
                client.is_writing = False

    def _drain(self, client: _Client) -> None:
        """Close this side only, and ignore what still arrives: closing both would discard the answer on its way."""
        client.socket.shutdown(socket.SHUT_WR)
        client.is_draining = True
        self._watch(client, READ)

    def _restart_wait(self, client: _Client) -> None:
        """Count the client's time from now: it has begun a request, or read its answer."""
        client.since = self._loop.monotonic()
        del self._clients[client]
        self._clients[client] = None

    def _drop(self, client: _Client) -> None:
        del self._clients[client]
        self._loop.ignore(client.socket.fileno())
        client.socket.close()
        client.connection.close()


class _Client:
    """A connected client. `since` is when it began to keep the broker waiting, on the monotonic clock."""

    __slots__ = ("connection", "is_draining", "is_writing", "since", "socket")

    def __init__(self, connected: socket.socket, connection: HttpConnection, *, since: float) -> None:
        self.socket = connected
        self.connection = connection
        self.since = since
        self.is_writing = False
        self.is_draining = False


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; host "" means every address, of both families where the node has both.

    Raises OSError.
    """
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
        except OSError:
            _log.debug("No IPv6 here; listening on IPv4 alone.")
    return socket.create_server(("", port), backlog=_BACKLOG)
