"""Starts what is measured and what it talks to, and puts everything away afterwards.

A `Workplace` is a memory-backed directory with a token, started processes and their logs. The environment of what it
starts is made from nothing, so that no setting of the developer's shell is measured.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
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

from benchmarks.readings import replaced_at_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
RUNTIME_PYTHON = ROOT / ".venv-runtime" / "bin" / "python"
"""What the image contains: the hash-pinned dependencies, botocore's data reduced to STS."""
PIP_PYTHON = ROOT / ".venv-pip" / "bin" / "python"
"""What pip installs: the same dependencies, botocore's data whole."""
_MEMORY_BACKED = Path("/dev/shm")  # noqa: S108 - a directory of its own is made in it
_PATIENCE_SECONDS = 60.0
_TOKEN_LIFE_SECONDS = 3600


class BenchmarkError(Exception):
    """What was to be measured did not come about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A started process and the file that its standard error goes to."""

    process: subprocess.Popen[bytes]
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker(Running):
    """A started `sts-broker run`. `names` are its profiles."""

    directory: Path
    names: tuple[str, ...]

    def wait_for_all_since(self, began_seconds: float) -> float:
        """Wait until every profile's file is newer than that epoch time. Return when the last one was renamed."""
        left = {self.directory / f"{name}.json" for name in self.names}
        newest = 0.0
        deadline = time.monotonic() + _PATIENCE_SECONDS
        pause = 0.001 if len(left) == 1 else 0.02  # looking must not cost what is measured
        while left:
            for path in tuple(left):
                replaced = replaced_at_seconds(path)
                if replaced < began_seconds:
                    break  # the others will not all be there either
                newest = max(newest, replaced)
                left.remove(path)
            _check(self, deadline)
            time.sleep(pause)
        return newest

    def refresh(self) -> float:
        """Ask for a refresh of every profile. Return the seconds until the last file was renamed."""
        time.sleep(0.01)  # past the kernel's tick, so that the files of before are older than what follows
        began = time.time()
        self.process.send_signal(signal.SIGHUP)
        return self.wait_for_all_since(began - 0.004) - began

    def get(self, path: str) -> bytes:
        """Return what the health listener answers, on a connection of its own, as kubelets ask."""
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
        raise BenchmarkError(f"no {listener} listener: {self.log.read_text()[-500:]}")


@dataclass(slots=True)
class Workplace:
    """A directory, a token, and the processes started in it; all gone at the end of the `with`."""

    path: Path = field(init=False)
    _started: list[subprocess.Popen[bytes]] = field(init=False, default_factory=list)
    _count: int = field(init=False, default=0)

    def __enter__(self) -> Self:
        """Make the directory and the first token."""
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
        """Where the bound token is."""
        return self.path / "token"

    def rotate_token(self) -> None:
        """Put a new token in place, by a rename, as the kubelet does."""
        new = self.path / "token.new"
        new.write_text(_token())
        new.rename(self.token_file)

    def start_sts(self, *options: str) -> str:
        """Start a lean STS. Return its URL."""
        command = [sys.executable, "-m", "benchmarks.lean_sts", *options]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
        self._started.append(process)
        assert process.stdout is not None
        return f"http://127.0.0.1:{int(process.stdout.readline())}"

    def start_bare_server(self) -> tuple[subprocess.Popen[bytes], int, Path]:
        """Start the bare server. Return it, its port, and a file with a token for it, which it does not look at."""
        process = subprocess.Popen([sys.executable, "-m", "benchmarks.bare_server"], cwd=ROOT, stdout=subprocess.PIPE)
        self._started.append(process)
        token = self._new_directory() / "endpoint-token"
        token.write_text(secrets.token_urlsafe())
        assert process.stdout is not None
        return process, int(process.stdout.readline()), token

    def start_bare_script(self, endpoint: str) -> tuple[Running, Path]:
        """Start the bare script. Return it, and the file that it is going to write."""
        target = self._new_directory() / "credentials.json"
        script = str(ROOT / "benchmarks" / "bare_script.py")
        arguments = [script, str(self.token_file), role_arn("app"), endpoint, str(target)]
        return self._start(PIP_PYTHON, arguments, {}, target.parent), target

    def start_broker(
        self,
        endpoint: str,
        names: Sequence[str] = ("default",),
        *,
        program: Sequence[str] = ("-m", "broker", "run"),
        python: Path = RUNTIME_PYTHON,
    ) -> Broker:
        """Start `sts-broker run` with these profiles. `program` is what `python` is to run instead."""
        home = self._new_directory()
        directory = home / "aws"
        directory.mkdir()
        environment = {
            "AWS_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL_STS": endpoint,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self.token_file),
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
    """Return once the file is there, looked for every millisecond. Raises BenchmarkError."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not os.path.exists(path):  # noqa: PTH110 - the cheapest look there is
        _check(running, deadline)
        time.sleep(0.001)


def end(process: subprocess.Popen[bytes]) -> None:
    """End one process of ours."""
    if process.poll() is None:
        process.kill()
        process.wait()
    if process.stdout is not None:
        with suppress(OSError):
            process.stdout.close()


def role_arn(name: str) -> str:
    """Return a role's ARN."""
    return f"arn:aws:iam::123456789012:role/{name}"


def _check(running: Running, deadline: float) -> None:
    """Raise BenchmarkError where the process is gone or time is up."""
    code = running.process.poll()
    if code is not None or time.monotonic() > deadline:
        state = "took too long" if code is None else f"ended with {code}"
        raise BenchmarkError(f"what was measured {state}: {running.log.read_text()[-2000:]}")


def _token() -> str:
    """Return a token with the claims of a bound one and a signature that nobody made: the broker verifies none."""
    now = int(time.time())
    claims = {
        "aud": ["sts.amazonaws.com"],
        "exp": now + _TOKEN_LIFE_SECONDS,
        "iat": now,
        "nbf": now,
        "iss": "https://oidc.example/id/0123456789ABCDEF0123456789ABCDEF",
        "sub": "system:serviceaccount:team:app",
        "jti": secrets.token_hex(16),
        "kubernetes.io": {
            "namespace": "team",
            "node": {"name": "node-1", "uid": secrets.token_hex(16)},
            "pod": {"name": "app-6d5f8c7b9-x2x4z", "uid": secrets.token_hex(16)},
            "serviceaccount": {"name": "app", "uid": secrets.token_hex(16)},
        },
    }
    header = {"alg": "RS256", "kid": secrets.token_hex(20), "typ": "JWT"}
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), secrets.token_bytes(256)]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
