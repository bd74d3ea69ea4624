"""HTTP requests and responses as values, and a response as the bytes that go over the wire."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

from broker.core.records import Unprinted, field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from http import HTTPStatus

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


class Request(Unprinted, frozen=True, kw_only=True):
    """One request.

    `target` is the request target as the client sent it: neither decoded nor normalized. `headers` has lower-case
    names; the values of a repeated header are joined with `, `, so that no second value can hide behind a first one.
    """

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


class Response(Unprinted, frozen=True, kw_only=True):
    """One response. `body` may hold credentials, so it is not part of the representation.

    `profile` is the profile that the request named, "" for none. It is counted, not sent.
    """

    status: HTTPStatus
    body: bytes
    content_type: str = TEXT
    headers: tuple[tuple[str, str], ...] = ()
    profile: str = ""


Application = Callable[[Request], Response]
"""Answers one request. It must not block: one thread answers all clients."""
Recorder = Callable[[Response], None]
"""Gets each response before it is sent, those included that no application gave."""


def encode_response(response: Response, *, is_head: bool, closes: bool) -> bytes:
    """Return the response as HTTP/1.1 bytes.

    `is_head` leaves out the body, whose length is still announced. `closes` announces the end of the connection.
    """
    lines = [
        _status_line(response.status),
        f"Date: {_http_date(int(time.time()))}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        "Cache-Control: no-store",
        *(f"{name}: {value}" for name, value in response.headers),
        *(["Connection: close"] if closes else []),
    ]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if is_head else head + response.body


@lru_cache(maxsize=32)  # there are fewer statuses
def _status_line(status: HTTPStatus) -> str:
    return f"HTTP/1.1 {status.value} {status.phrase}"


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=1)
def _http_date(seconds: int) -> str:
    """Return seconds since the epoch as an IMF-fixdate (RFC 9110 section 5.6.7), whatever the locale."""
    year, month, day, hour, minute, second, weekday, *_ = time.gmtime(seconds)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year} {hour:02}:{minute:02}:{second:02} GMT"
