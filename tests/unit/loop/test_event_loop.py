"""The event loop: files, deadlines and messages, on one thread."""

from __future__ import annotations

import os
import socket
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pytest

from broker.loop.event_loop import READ, WRITE, EventLoop, Inbox

if TYPE_CHECKING:
    from collections.abc import Iterator


LONG = 10.0
"""Longer than any test may take, in seconds."""


class Deadline:
    """A participant that is due at `at`, and records when it was called."""

    def __init__(self, at: float | None) -> None:
        self.at = at
        self.met: list[float] = []

    def get_deadline(self) -> float | None:
        """Return when it is due."""
        return self.at

    def meet_deadline(self, now: float) -> None:
        """Be due no more."""
        self.met.append(now)
        self.at = None


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = EventLoop()
    yield loop
    loop.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def other_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def took(began: float) -> float:
    return time.monotonic() - began


class TestFiles:
    """Callbacks for files that are ready."""

    def test_ready_file_is_called_back_with_its_events(
        self, loop: EventLoop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        called: list[int] = []
        loop.watch(ours.fileno(), READ | WRITE, called.append)
        loop.turn(LONG)
        theirs.send(b"x")
        loop.turn(LONG)
        assert called == [WRITE, READ | WRITE]

    def test_file_that_is_not_ready_is_not_called_back(
        self, loop: EventLoop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        called: list[int] = []
        loop.watch(pair[0].fileno(), READ, called.append)
        loop.turn(0.001)
        assert called == []

    def test_watching_again_replaces_events_and_callback(
        self, loop: EventLoop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        first: list[int] = []
        second: list[int] = []
        loop.watch(pair[0].fileno(), READ, first.append)
        loop.watch(pair[0].fileno(), WRITE, second.append)
        loop.turn(LONG)
        assert (first, second) == ([], [WRITE])

    def test_ignored_file_is_not_called_back_and_may_be_ignored_again(
        self, loop: EventLoop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        called: list[int] = []
        loop.watch(pair[0].fileno(), WRITE, called.append)
        loop.ignore(pair[0].fileno())
        loop.ignore(pair[0].fileno())
        loop.turn(0.001)
        assert called == []

    def test_file_that_is_closed_during_a_turn_is_not_called_back_in_it(
        self,
        loop: EventLoop,
        pair: tuple[socket.socket, socket.socket],
        other_pair: tuple[socket.socket, socket.socket],
    ) -> None:
        """Whichever of the two is called first."""
        called: list[int] = []

        def end(this: socket.socket, other: socket.socket) -> None:
            called.append(this.fileno())
            loop.ignore(other.fileno())
            other.close()

        first, second = pair[0], other_pair[0]
        loop.watch(first.fileno(), WRITE, lambda _: end(first, second))
        loop.watch(second.fileno(), WRITE, lambda _: end(second, first))
        loop.turn(LONG)
        assert len(called) == 1

    def test_new_file_with_the_number_of_one_that_was_closed_in_the_same_turn_is_not_called_back(
        self,
        loop: EventLoop,
        pair: tuple[socket.socket, socket.socket],
        other_pair: tuple[socket.socket, socket.socket],
    ) -> None:
        """Its events are those of the old file, which was ready; a read of the new one would block."""
        called: list[str] = []
        reading, writing = os.pipe()
        number = {pair[0]: other_pair[0].fileno(), other_pair[0]: pair[0].fileno()}

        def replace_other(this: socket.socket, other: socket.socket) -> None:
            called.append("old")
            loop.ignore(other.fileno())
            os.dup2(reading, number[this])
            loop.watch(number[this], READ, lambda _: called.append("new"))

        first, second = pair[0], other_pair[0]
        loop.watch(first.fileno(), WRITE, lambda _: replace_other(first, second))
        loop.watch(second.fileno(), WRITE, lambda _: replace_other(second, first))
        loop.turn(LONG)
        assert called == ["old"]
        os.close(reading)
        os.close(writing)

    def test_callback_that_changes_another_during_a_turn_is_the_last_word(
        self,
        loop: EventLoop,
        pair: tuple[socket.socket, socket.socket],
        other_pair: tuple[socket.socket, socket.socket],
    ) -> None:
        first, second = pair[0].fileno(), other_pair[0].fileno()
        called: list[str] = []

        def change(this: int, other: int) -> None:
            called.append("before")
            loop.ignore(this)
            loop.watch(other, WRITE, lambda _: called.append("after"))

        loop.watch(first, WRITE, lambda _: change(first, second))
        loop.watch(second, WRITE, lambda _: change(second, first))
        loop.turn(LONG)
        assert called == ["before"]
        loop.turn(LONG)
        assert called == ["before", "after"]


class TestDeadlines:
    """Participants with a time."""

    def test_turn_ends_at_the_first_deadline_and_calls_who_is_due(self, loop: EventLoop) -> None:
        soon, later, never = Deadline(loop.monotonic() + 0.01), Deadline(loop.monotonic() + LONG), Deadline(None)
        for participant in (later, never, soon):
            loop.add_timed(participant)
        began = time.monotonic()
        loop.turn(LONG)
        assert took(began) < LONG / 2
        assert [len(each.met) for each in (soon, later, never)] == [1, 0, 0]
        assert soon.met[0] >= began + 0.01 - 0.001, "epoll waits in whole milliseconds"

    def test_deadline_that_has_passed_is_met_without_waiting(self, loop: EventLoop) -> None:
        late = Deadline(loop.monotonic() - 5)
        loop.add_timed(late)
        began = time.monotonic()
        loop.turn(LONG)
        assert took(began) < LONG / 2
        assert len(late.met) == 1

    def test_deadline_is_met_by_the_clock_of_the_loop(self) -> None:
        now = 100.0
        loop = EventLoop(lambda: now)
        participant = Deadline(130.0)
        loop.add_timed(participant)
        loop.turn(0)
        assert participant.met == []
        now = 130.0
        loop.turn(LONG)
        assert participant.met == [130.0]

    def test_deadline_is_met_while_files_are_always_ready(
        self, loop: EventLoop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        participant = Deadline(loop.monotonic() + 0.01)
        loop.add_timed(participant)
        loop.watch(pair[0].fileno(), WRITE, lambda _: None)
        end = time.monotonic() + LONG
        while not participant.met and time.monotonic() < end:
            loop.turn(LONG)
        assert participant.met


class TestWake:
    """Another thread ends a turn."""

    def test_wake_from_another_thread_ends_the_turn(self, loop: EventLoop) -> None:
        began = time.monotonic()
        threading.Timer(0.01, loop.wake).start()
        loop.turn(LONG)
        assert took(began) < LONG / 2

    def test_wake_before_the_turn_is_not_lost_and_counts_once(self, loop: EventLoop) -> None:
        loop.wake()
        loop.wake()
        began = time.monotonic()
        loop.turn(LONG)
        assert took(began) < LONG / 2
        loop.turn(0.02)
        assert took(began) >= 0.02


class TestWait:
    """Messages."""

    def test_messages_are_returned_in_order(self, loop: EventLoop) -> None:
        inbox = Inbox[str](loop)
        inbox.put("first")
        inbox.put("second")
        assert [loop.wait(inbox, LONG), loop.wait(inbox, LONG)] == ["first", "second"]

    def test_message_from_another_thread_ends_the_wait(self, loop: EventLoop) -> None:
        inbox = Inbox[str](loop)
        threading.Timer(0.01, inbox.put, ["message"]).start()
        began = time.monotonic()
        assert loop.wait(inbox, LONG) == "message"
        assert took(began) < LONG / 2

    def test_message_of_a_callback_ends_the_wait(
        self, loop: EventLoop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        inbox = Inbox[str](loop)

        def take(_: int) -> None:
            loop.ignore(pair[0].fileno())
            inbox.put("message")

        loop.watch(pair[0].fileno(), WRITE, take)
        assert loop.wait(inbox, LONG) == "message"

    @pytest.mark.parametrize("seconds", [0, -3600])
    def test_wait_of_zero_or_less_returns_at_once(self, loop: EventLoop, seconds: float) -> None:
        """A deadline can pass between its computation and the wait."""
        began = time.monotonic()
        assert loop.wait(Inbox[str](loop), seconds) is None
        assert took(began) < LONG / 2

    @pytest.mark.parametrize("seconds", [0, -3600])
    def test_wait_of_zero_or_less_serves_clients_and_returns_a_message(
        self, loop: EventLoop, pair: tuple[socket.socket, socket.socket], seconds: float
    ) -> None:
        called: list[int] = []
        loop.watch(pair[0].fileno(), WRITE, called.append)
        inbox = Inbox[str](loop)
        assert loop.wait(inbox, seconds) is None
        inbox.put("message")
        assert loop.wait(inbox, seconds) == "message"
        assert called == [WRITE, WRITE]

    def test_wait_without_a_message_lasts_for_its_duration_although_it_is_woken(self, loop: EventLoop) -> None:
        inbox: SimpleQueue[str] = SimpleQueue()
        threading.Timer(0.005, loop.wake).start()
        began = time.monotonic()
        assert loop.wait(inbox, 0.03) is None
        assert took(began) >= 0.03

    def test_flood_of_messages_keeps_no_client_and_no_deadline_waiting(
        self, loop: EventLoop, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        """One turn a message, although each message brings the next one."""
        served: list[int] = []
        loop.watch(pair[0].fileno(), WRITE, served.append)
        participant = Deadline(loop.monotonic())
        loop.add_timed(participant)
        inbox = Inbox[int](loop)
        inbox.put(0)
        for number in range(50):
            assert loop.wait(inbox, LONG) == number
            inbox.put(number + 1)
        assert len(served) == 50
        assert len(participant.met) == 1

    def test_messages_of_many_threads_all_arrive(self, loop: EventLoop) -> None:
        inbox = Inbox[int](loop)

        def send() -> None:
            for _ in range(200):
                inbox.put(1)

        threads = [threading.Thread(target=send) for _ in range(4)]
        for thread in threads:
            thread.start()
        assert [loop.wait(inbox, LONG) for _ in range(800)] == [1] * 800
        assert loop.wait(inbox, 0) is None
        for thread in threads:
            thread.join()
