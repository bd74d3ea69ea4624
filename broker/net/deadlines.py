"""A deadline for a whole HTTP exchange, which cuts its connections off when it passes.

Timeouts of sockets bound one read or write each, so a server that sends a byte a second keeps a client for as long as
it likes. Shutting the socket down from another thread ends whatever the exchange waits for.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Deadline:
    """The end of an exchange, `seconds` from now. `watch` is for the exchange's thread, `cut` for the waiting one."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds
        self._sockets: list[Callable[[], socket.socket | None]] = []

    def remaining(self) -> float:
        """Return the seconds that are left. Raises TimeoutError if there are none."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def watch(self, find_socket: Callable[[], socket.socket | None]) -> None:
        """Cut off the socket that the function returns when the deadline passes; it may return None.

        Raises TimeoutError if the deadline has passed already.
        """
        self._sockets.append(find_socket)
        self.remaining()

    def watch_socket(self, watched: socket.socket) -> None:
        """Cut off this socket when the deadline passes. Raises TimeoutError if it has passed already."""
        self.watch(lambda: watched)

    def cut(self) -> None:
        """Shut down all sockets that are being watched; a thread that waits for one of them wakes up with an error."""
        for find_socket in list(self._sockets):
            found = find_socket()
            if found is not None:
                with contextlib.suppress(OSError):  # it is closed, or was never connected
                    # SSLSocket.shutdown would discard the session that the other thread is using.
                    socket.socket.shutdown(found, socket.SHUT_RDWR)
