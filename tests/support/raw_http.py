"""Sends raw bytes to an HTTP server, including requests that no client library sends, and parses the response."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from typing import Any

PATIENCE_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """One response: status, headers by lower-case name, body. Status 0 means that there was no response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The JSON object in the body."""
        document: dict[str, Any] = json.loads(self.body)
        return document


def request(  # noqa: PLR0913 - each is a part of a request
    target: str = "/v1/credentials",
    *,
    method: str = "GET",
    version: str = "HTTP/1.1",
    host: str | None = "127.0.0.1",
    authorization: str | None = None,
    headers: tuple[str, ...] = (),
    close: bool = True,
) -> bytes:
    """Return the bytes of a request. None leaves a header out."""
    lines = [f"{method} {target} {version}".rstrip()]
    lines += [] if host is None else [f"Host: {host}"]
    lines += [] if authorization is None else [f"Authorization: {authorization}"]
    lines += ["Connection: close"] if close else []
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1")


def sent(address: tuple[str, int], content: bytes, *, finish: bool = False) -> bytes:
    """Send these bytes. Return everything received until the server closes. `finish` closes the sending direction."""
    received = bytearray()
    with socket.create_connection(address, timeout=PATIENCE_SECONDS) as client:
        try:
            client.sendall(content)
            if finish:
                client.shutdown(socket.SHUT_WR)
            while chunk := client.recv(65536):
                received += chunk
        except ConnectionError:  # the server may close before it has read everything
            pass
    return bytes(received)


def parsed(answer: bytes, *, head: bool = False) -> RawAnswer:
    """Return the response in these bytes. Raises AssertionError unless they are exactly one complete response."""
    if not answer:
        return RawAnswer(status=0, headers={}, body=b"")
    head_bytes, end, body = answer.partition(b"\r\n\r\n")
    assert end, answer
    status_line, *lines = head_bytes.decode("latin-1").split("\r\n")
    version, status, _ = status_line.split(" ", 2)
    assert version in {"HTTP/1.0", "HTTP/1.1"}
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert len(headers) == len(lines), "duplicate header"
    assert len(body) == (0 if head else int(headers["content-length"])), answer
    return RawAnswer(status=int(status), headers=headers, body=body)


def ask(address: tuple[str, int], target: str = "/v1/credentials", **parts: Any) -> RawAnswer:  # noqa: ANN401 - of request
    """Send one request and return its response."""
    return parsed(sent(address, request(target, **parts)), head=parts.get("method") == "HEAD")
