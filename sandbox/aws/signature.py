"""Reads and verifies Signature Version 4 in a request's Authorization header.

It supports signatures in headers, as STS and S3 clients send them, and compares them in constant time. botocore's
implementation is not used: the library that signs with a published secret must not also verify it.
This module does not know which keys exist.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.http.loopback import Request

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>[^,]+), ?"
    r"SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<hex>\w+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The signature of a request. `scope` is date/region/service/aws4_request."""

    access_key_id: str
    session_token: str | None
    scope: str
    signed_headers: tuple[str, ...]
    hexdigest: str


def read_signature(request: Request) -> Signature | None:
    """Return the signature in the Authorization header, or None if there is none of this kind."""
    match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if not match:
        return None
    return Signature(
        access_key_id=match["key"],
        session_token=request.headers.get("x-amz-security-token"),
        scope=match["scope"],
        signed_headers=tuple(match["headers"].split(";")),
        hexdigest=match["hex"],
    )


def is_signed_with(request: Request, signature: Signature, secret_access_key: str) -> bool:
    """Return whether the request was signed with this secret key and has not been changed."""
    path, _, query = request.path.partition("?")
    headers = "".join(
        f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in signature.signed_headers
    )
    names = ";".join(signature.signed_headers)
    payload = hashlib.sha256(request.body).hexdigest()
    canonical = f"{request.method}\n{path}\n{query}\n{headers}\n{names}\n{payload}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    instant = request.headers.get("x-amz-date", "")
    text = f"AWS4-HMAC-SHA256\n{instant}\n{signature.scope}\n{digest}"
    key = f"AWS4{secret_access_key}".encode()
    for part in signature.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    expected = hmac.new(key, text.encode(), "sha256").hexdigest()
    return hmac.compare_digest(expected, signature.hexdigest)
