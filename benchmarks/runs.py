"""Starts the measured programs and the servers that they need, and removes everything afterwards.

A `Workplace` is a memory-backed directory with a token, started processes and their logs. Processes get only the given
environment, so that settings of the developer's shell have no influence.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from benchmarks.bound_token import make_token
from benchmarks.process_tree import kill_tree, tree_of
from benchmarks.readings import replaced_at_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
RUNTIME_PYTHON = ROOT / ".venv-runtime" / "bin" / "python"
"""The environment of the sidecar's image: the locked dependencies, with botocore's data reduced to STS."""
PIP_PYTHON = ROOT / ".venv-pip" / "bin" / "python"
"""The environment after pip install: the same dependencies, with all of botocore's data."""
_MEMORY_BACKED = Path("/dev/shm")  # noqa: S108 - a new directory is created in it
_PATIENCE_SECONDS = 60.0
_REST_SECONDS = 15.0
"""Workers end after some idle seconds. A broker whose processes are the same for this time is at rest."""


class BenchmarkError(Exception):
    """A figure could not be measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A started process and the file with its standard error."""

    process: subprocess.Popen[bytes]
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server of credentials on loopback: its process id, its port, and the file with the token that it requires."""

    pid: int
    port: int
    token: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker(Running):
    """A started `sts-broker run`. `names` are its profiles."""

    directory: Path
    names: tuple[str, ...]

    def wait_for_rest(self) -> frozenset[int]:
        """Wait until no process of the broker starts or ends for some time. Return the ids of its processes."""
        found, since = frozenset(tree_of(self.process.pid)), time.monotonic()
        deadline = since + _PATIENCE_SECONDS
        while time.monotonic() - since < _REST_SECONDS:
            _check(self, deadline)
            time.sleep(0.05)
            if (now := frozenset(tree_of(self.process.pid))) != found:
                found, since = now, time.monotonic()
        return found

    def wait_for_processes(self, resting: frozenset[int]) -> None:
        """Wait until the broker has these processes again, and no others."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while frozenset(tree_of(self.process.pid)) != resting:
            _check(self, deadline)
            time.sleep(0.02)

    def served(self) -> Served:
        """Return its credentials endpoint. Raises BenchmarkError."""
        port = self.port("credentials")
        return Served(pid=self.process.pid, port=port, token=self.directory / "endpoint-token")

    def wait_for_all_since(self, began_seconds: float) -> float:
        """Wait until every profile's file is newer than that epoch time. Return when the last one was renamed."""
        left = {self.directory / f"{name}.json" for name in self.names}
        newest = 0.0
        deadline = time.monotonic() + _PATIENCE_SECONDS
        pause = 0.001 if len(left) == 1 else 0.02  # polling many files must not affect the figure
        while left:
            for path in tuple(left):
                replaced = replaced_at_seconds(path)
                if replaced < began_seconds:
                    break  # not all files are new yet
                newest = max(newest, replaced)
                left.remove(path)
            _check(self, deadline)
            time.sleep(pause)
        return newest

    def refresh(self) -> float:
        """Request a refresh of every profile. Return the seconds until the last file was renamed.

        A file was replaced when its inode is another one. Its time alone would not tell: the kernel's clock for files
        may be behind by a whole tick, which is longer than a refresh takes.
        """
        before = {path: path.stat().st_ino for path in (self.directory / f"{name}.json" for name in self.names)}
        time.sleep(0.01)  # longer than the kernel's tick, so that existing files are older than the refresh
        began = time.time()
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while any(path.stat().st_ino == inode for path, inode in before.items()):
            _check(self, deadline)
            time.sleep(0.001 if len(before) == 1 else 0.02)  # polling many files must not affect the figure
        return max(replaced_at_seconds(path) for path in before) - began

    def get(self, path: str) -> bytes:
        """Return the response of the health listener, on a new connection, as for a kubelet."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port(), timeout=10)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()

    def port(self, listener: str = "health") -> int:
        """Return the port of one of its listeners. Raises BenchmarkError."""
        for line in self.log.read_text().splitlines():
            if '"listening"' in line and f'"listener": "{listener}"' in line:
                return int(json.loads(line)["port"])
        raise BenchmarkError(f"The {listener} listener does not listen. Log: {self.log.read_text()[-500:]}")


@dataclass(slots=True)
class Workplace:
    """A directory with a token, and the processes started in it. A context manager that removes all of it."""

    path: Path = field(init=False)
    _started: list[subprocess.Popen[bytes]] = field(init=False, default_factory=list)
    _count: int = field(init=False, default=0)

    def __enter__(self) -> Self:
        """Create the directory and the first token."""
        parent = _MEMORY_BACKED if _MEMORY_BACKED.is_dir() else None
        self.path = Path(tempfile.mkdtemp(prefix="broker-bench-", dir=parent))
        self.rotate_token()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every process and remove the directory."""
        for process in self._started:
            end(process)
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def token_file(self) -> Path:
        """The path of the bound token."""
        return self.path / "token"

    def rotate_token(self) -> None:
        """Replace the token by a rename, as the kubelet does."""
        new = self.path / "token.new"
        new.write_text(make_token())
        new.rename(self.token_file)

    def start_sts(self, *options: str) -> str:
        """Start a minimal STS. Return its URL."""
        command = [sys.executable, "-m", "benchmarks.lean_sts", *options]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        self._started.append(process)
        assert process.stdout is not None
        return f"http://127.0.0.1:{int(process.stdout.readline())}"

    def start_server(self, command: Sequence[str], token: Path) -> Served:
        """Start a server that prints its port and requires the token of this file."""
        # One core is used, so one thread of Go's scheduler is the best for its figures.
        environment = {"GOMAXPROCS": "1"}
        process = subprocess.Popen(command, cwd=self.path, env=environment, stdout=subprocess.PIPE)
        self._started.append(process)
        assert process.stdout is not None
        return Served(pid=process.pid, port=int(process.stdout.readline()), token=token)

    def start_bare_script(self, endpoint: str, *, python: Path = RUNTIME_PYTHON) -> tuple[Running, Path]:
        """Start the bare script. Return its process and the file that it will write."""
        target = self._new_directory() / "credentials.json"
        script = str(ROOT / "benchmarks" / "bare_script.py")
        arguments = [script, str(self.token_file), role_arn("app"), endpoint, str(target)]
        return self._start(python, arguments, {}, target.parent), target

    def start_broker(
        self,
        endpoint: str,
        names: Sequence[str] = ("default",),
        *,
        program: Sequence[str] = ("-m", "broker", "run"),
        python: Path = RUNTIME_PYTHON,
        token_file: Path | None = None,
    ) -> Broker:
        """Start `sts-broker run` with these profiles. `program` replaces the arguments of `python`."""
        home = self._new_directory()
        directory = home / "aws"
        directory.mkdir()
        environment = {
            "AWS_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL_STS": endpoint,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(token_file or self.token_file),
            "BROKER_PUBLISH_DIRECTORY": str(directory),
            "BROKER_MINIMUM_INTERVAL_SECONDS": "1",
            "BROKER_HEALTH_ADDRESS": "127.0.0.1:0",
            "BROKER_ENDPOINT_ADDRESS": "127.0.0.1:0",
            "BROKER_LOG_FORMAT": "json",
        }
        if tuple(names) == ("default",):
            environment["AWS_ROLE_ARN"] = role_arn("app")
        else:
            profiles = [{"name": name, "role_arn": role_arn(name)} for name in names]
            (home / "broker.yaml").write_text(json.dumps({"profiles": profiles}))  # JSON is YAML
            environment["BROKER_CONFIG"] = str(home / "broker.yaml")
        started = self._start(python, program, environment, home)
        return Broker(process=started.process, log=started.log, directory=directory, names=tuple(names))

    def _start(self, python: Path, arguments: Sequence[str], environment: Mapping[str, str], home: Path) -> Running:
        log = home / "log"
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": str(ROOT), **environment}
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [str(python), *arguments], cwd=home, env=environment, stdout=subprocess.PIPE, stderr=stream
            )
        self._started.append(process)
        return Running(process=process, log=log)

    def _new_directory(self) -> Path:
        self._count += 1
        directory = self.path / str(self._count)
        directory.mkdir()
        return directory


