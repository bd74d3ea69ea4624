"""The stage of a demo: the box, the real broker and the app, started in this order and ended in the reverse one.

Rules: broker and app are processes of their own with clean environments, as users start them; the app starts once the
broker's /readyz says so, as a native sidecar's startup probe has it; STS's record is read before any line that came
after it, so that the story is told in order.
It refuses to know how the story is shown, and what counts as good.
"""

from __future__ import annotations

import contextlib
import http.client
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from math import ceil
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Self, TypeAlias

from sandbox.aws.calls import fingerprint
from sandbox.demo.program import Ended, Program, Said
from sandbox.demo.story import Actor, Story
from sandbox.simulator import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.cluster.kubelet import ProjectedToken, Rotation

_LOOK_SECONDS = 0.1
_START_OF_THE_APP = timedelta(seconds=15)
_READY_TIMEOUT_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long things live, so that a demo of some seconds shows several of each."""

    session_lifetime: timedelta
    token_lifetime: timedelta

    @classmethod
    def of(cls, seconds: float) -> Self:
        """Choose for a demo of this length: 20 s and 25 s from 25 s on, 8 s and 10 s for 10 s, never under 5 s."""
        session = min(20, max(5, round(seconds * 0.8)))
        return cls(session_lifetime=timedelta(seconds=session), token_lifetime=timedelta(seconds=ceil(session * 1.25)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The kubelet has put a token in place."""

    rotation: Rotation
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted:
    """Somebody wants the demo to end."""

    signal_name: str


Fact: TypeAlias = Rotated | Interrupted | Said | Ended


class Stage:
    """Everything that plays a part, running until `close()`; `story` is what it has come to.

    `prepare` is called with the box before anything uses it; `directory` exists and is the stage's own.
    """

    def __init__(
        self, *, directory: Path, pace: Pace, inbox: SimpleQueue[Fact], prepare: Callable[[Sandbox], None]
    ) -> None:
        self._directory = directory
        self._published = directory / "published"
        self._published.mkdir()
        self._inbox = inbox
        self._programs: list[Program] = []
        self._calls_seen = 0
        self._is_over = False
        with contextlib.ExitStack() as started:
            self._box = started.enter_context(Sandbox(session_lifetime=pace.session_lifetime))
            prepare(self._box)
            self.story = Story(begun_at=datetime.now(UTC), published=self._published / "default.json")
            lives = f"tokens live {_s(pace.token_lifetime)}, credentials {_s(pace.session_lifetime)}"
            self.story.add(Actor.DEMO, f"{lives}; in a cluster an hour each")
            self._token = started.enter_context(self._project(pace.token_lifetime))
            self._token.start()
            self._start("broker", ("broker", "run"), self._broker_environment())
            self._started = started.pop_all()

    def play(self, seconds: float, show: Callable[[Story], None]) -> None:
        """Let it happen until the time is up, somebody interrupts, or a program dies.

        The time counts from the app's first call, so that a slow start takes nothing from what there is to see.
        """
        while not self._is_over and datetime.now(UTC) < self._end(timedelta(seconds=seconds)):
            self._take_next()
            self._start_app_once_ready()
            show(self.story)
        if not self._is_over:
            self.story.add(Actor.DEMO, "the time is up: ending the app and the broker")
            show(self.story)

    def end_programs(self) -> None:
        """End the app, then the broker, and take what they still had to say; their ends are no news."""
        while self._programs:
            self._programs.pop().stop()
        while not self._inbox.empty():
            fact = self._inbox.get()
            self._look_at_sts()
            if not isinstance(fact, Ended):
                self._take(fact)
        self._look_at_sts()

    def close(self) -> None:
        """End whatever still runs."""
        for program in reversed(self._programs):
            program.stop()
        self._started.close()

    def _end(self, duration: timedelta) -> datetime:
        if self.story.calls:
            return self.story.calls[0].at + duration
        is_app_starting = len(self._programs) > 1
        return self.story.begun_at + duration + (_START_OF_THE_APP if is_app_starting else timedelta(0))

    def _take_next(self) -> None:
        try:
            fact = self._inbox.get(timeout=_LOOK_SECONDS)
        except Empty:
            fact = None
        self._look_at_sts()
        if fact is not None:
            self._take(fact)

    def _take(self, fact: Fact) -> None:
        match fact:
            case Rotated(rotation=rotation, fingerprint=name):
                self.story.rotated(rotation, name)
            case Said(program="broker", line=line):
                self.story.logged(line)
            case Said(line=line):
                self.story.reported(line)
            case Ended(program=program, code=code):
                self.story.died(Actor(program), code)
                self._is_over = True
            case Interrupted(signal_name=name):
                self.story.add(Actor.DEMO, f"{name}: ending the app and the broker")
                self._is_over = True

    def _look_at_sts(self) -> None:
        calls = self._box.sts.calls
        for call in calls[self._calls_seen :]:
            self.story.asked(call)
        self._calls_seen = len(calls)

    def _start_app_once_ready(self) -> None:
        port = self.story.health_port
        if len(self._programs) == 1 and self.story.generations and port is not None and _is_ready(port):
            self._start("app", ("sandbox.demo.caller",), self._app_environment())
            self.story.add(Actor.APP, "the broker is ready: started a boto3 program, knowing only AWS_CONFIG_FILE")

    def _start(self, name: str, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self._programs.append(Program(name, arguments, environment=environment, tell=self._inbox.put))

    def _project(self, lifetime: timedelta) -> ProjectedToken:
        directory = self._directory / "token"

        def tell(rotation: Rotation) -> None:
            name = fingerprint((directory / "token").read_text())
            self._inbox.put(Rotated(rotation=rotation, fingerprint=name))

        return self._box.projected_token(directory, lifetime=lifetime, on_rotation=tell)

    def _broker_environment(self) -> dict[str, str]:
        return {
            **self._box.environment(self._token),
            "BROKER_PUBLISH_DIRECTORY": str(self._published),
            "BROKER_HEALTH_ADDRESS": "127.0.0.1:0",
            "BROKER_ENDPOINT_ADDRESS": "127.0.0.1:0",
            "BROKER_MINIMUM_INTERVAL_SECONDS": "1",
            "BROKER_LOG_FORMAT": "json",
        }

    def _app_environment(self) -> dict[str, str]:
        """Say where the config file is and where STS is; the rest keeps boto3 from looking into the host's home."""
        return {
            "AWS_CONFIG_FILE": str(self._published / "config"),
            "AWS_ENDPOINT_URL_STS": self._box.sts.url,
            "AWS_SHARED_CREDENTIALS_FILE": str(self._directory / "there-is-none"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(self._directory),
            "PATH": os.environ.get("PATH", os.defpath),
        }


def _s(duration: timedelta) -> str:
    return f"{duration.total_seconds():.0f} s"


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_READY_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()
