"""The system clock, and the one of tests."""

from __future__ import annotations

import time
from datetime import UTC, timedelta
from queue import SimpleQueue

from broker.core.clock import SystemClock, WaitingClock
from tests.support.fakes import FakeClock

HOUR = timedelta(hours=1)


def test_both_clocks_are_read_together() -> None:
    before = time.monotonic()
    instant = SystemClock().read()
    assert before <= instant.monotonic.total_seconds() <= time.monotonic()
    assert abs(instant.now.timestamp() - time.time()) < 60
    assert instant.now.tzinfo is UTC


def test_monotonic_time_never_goes_back() -> None:
    clock = SystemClock()
    readings = [clock.read().monotonic for _ in range(100)]
    assert readings == sorted(readings)


def test_fake_clock_waits_without_delay() -> None:
    clock: WaitingClock = FakeClock()
    inbox: SimpleQueue[str] = SimpleQueue()
    began = clock.read()
    assert clock.wait(inbox, HOUR) is None
    assert clock.read().now - began.now == clock.read().monotonic - began.monotonic == HOUR
