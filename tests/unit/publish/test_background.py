"""Publishing on a thread of its own: the main loop never waits for a volume."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, NoReturn

import pytest

from broker.core.errors import PublishError
from broker.publish.background import BackgroundSink
from tests.support.fakes import make_generation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broker.core.model import Generation

LONG = 10.0
"""Longer than any test may take, in seconds."""
NOTHING: frozenset[str] = frozenset()


class Volume:
    """A sink on a volume that hangs while `answers` is not set."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()
        self.error: Exception | None = None
        self.published: list[Sequence[Generation]] = []
        self.absent: frozenset[str] = NOTHING
        self.looks = 0

    def publish(self, generations: Sequence[Generation]) -> None:
        """Publish, when the volume answers."""
        assert self.answers.wait(LONG)
        if self.error is not None:
            raise self.error
        self.published.append(generations)
        self.absent = NOTHING

    def missing(self) -> frozenset[str]:
        """Look, when the volume answers."""
        assert self.answers.wait(LONG)
        self.looks += 1
        return self.absent


class Publishing:
    """A BackgroundSink on a volume, and what it reports."""

    def __init__(self) -> None:
        self.volume = Volume()
        self.wakes = 0
        self.ends: SimpleQueue[Exception | None] = SimpleQueue()
        self.sink = BackgroundSink(self.volume, name="files", wake=self._wake)

    def publish(self, *generations: Generation) -> Exception | None:
        """Publish, and return the error."""
        self.sink.begin(generations, self.ends.put)
        return self.ends.get(timeout=LONG)

    def look(self) -> frozenset[str]:
        """Return what is missing, after a look that began now."""
        self.sink.missing()
        self.settle()
        return self.sink.missing()

    def settle(self) -> None:
        """Wait until the thread has done all it was given."""
        done = threading.Event()
        self.sink._run(done.set)
        assert done.wait(LONG)

    def _wake(self) -> None:
        self.wakes += 1


@pytest.fixture
def publishing() -> Publishing:
    return Publishing()


def test_publish_reports_its_end(publishing: Publishing) -> None:
    generation = make_generation()
    assert publishing.publish(generation) is None
    assert publishing.volume.published == [(generation,)]


def test_publish_reports_its_error(publishing: Publishing) -> None:
    publishing.volume.error = PublishError("Full.", sink="files")
    assert publishing.publish(make_generation()) is publishing.volume.error
    publishing.volume.error = None
    assert publishing.publish(make_generation()) is None


def test_volume_that_hangs_blocks_neither_publish_nor_look(publishing: Publishing) -> None:
    publishing.volume.answers.clear()
    publishing.sink.begin([make_generation()], publishing.ends.put)
    for _ in range(100):
        assert publishing.sink.missing() == NOTHING
    assert publishing.ends.empty()
    publishing.volume.answers.set()
    assert publishing.ends.get(timeout=LONG) is None
    publishing.settle()
    assert publishing.volume.looks == 2, "one after the publish, and one for all that was asked meanwhile"


def test_look_that_hangs_is_not_repeated_and_delays_the_publish_alone(publishing: Publishing) -> None:
    publishing.volume.answers.clear()
    for _ in range(100):
        publishing.sink.missing()
    publishing.sink.begin([make_generation()], publishing.ends.put)
    publishing.volume.answers.set()
    assert publishing.ends.get(timeout=LONG) is None
    assert publishing.volume.looks == 2


def test_profile_that_is_newly_missing_wakes_the_loop_once(publishing: Publishing) -> None:
    publishing.volume.absent = frozenset({"a"})
    assert publishing.look() == {"a"}
    assert publishing.wakes == 1
    assert publishing.look() == {"a"}
    assert publishing.wakes == 1
    publishing.volume.absent = frozenset({"a", "b"})
    publishing.look()
    assert publishing.wakes == 2
    publishing.volume.absent = frozenset({"b"})
    assert publishing.look() == {"b"}
    assert publishing.wakes == 2, "a profile that returns needs nothing"


def test_what_is_missing_is_known_when_a_publish_has_ended(publishing: Publishing) -> None:
    """Otherwise the loop would take what it has just published for lost."""
    publishing.volume.absent = frozenset({"default"})
    assert publishing.look() == {"default"}
    found: list[frozenset[str]] = []
    publishing.sink._is_looking = True  # nothing else looks
    publishing.sink.begin([make_generation()], lambda _: found.append(publishing.sink.missing()))
    publishing.settle()
    assert found == [NOTHING]


def test_look_goes_on_although_the_thread_was_quicker_than_the_loop(publishing: Publishing) -> None:
    """The system may run the thread to the end of the look before `missing` goes on."""
    run = publishing.sink._run

    def run_and_settle(task: object) -> bool:
        is_given = run(task)  # type: ignore[arg-type]  # it is what `missing` gives
        done = threading.Event()
        run(done.set)
        assert done.wait(LONG)
        return is_given

    publishing.sink._run = run_and_settle  # type: ignore[method-assign]
    for looks in range(1, 4):
        publishing.sink.missing()
        assert publishing.volume.looks == looks


def test_system_without_threads_is_a_failed_publish_until_it_has_some(
    publishing: Publishing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> NoReturn:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        assert publishing.sink.missing() == NOTHING
        error = publishing.publish(make_generation())
    assert isinstance(error, PublishError)
    assert "start a thread" in error.message
    assert "process limit" in error.remedy
    assert error.sink == "files"
    publishing.volume.absent = frozenset({"default"})
    assert publishing.look() == {"default"}
    assert publishing.publish(make_generation()) is None
