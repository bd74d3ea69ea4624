"""Simulates a cluster's OIDC issuer: signs bound service account tokens and publishes keys, as Kubernetes does.

The issuer URL is an https URL without a port, because IAM requires that. The documents are served on loopback; a
verifier gets that address separately, in place of DNS. Tokens have exactly the claims that Kubernetes writes. A retired
key disappears from the key document at once. As on a real API server, each document is available in one media type: a
client whose Accept header has neither that type nor `*/*` gets 406 (go-restful, which knows no other wildcards). So
the key document is not available as `application/json`. This module does not know AWS or files.
"""

from __future__ import annotations

import enum
import json
import secrets
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from sandbox.http.loopback import LoopbackServer, Request, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DEFAULT_ISSUER = "https://oidc.sandbox.example/cluster"
_DISCOVERY_PATH = "/.well-known/openid-configuration"
_KEYS_PATH = "/openid/v1/jwks"
_DISCOVERY_TYPE = "application/json"
_KEYS_TYPE = "application/jwk-set+json"


class Availability(enum.Enum):
    """Whether and how the issuer's documents can be fetched."""

    REACHABLE = "reachable"
    UNREACHABLE = "unreachable"
    SLOW = "slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class _SigningKey:
    kid: str
    algorithm: str
    private_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

    def public_document(self) -> dict[str, Any]:
        if isinstance(self.private_key, rsa.RSAPrivateKey):
            document = RSAAlgorithm.to_jwk(self.private_key.public_key(), as_dict=True)
        else:
            document = ECAlgorithm.to_jwk(self.private_key.public_key(), as_dict=True)
        # Kubernetes publishes use, kid and alg, but no key_ops.
        public = {name: value for name, value in document.items() if name != "key_ops"}
        return {**public, "use": "sig", "kid": self.kid, "alg": self.algorithm}


