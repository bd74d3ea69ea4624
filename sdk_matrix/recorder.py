"""The recording endpoint: an STS and an S3 in small, one for each client and way, that verifies and counts every call.

Rules: a call counts as accepted only if its signature, its session token and the session's expiry are right, judged by
the same authority that issued the session; what is refused is recorded like the rest. A call is judged by the second it
was signed in if it then took no longer than 2 s, so that one on its way at the moment of expiry is no fault of anybody.
It knows no bucket's content: a bucket is empty, an object is not there.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, quote

from sandbox.aws.responses import new_request_id, error_response, success_response
from sandbox.aws.refusal import Refusal
from sandbox.aws.signature import read_signature
from sandbox.http.loopback import LoopbackServer, Request, Wire
from sdk_matrix.verdicts import ACCEPTED, Call

if TYPE_CHECKING:
    from collections.abc import Callable

_ON_ITS_WAY = timedelta(seconds=2)
_UNRESERVED = "-_.~"
_S3_ERROR = "<Error><Code>{code}</Code><Message>{code}</Message><RequestId>{request_id}</RequestId></Error>"
_S3_NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_EMPTY_BUCKET = (
    f"<ListBucketResult {_S3_NAMESPACE}><Name>bucket</Name><Prefix></Prefix><KeyCount>0</KeyCount>"
    "<MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>"
)


class Recorder:
    """Listens from construction until `stop()`; a context manager.

    `identify` gives the result of GetCallerIdentity for whoever signed a request, or raises Refusal.
    """

    def __init__(self, identify: Callable[[Request, datetime], str]) -> None:
        self._identify = identify
        self._calls: list[Call] = []
        self._lock = threading.Lock()
        self._server = LoopbackServer(answer=self._answer)

    def __enter__(self) -> Self:
        """Return itself: the endpoint already listens."""
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
        """Every call so far, oldest first."""
        with self._lock:
            return tuple(self._calls)

    def _answer(self, request: Request, wire: Wire) -> None:
        at = datetime.now(UTC)
        signature = read_signature(request)
        key = signature.access_key_id if signature else ""
        refusal: Refusal | None = None
        identity = ""
        try:
            identity = self._identify(canonical(request), judged_at(request, at))
        except Refusal as refused:
            refusal = refused
        outcome = refusal.code if refusal else ACCEPTED
        with self._lock:
            self._calls.append(Call(at_seconds=time.monotonic(), access_key_id=key, outcome=outcome))
        if request.method == "POST":
            _answer_as_sts(wire, identity, refusal, at)
        else:
            _answer_as_s3(wire, request, refusal)


def judged_at(request: Request, at: datetime) -> datetime:
    """Return the instant by which a session must not be over: when the request was signed, if that was just now."""
    try:
        signed = datetime.strptime(request.headers.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return at
    return signed if timedelta(0) <= at - signed <= _ON_ITS_WAY else at


def canonical(request: Request) -> Request:
    """Return the request with its query as Signature Version 4 has it: each name with a value, encoded, in order."""
    path, _, query = request.path.partition("?")
    pairs = sorted(
        (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED))
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    return replace(request, path=path + "?" + "&".join(f"{name}={value}" for name, value in pairs))


def _answer_as_sts(wire: Wire, identity: str, refusal: Refusal | None, at: datetime) -> None:
    request_id = new_request_id()
    if refusal is None:
        answer = success_response("GetCallerIdentity", identity, request_id=request_id, at=at)
    else:
        answer = error_response(refusal, request_id=request_id, at=at)
    wire.send(answer.status, answer.all_headers(), answer.body)


def _answer_as_s3(wire: Wire, request: Request, refusal: Refusal | None) -> None:
    """Say 404 to whoever asks for a bucket or an object itself, and list every bucket as empty."""
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
