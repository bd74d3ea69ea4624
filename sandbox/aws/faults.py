"""What can go wrong at STS, as values that a test or the demo queues.

Rules: a fault either refuses at once (`Refuse`, `Broken`), or spoils the answer of a real exchange (`Spoiled`,
`Blank`, `Missing`, `SkewedDate`), or spoils its delivery (`Latency`, `Drip`, `Hang`, `Reset`).
It refuses to know sockets: `sandbox.sts` delivers, this module describes and rewrites answers.
"""

from __future__ import annotations

import enum
import re
import threading
from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from sandbox.aws.answers import Answer, instant
from sandbox.aws.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

WEB_IDENTITY = "AssumeRoleWithWebIdentity"
_HTML = (
    b"<html><head><title>503 Service Temporarily Unavailable</title></head><body><center><h1>Sorry</h1></center></html>"
)
_KEY_ERROR = (
    "Couldn't retrieve verification key from your identity provider, "
    "please reference AssumeRoleWithWebIdentity documentation for requirements"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Wait, then answer as usual."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """Never answer: the connection stays open until the client leaves or the server stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drip:
    """Send the answer in small pieces with a pause after each."""

    pause_seconds: float = 0.05
    piece_bytes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Reset the connection (RST) instead of answering."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Answer with an STS error, whatever was asked."""

    code: str
    message: str
    status: int = 400


class Body(enum.Enum):
    """What a broken answer carries: nothing, a proxy's HTML, or JSON as Ceph writes it. None has a code."""

    EMPTY = b""
    HTML = _HTML
    CEPH = b'{"Code":"AccessDenied","RequestId":"tx000-sandbox","HostId":"sandbox"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Answer with this HTTP status and a body that is no STS error."""

    status: int
    body: Body = Body.EMPTY


class Field(enum.Enum):
    """A field of Credentials, by its element's name."""

    ACCESS_KEY_ID = "AccessKeyId"
    SECRET_ACCESS_KEY = "SecretAccessKey"
    SESSION_TOKEN = "SessionToken"
    EXPIRATION = "Expiration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blank:
    """Issue credentials of which one field is empty."""

    field: Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Issue credentials that lack one field."""

    field: Field


@dataclass(frozen=True, slots=True, kw_only=True)
class SkewedDate:
    """Answer as usual with a Date header that is off by this much (STS's own checks keep the right time)."""

    by: timedelta


class Spoiled(enum.Enum):
    """Ways to spoil an otherwise good answer."""

    TRUNCATED_XML = "truncated-xml"  # ends inside the session token, after the whole secret key
    MALFORMED_XML = "malformed-xml"
    EXPIRED = "expired"
    WRONG_ROLE = "wrong-role"
    ECHO = "echo"  # a debugging proxy: the request's body, token and all, comes back
    NO_DATE = "no-date"


Fault: TypeAlias = Latency | Hang | Drip | Reset | Refuse | Broken | Blank | Missing | SkewedDate | Spoiled

THROTTLING = Refuse(code="Throttling", message="Rate exceeded")
THROTTLING_EXCEPTION = Refuse(code="ThrottlingException", message="Rate exceeded")
REQUEST_LIMIT_EXCEEDED = Refuse(code="RequestLimitExceeded", message="Request limit exceeded.")
TOO_MANY_REQUESTS = Refuse(code="TooManyRequestsException", message="Too many requests", status=429)
INTERNAL_FAILURE = Refuse(code="InternalFailure", message="We encountered an internal error.", status=500)
SERVICE_UNAVAILABLE = Refuse(code="ServiceUnavailable", message="Service is unavailable.", status=503)
INVALID_IDENTITY_TOKEN = Refuse(code="InvalidIdentityToken", message=_KEY_ERROR)
IDP_COMMUNICATION_ERROR = Refuse(
    code="IDPCommunicationError", message="Error communicating with the identity provider: sandbox"
)
IDP_REJECTED_CLAIM = Refuse(code="IDPRejectedClaim", message="Unable to verify the claim with the provider", status=403)
ACCESS_DENIED = Refuse(
    code="AccessDenied", message="Not authorized to perform sts:AssumeRoleWithWebIdentity", status=403
)
REGION_DISABLED = Refuse(
    code="RegionDisabledException", message="STS is not activated in this region for account:123456789012.", status=403
)
EXPIRED_TOKEN_EXCEPTION = Refuse(
    code="ExpiredTokenException",
    message="Token expired: current date/time 1795464000 must be before the expiration date/time 1795460400",
)
MINIO_EXPIRED_TOKEN = Refuse(code="ExpiredToken", message="The provided token has expired")
PACKED_POLICY_TOO_LARGE = Refuse(
    code="PackedPolicyTooLarge",
    message="Packed policy consumes 112% of allotted space, please use smaller policy.",
)
MALFORMED_POLICY_DOCUMENT = Refuse(code="MalformedPolicyDocument", message="Syntax errors in policy.")
VALIDATION_ERROR = Refuse(
    code="ValidationError",
    message="The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
)
HTML_503 = Broken(status=503, body=Body.HTML)
EMPTY_502 = Broken(status=502)
CEPH_403 = Broken(status=403, body=Body.CEPH)
CEPH_400 = Broken(status=400, body=Body.CEPH)


def name_of(fault: Fault | None) -> str | None:
    """Name a fault for the record of calls."""
    if isinstance(fault, Spoiled):
        return f"Spoiled.{fault.name}"
    return None if fault is None else type(fault).__name__


def apply(
    fault: Fault | None, exchange: Callable[[], Answer], *, request_body: bytes, refuse: Callable[[Refusal], Answer]
) -> Answer:
    """Give the answer under this fault; `exchange` does the real thing and is called only if the fault needs it."""
    match fault:
        case Refuse(code=code, message=message, status=status):
            return refuse(Refusal(code, message, status))
        case Broken(status=status, body=body):
            template = refuse(Refusal("", "", status))
            kind = {Body.HTML: "text/html", Body.CEPH: "application/json"}.get(body, "text/plain")
            return replace(template, body=body.value, outcome=f"HTTP {status}", content_type=kind)
    answer = exchange()
    if answer.outcome != "Success":
        return answer
    return _spoil(fault, answer, request_body)


def _spoil(fault: Fault | None, answer: Answer, request_body: bytes) -> Answer:  # noqa: PLR0911 - a table
    match fault:
        case Blank(field=field):
            return _rewrite(answer, field.value, f"<{field.value}></{field.value}>")
        case Missing(field=field):
            return _rewrite(answer, field.value, "")
        case SkewedDate(by=by):
            return replace(answer, at=answer.at + by)
        case Spoiled.NO_DATE:
            return replace(answer, headers={"Date": ""})
        case Spoiled.EXPIRED:
            past = instant(answer.at - timedelta(minutes=5))
            return _rewrite(answer, "Expiration", f"<Expiration>{past}</Expiration>")
        case Spoiled.WRONG_ROLE:
            return replace(answer, body=re.sub(rb":assumed-role/[^/]+/", b":assumed-role/somebody-else/", answer.body))
        case Spoiled.TRUNCATED_XML:
            return replace(answer, body=answer.body[: answer.body.index(b"<SessionToken>") + 60])
        case Spoiled.MALFORMED_XML:
            return replace(answer, body=answer.body.replace(b"</Credentials>", b"</Credential"))
        case Spoiled.ECHO:
            return replace(answer, body=request_body, content_type="application/x-www-form-urlencoded")
        case _:
            return answer


def _rewrite(answer: Answer, element: str, text: str) -> Answer:
    pattern = f"<{element}>[^<]*</{element}>".encode()
    return replace(answer, body=re.sub(pattern, text.encode(), answer.body))


class FaultPlan:
    """Which fault the next exchange meets; thread-safe. Queued faults come before the permanent one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, deque[Fault | None]] = {}
        self._permanent: dict[tuple[str, str | None], Fault] = {}

    def script(self, faults: tuple[Fault | None, ...], action: str) -> None:
        """Queue faults for `action`, one per exchange; None stands for an exchange that goes well."""
        with self._lock:
            self._queues.setdefault(action, deque()).extend(faults)

    def always(self, fault: Fault | None, action: str, role_arn: str | None) -> None:
        """Set, or with None clear, the fault of every exchange (of one role, if named)."""
        with self._lock:
            if fault is None:
                self._permanent.pop((action, role_arn), None)
            else:
                self._permanent[action, role_arn] = fault

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._queues.clear()
            self._permanent.clear()

    def next(self, action: str, role_arn: str) -> Fault | None:
        """Take the fault of one exchange."""
        with self._lock:
            if queue := self._queues.get(action):
                return queue.popleft()
            return self._permanent.get((action, role_arn)) or self._permanent.get((action, None))
