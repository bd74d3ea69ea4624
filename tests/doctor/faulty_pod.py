"""A pod for `sts-broker doctor`: all settings, and a sandbox whose issuer and STS stand behind TLS and a proxy.

A test changes what it likes of a Ward, and asks for the report. The proxy makes the real names lead here.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.doctor import command
from broker.doctor.checks import Outcome
from broker.doctor.command import Question
from broker.doctor.environment import Surroundings
from broker.doctor.examiners.connection_steps import resolve
from broker.doctor.report import as_json, as_text
from broker.settings.loader import load
from sandbox import Sandbox
from sandbox.http.loopback import LoopbackServer
from tests.process.leaks import Canaries
from tests.process.pod import sessions_of
from tests.support.fronts import RoutingProxy, Sayer, TlsFront
from tests.support.issuer_site import Authority
from tests.support.program import run_to_end

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest

    from broker.core.clock import Instant
    from broker.core.model import Configuration
    from broker.doctor.checks import Line
    from sandbox import ProjectedToken
    from sandbox.http.loopback import Request, Wire
    from tests.support.program import Ended

HOST = "oidc.doctor.example"
ISSUER = f"https://{HOST}/cluster"
STS_HOST = "sts.eu-west-1.amazonaws.com"
DISCOVERY, KEYS = "/.well-known/openid-configuration", "/openid/v1/jwks"


class House:
    """The issuer's web server: what the sandbox's issuer publishes, unless `pages` has something else.

    STS asks it without TLS, by the path alone; the doctor by the issuer's path, through a front that speaks TLS.
    """

    def __init__(self, box: Sandbox, issuer: str = ISSUER) -> None:
        self.pages: dict[str, tuple[int, Mapping[str, str], bytes]] = {}
        self._issuer = box.issuer
        self._server = LoopbackServer(answer=self._answer)
        self.port = self._server.port
        box.addresses[issuer] = self._server.url

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop()

    def document(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return what the issuer publishes at this path."""
        content = self._issuer._document(path)
        assert content is not None
        return json.loads(content)

    def publish(self, path: str, content: object, *, status: int = 200, **headers: str) -> None:
        """Serve something else there."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.pages[path] = (status, {"Content-Type": "application/json", **headers}, body)

    def _answer(self, request: Request, wire: Wire) -> None:
        path = request.path.removeprefix("/cluster")
        content = self._issuer._document(path)
        usual = (404, {}, b"") if content is None else (200, {"Content-Type": "application/json"}, content)
        wire.send(*self.pages.get(path, usual))


@dataclass(slots=True, kw_only=True)
class Hospital:
    """What all tests share: one sandbox, and the ways to it."""

    box: Sandbox
    authority: Authority
    house: House
    issuer_front: TlsFront
    sts_front: TlsFront
    proxy: RoutingProxy
    plain: Sayer
    role_arn: str

    @classmethod
    def build(cls, folder: Path) -> Hospital:
        """Start everything; `close` stops it."""
        box, authority = Sandbox(issuer=ISSUER), Authority(folder)
        house = House(box)
        sts_port = int(box.sts.url.rpartition(":")[2])
        issuer_front, sts_front = (
            TlsFront(authority.server(HOST), house.port),
            TlsFront(authority.server(STS_HOST), sts_port),
        )
        routes = {f"{HOST}:443": issuer_front.port, f"{STS_HOST}:443": sts_front.port}
        return cls(
            box=box,
            authority=authority,
            house=house,
            issuer_front=issuer_front,
            sts_front=sts_front,
            proxy=RoutingProxy(routes),
            plain=Sayer(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            role_arn=box.create_role("doctor-app"),
        )

    def close(self) -> None:
        """Stop everything."""
        for front in (self.plain, self.proxy, self.sts_front, self.issuer_front):
            front.__exit__()
        self.house.stop()
        self.box.stop()


class _Clock:
    """The system's clock, moved by `ward.off_by`; its monotonic half is not."""

    def __init__(self, ward: Ward) -> None:
        from broker.core.clock import SystemClock  # noqa: PLC0415 - for this class alone

        self._ward = ward
        self._system = SystemClock()

    def read(self) -> Instant:
        instant = self._system.read()
        return replace(instant, now=instant.now + self._ward.off_by)

    def wait(self, inbox: Any, duration: timedelta) -> Any:  # noqa: ANN401 - the doctor waits for nothing
        raise NotImplementedError


