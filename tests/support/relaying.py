"""Leads a connection on to a port of this machine, as proxies do."""

from __future__ import annotations

import contextlib
import socket
import threading


def lead_on(connection: socket.socket, port: int) -> None:
    """Pour both ways between the connection and a port of 127.0.0.1, until one side ends."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as onward:
        back = threading.Thread(target=_pour, args=(onward, connection), daemon=True)
        back.start()
        _pour(connection, onward)
        back.join(5)


def _pour(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError, ValueError):
        while piece := source.recv(65536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
