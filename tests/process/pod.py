"""A pod in a directory: a token volume, a place to publish, and the broker started in it as often as a test likes."""

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

TEXT_FILES = ("config", "credentials", "default.json")
"""What `once` publishes of the one profile."""
RUN_FILES = (*TEXT_FILES, "endpoint-token")
"""What `run` does."""


def fingerprint(token: str) -> str:
    """Name a token as STS's record of calls does."""
    return hashlib.sha256(token.encode()).hexdigest()[:12]


@dataclass(slots=True, kw_only=True)
class Pod:
    """What the tests start brokers in. `sts` may be another STS of the same box."""

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
        """Project the first token and make the empty directories."""
        self.volume = self.box.projected_token(self.root / "volume")
        self.volume.on_rotation = lambda _: self._remember_token()
        self._remember_token()
        self._sessions_before = set(sessions_of(self.sts))
        for name in ("cwd", "home", "tmp", "logs"):
            (self.root / name).mkdir()

    @property
    def published(self) -> Path:
        """The publish directory, which the broker makes."""
        return self.root / "published"

    def environment(self, **changes: str) -> dict[str, str]:
        """Return what the broker is given; a change to "" takes the variable away."""
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
            **changes,
        }
        return {name: value for name, value in given.items() if value}

    def start(self, *arguments: str, wrapper: Sequence[str] = (), umask: int = -1, **changes: str) -> Program:
        """Start `sts-broker run`, or what the arguments say; it is ended with the pod, if not before."""
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

    def start_and_publish(self, *, wrapper: Sequence[str] = (), umask: int = -1, **changes: str) -> Program:
        """Start `sts-broker run` and wait for its first credentials."""
        program = self.start(wrapper=wrapper, umask=umask, **changes)
        program.wait_for("refreshed")
        return program

    def run(self, *arguments: str, stdin: str = "", wrapper: Sequence[str] = (), **changes: str) -> Ended:
        """Run another verb to its end."""
        ended = run_to_end(
            *arguments,
            environment=self.environment(**changes),
            directory=self.root / "cwd",
            stdin=stdin,
            wrapper=wrapper,
        )
        self.outputs.append(ended.out + ended.err)
        return ended

    def misbehave(self, mode: Misbehaviour) -> None:
        """Let the kubelet go wrong."""
        self.volume.misbehave(mode)
        if self.volume.path.exists():
            self._remember_token()

    def contents(self) -> dict[str, bytes]:
        """Return every published file."""
        return {file.name: file.read_bytes() for file in sorted(self.published.iterdir())}

    def exchanges(self) -> list[str]:
        """Return the fingerprints of the tokens that STS was sent, in order."""
        return [call.token_fingerprint for call in self.sts.calls]

    def canaries(self) -> Canaries:
        """Return every secret of this pod's life: tokens put in place, the endpoint's, and all that STS issued."""
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
        return canaries

    @staticmethod
    def proc(program: Program) -> Path:
        """Return the directory where the kernel tells about a program."""
        return Path(f"/proc/{program.pid}")

    def strays(self) -> list[Path]:
        """Return what was written outside the publish directory."""
        return [path for name in ("cwd", "home", "tmp") for path in (self.root / name).rglob("*")]

    def close(self) -> None:
        """End what still runs."""
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
        if text.startswith("eyJ") and text not in self.tokens:  # an empty or garbled file holds no secret
            self.tokens.append(text)


def sessions_of(sts: StsServer) -> dict[str, Session]:
    """Return everything that this STS has issued, by access key: it tells nobody else."""
    sessions: dict[str, Any] = sts._authority._sessions
    return dict(sessions)
