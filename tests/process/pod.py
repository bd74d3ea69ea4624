"""A simulated pod in a directory: a token volume, a publish directory, and the brokers that a test starts."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.process.leaks import Canaries
from tests.support.program import Ended, Program, run_to_end

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox import Misbehaviour, ProjectedToken, Sandbox, StsServer
    from sandbox.aws.sessions import Session

STATE_FILE = ".state.json"
"""The file with which the broker recognizes its own files after a restart. Readers don't use it."""
TEXT_FILES = (STATE_FILE, "config", "credentials", "default.json")
"""Files that `once` publishes for a single profile."""
RUN_FILES = (*TEXT_FILES, "endpoint-token")
"""Files that `run` publishes for a single profile."""


def fingerprint(token: str) -> str:
    """Return the fingerprint of a token, as in the call record of the simulated STS."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


@dataclass(slots=True, kw_only=True)
class Pod:
    """A pod in which tests start brokers. `sts` may be another STS of the same sandbox."""

    box: Sandbox
    root: Path
    role_arn: str
    sts: StsServer
    volume: ProjectedToken = field(init=False)
    programs: list[Program] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list, repr=False)
    tokens: list[str] = field(default_factory=list, repr=False)
    endpoint_tokens: list[str] = field(default_factory=list, repr=False)
    _sessions_before: set[str] = field(init=False)

    def __post_init__(self) -> None:
        """Write the first token and make the directories."""
        self.volume = self.box.projected_token(self.root / "volume")
        self.volume.on_rotation = lambda _: self._remember_token()
        self._remember_token()
        self._sessions_before = set(sessions_of(self.sts))
        for name in ("cwd", "home", "tmp", "logs"):
            (self.root / name).mkdir()
        self.termination_message.touch()  # as the kubelet does

    @property
    def published(self) -> Path:
        """The publish directory. The broker creates it."""
        return self.root / "published"

    @property
    def termination_message(self) -> Path:
        """The file that Kubernetes mounts for the container's termination message."""
        return self.root / "termination-log"

    def environment(self, **changes: str) -> dict[str, str]:
        """Return the environment of the broker. A change to "" removes a variable."""
        given = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            **self.box.environment(self.volume, self.role_arn),
            "AWS_ENDPOINT_URL_STS": self.sts.url,
            "BROKER_PUBLISH_DIRECTORY": str(self.published),
            "BROKER_HEALTH_ADDRESS": "127.0.0.1:0",
            "BROKER_ENDPOINT_ADDRESS": "127.0.0.1:0",
            "BROKER_MINIMUM_INTERVAL_SECONDS": "1",
            "BROKER_TERMINATION_MESSAGE_PATH": str(self.termination_message),
            **changes,
        }
        return {name: value for name, value in given.items() if value}

    def start(self, *arguments: str, wrapper: Sequence[str] = (), umask: int = -1, **changes: str) -> Program:
        """Start `sts-broker run`, or the verb in `arguments`. It is killed at the end of the test if it still runs."""
        self._remember_endpoint_token()
        program = Program(
            *(arguments or ("run",)),
            environment=self.environment(**changes),
            directory=self.root / "cwd",
            output=self.root / "logs" / f"{len(self.programs)}",
            wrapper=wrapper,
            umask=umask,
        )
        self.programs.append(program)
        return program

    def start_program(self, program: Sequence[str], **changes: str) -> Program:
        """Start a program of the test's own in this pod, as `start` starts the broker."""
        started = Program(
            environment=self.environment(**changes),
            directory=self.root / "cwd",
            output=self.root / "logs" / f"{len(self.programs)}",
            program=program,
        )
        self.programs.append(started)
        return started

    def start_and_publish(self, *, wrapper: Sequence[str] = (), umask: int = -1, **changes: str) -> Program:
        """Start `sts-broker run` and wait for its first credentials."""
        program = self.start(wrapper=wrapper, umask=umask, **changes)
        program.wait_for("refreshed")
        return program

    def run(
        self,
        *arguments: str,
        stdin: str = "",
        program: Sequence[str] = (),
        wrapper: Sequence[str] = (),
        **changes: str,
    ) -> Ended:
        """Run a verb to its end."""
        ended = run_to_end(
            *arguments,
            environment=self.environment(**changes),
            directory=self.root / "cwd",
            stdin=stdin,
            program=program,
            wrapper=wrapper,
        )
        self.outputs.append(ended.out + ended.err)
        return ended

    def misbehave(self, mode: Misbehaviour) -> None:
        """Make the kubelet misbehave."""
        self.volume.misbehave(mode)
        if self.volume.path.exists():
            self._remember_token()

    def contents(self) -> dict[str, bytes]:
        """Return every published file."""
        return {file.name: file.read_bytes() for file in sorted(self.published.iterdir())}

    def exchanges(self) -> list[str]:
        """Return the fingerprints of the tokens that STS received, in order."""
        return [call.token_fingerprint for call in self.sts.calls]

    def canaries(self) -> Canaries:
        """Return every secret of this pod: bound tokens, endpoint tokens, and all that STS issued."""
        canaries = Canaries()
        self._remember_endpoint_token()
        for number, token in enumerate(self.endpoint_tokens, start=1):
            canaries.add(f"endpoint token {number}", token)
        for number, token in enumerate(self.tokens, start=1):
            canaries.add(f"bound token {number}", token)
        for key, session in sessions_of(self.sts).items():
            if key not in self._sessions_before:
                canaries.add(f"secret access key of {key}", session.secret_access_key)
                canaries.add(f"session token of {key}", session.session_token)
        for number, token in enumerate(self.sts.outbound.issued, start=1):
            canaries.add(f"web identity token {number}", token)
        return canaries

    def volume_of(self, program: Program) -> Path:
        """Return the publish directory of a program, in the program's mount namespace.

        Only root can read that, but only root starts programs with mounts of their own.
        """
        return Path(f"/proc/{program.pid}/root{self.published}") if os.geteuid() == 0 else self.published

    def strays(self) -> list[Path]:
        """Return the files that were written outside the publish directory."""
        return [path for name in ("cwd", "home", "tmp") for path in (self.root / name).rglob("*")]

    def close(self) -> None:
        """Kill the brokers that still run."""
        for program in self.programs:
            program.kill()

    def _remember_endpoint_token(self) -> None:
        file = self.published / "endpoint-token"
        if file.is_file() and not file.is_symlink():  # `once` writes none
            text = file.read_text()
            if text not in self.endpoint_tokens:
                self.endpoint_tokens.append(text)

    def _remember_token(self) -> None:
        text = self.volume.path.read_bytes().decode("ascii", errors="ignore").strip()
        if text.startswith("eyJ") and text not in self.tokens:  # an empty or malformed file has no secret
            self.tokens.append(text)


def sessions_of(sts: StsServer) -> dict[str, Session]:
    """Return every session that this STS has issued, by access key ID."""
    sessions: dict[str, Any] = sts._authority._sessions
    return dict(sessions)
