"""The clock of the main loop: the system's time, and the loop's waiting."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from broker.loop.event_loop import EventLoop, Inbox
from broker.runtime.loop_clock import LoopClock

if TYPE_CHECKING:
    from broker.core.clock import WaitingClock


def test_time_is_that_of_the_system() -> None:
    before = time.monotonic()
    instant = LoopClock(EventLoop()).read()
    assert before <= instant.monotonic.total_seconds() <= time.monotonic()
    assert abs(instant.now.timestamp() - time.time()) < 60


def test_wait_returns_the_message_or_lasts_for_its_duration() -> None:
    loop = EventLoop()
    clock: WaitingClock = LoopClock(loop)
    inbox = Inbox[str](loop)
    inbox.put("message")
    assert clock.wait(inbox, timedelta(hours=1)) == "message"
    began = clock.read().monotonic
    assert clock.wait(inbox, timedelta(milliseconds=20)) is None
    assert clock.read().monotonic - began >= timedelta(milliseconds=20)
