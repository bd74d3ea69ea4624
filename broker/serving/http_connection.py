"""One client's connection: bytes in, one request at a time, bytes out.

httptools (llhttp) parses. This module bounds what it is given: header and body sizes, HTTP versions, and one request at
a time, because a client that sends requests ahead of the answers could make the broker buffer without limit. It does
no I/O and knows no time; `listener` moves the bytes.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from broker.serving.http_messages import Request, Response, encode_response

if TYPE_CHECKING:
    from broker.serving.http_messages import Application, Recorder

MAXIMUM_HEAD_BYTES = 8192
"""Request line and headers together."""
MAXIMUM_BODY_BYTES = 1024
"""No request needs a body; a small one is read and ignored."""
_HEADER_PUNCTUATION_BYTES = len(b": \r\n")
_VERSIONS = ("1.0", "1.1")
_log = logging.getLogger(__name__)


class HttpConnection:
    """Turns a client's bytes into requests, and the application's responses into bytes.

    `output` is what is still to be sent. Once it is sent, the connection ends if `is_finished`; if `has_unread_input`,
    the client is still sending something that nobody will read. `has_begun` says whether a request has begun to arrive.
    The `on_…` methods are httptools' callbacks.
    """

    __slots__ = (
        "_application",
        "_parser",
        "_record",
        "_request",
        "has_begun",
        "has_unread_input",
        "is_finished",
        "output",
    )

    def __init__(self, application: Application, record: Recorder | None = None) -> None:
        self._application = application
        self._record = record
        self._parser = HttpRequestParser(self)
        self._request = _ArrivingRequest()
        self.output = b""
        self.is_finished = False
        self.has_unread_input = False
        self.has_begun = False

    def receive(self, data: bytes) -> None:
        """Take bytes from the client. If they complete a request, or end in a refusal, `output` has the response."""
        request = self._request
        request.received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.is_finished = True  # the request is answered in HTTP/1.1; no other protocol follows
        except HttpParserError:
            request.refuse(HTTPStatus.BAD_REQUEST, "This is not a valid HTTP/1.1 request.")
            self.is_finished = True
        if not request.has_whole_head and request.received_bytes >= MAXIMUM_HEAD_BYTES:
            request.refuse_long_head()  # the parser holds a line of any length back until it ends
        if request.is_complete or request.refusal is not None:
            self._respond()

    def close(self) -> None:
        """Drop the parser. It refers to this connection, and a cycle would keep both until a garbage collection."""
        del self._parser

    def on_message_begin(self) -> None:
        """Note that a request begins. One that comes before the last is answered ends the connection."""
        self.has_begun = True
        if self._request.is_complete:
            self.is_finished = self.has_unread_input = True

    def on_url(self, part: bytes) -> None:
        """Take a piece of the request target."""
        request = self._request
        if not request.is_complete:
            request.target += part
            request.count_head(len(part))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        request = self._request
        if not request.is_complete:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
            # The values of a repeated header are joined, as RFC 9110 section 5.3 has it.
            request.headers[key] = f"{request.headers[key]}, {text}" if key in request.headers else text
            request.count_head(len(name) + len(value) + _HEADER_PUNCTUATION_BYTES)

    def on_headers_complete(self) -> None:
        """Take what the parser knows by now, and refuse other versions of HTTP."""
        request = self._request
        if request.is_complete:
            return
        request.has_whole_head = True
        request.method = self._parser.get_method()
        if self._parser.get_http_version() not in _VERSIONS:
            request.refuse(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "Use HTTP/1.1.")
        if int(request.headers.get("content-length", "0")) > MAXIMUM_BODY_BYTES:  # llhttp accepts digits only
            request.refuse_long_body()

    def on_body(self, part: bytes) -> None:
        """Count the bytes of the body, and drop them."""
        request = self._request
        if request.is_complete:
            return
        request.body_bytes += len(part)
        if request.body_bytes > MAXIMUM_BODY_BYTES:
            request.refuse_long_body()

    def on_message_complete(self) -> None:
        """Note that the request is complete."""
        if not self._request.is_complete:
            self._request.is_complete = True
            self.is_finished = self.is_finished or not self._parser.should_keep_alive()

    def _respond(self) -> None:
        request = self._request
        if request.refusal is not None:
            self.is_finished = self.has_unread_input = True
        response = request.refusal or self._answer(request)
        if self._record is not None:
            self._record(response)
        self.output = encode_response(response, is_head=request.method == b"HEAD", closes=self.is_finished)
        self._request = _ArrivingRequest()
        self.has_begun = False

    def _answer(self, request: _ArrivingRequest) -> Response:
        try:
            return self._application(
                Request(
                    method=request.method.decode("latin-1"),
                    target=request.target.decode("latin-1"),
                    headers=request.headers,
                )
            )
        except Exception:  # noqa: BLE001 - one client's request must not end the service for all others
            _log.exception("An HTTP request failed because of a bug in the broker; its client gets status 500.")
            self.is_finished = True
            return Response(status=HTTPStatus.INTERNAL_SERVER_ERROR, body=b"Internal error.\n")


class _ArrivingRequest:
    """What has arrived of one request."""

    __slots__ = (
        "body_bytes",
        "has_whole_head",
        "head_bytes",
        "headers",
        "is_complete",
        "method",
        "received_bytes",
        "refusal",
        "target",
    )

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.headers: dict[str, str] = {}
        self.received_bytes = self.head_bytes = self.body_bytes = 0
        self.has_whole_head = self.is_complete = False
        self.refusal: Response | None = None

    def count_head(self, count: int) -> None:
        """Count bytes of the request line, the headers and the trailers, and refuse too many."""
        self.head_bytes += count
        if self.head_bytes > MAXIMUM_HEAD_BYTES:
            self.refuse_long_head()

    def refuse_long_head(self) -> None:
        """Answer with status 431."""
        self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"The headers have over {MAXIMUM_HEAD_BYTES} bytes.")

    def refuse_long_body(self) -> None:
        """Answer with status 413."""
        self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body has over {MAXIMUM_BODY_BYTES} bytes.")

    def refuse(self, status: HTTPStatus, message: str) -> None:
        """Answer with this status instead of the application. The first refusal counts; a complete request has none."""
        if self.refusal is None and not self.is_complete:
            self.refusal = Response(status=status, body=f"{message}\n".encode())
