"""Runs a demo: starts the simulator, the real broker and the app in this order, and ends them in reverse order.

Broker and app are processes with clean environments, as users start them. The app starts when the broker's /readyz
succeeds, as with the startup probe of a native sidecar. The record of STS is read before each line of output, so that
events are in order. This module does not know how progress is shown, or what a good demo is.
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
from sandbox.demo.program import OutputLine, Program, ProgramExit
from sandbox.demo.progress import Actor, Progress
from sandbox.simulator import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.cluster.kubelet import ProjectedToken, Rotation

_POLL_SECONDS = 0.1
_APP_START_LIMIT = timedelta(seconds=15)
_READY_TIMEOUT_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The lifetimes of tokens and sessions. They are short, so that a demo shows several of each."""

    session_lifetime: timedelta
    token_lifetime: timedelta

    @classmethod
    def of(cls, seconds: float) -> Self:
        """Return the lifetimes for a demo of this length: sessions of 5 to 20 s, and tokens a quarter longer."""
        session = min(20, max(5, round(seconds * 0.8)))
        return cls(session_lifetime=timedelta(seconds=session), token_lifetime=timedelta(seconds=ceil(session * 1.25)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRotated:
    """The kubelet has written a token."""

    rotation: Rotation
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalReceived:
    """A signal asks the demo to end."""

    signal_name: str


Message: TypeAlias = TokenRotated | SignalReceived | OutputLine | ProgramExit


class DemoRun:
    """The simulator and the started programs, until `close()`. `progress` records what has happened.

    `directory` exists and belongs to this run. `prepare` is called with the simulator before anything uses it.
    """

    def __init__(
        self, *, directory: Path, pace: Pace, inbox: SimpleQueue[Message], prepare: Callable[[Sandbox], None]
    ) -> None:
        self._directory = directory
        self._published = directory / "published"
        self._published.mkdir()
        self._inbox = inbox
        self._programs: list[Program] = []
        self._calls_seen = 0
        self._is_over = False
        with contextlib.ExitStack() as started:
            self._simulator = started.enter_context(Sandbox(session_lifetime=pace.session_lifetime))
            prepare(self._simulator)
            self.progress = Progress(began_at=datetime.now(UTC), published=self._published / "default.json")
            lifetimes = f"{_seconds(pace.token_lifetime)} for tokens, {_seconds(pace.session_lifetime)} for credentials"
            self.progress.add(Actor.DEMO, f"short lifetimes: {lifetimes}; in a cluster, typically one hour")
            self._token = started.enter_context(self._project_token(pace.token_lifetime))
            self._token.start()
            self._start("broker", ("broker", "run"), self._broker_environment())
            self._started = started.pop_all()

    def run(self, seconds: float, show: Callable[[Progress], None]) -> None:
        """Process messages until the time is up, a signal arrives, or a program ends.

        The time starts with the app's first call, so that a slow start does not shorten the demo.
        """
        while not self._is_over and datetime.now(UTC) < self._end(timedelta(seconds=seconds)):
            self._receive()
            self._start_app_when_ready()
            show(self.progress)
        if not self._is_over:
            self.progress.add(Actor.DEMO, "time is up: stopping the app and the broker")
            show(self.progress)

    def end_programs(self) -> None:
        """End the app, then the broker, and process their remaining output."""
        while self._programs:
            self._programs.pop().stop()
        while not self._inbox.empty():
            message = self._inbox.get()
            self._read_sts_record()
            if not isinstance(message, ProgramExit):
                self._handle(message)
        self._read_sts_record()

    def close(self) -> None:
        """End every program that still runs, and the simulator."""
        for program in reversed(self._programs):
            program.stop()
        self._started.close()

    def _end(self, duration: timedelta) -> datetime:
        if self.progress.calls:
            return self.progress.calls[0].at + duration
        is_app_starting = len(self._programs) > 1
        return self.progress.began_at + duration + (_APP_START_LIMIT if is_app_starting else timedelta(0))

    def _receive(self) -> None:
        try:
            message = self._inbox.get(timeout=_POLL_SECONDS)
        except Empty:
            message = None
        self._read_sts_record()
        if message is not None:
            self._handle(message)

    def _handle(self, message: Message) -> None:
        match message:
            case TokenRotated(rotation=rotation, fingerprint=name):
                self.progress.add_rotation(rotation, name)
            case OutputLine(program="broker", line=line):
                self.progress.add_broker_line(line)
            case OutputLine(line=line):
                self.progress.add_app_line(line)
            case ProgramExit(program=program, code=code):
                self.progress.add_exit(Actor(program), code)
                self._is_over = True
            case SignalReceived(signal_name=name):
                self.progress.add(Actor.DEMO, f"{name}: stopping the app and the broker")
                self._is_over = True

    def _read_sts_record(self) -> None:
        calls = self._simulator.sts.calls
        for call in calls[self._calls_seen :]:
            self.progress.add_sts_call(call)
        self._calls_seen = len(calls)

    def _start_app_when_ready(self) -> None:
        port = self.progress.health_port
        if len(self._programs) == 1 and self.progress.generations and port is not None and _is_ready(port):
            self._start("app", ("sandbox.demo.caller",), self._app_environment())
            self.progress.add(Actor.APP, "the broker is ready: started a boto3 app with AWS_CONFIG_FILE")

    def _start(self, name: str, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
        self._programs.append(Program(name, arguments, environment=environment, report=self._inbox.put))

    def _project_token(self, lifetime: timedelta) -> ProjectedToken:
        directory = self._directory / "token"

        def report(rotation: Rotation) -> None:
            name = fingerprint((directory / "token").read_text())
            self._inbox.put(TokenRotated(rotation=rotation, fingerprint=name))

        return self._simulator.projected_token(directory, lifetime=lifetime, on_rotation=report)

    def _broker_environment(self) -> dict[str, str]:
        return {
            **self._simulator.environment(self._token),
            "BROKER_PUBLISH_DIRECTORY": str(self._published),
            "BROKER_HEALTH_ADDRESS": "127.0.0.1:0",
            "BROKER_ENDPOINT_ADDRESS": "127.0.0.1:0",
            "BROKER_MINIMUM_INTERVAL_SECONDS": "1",
            "BROKER_LOG_FORMAT": "json",
        }

    def _app_environment(self) -> dict[str, str]:
        """Return the config file and the STS endpoint. The other variables keep boto3 from the host's settings."""
        return {
            "AWS_CONFIG_FILE": str(self._published / "config"),
            "AWS_ENDPOINT_URL_STS": self._simulator.sts.url,
            "AWS_SHARED_CREDENTIALS_FILE": str(self._directory / "no-such-file"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "HOME": str(self._directory),
            "PATH": os.environ.get("PATH", os.defpath),
        }


def _seconds(duration: timedelta) -> str:
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