@dataclass(slots=True, kw_only=True)
class Ward:
    """One pod. `memory` is a directory in memory, `disk` one that need not be."""

    hospital: Hospital
    memory: Path
    disk: Path
    environ: dict[str, str] = field(init=False)
    volume: ProjectedToken = field(init=False)
    off_by: timedelta = timedelta(0)
    question: Question = field(default_factory=Question)
    load: Callable[[Mapping[str, str]], Configuration] = load
    resolve: Callable[[str, int], list[str]] = resolve
    proc: str = field(init=False)
    cgroup: str = "/nowhere"
    canaries: Canaries = field(default_factory=Canaries)
    _sessions_before: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.volume = self.box.projected_token(self.disk / "token-volume")
        self._sessions_before = set(sessions_of(self.box.sts))
        self.environ = {
            "AWS_ROLE_ARN": self.hospital.role_arn,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self.volume.path),
            "AWS_REGION": "eu-west-1",
            "AWS_CA_BUNDLE": str(self.hospital.authority.bundle),
            "HTTPS_PROXY": self.hospital.proxy.url,
            "NO_PROXY": "localhost,127.0.0.1",
            "HOME": str(self.disk),
            "BROKER_PUBLISH_DIRECTORY": str(self.published),
            "BROKER_HEALTH_ADDRESS": "127.0.0.1:0",
        }
        self.published.mkdir(mode=0o750)
        self.proc = str(self.disk / "proc")
        (self.disk / "proc/self").mkdir(parents=True)
        shutil.copy("/proc/self/mountinfo", self.disk / "proc/self/mountinfo")

    @property
    def box(self) -> Sandbox:
        """The sandbox."""
        return self.hospital.box

    @property
    def published(self) -> Path:
        """The publish directory."""
        return self.memory / "aws"

    def token(self, text: str) -> None:
        """Let the kubelet put this text in place."""
        self.volume._write(text.encode())

    def go_direct(self) -> None:
        """Take STS at its plain address, with no proxy on the way."""
        self.environ["AWS_ENDPOINT_URL_STS"] = self.box.sts.url

    def trust(self, name: str, **options: Any) -> None:  # noqa: ANN401 - of Sandbox.create_role
        """Ask for another role, made like this."""
        self.environ["AWS_ROLE_ARN"] = self.box.create_role(f"doctor-{name}", **options)

    def settings(self, text: str) -> None:
        """Take the profiles from a YAML file."""
        file = self.disk / "broker.yaml"
        file.write_text(text)
        self.environ["BROKER_CONFIG"] = str(file)
        del self.environ["AWS_ROLE_ARN"]

    def mounts(self, *lines: str) -> None:
        """Let the kernel tell of these mounts: `POINT KIND`."""
        rows = [
            f"{number} 1 0:1 / {line.split()[0]} rw - {line.split()[1]} none rw" for number, line in enumerate(lines)
        ]
        root = "20 1 0:1 / / rw - overlay none rw"
        (self.disk / "proc/self/mountinfo").write_text("\n".join([root, *rows, ""]))

    def memory_left(self, mebibytes: int) -> None:
        """Let the container have so much memory left."""
        folder = self.disk / "cgroup"
        folder.mkdir()
        for name, number in {"memory.max": 64, "memory.current": 64 - mebibytes}.items():
            (folder / name).write_text(f"{number * 2**20}\n")
        (folder / "memory.stat").write_text("inactive_file 0\n")
        self.cgroup = str(folder)

    def report(self, monkeypatch: pytest.MonkeyPatch) -> Report:
        """Run the doctor in this process, and see that no secret is told."""
        for name, value in self.environ.items():
            monkeypatch.setenv(name, value)
        around = Surroundings(
            environ=dict(os.environ),
            clock=_Clock(self),
            load=self.load,
            resolve=self.resolve,
            proc=self.proc,
            cgroup=self.cgroup,
        )
        lines, code = command.examine(self.question, around)
        report = Report(lines=lines, code=code, text=as_text(lines), document=as_json(lines))
        self._remember_secrets()
        assert self.canaries.found_in(report.text + report.document) == set()
        return report

    def run(self, *arguments: str, stdin: str = "", wrapper: Sequence[str] = (), **changes: str) -> Ended:
        """Run the program, and see that no secret is told."""
        ended = run_to_end(
            "doctor",
            *arguments,
            environment={"PATH": os.environ["PATH"], **self.environ, **changes},
            directory=self.disk,
            stdin=stdin,
            wrapper=wrapper,
        )
        self._remember_secrets()
        if stdin.startswith("eyJ"):
            self.canaries.add("the token on standard input", stdin.strip())
        assert self.canaries.found_in(ended.out + ended.err) == set()
        assert "Traceback" not in ended.err
        return ended

    def _remember_secrets(self) -> None:
        for file in (self.volume.path, Path(self.question.token or "/nowhere")):
            if file.is_file() and (text := file.read_text("ascii", errors="replace").strip()).startswith("eyJ"):
                self.canaries.add("the token", text)
        for key, session in sessions_of(self.box.sts).items():
            if key not in self._sessions_before:
                self.canaries.add(f"secret of {key}", session.secret_access_key)
                self.canaries.add(f"session of {key}", session.session_token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the doctor said."""

    lines: list[Line]
    code: int
    text: str
    document: str

    def of(self, outcome: Outcome) -> dict[str, str]:
        """Return the lines with this outcome: their labels, and what they say."""
        return {line.label: f"{line.found} -> {line.remedy}" for line in self.lines if line.outcome is outcome}

    @property
    def failed(self) -> dict[str, str]:
        """The causes."""
        return self.of(Outcome.FAILED)

    @property
    def warned(self) -> dict[str, str]:
        """The warnings."""
        return self.of(Outcome.WARNING)

    def because(self, label: str) -> str:
        """Return what explains a line."""
        return next(line.because for line in self.lines if line.label == label)
