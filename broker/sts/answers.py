"""Answers of servers in STS's place: what kind of server answered, before anything is parsed as STS's.

A proxy, a captive portal, a service mesh or a metadata service answers with a web page or text, and a hostile server
with something that makes a parser use up the memory. STS answers with a few kilobytes of XML without a document type.
Servers that implement STS refuse in other forms. docs/adr/0022-sts-answers.md has the measurements.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from broker.sts.error_documents import ErrorDocument, read_json_error, read_xml_error

if TYPE_CHECKING:
    from broker.net.http_messages import Answer

MAXIMUM_ANSWER_BYTES = 65_536
"""STS's longest answers have about 5,000 bytes. A parser needs up to forty times the size of what it parses."""
_ENCODINGS = frozenset({"br", "compress", "deflate", "gzip", "x-gzip", "zstd"})
_WEB_PAGE = re.compile(rb"<html[\s>]|<!doctype\s+html", re.IGNORECASE)
_DOCUMENT_TYPE = re.compile(rb"<!(?:doctype|entity)", re.IGNORECASE)
_SERVER = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,30}(?:/[0-9][A-Za-z0-9.]{0,15})?")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class NotSts(Exception):
    """The answer is not one of STS. `found` is the predicate of a sentence about it, without text of the server.

    `status` is the HTTP status, and `server` the product that the server names, or "". It may quote the request.
    """

    def __init__(self, found: str, answer: Answer) -> None:
        super().__init__(found)
        self.found = found
        self.status = answer.status
        product = _SERVER.match(answer.headers.get("server", ""))
        self.server = product[0] if product else ""


class Refused(Exception):
    """The server refuses the call. `error` is what it says, `status` the HTTP status."""

    def __init__(self, error: ErrorDocument, answer: Answer) -> None:
        super().__init__("the call was refused")
        request_id = error.request_id or answer.headers.get("x-amzn-requestid", "")
        self.error = ErrorDocument(code=error.code, message=error.message, request_id=request_id)
        self.status = answer.status


def judge(answer: Answer, *, is_custom_endpoint: bool) -> None:
    """Return if the answer may be STS's success, which botocore then parses. Raises NotSts and Refused.

    AWS sends a request ID with every response. Without one, only a custom endpoint may refuse in another form than XML.
    """
    _require_readable(answer)
    is_error = answer.status >= HTTPStatus.BAD_REQUEST
    is_aws = "x-amzn-requestid" in answer.headers
    if is_error and is_aws and _WEB_PAGE.search(answer.body):
        raise Refused(ErrorDocument(), answer)
    _require_no_page(answer)
    body = answer.body.removeprefix(_BYTE_ORDER_MARK).strip()
    if body.startswith(b"<"):
        if is_error:
            raise Refused(_read_error(body, answer), answer)
        return
    error, found = _examine_text(body)
    if is_error and (is_aws or (is_custom_endpoint and error is not None)):
        raise Refused(error or ErrorDocument(), answer)
    raise NotSts(found, answer)


def _require_readable(answer: Answer) -> None:
    """Refuse what is too long, compressed or elsewhere. The request allows no compression."""
    if answer.is_truncated:
        raise NotSts(f"is longer than {MAXIMUM_ANSWER_BYTES:,} bytes", answer)
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding in _ENCODINGS:
        raise NotSts(f"is compressed ({encoding}), which the request does not allow", answer)
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        try:
            host = urlsplit(answer.location).hostname or ""
        except ValueError:
            host = ""
        is_plain = re.fullmatch(r"[A-Za-z0-9.-]{1,100}", host) is not None
        raise NotSts(f"is a redirect{f' to {host}' if is_plain else ''}", answer)


def _require_no_page(answer: Answer) -> None:
    """Refuse web pages, and every document that could define entities, before a parser sees it."""
    if _WEB_PAGE.search(answer.body):
        raise NotSts("is a web page", answer)
    if _DOCUMENT_TYPE.search(answer.body):
        raise NotSts("is XML with a document type declaration", answer)


def _read_error(body: bytes, answer: Answer) -> ErrorDocument:
    try:
        error = read_xml_error(body)
    except ValueError:
        raise NotSts("cannot be parsed", answer) from None
    if error is None:
        raise NotSts("is XML that STS does not send", answer)
    return error


def _examine_text(body: bytes) -> tuple[ErrorDocument | None, str]:
    """Return the error in a body that is not XML, None if it is of no known form, and a predicate about the body."""
    if not body:
        return ErrorDocument(), "is empty"
    error = read_json_error(body)
    return error, "is plain text" if error is None else "is JSON"
