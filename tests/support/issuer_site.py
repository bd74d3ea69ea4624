"""A self-hosted issuer's web server: TLS on loopback, certificates from a CA made here, and any misbehavior.

A reply is a list of steps: bytes to send, or seconds to wait. Leaving the server's context ends all waits. As a
Kubernetes API server does, it answers 406 to a request for keys whose Accept header does not allow a key document.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.relay import relay_connection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

HOST = "oidc.company.example"
ISSUER = f"https://{HOST}/cluster"
DISCOVERY = "/cluster/.well-known/openid-configuration"
KEYS = "/cluster/keys.json"

_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
Steps = list[bytes | float]


def reply(
    content: bytes | str | Mapping[str, Any],
    *,
    status: str = "200 OK",
    content_type: str = "application/json",
    headers: Sequence[str] = (),
) -> Steps:
    """Return the steps of a complete answer. A mapping is sent as JSON."""
    body = content if isinstance(content, bytes) else content.encode() if isinstance(content, str) else _json(content)
    named = [f"Content-Type: {content_type}"] if content_type else []
    lines = [f"HTTP/1.1 {status}", *named, *headers, f"Content-Length: {len(body)}", "Connection: close", "", ""]
    return ["\r\n".join(lines).encode() + body]


def endless(head: bytes, piece: bytes, *, pause: float = 0.0, count: int = 100_000) -> Steps:
    """Return the steps of an answer that does not end until the client gives up."""
    return [head, *(step for _ in range(count) for step in ((piece, pause) if pause else (piece,)))]


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content).encode()


@dataclass(slots=True)
class Authority:
    """A root CA with one intermediate CA. Its certificates are kept as PEM files in `folder`."""

    folder: Path
    _root: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] = field(init=False)
    _intermediate: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] = field(init=False)

    def __post_init__(self) -> None:
        self._root = self._make("Test Root", None, is_ca=True)
        self._intermediate = self._make("Test Intermediate", self._root, is_ca=True)
        self.bundle.write_bytes(self._root[0].public_bytes(serialization.Encoding.PEM))

    @property
    def bundle(self) -> Path:
        """The PEM file of the root certificate."""
        return self.folder / "ca.pem"

    @property
    def intermediate_der(self) -> bytes:
        """The certificate whose thumbprint IAM keeps."""
        return self._intermediate[0].public_bytes(serialization.Encoding.DER)

    def server(  # noqa: PLR0913 - everything that can be wrong with a certificate, by keyword
        self,
        host: str = HOST,
        *,
        starts: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=90),
        is_self_signed: bool = False,
        sends_intermediate: bool = True,
        is_modern: bool = False,
    ) -> ssl.SSLContext:
        """Return the TLS context of a server with a certificate for `host`. `is_modern`: it accepts only TLS 1.3."""
        signer = None if is_self_signed else self._intermediate
        certificate, key = self._make(host, signer, is_ca=False, starts=starts, ends=ends)
        chain = [certificate] if is_self_signed or not sends_intermediate else [certificate, self._intermediate[0]]
        file = self.folder / f"{host}-{certificate.serial_number}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(private + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in chain))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        if is_modern:
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def _make(
        self,
        name: str,
        signer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
        *,
        is_ca: bool,
        starts: timedelta = timedelta(days=-1),
        ends: timedelta = timedelta(days=365),
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer_key = signer[1] if signer else key
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(signer[0].subject if signer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                critical=False,
            )
        )
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": is_ca, "digital_signature": not is_ca}
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
        if not is_ca:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        return builder.sign(issuer_key, hashes.SHA256()), key


class Site:
    """Serves replies by path, 404 for other paths, until its context is left.

    `requests` has the path and the head of each request. `replies` may be changed at any time.
    """

    def __init__(self, context: ssl.SSLContext, replies: Mapping[str, Steps]) -> None:
        self.requests: list[tuple[str, str]] = []
        self.replies = dict(replies)
        self._stopping = threading.Event()
        self._server = _Server(context, self.replies, self.requests, self._stopping)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    @property
    def arguments(self) -> list[str]:
        """The options that make `issuer check` connect here for any host."""
        return ["--connect-to", f"::127.0.0.1:{self.port}"]


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = True

    def __init__(
        self,
        context: ssl.SSLContext,
        replies: dict[str, Steps],
        requests: list[tuple[str, str]],
        stopping: threading.Event,
    ) -> None:
        self.context, self.replies, self.asked, self.stopping = context, replies, requests, stopping
        super().__init__(("127.0.0.1", 0), _Connection)


class _Connection(socketserver.BaseRequestHandler):
    server: _Server

    def handle(self) -> None:
        with contextlib.suppress(
            OSError
        ):  # TLS errors are OSErrors: the client does not trust the certificate, or has gone
            self.request.settimeout(10)
            self._serve(self.server.context.wrap_socket(self.request, server_side=True))

    def _serve(self, connection: ssl.SSLSocket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(4096)
                if not piece:
                    return
                head += piece
            path = head.split(b" ", 2)[1].decode()
            self.server.asked.append((path, head.decode("latin-1")))
            steps = self.server.replies.get(path, reply("not here", status="404 Not Found"))
            if path == KEYS and not _accepts_key_document(head.decode("latin-1")):
                steps = reply("only application/jwk-set+json is available", status="406 Not Acceptable")
            self._send(connection, steps)
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)

    def _send(self, connection: ssl.SSLSocket, steps: Iterable[bytes | float]) -> None:
        for step in steps:
            if self.server.stopping.is_set():
                return
            if isinstance(step, bytes):
                connection.sendall(step)
            elif self.server.stopping.wait(step):
                return


def _accepts_key_document(head: str) -> bool:
    """Return whether a request's Accept header allows a key document, as kube-apiserver 1.36 judges it."""
    values = [line.partition(":")[2] for line in head.splitlines() if line.lower().startswith("accept:")]
    types = {each.partition(";")[0].strip() for value in values for each in value.split(",")}
    return not values or bool(types & {"application/jwk-set+json", "application/*", "*/*"})


class Proxy:
    """An HTTP proxy that connects every CONNECT to one port. `asked` has the targets and their credentials."""

    def __init__(self, port: int) -> None:
        self.asked: list[tuple[str, str]] = []
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._forward(connection)

    def _forward(self, connection: socket.socket) -> None:
        with connection:
            head = connection.recv(4096).decode()
            credentials = [line.split(": ")[1] for line in head.splitlines() if line.startswith("Proxy-Authorization")]
            self.asked.append((head.split()[1], credentials[0] if credentials else ""))
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            relay_connection(connection, self._to)
