"""Time, read and waited for through one Protocol, so that a year can pass in a second under test.

The wall clock says when tokens and credentials expire; the monotonic clock measures backoff, intervals and heartbeats.
Both are read together, so that no decision mixes two moments.
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
    """One moment on both clocks: `now` is aware UTC; `monotonic` counts from an arbitrary start and never leaps."""

    now: datetime
    monotonic: timedelta


class Clock(Protocol):
    """Both halves of time: telling it, and letting it pass."""

    def read(self) -> Instant:
        """Return the present moment."""
        ...

    def wait(self, inbox: SimpleQueue[Message], duration: timedelta) -> Message | None:
        """Return the next message of `inbox`, or None when `duration` has passed without one."""
        ...


class SystemClock:
    """The machine's clocks."""

    def read(self) -> Instant:
        """Return the present moment."""
        return Instant(now=datetime.now(UTC), monotonic=timedelta(seconds=time.monotonic()))

    def wait(self, inbox: SimpleQueue[Message], duration: timedelta) -> Message | None:
        """Return the next message of `inbox`, or None when `duration` has passed without one."""
        try:
            return inbox.get(timeout=max(duration.total_seconds(), 0))
        except Empty:
            return None
