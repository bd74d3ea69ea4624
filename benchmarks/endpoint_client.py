"""A load generator for the credentials endpoint: a process of its own, which uses only sockets.

`python -m benchmarks.endpoint_client HOST PORT TARGET TOKEN_FILE MODE COUNT` prints one JSON object: the number of
correct responses, the wrong or lost ones, the total seconds, and in the mode `paced` the seconds of each request.
Modes:

- `paced`: 200 requests a second, each on a new connection, like SDKs;
- `new`: as many requests as possible, 8 at a time, each on a new connection;
- `kept`: the same on 8 connections that are kept open.

A response is correct if it is a 200 with every field, unexpired, and not of an older generation than an earlier
response. In the mode `paced`, latency starts when a request is due, so that a late response does not hide the delay of
the next.
"""

from __future__ import annotations

import json
import re
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

RATE = 200
_CONCURRENCY = 8
_TIMEOUT_SECONDS = 5.0
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


@dataclass(slots=True, kw_only=True)
class _Exchange:
    """A sent request. `newest` is the newest access key id that was known when it was sent."""

    client: socket.socket
    newest: str
    received: bytearray = field(default_factory=bytearray)

    def receive(self, *, keep: bool) -> bool:
        """Receive the available bytes. Return whether the response is complete."""
        try:
            chunk = self.client.recv(65536)
        except OSError:
            return True
        self.received += chunk
        if not chunk or not keep:
            return not chunk
        end = self.received.find(b"\r\n\r\n")
        length = _LENGTH.search(self.received, 0, end + 2)
        return length is not None and len(self.received) - end - 4 >= int(length[1])


@dataclass(slots=True, kw_only=True)
class EndpointClient:
    """Sends requests and counts responses.

    `token_file` is read again for each paced request, as in SDKs. A body that is the same as that of the last correct
    response is not parsed again, so that the client does not slow down the server.
    """

    address: tuple[str, int]
    target: str
    token_file: Path
    correct: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    _newest: str = ""
    _body: bytes = b""
    _expiry: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def request(self, *, keep: bool = False) -> bytes:
        """Return the bytes of a request."""
        return (
            f"GET {self.target} HTTP/1.1\r\nHost: {self.address[0]}:{self.address[1]}\r\nAccept: application/json\r\n"
            f"Authorization: {self.token_file.read_text()}\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        ).encode()

    def paced(self, count: int) -> None:
        """Send `count` requests at `RATE`."""
        began = time.perf_counter()
        for number in range(count):
            due = began + number / RATE
            now = time.perf_counter()
            if now < due:
                time.sleep(due - now)
                due = time.perf_counter()  # the time that sleep took too long is not latency
            self.check(self._request_once())
            self.seconds.append(time.perf_counter() - due)

    def concurrent(self, count: int, *, keep: bool) -> None:
        """Send `count` requests, several at a time."""
        poll, free, pending = select.epoll(), list[socket.socket](), dict[int, _Exchange]()
        request = self.request(keep=keep)
        sent = ended = 0
        while ended < count:
            while len(pending) < _CONCURRENCY and sent < count:
                client = free.pop() if free else self._connect()
                poll.register(client, select.EPOLLIN)
                client.sendall(request)
                pending[client.fileno()] = _Exchange(client=client, newest=self._newest)
                sent += 1
            ready = [number for number, _ in poll.poll(_TIMEOUT_SECONDS)]
            for number in ready or list(pending):  # without any event, all pending requests are lost
                exchange = pending[number]
                if ready and not exchange.receive(keep=keep):
                    continue
                del pending[number]
                poll.unregister(number)
                self.check(bytes(exchange.received), newest=exchange.newest)
                ended += 1
                if keep and ready:
                    free.append(exchange.client)
                else:
                    exchange.client.close()

    def check(self, response: bytes, newest: str | None = None) -> None:
        """Count a response as correct or wrong. `newest` is the newest key that was known when the request was sent."""
        newest = self._newest if newest is None else newest
        head, _, body = response.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            self.wrong.append(head[:60].decode(errors="replace"))
            return
        if body == self._body and newest == self._newest and datetime.now(UTC) < self._expiry:
            self.correct += 1
            return
        try:
            document = json.loads(body)
            key, expiry = document["AccessKeyId"], datetime.fromisoformat(document["Expiration"])
            is_complete = bool(document["SecretAccessKey"] and document["Token"])
        except (ValueError, KeyError) as error:
            self.wrong.append(type(error).__name__)
            return
        if not is_complete or expiry <= datetime.now(UTC) or key < newest:  # the minimal STS numbers its keys
            self.wrong.append(f"{key} after {newest}, expiry {expiry}")
            return
        if key >= self._newest:
            self._newest, self._body, self._expiry = key, body, expiry
        self.correct += 1

    def _connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=_TIMEOUT_SECONDS)

    def _request_once(self) -> bytes:
        try:
            with self._connect() as client:
                client.sendall(self.request())
                return b"".join(iter(lambda: client.recv(65536), b""))
        except OSError as error:
            return repr(error).encode()


def main() -> None:
    """Send the requests and print the result."""
    host, port, target, token_file, mode, count = sys.argv[1:]
    client = EndpointClient(address=(host, int(port)), target=target, token_file=Path(token_file))
    began = time.perf_counter()
    if mode == "paced":
        client.paced(int(count))
    else:
        client.concurrent(int(count), keep=mode == "kept")
    took = time.perf_counter() - began
    json.dump({"correct": client.correct, "wrong": client.wrong, "took": took, "seconds": client.seconds}, sys.stdout)


if __name__ == "__main__":
    main()
