"""Faults of STS, as values that a test or the demo queues.

A fault refuses the request (`Refuse`, `Broken`), changes the response of a real exchange (`Spoiled`, `Blank`,
`Missing`, `SkewedDate`), or disturbs its delivery (`Latency`, `Drip`, `Hang`, `Reset`). This module describes faults
and rewrites responses. `sandbox.aws.sts` sends them.
"""

from __future__ import annotations

import enum
import re
import threading
from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from sandbox.aws.refusal import Refusal
from sandbox.aws.responses import Response, format_time

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
    """Wait, then respond as usual."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """Never respond. The connection stays open until the client closes it or the server stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drip:
    """Send the response in small pieces with a pause after each."""

    pause_seconds: float = 0.05
    piece_bytes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Reset the connection (RST) instead of responding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """Respond with this STS error to any request."""

    code: str
    message: str
    status: int = 400


class Body(enum.Enum):
    """The body of a broken response: nothing, a proxy's HTML, a mesh's text, an error as of S3, or JSON like Ceph's."""

    EMPTY = b""
    HTML = _HTML
    TEXT = b"RBAC: access denied"
    S3 = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
    CEPH = b'{"Code":"AccessDenied","RequestId":"tx000-sandbox","HostId":"sandbox"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """Respond with this HTTP status and a body that isn't an STS error."""

    status: int
    body: Body = Body.EMPTY


class Field(enum.Enum):
    """A field of Credentials. The value is its element's name."""

    ACCESS_KEY_ID = "AccessKeyId"
    SECRET_ACCESS_KEY = "SecretAccessKey"
    SESSION_TOKEN = "SessionToken"
    EXPIRATION = "Expiration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blank:
    """Issue credentials with one empty field."""

    field: Field


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Issue credentials without one field."""

    field: Field


@dataclass(frozen=True, slots=True, kw_only=True)
class SkewedDate:
    """Respond as usual, with a Date header that differs by this much. STS's own checks use the correct time."""

    by: timedelta


class Spoiled(enum.Enum):
    """Changes to an otherwise good response."""

    TRUNCATED_XML = "truncated-xml"  # ends inside the session token, after the whole secret key
    MALFORMED_XML = "malformed-xml"
    EXPIRED = "expired"
    WRONG_ROLE = "wrong-role"
    ECHO = "echo"  # a debugging proxy: the response is the request's body, including the token
    NO_DATE = "no-date"


Fault: TypeAlias = Latency | Hang | Drip | Reset | Refuse | Broken | Blank | Missing | SkewedDate | Spoiled

THROTTLING = Refuse(code="Throttling", message="Rate exceeded")
THROTTLING_EXCEPTION = Refuse(code="ThrottlingException", message="Rate exceeded")
REQUEST_LIMIT_EXCEEDED = Refuse(code="RequestLimitExceeded", message="Request limit exceeded.")
TOO_MANY_REQUESTS = Refuse(code="TooManyRequestsException", message="Too many requests", status=429)
INTERNAL_FAILURE = Refuse(code="InternalFailure", message="We encountered an internal error.", status=500)
SERVICE_UNAVAILABLE = Refuse(code="ServiceUnavailable", message="Service is unavailable.", status=503)
INVALID_IDENTITY_TOKEN = Refuse(code="InvalidIdentityToken", message=_KEY_ERROR)
THUMBPRINT = Refuse(
    code="InvalidIdentityToken",
    message="OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint",
)
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
HTML_403 = Broken(status=403, body=Body.HTML)
TEXT_403 = Broken(status=403, body=Body.TEXT)
S3_403 = Broken(status=403, body=Body.S3)
CEPH_403 = Broken(status=403, body=Body.CEPH)
CEPH_400 = Broken(status=400, body=Body.CEPH)


def fault_name(fault: Fault | None) -> str | None:
    """Return the name of a fault for the record of calls."""
    if isinstance(fault, Spoiled):
        return f"Spoiled.{fault.name}"
    return None if fault is None else type(fault).__name__


def apply(
    fault: Fault | None, exchange: Callable[[], Response], *, request_body: bytes, refuse: Callable[[Refusal], Response]
) -> Response:
    """Return the response under this fault. `exchange` does the real exchange. It is called only if needed."""
    match fault:
        case Refuse(code=code, message=message, status=status):
            return refuse(Refusal(code, message, status))
        case Broken(status=status, body=body):
            template = refuse(Refusal("", "", status))
            kind = {Body.HTML: "text/html", Body.CEPH: "application/json", Body.S3: "application/xml"}.get(
                body, "text/plain"
            )
            anonymous = {"x-amzn-RequestId": ""}  # only AWS sends one
            return replace(template, body=body.value, outcome=f"HTTP {status}", content_type=kind, headers=anonymous)
    response = exchange()
    if response.outcome != "Success":
        return response
    return _spoil(fault, response, request_body)


def _spoil(fault: Fault | None, response: Response, request_body: bytes) -> Response:  # noqa: PLR0911 - a table
    match fault:
        case Blank(field=field):
            return _rewrite(response, field.value, f"<{field.value}></{field.value}>")
        case Missing(field=field):
            return _rewrite(response, field.value, "")
        case SkewedDate(by=by):
            return replace(response, at=response.at + by)
        case Spoiled.NO_DATE:
            return replace(response, headers={"Date": ""})
        case Spoiled.EXPIRED:
            past = format_time(response.at - timedelta(minutes=5))
            return _rewrite(response, "Expiration", f"<Expiration>{past}</Expiration>")
        case Spoiled.WRONG_ROLE:
            body = re.sub(rb":assumed-role/[^/]+/", b":assumed-role/somebody-else/", response.body)
            return replace(response, body=body)
        case Spoiled.TRUNCATED_XML:
            return replace(response, body=response.body[: response.body.index(b"<SessionToken>") + 60])
        case Spoiled.MALFORMED_XML:
            return replace(response, body=response.body.replace(b"</Credentials>", b"</Credential"))
        case Spoiled.ECHO:
            return replace(response, body=request_body, content_type="application/x-www-form-urlencoded")
        case _:
            return response


def _rewrite(response: Response, element: str, text: str) -> Response:
    pattern = f"<{element}>[^<]*</{element}>".encode()
    return replace(response, body=re.sub(pattern, text.encode(), response.body))


class FaultPlan:
    """The faults of coming exchanges. Thread-safe. Queued faults take precedence over permanent ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queues: dict[str, deque[Fault | None]] = {}
        self._permanent: dict[tuple[str, str | None], Fault] = {}

    def script(self, faults: tuple[Fault | None, ...], action: str) -> None:
        """Queue faults for `action`, one for each exchange. None means no fault."""
        with self._lock:
            self._queues.setdefault(action, deque()).extend(faults)

    def always(self, fault: Fault | None, action: str, role_arn: str | None) -> None:
        """Set the fault of every exchange, or of every exchange for one role. None clears it."""
        with self._lock:
            if fault is None:
                self._permanent.pop((action, role_arn), None)
            else:
                self._permanent[action, role_arn] = fault

    def clear(self) -> None:
        """Remove all faults."""
        with self._lock:
            self._queues.clear()
            self._permanent.clear()

    def next(self, action: str, role_arn: str) -> Fault | None:
        """Return the fault of the next exchange, and remove it from the queue."""
        with self._lock:
            if queue := self._queues.get(action):
                return queue.popleft()
            return self._permanent.get((action, role_arn)) or self._permanent.get((action, None))
