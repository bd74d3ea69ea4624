"""Starts the real program as a user does, and watches it from outside: log lines, probes, exit code.

Rules: output goes to files, so that nothing has to be drained; the port is the one that the log tells; waiting is
polling with a deadline; only what was started here is ever signalled, by its process id.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
POLL_SECONDS = 0.01
PATIENCE_SECONDS = 12.0
"""How long a test waits for what should come at once: a stalled machine is no reason to fail."""


def eventually(condition: Callable[[], T], *, within: float = PATIENCE_SECONDS, what: str = "") -> T:
    """Return what `condition` gives as soon as that is true; AssertionError after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what or condition}; last seen: {value!r}")
        time.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the health listener said, and how long it took to say it."""

    status: int
    body: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A program that ran to its end."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log lines of its standard error."""
        return log_lines(self.err)


def command(*arguments: str, program: Sequence[str] = ()) -> list[str]:
    """Return the command that starts the broker: in this interpreter, or what `program` says."""
    return [*(program or (sys.executable, "-m", "broker")), *arguments]


def _measured(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with what makes coverage measure a program that is started; nothing without coverage."""
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS")}
    return {**environment, **coverage}


def log_lines(text: str) -> list[dict[str, Any]]:
    """Return the JSON log lines in a text; a line that is still being written is left out."""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.startswith("{") and line[-1] == "\n"]


def children_of(pid: int) -> list[int]:
    """Return the ids of a process's children; none where it is gone."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def run_to_end(  # noqa: PLR0913 - what there is to say of a process, all by keyword
    *arguments: str,
    environment: Mapping[str, str],
    directory: Path,
    program: Sequence[str] = (),
    wrapper: Sequence[str] = (),
    stdin: str = "",
    within: float = 30.0,
) -> Ended:
    """Start `broker ARGUMENTS…` in `directory` and wait for its end."""
    began = time.monotonic()
    done = subprocess.run(
        [*wrapper, *command(*arguments, program=program)],
        check=False,
        env=_measured(environment),
        cwd=directory,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=within,
    )
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr, seconds=time.monotonic() - began)


class Program:
    """A running broker. `output` is a path without suffix: standard output and error go to `.out` and `.err`.

    `program` is what to start in place of this interpreter's broker, a container for example.
    """

    def __init__(  # noqa: PLR0913 - likewise
        self,
        *arguments: str,
        environment: Mapping[str, str],
        directory: Path,
        output: Path,
        program: Sequence[str] = (),
        wrapper: Sequence[str] = (),
        umask: int = -1,
    ) -> None:
        self._out, self._err = output.with_suffix(".out"), output.with_suffix(".err")
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [*wrapper, *command(*arguments, program=program)],
                env=_measured(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                umask=umask,
            )

    @property
    def pid(self) -> int:
        """The id of the process that was started, a wrapper where there is one that forks."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def children(self) -> list[int]:
        """Return the ids of its child processes."""
        return children_of(self.pid)

    def output(self) -> str:
        """Return all it has written so far."""
        return self._out.read_text(errors="replace") + self._err.read_text(errors="replace")

    def lines(self, event: str = "", **fields: object) -> list[dict[str, Any]]:
        """Return its log lines so far: those of one event and with these fields, if given."""
        return [
            line
            for line in log_lines(self._err.read_text())
            if event in ("", line["event"]) and all(line.get(name) == value for name, value in fields.items())
        ]

    def wait_for(self, event: str, *, count: int = 1, within: float = PATIENCE_SECONDS, **fields: object) -> Any:  # noqa: ANN401 - a JSON object
        """Return the `count`-th log line of this event and with these fields, once it is there."""

        def found() -> bool:
            assert self.is_running or len(self.lines(event, **fields)) >= count, f"it ended: {self.output()}"
            return len(self.lines(event, **fields)) >= count

        eventually(found, within=within, what=f"line {count} of {event} {fields} in {self.output()}")
        return self.lines(event, **fields)[count - 1]

    def get(self, path: str) -> Answer:
        """Ask the health listener."""
        address = self.wait_for("listening", listener="health")
        began = time.monotonic()
        connection = http.client.HTTPConnection(address["host"], address["port"], timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read().decode()
        finally:
            connection.close()
        return Answer(status=response.status, body=body, seconds=time.monotonic() - began)

    def status(self, profile: str = "default") -> dict[str, Any]:
        """Return what `/status` says of one profile."""
        profiles: list[dict[str, Any]] = json.loads(self.get("/status").body)["profiles"]
        return next(each for each in profiles if each["profile"] == profile)

    def signal(self, number: signal.Signals, pid: int | None = None) -> None:
        """Send a signal to it, or to one of its children."""
        assert pid is None or pid in self.children()
        os.kill(pid or self.pid, number)

    def refresh(self) -> None:
        """Ask for a refresh, as an operator does."""
        self.signal(signal.SIGHUP)

    def wait(self, within: float = PATIENCE_SECONDS) -> int:
        """Wait for its end. Return the exit code, negative for the signal that ended it."""
        return self._process.wait(timeout=within)

    def kill(self) -> None:
        """End it without warning, if it still runs."""
        if self.is_running:
            self._process.kill()
        self._process.wait()
