"""Starts the real program as a user does, and observes its log lines, probes and exit code.

Output goes to files, so that no pipe has to be read. Ports are read from the log. Waiting is polling with a deadline.
Signals go only to processes that were started here, by their process ids.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")
POLL_SECONDS = 0.01
PATIENCE_SECONDS = 12.0
"""How long a test waits for an immediate effect, so that it passes on a slow machine."""


def eventually(condition: Callable[[], T], *, within: float = PATIENCE_SECONDS, what: str = "") -> T:
    """Return the value of `condition` as soon as it is true. Raises AssertionError after `within` seconds."""
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
    """A response of the health listener, and the seconds until it arrived."""

    status: int
    body: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The result of a program that has ended."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The log lines of its standard error."""
        return log_lines(self.err)


def command(*arguments: str, program: Sequence[str] = ()) -> list[str]:
    """Return the command that starts the broker: with this interpreter, or with `program`."""
    return [*(program or (sys.executable, "-m", "broker")), *arguments]


def _with_coverage(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment, and the variables that make coverage measure the program if it measures this test."""
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_PROCESS")}
    return {**environment, **coverage}


def leave_out_coverage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start programs of this test without the variables that make coverage measure them."""
    for name in [name for name in os.environ if name.startswith("COVERAGE_PROCESS")]:
        monkeypatch.delenv(name)


def log_lines(text: str) -> list[dict[str, Any]]:
    """Return the JSON log lines in a text, without a last line that is incomplete."""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.startswith("{") and line[-1] == "\n"]


def children_of(pid: int) -> list[int]:
    """Return the process ids of a process's children; an empty list if it has ended."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def read_proc_file(pid: int, name: str) -> str:
    """Return `cmdline` or `environ` of a process as lines; "" if the kernel hides it, as it hides the broker's environ.

    Only a process with CAP_SYS_PTRACE, such as root's, can read that.
    """
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().replace(b"\0", b"\n").decode(errors="replace")
    except PermissionError:
        assert name == "environ"
        return ""


def run_to_end(  # noqa: PLR0913 - the properties of a process, all by keyword
    *arguments: str,
    environment: Mapping[str, str],
    directory: Path,
    program: Sequence[str] = (),
    wrapper: Sequence[str] = (),
    stdin: str = "",
    within: float = 30.0,
) -> Ended:
    """Run `sts-broker ARGUMENTS…` in `directory` and wait for its end."""
    began = time.monotonic()
    done = subprocess.run(
        [*wrapper, *command(*arguments, program=program)],
        check=False,
        env=_with_coverage(environment),
        cwd=directory,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=within,
    )
    return Ended(code=done.returncode, out=done.stdout, err=done.stderr, seconds=time.monotonic() - began)


def require_wrapper(wrapper: Sequence[str], *, untested: str) -> tuple[str, ...]:
    """Return the command if this user can run programs with it. Otherwise skip the test, and say what is `untested`."""
    try:
        probe = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"this machine has no {wrapper[0]}(1): {untested} is not tested")
    if probe.returncode != 0:
        pytest.skip(f"this user cannot do that here: {untested} is not tested ({probe.stderr.strip()})")
    return tuple(wrapper)


class Program:
    """A running broker. `output` is a path without a suffix: standard output and error go to `.out` and `.err`.

    `program` replaces the command of this interpreter's broker, for example with a container.
    """

    def __init__(  # noqa: PLR0913 - as above
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
                env=_with_coverage(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                umask=umask,
            )

    @property
    def pid(self) -> int:
        """The id of the started process. If a wrapper forks, it is the wrapper's."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def children(self) -> list[int]:
        """Return the process ids of the children."""
        return children_of(self.pid)

    def metric(self, name: str) -> float:
        """Return the value of a metric without labels, which the broker reports about itself."""
        found = re.search(rf"^{name} (\S+)$", self.get("/metrics").body, re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def threads(self) -> list[Path]:
        """Return the directories of the threads in /proc."""
        return list(Path(f"/proc/{self.pid}/task").iterdir())

    def output(self) -> str:
        """Return all output so far."""
        return self._out.read_text(errors="replace") + self._err.read_text(errors="replace")

    def lines(self, event: str = "", **fields: object) -> list[dict[str, Any]]:
        """Return the log lines so far, filtered by event and fields if given."""
        return [
            line
            for line in log_lines(self._err.read_text())
            if event in ("", line["event"]) and all(line.get(name) == value for name, value in fields.items())
        ]

    def wait_for(self, event: str, *, count: int = 1, within: float = PATIENCE_SECONDS, **fields: object) -> Any:  # noqa: ANN401 - a JSON object
        """Wait for the `count`-th log line with this event and these fields, and return it."""

        def has_line() -> bool:
            is_there = len(self.lines(event, **fields)) >= count
            assert is_there or self.is_running, f"the program ended: {self.output()}"
            return is_there

        eventually(has_line, within=within, what=f"line {count} of {event} {fields} in {self.output()}")
        return self.lines(event, **fields)[count - 1]

    def get(self, path: str) -> Answer:
        """Send a GET request to the health listener."""
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
        """Return a profile's part of `/status`."""
        profiles: list[dict[str, Any]] = json.loads(self.get("/status").body)["profiles"]
        return next(each for each in profiles if each["profile"] == profile)

    def signal(self, number: signal.Signals, pid: int | None = None) -> None:
        """Send a signal to the process, or to one of its children."""
        assert pid is None or pid in self.children()
        os.kill(pid or self.pid, number)

    def refresh(self) -> None:
        """Request a refresh with SIGHUP."""
        self.signal(signal.SIGHUP)

    def wait(self, within: float = PATIENCE_SECONDS) -> int:
        """Wait for the process to end. Return the exit code; a negative one is the signal that ended it."""
        return self._process.wait(timeout=within)

    def kill(self) -> None:
        """Kill the process if it still runs."""
        if self.is_running:
            self._process.kill()
        self._process.wait()
