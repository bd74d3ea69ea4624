"""The system clock, and waiting for messages."""

from __future__ import annotations

import threading
import time
from datetime import UTC, timedelta
from queue import SimpleQueue

from broker.core.clock import Clock, SystemClock
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


def test_queued_message_ends_the_wait_at_once() -> None:
    inbox: SimpleQueue[str] = SimpleQueue()
    inbox.put("first")
    inbox.put("second")
    assert SystemClock().wait(inbox, HOUR) == "first"
    assert SystemClock().wait(inbox, HOUR) == "second"


def test_message_from_another_thread_ends_the_wait() -> None:
    inbox: SimpleQueue[str] = SimpleQueue()
    threading.Timer(0.01, inbox.put, ["message"]).start()
    assert SystemClock().wait(inbox, HOUR) == "message"


def test_wait_of_zero_returns_at_once_without_a_message() -> None:
    inbox: SimpleQueue[str] = SimpleQueue()
    assert SystemClock().wait(inbox, timedelta(0)) is None


def test_negative_wait_returns_at_once() -> None:
    """A deadline can pass between its computation and the wait."""
    inbox: SimpleQueue[str] = SimpleQueue()
    assert SystemClock().wait(inbox, -HOUR) is None


def test_wait_without_a_message_lasts_for_its_duration() -> None:
    inbox: SimpleQueue[str] = SimpleQueue()
    clock = SystemClock()
    began = clock.read().monotonic
    assert clock.wait(inbox, timedelta(milliseconds=20)) is None
    assert clock.read().monotonic - began >= timedelta(milliseconds=20)


def test_fake_clock_waits_without_delay() -> None:
    clock: Clock = FakeClock()
    inbox: SimpleQueue[str] = SimpleQueue()
    began = clock.read()
    assert clock.wait(inbox, HOUR) is None
    assert clock.read().now - began.now == clock.read().monotonic - began.monotonic == HOUR
