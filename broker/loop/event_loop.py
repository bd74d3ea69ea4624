"""One thread that waits for everything: ready files, deadlines, and messages from other threads."""

from __future__ import annotations

import os
import selectors
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Message = TypeVar("Message")


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
        self._selector = selectors.DefaultSelector()
        self._watched: dict[int, selectors.SelectorKey] = {}
        self._timed: list[Timed] = []
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.watch(self._wake, selectors.EVENT_READ, self._take_wake)

    def watch(self, file: int, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback` with the events whenever the file descriptor is ready for one of them.

        The events are those of `selectors`. A file that is watched already gets the new events and callback.
        """
        change = self._selector.modify if file in self._watched else self._selector.register
        self._watched[file] = change(file, events, callback)

    def ignore(self, file: int) -> None:
        """Stop watching the file descriptor, before it is closed. Do nothing if it is not watched."""
        if self._watched.pop(file, None) is not None:
            self._selector.unregister(file)

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
        ready = self._selector.select(max(0.0, min(limits)))
        for key, events in ready:
            if self._watched.get(key.fd) is key:  # otherwise an earlier callback of this turn has closed or changed it
                key.data(events)
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
        self.turn(0.0 if not inbox.empty() else max(0.0, seconds))
        while True:
            try:
                return inbox.get_nowait()
            except Empty:
                pass
            remaining = end - self.monotonic()
            if remaining <= 0:
                return None
            self.turn(remaining)

    def close(self) -> None:
        """Close the loop's own files, after its last turn. The run of a process needs no such end."""
        self._selector.close()
        os.close(self._wake)

    def _take_wake(self, _: int) -> None:
        os.eventfd_read(self._wake)


class Inbox(SimpleQueue[Message]):
    """A queue for messages to the thread of a loop, which it wakes. Any thread may put messages."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop

    def put(self, item: Message, block: bool = True, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002 - of SimpleQueue
        """Put the message, and wake the loop."""
        super().put(item, block, timeout)
        self._loop.wake()
