"""Builders of the broker's values, and a clock that tests move."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from broker.core.clock import Instant
from broker.core.errors import ExchangeError, PublishError, TokenError
from broker.core.model import (
    BoundToken,
    ChainSpec,
    Generation,
    ProfileSpec,
    Secret,
    SourceSession,
    TemporaryCredentials,
    UnverifiedClaims,
)
from broker.tokens.decoding import parse_token

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from queue import SimpleQueue

    from broker.core.clock import Message
    from broker.core.collaborators import Exchanger, Sink
    from broker.core.model import Proof

Item = TypeVar("Item")
EPOCH = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
ROLE_ARN = "arn:aws:iam::123456789012:role/app"
AUDIENCE = "sts.amazonaws.com"


class FakeClock:
    """A clock whose time passes only by `advance`, `jump` and `wait`."""

    def __init__(self, now: datetime = EPOCH) -> None:
        self.now = now
        self.monotonic = timedelta(seconds=1000)

    def read(self) -> Instant:
        """Return the current time of both clocks."""
        return Instant(now=self.now, monotonic=self.monotonic)

    def advance(self, duration: timedelta) -> None:
        """Move both clocks forward."""
        self.now += duration
        self.monotonic += duration

    def jump(self, duration: timedelta) -> None:
        """Move the wall clock forward or back. The monotonic clock does not change."""
        self.now += duration

    def wait(self, inbox: SimpleQueue[Message], duration: timedelta) -> Message | None:
        """Return the next message in the inbox. If there is none, let the whole duration pass and return None."""
        if not inbox.empty():
            return inbox.get_nowait()
        self.advance(duration)
        return None


class InlinePublisher(Generic[Item]):
    """A Publisher that publishes at once, on the thread of the loop."""

    name = "files"

    def __init__(self, sink: Sink[Item]) -> None:
        self._sink = sink

    def begin(self, items: Sequence[Item], on_end: Callable[[Exception | None], None]) -> None:
        """Publish, and call back."""
        try:
            self._sink.publish(items)
        except PublishError as error:
            on_end(error)
        else:
            on_end(None)

    def missing(self) -> frozenset[str]:
        """Return what the sink says now."""
        return self._sink.missing()


class InlineExchanges:
    """Exchanges that are made at once, on the thread of the loop."""

    def __init__(self, exchanger: Exchanger) -> None:
        self._exchanger = exchanger

    def begin(
        self, profile: ProfileSpec, proof: Proof, on_end: Callable[[TemporaryCredentials | ExchangeError], None]
    ) -> None:
        """Exchange, and call back."""
        try:
            on_end(self._exchanger.exchange(profile, proof))
        except ExchangeError as error:
            on_end(error)


def decode_at_once(text: Secret, origin: str, on_decoded: Callable[[BoundToken | TokenError], None]) -> None:
    """Decode a token as a worker does, and call back."""
    try:
        on_decoded(parse_token(text.reveal(), origin=origin))
    except TokenError as error:
        on_decoded(error)


def make_profile(name: str = "default", **changes: Any) -> ProfileSpec:  # noqa: ANN401 - any field of the spec
    """Return a profile for ROLE_ARN in eu-west-1."""
    fields = {"role_arn": ROLE_ARN, "region": "eu-west-1", "token_file": "/token", **changes}
    return ProfileSpec(name=name, **fields)


def make_chained(name: str, source: str = "default", **changes: Any) -> ProfileSpec:  # noqa: ANN401 - of ChainSpec
    """Return a profile whose role is assumed with the credentials of `source`."""
    role_arn = f"arn:aws:iam::210987654321:role/{name}"
    return make_profile(name, role_arn=role_arn, token_file="", chain=ChainSpec(source=source, **changes))


def make_session(profile: str = "default", number: int = 1, **changes: Any) -> SourceSession:  # noqa: ANN401 - of make_credentials
    """Return the source session with which a role that is chained to `profile` is assumed."""
    return SourceSession(generation=make_generation(profile, number, **changes))


def make_token(
    *,
    issued_at: datetime | None = EPOCH,
    lifetime: timedelta = timedelta(hours=1),
    audiences: tuple[str, ...] = (AUDIENCE,),
    serial: int = 0,
    **changes: Any,  # noqa: ANN401 - any claim
) -> BoundToken:
    """Return a token of `demo/app`. `serial` distinguishes tokens with the same times."""
    starts_at = issued_at or EPOCH
    claims: dict[str, Any] = {
        "issuer": "https://oidc.example/cluster",
        "subject": "system:serviceaccount:demo:app",
        "namespace": "demo",
        "service_account": "app",
        "pod": "app-7d9c5b6f8-x2x7k",
        **changes,
    }
    raw = f"token-{starts_at.timestamp()}-{lifetime}-{serial}"
    return BoundToken(
        raw=Secret(raw),
        fingerprint=hashlib.sha256(raw.encode()).hexdigest()[:12],
        claims=UnverifiedClaims(
            audiences=audiences,
            issued_at=issued_at,
            not_before=issued_at,
            expires_at=starts_at + lifetime,
            **claims,
        ),
    )


def make_jwt(
    *,
    issued_at: datetime = EPOCH,
    lifetime: timedelta = timedelta(hours=1),
    audience: str | list[str] | None = None,
    **claims: object,
) -> str:
    """Return the text of a bound token with an invalid signature. A claim that is None is left out."""
    payload: dict[str, object] = {
        "aud": [AUDIENCE] if audience is None else audience,
        "exp": int((issued_at + lifetime).timestamp()),
        "iat": int(issued_at.timestamp()),
        "iss": "https://oidc.example/cluster",
        "kubernetes.io": {
            "namespace": "demo",
            "node": {"name": "node-1"},
            "pod": {"name": "app-7d9c5b6f8-x2x7k"},
            "serviceaccount": {"name": "app"},
        },
        "sub": "system:serviceaccount:demo:app",
        **claims,
    }
    header = {"alg": "RS256", "kid": "key-1"}
    kept = {name: value for name, value in payload.items() if value is not None}
    parts = (json.dumps(header).encode(), json.dumps(kept).encode(), b"signature" * 28)
    return ".".join(_encode_part(part) for part in parts)


def make_credentials(
    *,
    received_at: datetime = EPOCH,
    lifetime: timedelta = timedelta(hours=1),
    serial: int = 0,
    **changes: Any,  # noqa: ANN401 - any field
) -> TemporaryCredentials:
    """Return credentials of ROLE_ARN. `serial` distinguishes generations."""
    fields: dict[str, Any] = {
        "access_key_id": f"ASIA{serial:016d}",
        "secret_access_key": Secret(f"secret+{serial:08d}/abcdefghijklmnopqrstuvwx"),
        "session_token": Secret(f"session//token+{serial:08d}=="),
        "received_at": received_at,
        "expires_at": received_at + lifetime,
        "lifetime": lifetime,
        "assumed_role_arn": "arn:aws:sts::123456789012:assumed-role/app/demo.app-7d9c5b6f8-x2x7k",
        "account_id": "123456789012",
        "request_id": f"request-{serial}",
        "clock_skew": timedelta(0),
        **changes,
    }
    return TemporaryCredentials(**fields)


def make_generation(profile: str = "default", number: int = 1, **changes: Any) -> Generation:  # noqa: ANN401 - of make_credentials
    """Return a generation. Its number distinguishes its credentials from others."""
    credentials = make_credentials(serial=number, **changes)
    return Generation(
        profile=profile, number=number, credentials=credentials, reason="refresh_due", fingerprint="0123456789ab"
    )


def _encode_part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
