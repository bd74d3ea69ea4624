"""An OIDC issuer in a box: signs bound service account tokens and publishes its keys, as a Kubernetes API server does.

Rules: the issuer string is an https URL without a port, as IAM demands, while the documents are really served on
loopback (whoever verifies is told where, as DNS would); tokens carry exactly the claims that Kubernetes writes; a
retired key disappears from the key document at once.
It refuses to know AWS and files: it mints strings and answers GETs.
"""

from __future__ import annotations

import enum
import json
import secrets
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from sandbox.http.loopback import LoopbackServer, Request, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_ISSUER = "https://oidc.sandbox.example/cluster"
_DISCOVERY_PATH = "/.well-known/openid-configuration"
_KEYS_PATH = "/keys.json"


class Availability(enum.Enum):
    """How the issuer's documents answer."""

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
        # Kubernetes publishes use, kid and alg, and no key_ops.
        public = {name: value for name, value in document.items() if name != "key_ops"}
        return {**public, "use": "sig", "kid": self.kid, "alg": self.algorithm}


def uid_of(*names: str) -> str:
    """Give an object the same UID each time it is named, as a cluster would."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(names)))


class Issuer:
    """Starts serving when constructed, with one RS256 key; a context manager that stops when left.

    `issuer` is the `iss` claim; `port` is the loopback port (0: any free one); `now` gives aware UTC instants and
    rules `iat` only.
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
        """Return itself: the server already runs."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop serving."""
        self.stop()

    def stop(self) -> None:
        """Stop serving; tokens can still be minted."""
        self._server.stop()

    @property
    def url(self) -> str:
        """The loopback base URL that stands for the issuer URL."""
        return self._server.url

    @property
    def jwks_url(self) -> str:
        """The loopback URL of the key document."""
        return self.url + _KEYS_PATH

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The kids that are published, oldest first."""
        with self._lock:
            return tuple(key.kid for key in self._keys)

    def add_key(self, algorithm: str = "RS256") -> str:
        """Publish a new key, which signs from now on; returns its kid. ValueError: neither RS256 nor ES256."""
        private_key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
        if algorithm == "RS256":
            private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        elif algorithm == "ES256":
            private_key = ec.generate_private_key(ec.SECP256R1())
        else:
            raise ValueError(f"The sandbox's issuer signs with RS256 or ES256, not {algorithm}")
        key = _SigningKey(kid=secrets.token_urlsafe(32), algorithm=algorithm, private_key=private_key)
        with self._lock:
            self._keys.append(key)
        return key.kid

    def public_key(self, kid: str) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None:
        """Return the key that verifies what `kid` signed; None where it is not published."""
        with self._lock:
            return next((key.private_key.public_key() for key in self._keys if key.kid == kid), None)

    def retire_key(self, kid: str) -> None:
        """Withdraw a key: it signs no more, and whoever fetches the key document cannot verify its tokens."""
        with self._lock:
            self._keys = [key for key in self._keys if key.kid != kid]

    def set_availability(self, availability: Availability, *, delay: timedelta = timedelta(seconds=10)) -> None:
        """Choose how documents answer from now on; `delay` counts for SLOW only."""
        self._availability = availability
        self._delay = delay

    def mint(  # noqa: PLR0913 - each is a claim that a caller may want to vary, all by keyword
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
        """Sign a bound token. `overrides` replace claims by name; None removes the claim.

        The newest key of `algorithm` signs; one is made when there is none.
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
                "node": {"name": self.node, "uid": uid_of("node", self.node)},
                "pod": {"name": pod, "uid": uid_of("pod", namespace, pod)},
                "serviceaccount": {"name": service_account, "uid": uid_of("sa", namespace, service_account)},
            },
            "nbf": int((not_before or issued).timestamp()),
            "sub": f"system:serviceaccount:{namespace}:{service_account}",
            **overrides,
        }
        key = self._signing_key(algorithm)
        present = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(present, key.private_key, algorithm=algorithm, headers={"kid": key.kid, "typ": None})

    def _signing_key(self, algorithm: str) -> _SigningKey:
        with self._lock:
            fitting = [key for key in self._keys if key.algorithm == algorithm]
        if fitting:
            return fitting[-1]
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
        document = self._document(request.path)
        if document is None:
            wire.send(404, {"Content-Type": "text/plain"}, b"404 page not found\n")
            return
        content_type = "application/jwk-set+json" if request.path == _KEYS_PATH else "application/json"
        wire.send(200, {"Content-Type": content_type, "Cache-Control": "public, max-age=3600"}, document)

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
                "jwks_uri": self.issuer + _KEYS_PATH,
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": algorithms,
            }
        ).encode()
