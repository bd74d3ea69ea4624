"""Simulates the part of a Kubernetes API server that a pod needs to request bound tokens: TokenRequest over TLS.

`sandbox.cluster.token_requests` decides each request. Every request is recorded before its response is sent. The server
writes the pod's service account volume as the kubelet does. Tests can replace its CA, and stop and restart it.
It supports no other resource.
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
from sandbox.cluster.kubelet import replace_files
from sandbox.cluster.token_requests import AUDIENCE, Cluster, Refusal, token_response
from sandbox.http.loopback import LoopbackServer, Request, Wire, render

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sandbox.cluster.issuer import Issuer

HOST = "127.0.0.1"
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CannedResponse:
    """A fault: this response replaces the real one."""

    status: int
    body: bytes
    location: str = ""


Fault = CannedResponse | faults.Hang | faults.Reset | faults.Drip


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCall:
    """One request, and the status of its response (0: none). `bearer` and `issued` are fingerprints of tokens."""

    time: datetime
    method: str
    path: str
    body: dict[str, Any]
    bearer: str
    status: int
    issued: str = ""


class ApiServer:
    """Serves on loopback from construction until `stop()`. A context manager.

    `cluster` has the objects on which its decisions depend.
    """

    def __init__(self, issuer: Issuer, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.cluster = Cluster(issuer=issuer)
        self._now = now
        self._lock = threading.Lock()
        self._calls: list[TokenCall] = []
        self._issued: list[str] = []
        self._script: deque[Fault | None] = deque()
        self._always: Fault | None = None
        self.change_ca()
        self._server = LoopbackServer(answer=self._answer, tls=lambda: self._context)
        self.port = self._server.port

    def __enter__(self) -> Self:
        """Return the server, which already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self.stop()

    def stop(self) -> None:
        """Stop serving. Clients find the API down."""
        self._server.stop()

    def restart(self) -> None:
        """Serve again on the same port."""
        self._server = LoopbackServer(answer=self._answer, tls=lambda: self._context, port=self.port)

    def change_ca(self) -> None:
        """Use a new CA, and a certificate signed by it. A client that does not re-read ca.crt can no longer connect."""
        self.ca = ClusterCa()
        self.certify(HOST, "kubernetes.default.svc")

    def certify(self, *hosts: str) -> None:
        """Use a certificate for these hosts."""
        self._context = self.ca.server_context(hosts)

    def script(self, *scripted: Fault | None) -> None:
        """Queue faults, one for each coming request. None means no fault."""
        with self._lock:
            self._script.extend(scripted)

    def always(self, fault: Fault | None) -> None:
        """Set the fault of every coming request. None clears it."""
        self._always = fault

    @property
    def calls(self) -> list[TokenCall]:
        """All requests so far, oldest first."""
        with self._lock:
            return list(self._calls)

    @property
    def issued_tokens(self) -> list[str]:
        """All tokens issued so far. Tests search output for them."""
        with self._lock:
            return list(self._issued)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that Kubernetes sets in every pod."""
        return {"KUBERNETES_SERVICE_HOST": HOST, "KUBERNETES_SERVICE_PORT": str(self.port)}

    def mount(self, directory: Path, *, token: str | None = None, ca: ClusterCa | None = None) -> str:
        """Write the pod's service account volume, or replace all its files. Return the token in it."""
        token = token or self.own_token()
        directory.mkdir(parents=True, exist_ok=True)
        files = {
            "token": token.encode(),
            "ca.crt": (ca or self.ca).pem,
            "namespace": self.cluster.namespace.encode(),
        }
        replace_files(directory, files, mode=0o644, now=self._now())
        return token

    def own_token(self, **overrides: Any) -> str:  # noqa: ANN401 - the arguments of `Issuer.mint`
        """Return the pod's token for the API, as the kubelet mounts it. `overrides` replace arguments and claims."""
        return self.cluster.issuer.mint(
            namespace=self.cluster.namespace,
            service_account=self.cluster.service_account,
            pod=self.cluster.pod,
            **{"audience": AUDIENCE, **overrides},
        )

    def _answer(self, request: Request, wire: Wire) -> None:
        with self._lock:
            fault = self._script.popleft() if self._script else self._always
        issued = ""
        if isinstance(fault, faults.Hang | faults.Reset):
            status, body, headers = 0, b"", {}
        elif isinstance(fault, CannedResponse):
            status, body = fault.status, fault.body
            headers = {"Location": fault.location} if fault.location else {}
        else:
            headers = _JSON
            try:
                issued = self.cluster.issue_token(request)
                status, body = HTTPStatus.CREATED, json.dumps(token_response(issued)).encode()
            except Refusal as refusal:
                status, body = refusal.status, json.dumps(refusal.document).encode()
        self._record(request, status, issued)
        _deliver(wire, fault, status, headers, body)

    def _record(self, request: Request, status: int, issued: str) -> None:
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
            issued=fingerprint(issued),
        )
        with self._lock:
            self._calls.append(call)
            self._issued += [issued] if issued else []


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