def wait_for(path: Path, running: Running) -> None:
    """Wait until the file exists, polling every millisecond. Raises BenchmarkError."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not os.path.exists(path):  # noqa: PTH110 - the fastest check
        _check(running, deadline)
        time.sleep(0.001)


def request_status(
    server: Served, target: str, method: str = "GET", headers: Mapping[str, str] | None = None, *, token: bool = True
) -> tuple[int, bytes]:
    """Send one request on a new connection, with the right token or with another. Return status and body."""
    authorization = server.token.read_text() if token else "another"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, target, headers={"Authorization": authorization, **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a started process and its descendants, and wait for it."""
    if process.poll() is None:
        kill_tree(process.pid)
        process.wait()
    if process.stdout is not None:
        with suppress(OSError):
            process.stdout.close()


def role_arn(name: str) -> str:
    """Return a role's ARN."""
    return f"arn:aws:iam::123456789012:role/{name}"


def _check(running: Running, deadline: float) -> None:
    """Raise BenchmarkError if the process has ended or the time is up."""
    code = running.process.poll()
    if code is not None or time.monotonic() > deadline:
        state = "took too long" if code is None else f"ended with exit code {code}"
        raise BenchmarkError(f"The measured process {state}. Log: {running.log.read_text()[-2000:]}")
