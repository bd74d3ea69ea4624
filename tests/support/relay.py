"""Relays a connection to a port of this machine, as proxies do."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl

_IDLE_SECONDS = 30
_CHUNK_BYTES = 65536


def relay_connection(connection: socket.socket, port: int) -> None:
    """Relay bytes in both directions between the connection and a port of 127.0.0.1, until one side ends.

    One thread does both directions: OpenSSL connections must not be read and written by two threads at once, which ends
    in a segmentation fault now and then.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=_IDLE_SECONDS) as onward, contextlib.suppress(OSError):
        for end in (connection, onward):
            end.settimeout(0)
        targets = {connection: onward, onward: connection}
        while targets:
            for source in _readable(list(targets)):
                _forward(source, targets)


def _readable(sockets: list[socket.socket]) -> list[socket.socket]:
    """Return the sockets that have something to read, or have ended. Raises OSError where nothing happens for long."""
    decrypted: list[socket.socket] = [each for each in sockets if isinstance(each, ssl.SSLSocket) and each.pending()]
    found = decrypted or select.select(sockets, [], [], _IDLE_SECONDS)[0]
    if not found:
        raise TimeoutError
    return found


def _forward(source: socket.socket, targets: dict[socket.socket, socket.socket]) -> None:
    """Move what has arrived at the source to its target; at the source's end, end the target's input."""
    target = targets[source]
    try:
        piece = source.recv(_CHUNK_BYTES)
    except (BlockingIOError, ssl.SSLWantReadError):
        return
    if piece:
        _send_all(target, piece)
        return
    del targets[source]
    if isinstance(target, ssl.SSLSocket):
        targets.clear()  # TLS has no half-closed connections: its client has all that it will get
    else:
        target.shutdown(socket.SHUT_WR)


def _send_all(target: socket.socket, piece: bytes) -> None:
    while piece:
        try:
            piece = piece[target.send(piece) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            if not select.select([], [target], [], _IDLE_SECONDS)[1]:
                raise TimeoutError from None
