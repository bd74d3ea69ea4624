"""The clock: reading the time, and waiting for messages.

The wall clock determines when tokens and credentials expire. The monotonic clock measures backoff, intervals and
heartbeats. Both are read together, so that no decision mixes two moments. Tests replace the clock, and simulate a year
in a second.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from broker.core.records import Struct

if TYPE_CHECKING:
    from queue import SimpleQueue

Message = TypeVar("Message")


class Instant(Struct, frozen=True, kw_only=True):
    """One moment on both clocks: `now` is aware UTC; `monotonic` counts from an arbitrary start and never jumps."""

    now: datetime
    monotonic: timedelta


class Clock(Protocol):
    """Reads the time."""

    def read(self) -> Instant:
        """Return the current time."""
        ...


class WaitingClock(Clock, Protocol):
    """Reads the time, and waits."""

    def wait(self, inbox: SimpleQueue[Message], duration: timedelta) -> Message | None:
        """Return the next message of `inbox`, or None if none arrives within `duration`."""
        ...


class SystemClock:
    """The clocks of the machine."""

    def read(self) -> Instant:
        """Return the current time."""
        return Instant(now=datetime.now(UTC), monotonic=timedelta(seconds=time.monotonic()))
