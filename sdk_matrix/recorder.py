"""The recording endpoint: a minimal STS and S3 for one client and delivery, which verifies and records every call.

A call is accepted only if its signature, session token and expiry are valid, according to the STS that issued the
session. Refused calls are recorded as well. Expiry is checked at the time of signing if that was at most 2 s ago, so
that a call in transit at the moment of expiry does not count as refused. Buckets are empty, and objects do not exist.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, quote

from sandbox.aws.refusal import Refusal
from sandbox.aws.responses import error_response, new_request_id, success_response
from sandbox.aws.signature import read_signature
from sandbox.http.loopback import LoopbackServer, Request, Wire
from sdk_matrix.verdicts import ACCEPTED, Call

if TYPE_CHECKING:
    from collections.abc import Callable

_TRANSIT_LIMIT = timedelta(seconds=2)
_UNRESERVED = "-_.~"
_S3_ERROR = "<Error><Code>{code}</Code><Message>{code}</Message><RequestId>{request_id}</RequestId></Error>"
_S3_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_EMPTY_BUCKET = (
    f"<ListBucketResult {_S3_NAMESPACE}><Name>bucket</Name><Prefix></Prefix><KeyCount>0</KeyCount>"
    "<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>"
)


class Recorder:
    """Listens from construction until `stop()`. A context manager.

    `identify` returns the result of GetCallerIdentity for the signer of a request, or raises Refusal.
    """

    def __init__(self, identify: Callable[[Request, datetime], str]) -> None:
        self._identify = identify
        self._calls: list[Call] = []
        self._lock = threading.Lock()
        self._server = LoopbackServer(answer=self._answer)

    def __enter__(self) -> Self:
        """Return the recorder, which already listens."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self.stop()

    def stop(self) -> None:
        """Close the listener and every connection."""
        self._server.stop()

    @property
    def url(self) -> str:
        """The endpoint's URL."""
        return self._server.url

    @property
    def calls(self) -> tuple[Call, ...]:
        """All calls so far, oldest first."""
        with self._lock:
            return tuple(self._calls)

    def _answer(self, request: Request, wire: Wire) -> None:
        at = datetime.now(UTC)
        signature = read_signature(request)
        key = signature.access_key_id if signature else ""
        refusal: Refusal | None = None
        identity = ""
        try:
            identity = self._identify(canonicalize(request), find_judgement_time(request, at))
        except Refusal as refused:
            refusal = refused
        outcome = refusal.code if refusal else ACCEPTED
        with self._lock:
            self._calls.append(Call(at_seconds=time.monotonic(), access_key_id=key, outcome=outcome))
        if request.method == "POST":
            _respond_as_sts(wire, identity, refusal, at)
        else:
            _respond_as_s3(wire, request, refusal)


def find_judgement_time(request: Request, at: datetime) -> datetime:
    """Return the time at which the session must be unexpired: the time of signing if that was at most 2 s ago."""
    try:
        signed = datetime.strptime(request.headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return at
    return signed if timedelta(0) <= at - signed <= _TRANSIT_LIMIT else at


def canonicalize(request: Request) -> Request:
    """Return the request with the canonical query of Signature Version 4: sorted, encoded, each name with a value."""
    path, _, query = request.path.partition("?")
    pairs = sorted(
        (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED))
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    return replace(request, path=path + "?" + "&".join(f"{name}={value}" for name, value in pairs))


def _respond_as_sts(wire: Wire, identity: str, refusal: Refusal | None, at: datetime) -> None:
    request_id = new_request_id()
    if refusal is None:
        response = success_response("GetCallerIdentity", identity, request_id=request_id, at=at)
    else:
        response = error_response(refusal, request_id=request_id, at=at)
    wire.send(response.status, response.all_headers(), response.body)


def _respond_as_s3(wire: Wire, request: Request, refusal: Refusal | None) -> None:
    """Respond with 404 to requests for a bucket or an object, and with an empty list to list requests."""
    path, _, query = request.path.partition("?")
    is_in_bucket = "/" in path.strip("/")
    if refusal is not None:
        status = HTTPStatus.BAD_REQUEST if refusal.code == "ExpiredToken" else HTTPStatus.FORBIDDEN
        body = _S3_ERROR.format(code=refusal.code, request_id=new_request_id())
    elif request.method == "HEAD" or is_in_bucket:
        status, body = HTTPStatus.NOT_FOUND, _S3_ERROR.format(code="NoSuchKey", request_id=new_request_id())
    elif "location" in query.split("&"):
        status, body = HTTPStatus.OK, f"<LocationConstraint {_S3_NAMESPACE}>eu-west-1</LocationConstraint>"
    else:
        status, body = HTTPStatus.OK, _EMPTY_BUCKET
    headers = {"Content-Type": "application/xml", "x-amz-request-id": new_request_id()}
    wire.send(status, headers, b"" if request.method == "HEAD" else body.encode())