def make_uid(*names: str) -> str:
    """Return the UID of an object. The same names give the same UID."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(names)))


class Issuer:
    """Serves from construction until `stop()`, with one RS256 key at first. A context manager.

    `issuer` is the `iss` claim. `port` is the loopback port; 0 means any free port. `now` returns the current time in
    UTC and determines `iat`.
    """

    def __init__(
        self,
        *,
        issuer: str = DEFAULT_ISSUER,
        port: int = 0,
        node: str = "node-1",
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.issuer = issuer
        self.node = node
        self._now = now
        self._keys: list[_SigningKey] = []
        self._lock = threading.Lock()
        self._availability = Availability.REACHABLE
        self._delay = timedelta(0)
        self.add_key("RS256")
        self._server = LoopbackServer(answer=self._answer, port=port)

    def __enter__(self) -> Self:
        """Return the issuer, which already serves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self.stop()

    def stop(self) -> None:
        """Stop serving. Tokens can still be minted."""
        self._server.stop()

    @property
    def url(self) -> str:
        """The loopback URL where the documents of the issuer URL are, with or without the path of the issuer URL."""
        return self._server.url

    @property
    def jwks_url(self) -> str:
        """The loopback URL of the key document."""
        return self.url + _KEYS_PATH

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The published key ids, oldest first."""
        with self._lock:
            return tuple(key.kid for key in self._keys)

    def add_key(self, algorithm: str = "RS256") -> str:
        """Publish a new key, which signs new tokens. Return its kid. ValueError: not RS256 or ES256."""
        private_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
        if algorithm == "RS256":
            private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        elif algorithm == "ES256":
            private_key = ec.generate_private_key(ec.SECP256R1())
        else:
            raise ValueError(f"The simulated issuer signs with RS256 or ES256, not {algorithm}")
        key = _SigningKey(kid=secrets.token_urlsafe(32), algorithm=algorithm, private_key=private_key)
        with self._lock:
            self._keys.append(key)
        return key.kid

    def public_key(self, kid: str) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None:
        """Return the published public key with this kid, or None."""
        with self._lock:
            return next((key.private_key.public_key() for key in self._keys if key.kid == kid), None)

    def retire_key(self, kid: str) -> None:
        """Remove a key. It signs no more tokens, and its tokens can no longer be verified."""
        with self._lock:
            self._keys = [key for key in self._keys if key.kid != kid]

    def set_availability(self, availability: Availability, *, delay: timedelta = timedelta(seconds=10)) -> None:
        """Set how documents can be fetched from now on. `delay` applies only to SLOW."""
        self._availability = availability
        self._delay = delay

    def mint(  # noqa: PLR0913 - each is a claim that a test may vary, all by keyword
        self,
        *,
        namespace: str = "demo",
        service_account: str = "app",
        audience: str | Sequence[str] = "sts.amazonaws.com",
        lifetime: timedelta = timedelta(hours=1),
        pod: str = "app-7d9c5b6f8-x2x7k",
        issued_at: datetime | None = None,
        not_before: datetime | None = None,
        algorithm: str = "RS256",
        **overrides: object,
    ) -> str:
        """Return a signed bound token. `overrides` replace claims by name; None removes a claim.

        The newest key of `algorithm` signs. If there is none, a key is created.
        """
        issued = (issued_at or self._now()).replace(microsecond=0)
        claims: dict[str, Any] = {
            "aud": [audience] if isinstance(audience, str) else list(audience),
            "exp": int((issued + lifetime).timestamp()),
            "iat": int(issued.timestamp()),
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {
                "namespace": namespace,
                "node": {"name": self.node, "uid": make_uid("node", self.node)},
                "pod": {"name": pod, "uid": make_uid("pod", namespace, pod)},
                "serviceaccount": {"name": service_account, "uid": make_uid("sa", namespace, service_account)},
            },
            "nbf": int((not_before or issued).timestamp()),
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
            **overrides,
        }
        return self.sign({name: value for name, value in claims.items() if value is not None}, algorithm=algorithm)

    def sign(self, claims: Mapping[str, Any], *, algorithm: str = "RS256") -> str:
        """Return a token with exactly these claims, such as those of a CI system. The signing key is that of `mint`."""
        key = self._signing_key(algorithm)
        return jwt.encode(dict(claims), key.private_key, algorithm=algorithm, headers={"kid": key.kid, "typ": None})

    def _signing_key(self, algorithm: str) -> _SigningKey:
        with self._lock:
            candidates = [key for key in self._keys if key.algorithm == algorithm]
        if candidates:
            return candidates[-1]
        kid = self.add_key(algorithm)
        with self._lock:
            return next(key for key in self._keys if key.kid == kid)

    def _answer(self, request: Request, wire: Wire) -> None:
        if self._availability is Availability.UNREACHABLE:
            wire.reset()
            return
        if self._availability is Availability.SLOW and wire.pause(self._delay.total_seconds()):
            wire.close()
            return
        path = request.path.removeprefix(urlsplit(self.issuer).path.removesuffix("/"))
        document = self._document(path)
        if document is None:
            wire.send(HTTPStatus.NOT_FOUND, {"Content-Type": "text/plain"}, b"404 page not found\n")
            return
        content_type = _KEYS_TYPE if path == _KEYS_PATH else _DISCOVERY_TYPE
        if not _accepts(request, content_type):
            body = f"406: Not Acceptable\n\nAvailable representations: {content_type}".encode()
            wire.send(HTTPStatus.NOT_ACCEPTABLE, {"Content-Type": "text/plain"}, body)
            return
        wire.send(HTTPStatus.OK, {"Content-Type": content_type, "Cache-Control": "public, max-age=3600"}, document)

    def _document(self, path: str) -> bytes | None:
        if path == _KEYS_PATH:
            with self._lock:
                keys = [key.public_document() for key in self._keys]
            return json.dumps({"keys": keys}).encode()
        if path != _DISCOVERY_PATH:
            return None
        with self._lock:
            algorithms = sorted({key.algorithm for key in self._keys})
        return json.dumps(
            {
                "issuer": self.issuer,
                "jwks_uri": self.issuer.removesuffix("/") + _KEYS_PATH,
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": algorithms,
            }
        ).encode()


def _accepts(request: Request, media_type: str) -> bool:
    """Return whether the request's Accept header allows this media type. Without the header, every type is allowed."""
    accepted = {part.partition(";")[0].strip() for part in request.headers.get("accept", "*/*").split(",")}
    return not accepted.isdisjoint({media_type, "*/*"})
