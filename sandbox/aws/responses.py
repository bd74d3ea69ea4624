"""Formats STS responses: the XML of successes and errors, and their headers.

Codes, messages and HTTP statuses are those of AWS. Every response has a Date and a request id. Times are written as
`YYYY-MM-DDTHH:MM:SSZ`. This module makes no decisions.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sandbox.aws.refusal import Refusal
    from sandbox.aws.sessions import Session

NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A response to the client. `outcome` is "Success" or the error code, for the record of calls."""

    status: int
    body: bytes
    outcome: str
    request_id: str
    at: datetime
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "text/xml"

    def all_headers(self) -> dict[str, str]:
        """Return all headers to send."""
        standard = {
            "Date": format_datetime(self.at, usegmt=True),
            "Content-Type": self.content_type,
            "x-amzn-RequestId": self.request_id,
        }
        merged = {**standard, **self.headers}
        return {name: value for name, value in merged.items() if value}  # "" removes a header


def format_time(at: datetime) -> str:
    """Return a time in the format of STS."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def new_request_id() -> str:
    """Return a random request id."""
    return str(uuid.uuid4())


def error_response(refusal: Refusal, *, request_id: str, at: datetime) -> Response:
    """Return a refusal in the format of the AWS query protocol."""
    kind = "Sender" if refusal.status < 500 else "Receiver"  # noqa: PLR2004 - the first server error of HTTP
    body = (
        f'<ErrorResponse xmlns="{NAMESPACE}">\n'
        "  <Error>\n"
        f"    <Type>{kind}</Type>\n"
        f"    <Code>{escape(refusal.code)}</Code>\n"
        f"    <Message>{escape(refusal.message)}</Message>\n"
        "  </Error>\n"
        f"  <RequestId>{request_id}</RequestId>\n"
        "</ErrorResponse>\n"
    )
    return Response(status=refusal.status, body=body.encode(), outcome=refusal.code, request_id=request_id, at=at)


def success_response(action: str, result: str, *, request_id: str, at: datetime) -> Response:
    """Return the response to `action` with the XML of its result."""
    body = (
        f'<{action}Response xmlns="{NAMESPACE}">\n  <{action}Result>\n{result}  </{action}Result>\n'
        f"  <ResponseMetadata>\n    <RequestId>{request_id}</RequestId>\n  </ResponseMetadata>\n</{action}Response>\n"
    )
    return Response(status=200, body=body.encode(), outcome="Success", request_id=request_id, at=at)


def session_result(session: Session, extra: Mapping[str, str]) -> str:
    """Return the XML of Credentials and AssumedRoleUser, followed by the `extra` elements."""
    elements = "".join(f"    <{name}>{escape(value)}</{name}>\n" for name, value in extra.items())
    return (
        "    <Credentials>\n"
        f"      <AccessKeyId>{session.access_key_id}</AccessKeyId>\n"
        f"      <SecretAccessKey>{session.secret_access_key}</SecretAccessKey>\n"
        f"      <SessionToken>{session.session_token}</SessionToken>\n"
        f"      <Expiration>{format_time(session.expires_at)}</Expiration>\n"
        "    </Credentials>\n"
        "    <AssumedRoleUser>\n"
        f"      <AssumedRoleId>{session.user_id}</AssumedRoleId>\n"
        f"      <Arn>{session.arn}</Arn>\n"
        "    </AssumedRoleUser>\n" + elements
    )


def token_result(token: str, expires_at: datetime) -> str:
    """Return the XML result of GetWebIdentityToken."""
    return f"    <WebIdentityToken>{token}</WebIdentityToken>\n    <Expiration>{format_time(expires_at)}</Expiration>\n"


def identity_result(session: Session) -> str:
    """Return the XML result of GetCallerIdentity."""
    return (
        f"    <UserId>{session.user_id}</UserId>\n"
        f"    <Account>{session.account_id}</Account>\n"
        f"    <Arn>{session.arn}</Arn>\n"
    )
