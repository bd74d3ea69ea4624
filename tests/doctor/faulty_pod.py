"""A pod for `sts-broker doctor`: its settings, its volumes, and the servers around it.

A test changes what it needs in a `FaultyPod`, and reads the diagnosis. The issuer and STS of the sandbox are behind TLS
and a proxy. The proxy routes their real host names to the sandbox.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from broker.core.clock import SystemClock
from broker.doctor import command
from broker.doctor.checks import Outcome
from broker.doctor.command import Options
from broker.doctor.environment import Environment
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
    from broker.doctor.checks import CheckResult
    from sandbox import ProjectedToken
    from sandbox.http.loopback import Request, Wire
    from tests.support.program import Ended

HOST = "oidc.doctor.example"
ISSUER = f"https://{HOST}/cluster"
STS_HOST = "sts.eu-west-1.amazonaws.com"
DISCOVERY, KEYS = "/.well-known/openid-configuration", "/openid/v1/jwks"


class IssuerSite:
    """The issuer's web server: it serves what the sandbox's issuer publishes, unless `pages` has a replacement.

    STS fetches from it without TLS, by the path alone. The doctor fetches by the issuer's path, through a TLS front.
    """

    def __init__(self, sandbox: Sandbox, issuer: str = ISSUER) -> None:
        self.pages: dict[str, tuple[int, Mapping[str, str], bytes]] = {}
        self._issuer = sandbox.issuer
        self._server = LoopbackServer(answer=self._answer)
        self.port = self._server.port
        sandbox.addresses[issuer] = self._server.url

    def stop(self) -> None:
        """Stop serving."""
        self._server.stop()

    def document(self, path: str) -> Any:  # noqa: ANN401 - JSON
        """Return what the issuer publishes at this path."""
        content = self._issuer._document(path)
        assert content is not None
        return json.loads(content)

    def publish(self, path: str, content: object, *, status: int = 200, **headers: str) -> None:
        """Serve this content at the path instead."""
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.pages[path] = (status, {"Content-Type": "application/json", **headers}, body)

    def _answer(self, request: Request, wire: Wire) -> None:
        path = request.path.removeprefix("/cluster")
        content = self._issuer._document(path)
        usual = (404, {}, b"") if content is None else (200, {"Content-Type": "application/json"}, content)
        wire.send(*self.pages.get(path, usual))


@dataclass(slots=True, kw_only=True)
class Network:
    """The servers around the pod, shared by all tests: one sandbox, TLS fronts, a proxy, a server without TLS."""

    sandbox: Sandbox
    authority: Authority
    issuer_site: IssuerSite
    issuer_front: TlsFront
    sts_front: TlsFront
    proxy: RoutingProxy
    plain: Sayer
    role_arn: str

    @classmethod
    def build(cls, folder: Path) -> Network:
        """Start everything; `close` stops it."""
        sandbox, authority = Sandbox(issuer=ISSUER), Authority(folder)
        issuer_site = IssuerSite(sandbox)
        sts_port = int(sandbox.sts.url.rpartition(":")[2])
        issuer_front, sts_front = (
            TlsFront(authority.server(HOST), issuer_site.port),
            TlsFront(authority.server(STS_HOST), sts_port),
        )
        routes = {f"{HOST}:443": issuer_front.port, f"{STS_HOST}:443": sts_front.port}
        return cls(
            sandbox=sandbox,
            authority=authority,
            issuer_site=issuer_site,
            issuer_front=issuer_front,
            sts_front=sts_front,
            proxy=RoutingProxy(routes),
            plain=Sayer(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            role_arn=sandbox.create_role("doctor-app"),
        )

    def close(self) -> None:
        """Stop everything."""
        for front in (self.plain, self.proxy, self.sts_front, self.issuer_front):
            front.__exit__()
        self.issuer_site.stop()
        self.sandbox.stop()


class _Clock:
    """The system's clock, with its wall time moved by the pod's `clock_offset`."""

    def __init__(self, pod: FaultyPod) -> None:
        self._pod = pod
        self._system = SystemClock()

    def read(self) -> Instant:
        instant = self._system.read()
        return replace(instant, now=instant.now + self._pod.clock_offset)

    def wait(self, inbox: Any, duration: timedelta) -> Any:  # noqa: ANN401, ARG002 - of any queue
        raise AssertionError("the doctor waits for no inbox")


@dataclass(slots=True, kw_only=True)
class FaultyPod:
    """One pod. `memory` is a directory in memory; `disk` may be on a disk."""

    network: Network
    memory: Path
    disk: Path
    environ: dict[str, str] = field(init=False)
    volume: ProjectedToken = field(init=False)
    clock_offset: timedelta = timedelta(0)
    options: Options = field(default_factory=Options)
    load: Callable[[Mapping[str, str]], Configuration] = load
    resolve: Callable[[str, int], list[str]] = resolve
    proc: str = field(init=False)
    cgroup: str = "/nowhere"
    canaries: Canaries = field(default_factory=Canaries)
    _sessions_before: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.volume = self.sandbox.projected_token(self.disk / "token-volume")
        self._sessions_before = set(sessions_of(self.sandbox.sts))
        self.environ = {
            "AWS_ROLE_ARN": self.network.role_arn,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self.volume.path),
            "AWS_REGION": "eu-west-1",
            "AWS_CA_BUNDLE": str(self.network.authority.bundle),
            "HTTPS_PROXY": self.network.proxy.url,
            "NO_PROXY": "localhost,127.0.0.1",
            "HOME": str(self.disk),
            "BROKER_PUBLISH_DIRECTORY": str(self.published),
            "BROKER_HEALTH_ADDRESS": "127.0.0.1:0",
        }
        self.published.mkdir(mode=0o750)
        self.proc = str(self.disk / "proc")
        (self.disk / "proc/self").mkdir(parents=True)
        shutil.copyfile("/proc/self/mountinfo", self.disk / "proc/self/mountinfo")

    @property
    def sandbox(self) -> Sandbox:
        """The sandbox."""
        return self.network.sandbox

    @property
    def published(self) -> Path:
        """The publish directory."""
        return self.memory / "aws"

    def put_token(self, text: str) -> None:
        """Write this text into the token volume, as the kubelet does."""
        self.volume._write(text.encode())

    def use_plain_sts(self) -> None:
        """Call STS at its plain HTTP address, without the proxy."""
        self.environ["AWS_ENDPOINT_URL_STS"] = self.sandbox.sts.url

    def use_new_role(self, name: str, **options: Any) -> None:  # noqa: ANN401 - of Sandbox.create_role
        """Create a role with these options, and configure the pod for it."""
        self.environ["AWS_ROLE_ARN"] = self.sandbox.create_role(f"doctor-{name}", **options)

    def write_settings(self, text: str) -> None:
        """Take the profiles from this YAML text."""
        file = self.disk / "broker.yaml"
        file.write_text(text)
        self.environ["BROKER_CONFIG"] = str(file)
        del self.environ["AWS_ROLE_ARN"]

    def set_mounts(self, *lines: str) -> None:
        """Replace the mount table that the doctor reads; each line is `POINT KIND`."""
        rows = [
            f"{number} 1 0:1 / {line.split()[0]} rw - {line.split()[1]} none rw" for number, line in enumerate(lines)
        ]
        root = "20 1 0:1 / / rw - overlay none rw"
        (self.disk / "proc/self/mountinfo").write_text("\n".join([root, *rows, ""]))

    def limit_memory(self, mebibytes: int) -> None:
        """Leave this much of the container's memory limit."""
        folder = self.disk / "cgroup"
        folder.mkdir(exist_ok=True)
        for name, number in {"memory.max": 64, "memory.current": 64 - mebibytes}.items():
            (folder / name).write_text(f"{number * 2**20}\n")
        (folder / "memory.stat").write_text("inactive_file 0\n")
        self.cgroup = str(folder)

    def diagnose(self, monkeypatch: pytest.MonkeyPatch) -> Diagnosis:
        """Run the doctor in this process, and assert that its report holds no secret."""
        for name, value in self.environ.items():
            monkeypatch.setenv(name, value)
        environment = Environment(
            environ=dict(os.environ),
            clock=_Clock(self),
            load=self.load,
            resolve=self.resolve,
            proc=self.proc,
            cgroup=self.cgroup,
            harden=lambda: None,  # this process is pytest's
        )
        results, code = command.examine(self.options, environment)
        report = Diagnosis(results=results, code=code, text=as_text(results), document=as_json(results))
        self._remember_secrets()
        assert self.canaries.found_in(report.text + report.document) == set()
        return report

    def run_doctor(self, *arguments: str, stdin: str = "", wrapper: Sequence[str] = (), **changes: str) -> Ended:
        """Run the program, and assert that its output holds no secret."""
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
        for file in (self.volume.path, Path(self.options.token or "/nowhere")):
            is_readable = file.is_file() and os.access(file, os.R_OK)
            if is_readable and (text := file.read_text("ascii", errors="replace").strip()).startswith("eyJ"):
                self.canaries.add("the token", text)
        for key, session in sessions_of(self.sandbox.sts).items():
            if key not in self._sessions_before:
                self.canaries.add(f"secret of {key}", session.secret_access_key)
                self.canaries.add(f"session of {key}", session.session_token)
        for number, token in enumerate(self.sandbox.sts.outbound.issued):
            self.canaries.add(f"web identity token {number}", token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the doctor found and printed."""

    results: list[CheckResult]
    code: int
    text: str
    document: str

    def results_with(self, outcome: Outcome) -> dict[str, str]:
        """Return the results with this outcome: their labels, and `FOUND -> REMEDY`."""
        return {each.label: f"{each.found} -> {each.remedy}" for each in self.results if each.outcome is outcome}

    @property
    def failed(self) -> dict[str, str]:
        """The causes."""
        return self.results_with(Outcome.FAILED)

    @property
    def warned(self) -> dict[str, str]:
        """The warnings."""
        return self.results_with(Outcome.WARNING)

    def cause_of(self, label: str) -> str:
        """Return the label of the result that explains this one."""
        return next(each.because for each in self.results if each.label == label)
