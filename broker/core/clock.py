"""The clock: reading the time, and waiting for messages.

The wall clock determines when tokens and credentials expire. The monotonic clock measures backoff, intervals and
heartbeats. Both are read together, so that no decision mixes two moments. Tests replace the clock, and simulate a year
in a second.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

Message = TypeVar("Message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """One moment on both clocks: `now` is aware UTC; `monotonic` counts from an arbitrary start and never jumps."""

    now: datetime
    monotonic: timedelta


class Clock(Protocol):
    """Reads the time, and waits."""

    def read(self) -> Instant:
        """Return the current time."""
        ...

    def wait(self, inbox: SimpleQueue[Message], duration: timedelta) -> Message | None:
        """Return the next message of `inbox`, or None if none arrives within `duration`."""
        ...


class SystemClock:
    """The clocks of the machine."""

    def read(self) -> Instant:
        """Return the current time."""
        return Instant(now=datetime.now(UTC), monotonic=timedelta(seconds=time.monotonic()))

    def wait(self, inbox: SimpleQueue[Message], duration: timedelta) -> Message | None:
        """Return the next message of `inbox`, or None if none arrives within `duration`."""
        try:
            return inbox.get(timeout=max(duration.total_seconds(), 0))
        except Empty:
            return None
