"""One thread that waits for everything: ready files, deadlines, and messages from other threads."""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Message = TypeVar("Message")

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
_FAILED = select.EPOLLHUP | select.EPOLLERR
"""The kernel reports these whether asked or not. A read finds out what has happened."""


class Timed(Protocol):
    """A participant of the loop with deadlines of its own."""

    def get_deadline(self) -> float | None:
        """Return when `meet_deadline` is to be called, on the monotonic clock in seconds; None for never."""
        ...

    def meet_deadline(self, now: float) -> None:
        """Do what is due at `now`."""
        ...


class EventLoop:
    """Calls back when a file is ready or a deadline has come. `monotonic` is the clock, in seconds.

    All methods but `wake` are for one thread.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.monotonic = monotonic
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[int], None]] = {}
        self._timed: list[Timed] = []
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.watch(self._wake, READ, self._take_wake)

    def watch(self, file: int, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback` with the events whenever the file descriptor is ready for one of them: READ, WRITE.

        It may be called for no reason, so files must not block. A file that is watched already gets the new events and
        callback.
        """
        change = self._epoll.modify if file in self._callbacks else self._epoll.register
        change(file, events)
        self._callbacks[file] = callback

    def ignore(self, file: int) -> None:
        """Stop watching the file descriptor, before it is closed. Do nothing if it is not watched."""
        if self._callbacks.pop(file, None) is not None:
            self._epoll.unregister(file)

    def add_timed(self, participant: Timed) -> None:
        """Call the participant at its deadlines."""
        self._timed.append(participant)

    def wake(self) -> None:
        """End the current `turn` soon. Any thread may call this."""
        os.eventfd_write(self._wake, 1)

    def turn(self, seconds: float) -> None:
        """Wait for ready files or a deadline, at most for `seconds`, and call back for each."""
        now = self.monotonic()
        limits = [seconds]
        for participant in self._timed:
            deadline = participant.get_deadline()
            if deadline is not None:
                limits.append(deadline - now)
        for file, events in self._epoll.poll(max(0.0, min(limits))):
            callback = self._callbacks.get(file)
            if callback is not None:  # otherwise an earlier callback of this turn has ignored it
                callback(events | READ if events & _FAILED else events)
        now = self.monotonic()
        for participant in self._timed:
            deadline = participant.get_deadline()
            if deadline is not None and deadline <= now:
                participant.meet_deadline(now)

    def wait(self, inbox: SimpleQueue[Message], seconds: float) -> Message | None:
        """Serve until the inbox has a message, at most for `seconds`. Return the message, or None.

        At least one turn is made, so that no flood of messages keeps clients waiting.
        """
        end = self.monotonic() + seconds
        remaining = seconds
        while True:
            self.turn(max(0.0, remaining) if inbox.empty() else 0.0)
            if not inbox.empty():  # this thread alone takes messages
                return inbox.get_nowait()
            remaining = end - self.monotonic()
            if remaining <= 0:
                return None

    def close(self) -> None:
        """Close the loop's own files, after its last turn. The run of a process needs no such end."""
        self._epoll.close()
        os.close(self._wake)

    def _take_wake(self, _: int) -> None:
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake)


class Inbox(SimpleQueue[Message]):
    """A queue for messages to the thread of a loop, which it wakes. Any thread may put messages."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop

    def put(self, item: Message, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002 - of SimpleQueue
        """Put the message, and wake the loop."""
        super().put(item, block, timeout)
        self._loop.wake()
