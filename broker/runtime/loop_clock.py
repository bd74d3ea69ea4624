"""The clock of the main loop: while the loop waits, clients and workers are served."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from broker.core.clock import SystemClock

if TYPE_CHECKING:
    from datetime import timedelta
    from queue import SimpleQueue

    from broker.core.clock import Instant
    from broker.loop.event_loop import EventLoop

Message = TypeVar("Message")


class LoopClock:
    """The clocks of the machine, and the waiting of the event loop."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._system = SystemClock()

    def read(self) -> Instant:
        """Return the current time."""
        return self._system.read()

    def wait(self, inbox: SimpleQueue[Message], duration: timedelta) -> Message | None:
        """Return the next message of `inbox`, or None if none arrives within `duration`."""
        return self._loop.wait(inbox, duration.total_seconds())
