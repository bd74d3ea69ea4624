"""A Kubernetes API server in a box, as far as a pod needs it that asks for bound tokens: TokenRequest over TLS.

Rules: what is asked is judged by `sandbox.token_requests`; every request is recorded before its answer leaves; it
writes the pod's service account volume as the kubelet does, can change its CA, and be down for a while.
It refuses to know AWS, and every other resource.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from sandbox.aws import faults
from sandbox.aws.calls import fingerprint
from sandbox.cluster.cluster_ca import ClusterCa
from sandbox.cluster.kubelet import swap
from sandbox.cluster.token_requests import AUDIENCE, Cluster, Refusal, document
from sandbox.http.loopback import LoopbackServer, Request, Wire, render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.cluster.issuer import Issuer

HOST = "127.0.0.1"
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Says:
    """A fault: an answer in place of the real one."""

    status: int
    body: bytes
    location: str = ""


Fault = Says | faults.Hang | faults.Reset | faults.Drip


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCall:
    """One request as it came, and the status of its answer (0: none). Tokens appear as fingerprints."""

    time: datetime
    method: str
    path: str
    body: dict[str, Any]
    bearer: str
    status: int
    given: str = ""


class ApiServer:
    """Serves on loopback from construction until `stop()`; a context manager.

    `cluster` is what its judgement rests on.
    """

    def __init__(self, issuer: Issuer, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.cluster = Cluster(issuer=issuer)
        self._now = now
        self._lock = threading.Lock()
        self._calls: list[TokenCall] = []
        self._given: list[str] = []  # for tests that look for secrets where none should be
        self._script: deque[Fault | None] = deque()
        self._always: Fault | None = None
        self.change_ca()
        self._server = LoopbackServer(answer=self._answer, tls=lambda: self._context)
        self.port = self._server.port

    def __enter__(self) -> Self:
        """Return itself: the server already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self.stop()

    def stop(self) -> None:
        """Stop serving: the API is down."""
        self._server.stop()

    def restart(self) -> None:
        """Serve again, at the same port."""
        self._server = LoopbackServer(answer=self._answer, tls=lambda: self._context, port=self.port)

    def change_ca(self) -> None:
        """Have another CA from now on, and a certificate of it: who reads ca.crt no more is lost."""
        self.ca = ClusterCa()
        self.certify(HOST, "kubernetes.default.svc")

    def certify(self, *hosts: str) -> None:
        """Have a certificate that names these hosts."""
        self._context = self.ca.server(hosts)

    def script(self, *scripted: Fault | None) -> None:
        """Queue faults, one per coming request; None is a request that goes well."""
        with self._lock:
            self._script.extend(scripted)

    def always(self, fault: Fault | None) -> None:
        """Set the fault of every coming request, until cleared with None."""
        self._always = fault

    @property
    def calls(self) -> list[TokenCall]:
        """A copy of the record of all requests so far, oldest first."""
        with self._lock:
            return list(self._calls)

    @property
    def environment(self) -> dict[str, str]:
        """What Kubernetes tells every pod."""
        return {"KUBERNETES_SERVICE_HOST": HOST, "KUBERNETES_SERVICE_PORT": str(self.port)}

    def mount(self, directory: Path, *, token: str | None = None, ca: ClusterCa | None = None) -> str:
        """Put the pod's service account volume in place, or all of it anew. Return the token that stands there."""
        token = token or self.own_token()
        directory.mkdir(parents=True, exist_ok=True)
        files = {
            "token": token.encode(),
            "ca.crt": (ca or self.ca).pem,
            "namespace": self.cluster.namespace.encode(),
        }
        swap(directory, files, mode=0o644, now=self._now())
        return token

    def own_token(self, **overrides: Any) -> str:  # noqa: ANN401 - whatever `Issuer.mint` takes
        """Return a token of the pod for the API, as the kubelet mounts it; `overrides` replace claims."""
        return self.cluster.issuer.mint(
            namespace=self.cluster.namespace,
            service_account=self.cluster.service_account,
            pod=self.cluster.pod,
            **{"audience": AUDIENCE, **overrides},
        )

    def _answer(self, request: Request, wire: Wire) -> None:
        with self._lock:
            fault = self._script.popleft() if self._script else self._always
        given = ""
        if isinstance(fault, faults.Hang | faults.Reset):
            status, body, headers = 0, b"", {}
        elif isinstance(fault, Says):
            status, body = fault.status, fault.body
            headers = {"Location": fault.location} if fault.location else {}
        else:
            headers = _JSON
            try:
                given = self.cluster.token(request)
                status, body = HTTPStatus.CREATED, json.dumps(document(given)).encode()
            except Refusal as refusal:
                status, body = refusal.status, json.dumps(refusal.document).encode()
        self._record(request, status, given)
        _deliver(wire, fault, status, headers, body)

    def _record(self, request: Request, status: int, given: str) -> None:
        try:
            body = json.loads(request.body)
        except ValueError:
            body = {}
        call = TokenCall(
            time=self._now(),
            method=request.method,
            path=request.path,
            body=body,
            bearer=fingerprint(request.headers.get("authorization", "").removeprefix("Bearer ")),
            status=status,
            given=fingerprint(given),
        )
        with self._lock:
            self._calls.append(call)
            self._given += [given] if given else []


def _deliver(wire: Wire, fault: Fault | None, status: int, headers: dict[str, str], body: bytes) -> None:
    match fault:
        case faults.Hang():
            wire.stopping.wait()
            wire.close()
        case faults.Reset():
            wire.reset()
        case faults.Drip(pause_seconds=pause_seconds, piece_bytes=piece_bytes):
            payload = render(status, headers, body)
            for start in range(0, len(payload), piece_bytes):
                wire.send_raw(payload[start : start + piece_bytes])
                if wire.pause(pause_seconds):
                    return
        case _:
            wire.send(status, headers, body)
