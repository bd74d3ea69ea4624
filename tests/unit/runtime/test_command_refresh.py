"""What `exec --on-refresh` does to a real command: signals, restarts, the grace period, ends by itself."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from broker.core.events import Published, Turned
from broker.loop.event_loop import EventLoop
from broker.runtime import logs
from broker.runtime.command_refresh import RESTART_GRACE_SECONDS, CommandRefresh
from broker.runtime.process_supervisor import Child
from tests.support.fakes import EPOCH, FakeClock, make_generation
from tests.support.program import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

COMMAND = """
import os, signal, sys, time
file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
signal.signal(signal.SIGHUP, lambda *_: os.write(file, b"HUP\\n"))
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(file, b"started\\n")
while sys.argv[2] != "ends":
    time.sleep(10)
"""


class Scene:
    """A command with its supervision, on a loop whose clock a test can advance."""

    def __init__(self, record: Path, reaction: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead, self.ended, self.starts = 0.0, 0, 0
        self.start_code: int | None = None
        self.lines: list[str] = []
        monkeypatch.setattr(logs, "log_message", lambda _, event, __, **___: self.lines.append(event))
        self._record, self._kind, self._clock = record, kind, FakeClock()
        self.loop = EventLoop(lambda: time.monotonic() + self.ahead)
        self.child = Child(self._end, on_stop=self.loop.wake)
        self.refresh = CommandRefresh(self.child, self.loop, profile="default", reaction=reaction, start=self._start)

    def _end(self) -> None:
        self.ended += 1

    def _start(self) -> int | None:
        if self.start_code is None:
            self.starts += 1
            self.child.start([sys.executable, "-c", COMMAND, str(self._record), self._kind], os.environ, mask=())
        return self.start_code

    def begin(self) -> None:
        """Start the command with the first generation."""
        self.publish(1)
        self.refresh.start()
        self.wait_for("started")

    def publish(self, number: int, profile: str = "default") -> None:
        generation = make_generation(profile, number=number)
        self.refresh.record(Published(at=self._clock.read(), generation=generation, refresh_at=EPOCH))

    def words(self) -> list[str]:
        return self._record.read_text().split() if self._record.exists() else []

    def wait_for(self, word: str, count: int = 1) -> None:
        def has_word() -> bool:
            self.turn()
            return self.words().count(word) >= count

        eventually(has_word, what=f"{count} {word}")

    def turn(self) -> bool:
        """Serve once. Return whether the command has ended."""
        self.reap()
        self.loop.turn(0.01)
        return self.child.exit_code is not None

    def reap(self) -> bool:
        """Return whether the command has ended or stopped."""
        self.child.reap_children()
        return self.child.exit_code is not None or self.child.is_stopped

    def close(self) -> None:
        if self.child.exit_code is None and self.child.send(signal.SIGKILL):
            eventually(self.reap, what="the end")
        self.loop.close()


@pytest.fixture
def new_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scene]]:
    scenes: list[Scene] = []

    def make(reaction: str, kind: str = "obedient") -> Scene:
        scenes.append(Scene(tmp_path / "record", reaction, kind, monkeypatch))
        return scenes[-1]

    yield make
    for scene in scenes:
        scene.close()


def test_signal_is_sent_once_for_each_later_generation_of_the_profile(new_scene: Callable[..., Scene]) -> None:
    scene = new_scene("HUP")
    scene.begin()
    scene.publish(1)  # its files were lost
    scene.publish(2, profile="other")
    scene.refresh.record(Turned(at=FakeClock().read()))
    assert scene.words() == ["started"]
    for number in (2, 3):
        scene.publish(number)
        scene.wait_for("HUP", number - 1)
    assert scene.words() == ["started", "HUP", "HUP"]
    assert scene.lines == ["command_signaled"] * 2


def test_no_reaction_leaves_the_command_alone(new_scene: Callable[..., Scene]) -> None:
    scene = new_scene("")
    scene.begin()
    scene.publish(2)
    assert scene.lines == []


def test_restart_starts_the_command_again_with_the_newest_generation(new_scene: Callable[..., Scene]) -> None:
    scene = new_scene("restart")
    scene.begin()
    for number in (2, 3):
        scene.publish(number)
        scene.wait_for("started", number)
    assert scene.lines == ["command_stopping", "command_restarted"] * 2
    assert (scene.starts, scene.ended, scene.child.exit_code) == (3, 0, None)


def test_command_that_does_not_stop_is_killed_after_the_grace_period(new_scene: Callable[..., Scene]) -> None:
    scene = new_scene("restart", "stubborn")
    scene.begin()
    scene.publish(2)
    scene.publish(3)  # it is stopping already
    scene.ahead += RESTART_GRACE_SECONDS - 5
    for _ in range(20):
        scene.turn()
    assert scene.words() == ["started"]
    scene.ahead += 5
    scene.wait_for("started", 2)
    assert scene.lines == ["command_stopping", "command_stopping", "command_restarted"]
    assert scene.refresh.get_deadline() is None
    scene.publish(3)
    assert scene.lines[-1] == "command_restarted", "it was started with generation 3"


def test_command_that_has_ended_is_neither_signaled_nor_restarted(new_scene: Callable[..., Scene]) -> None:
    for reaction in ("HUP", "restart"):
        scene = new_scene(reaction, "ends")
        scene.begin()
        eventually(lambda scene=scene: not scene.child.send(0), what="the end")  # type: ignore[misc]
        scene.publish(2)
        eventually(scene.turn, what="the end")
        scene.publish(3)
        assert (scene.child.exit_code, scene.ended, scene.starts, scene.lines) == (0, 1, 1, [])


def test_forwarded_signal_cancels_the_restart(new_scene: Callable[..., Scene]) -> None:
    scene = new_scene("restart", "stubborn")
    scene.begin()
    scene.publish(2)
    scene.child.handle_signal(signal.SIGTERM, from_kernel=False)
    scene.ahead += RESTART_GRACE_SECONDS
    scene.turn()
    assert scene.lines == ["command_stopping"], "it is not killed"
    scene.child.send(signal.SIGKILL)
    eventually(scene.turn, what="the end")
    assert (scene.child.exit_code, scene.starts) == (128 + signal.SIGKILL, 1)


def test_signal_between_end_and_start_prevents_the_start(new_scene: Callable[..., Scene]) -> None:
    scene = new_scene("restart")
    scene.begin()
    scene.publish(2)
    eventually(scene.reap, what="the stop")
    scene.child.handle_signal(signal.SIGTERM, from_kernel=False)
    scene.turn()
    assert (scene.child.exit_code, scene.starts, scene.ended) == (128 + signal.SIGTERM, 1, 1)
    scene.child.give_up(127)
    assert scene.child.exit_code == 128 + signal.SIGTERM


def test_command_that_cannot_be_started_again_ends_with_its_code(new_scene: Callable[..., Scene]) -> None:
    scene = new_scene("restart")
    scene.begin()
    scene.start_code = 127
    scene.publish(2)
    eventually(scene.turn, what="the end")
    assert (scene.child.exit_code, scene.ended) == (127, 1)
