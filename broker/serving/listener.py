"""Serves a WSGI application on one socket: bounds what clients can cost, and drops those that only keep it busy.

waitress does the serving (docs/adr/0003-http-serving.md): one loop for all connections, a few threads for answers.
Bounded are the size of header and body, the number of connections, and how long a client may idle or trickle. When all
places are taken, the client that has kept us waiting the longest makes room for the next, so that slow clients lock out
nobody. Refuses to know what is served.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any

import waitress.server
import waitress.wasyncore

CLIENT_PATIENCE_SECONDS = 10
MAXIMUM_HEADER_BYTES = 8192
MAXIMUM_BODY_BYTES = 1024
_WAKE_SECONDS = 10
"""How often the loop wakes with nothing to do; requests wake it at once."""
_CLEANUP_SECONDS = 5
_PLACES_OF_ITS_OWN = 8
"""In waitress's count of connections: the listening socket, the loop's pipe, and those that are just being dropped."""
_log = logging.getLogger(__name__)

StartResponse = Callable[[str, list[tuple[str, str]]], object]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Listener:
    """Serves an application on one socket, on threads of its own. `name` is what logs and threads call it.

    `connections` is how many clients are held at once, `threads` how many answers are made at once.
    """

    def __init__(
        self,
        application: Application,
        listening: socket.socket,
        *,
        name: str,
        connections: int = 200,
        threads: int = 2,
    ) -> None:
        self.name = name
        self.address: tuple[str, int] = listening.getsockname()[:2]
        self._connections = connections
        self._server = waitress.server.create_server(
            application,
            sockets=[listening],
            threads=threads,
            ident=None,
            connection_limit=connections + _PLACES_OF_ITS_OWN,
            cleanup_interval=_CLEANUP_SECONDS,
            asyncore_loop_timeout=_WAKE_SECONDS,
            asyncore_use_poll=True,
            max_request_header_size=MAXIMUM_HEADER_BYTES,
            max_request_body_size=MAXIMUM_BODY_BYTES,
            clear_untrusted_proxy_headers=False,  # who forwards must be seen, to be refused
        )
        self._accept = self._server.handle_accept
        self._server.handle_accept = self._accept_and_make_room
        self._server.maintenance = self._drop_slow_clients
        self._thread = threading.Thread(target=self._server.run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering, within a second, and close the socket."""
        self._server.task_dispatcher.shutdown(timeout=0.5)  # first, for its threads write into the loop's pipe
        trigger = self._server.trigger
        with trigger.lock:  # an awake loop must not close the pipe between these two, which pull_trigger() allows
            trigger.thunks.append(self._close_all)  # waitress's loop must do it itself
            trigger._physical_pull()  # noqa: SLF001 - likewise
        self._thread.join(timeout=1)

    def _accept_and_make_room(self) -> None:
        """Accept a client. Beyond the bound, the one that has kept us waiting the longest goes.

        At the loop's next turn: now, its descriptor could become the next client's, which would be taken for it.
        """
        self._accept()
        channels = [channel for channel in self._server.active_channels.values() if not channel.will_close]
        if len(channels) > self._connections:
            idle = [channel for channel in channels if not channel.requests]
            if idle:
                min(idle, key=_waiting_since).will_close = True

    def _drop_slow_clients(self, now: float) -> None:
        """Close what idles, and what has not brought its request by now: waitress itself lets a trickle live on."""
        for channel in self._server.active_channels.values():
            if not channel.requests and _waiting_since(channel) < now - CLIENT_PATIENCE_SECONDS:
                channel.will_close = True

    def _close_all(self) -> None:
        waitress.wasyncore.close_all(self._server._map, ignore_all=True)  # noqa: SLF001 - it has no other way to end


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket; host "" means every address, of both families where the node has both.

    Raises OSError.
    """
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError:
            _log.debug("No IPv6 here; listening on IPv4 alone.")
    return socket.create_server(("", port))


def _waiting_since(channel: Any) -> float:  # noqa: ANN401 - waitress has no types
    """Return since when a client owes us something, in epoch seconds: a request, or the rest of one it has begun.

    The latter counts from when it came, for every byte of a trickle is activity to waitress.
    """
    since: float = channel.last_activity if channel.request is None else channel.creation_time
    return since
