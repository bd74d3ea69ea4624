"""The ends of child processes: each is waited for once, and its status is kept until it is asked for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Children:
    """The child processes that this process has started. `reap` waits for those that have ended.

    As process 1 of a container, the broker also inherits orphans, for example of `kubectl exec`. They are waited for
    and forgotten. A program that waits for all children itself sets `reap` to nothing, and calls `record_end`.
    """

    def __init__(self) -> None:
        self._statuses: dict[int, int | None] = {}
        self.reap: Callable[[], None] = self._reap

    def add(self, pid: int) -> None:
        """Keep the status of this child when it ends."""
        self._statuses[pid] = None

    def record_end(self, pid: int, status: int) -> None:
        """Keep the wait status of a child, unless it is an orphan. Any thread may call this."""
        if pid in self._statuses:
            self._statuses[pid] = status

    def take_status(self, pid: int) -> int | None:
        """Return the wait status of a child once, or None if it has not ended."""
        status = self._statuses[pid]
        if status is not None:
            del self._statuses[pid]
        return status

    def _reap(self) -> None:
        for pid, status in wait_for_ended_children():
            self.record_end(pid, status)


def wait_for_ended_children() -> Iterator[tuple[int, int]]:
    """Yield pid and wait status of every child that has ended. Do not wait for others."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield pid, status
