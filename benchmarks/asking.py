"""Asks the credentials endpoint, again and again: a process of its own, on a core of its own, with sockets alone.

`python -m benchmarks.asking HOST PORT TARGET TOKEN_FILE MODE COUNT` prints one JSON object: how many answers came, how
many were lost or wrong, the seconds it took, and in the mode `paced` how long each took. Modes:

- `paced`: 200 requests a second, each on a connection of its own, as SDKs ask;
- `apart`: as many as are answered, 8 under way at once, each on a connection of its own;
- `kept`: the same on 8 connections that are kept.

An answer is right if it is a 200 with every field, not expired, and of the same generation as the last one or a newer
one. Latency counts from when a request was due where the answer before it came late, so that no delay hides the next.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

RATE = 200
_AT_ONCE = 8
_PATIENCE_SECONDS = 5.0


@dataclass(slots=True, kw_only=True)
class _Exchange:
    """A request under way. `newest` is the newest key that was known when it was sent."""

    client: socket.socket
    newest: str
    received: bytearray = field(default_factory=bytearray)

    def is_over(self, *, keep: bool) -> bool:
        """Receive what is there. Return whether that was the last of it."""
        try:
            chunk = self.client.recv(65536)
        except OSError:
            return True
        self.received += chunk
        if not chunk or not keep:
            return not chunk
        head, end, body = self.received.partition(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        return bool(end and lengths) and len(body) >= int(lengths[0].partition(b":")[2])


@dataclass(slots=True, kw_only=True)
class Asker:
    """Counts answers. `token_file` is read afresh for each request, as SDKs do."""

    address: tuple[str, int]
    target: str
    token_file: Path
    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    _newest: str = ""

    def request(self, *, keep: bool = False) -> bytes:
        """Return the bytes of a request."""
        return (
            f"GET {self.target} HTTP/1.1\r\nHost: {self.address[0]}:{self.address[1]}\r\nAccept: application/json\r\n"
            f"Authorization: {self.token_file.read_text()}\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n"
        ).encode()

    def paced(self, count: int) -> None:
        """Ask so many times at the rate."""
        began = time.perf_counter()
        for number in range(count):
            due = began + number / RATE
            now = time.perf_counter()
            if now < due:
                time.sleep(due - now)
                due = time.perf_counter()  # what the sleep overshot is not the answer's doing
            self.take(self._once())
            self.seconds.append(time.perf_counter() - due)

    def at_once(self, count: int, *, keep: bool) -> None:
        """Ask so many times, several under way at once."""
        poll, free, under_way = select.epoll(), list[socket.socket](), dict[int, _Exchange]()
        asked = ended = 0
        while ended < count:
            while len(under_way) < _AT_ONCE and asked < count:
                client = free.pop() if free else self._connect()
                poll.register(client, select.EPOLLIN)
                client.sendall(self.request(keep=keep))
                under_way[client.fileno()] = _Exchange(client=client, newest=self._newest)
                asked += 1
            ready = [number for number, _ in poll.poll(_PATIENCE_SECONDS)]
            for number in ready or list(under_way):  # none in all this time: they are lost
                exchange = under_way[number]
                if ready and not exchange.is_over(keep=keep):
                    continue
                del under_way[number]
                poll.unregister(number)
                self.take(bytes(exchange.received), newest=exchange.newest)
                ended += 1
                if keep and ready:
                    free.append(exchange.client)
                else:
                    exchange.client.close()

    def take(self, answer: bytes, newest: str | None = None) -> None:
        """Count an answer, right or wrong. `newest` is the newest key that was known when it was asked for."""
        newest = self._newest if newest is None else newest
        head, _, body = answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            self.wrong.append(head[:60].decode(errors="replace"))
            return
        try:
            document = json.loads(body)
            key, expiry = document["AccessKeyId"], datetime.fromisoformat(document["Expiration"])
            whole = bool(document["SecretAccessKey"] and document["Token"])
        except (ValueError, KeyError) as error:
            self.wrong.append(type(error).__name__)
            return
        if not whole or expiry <= datetime.now(UTC) or key < newest:  # the lean STS numbers its keys
            self.wrong.append(f"{key} after {newest}, expiry {expiry}")
            return
        self._newest = max(self._newest, key)
        self.answered += 1

    def _connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=_PATIENCE_SECONDS)

    def _once(self) -> bytes:
        try:
            with self._connect() as client:
                client.sendall(self.request())
                return b"".join(iter(lambda: client.recv(65536), b""))
        except OSError as error:
            return repr(error).encode()


def main() -> None:
    """Ask, and print what came of it."""
    host, port, target, token_file, mode, count = sys.argv[1:]
    asker = Asker(address=(host, int(port)), target=target, token_file=Path(token_file))
    began = time.perf_counter()
    if mode == "paced":
        asker.paced(int(count))
    else:
        asker.at_once(int(count), keep=mode == "kept")
    took = time.perf_counter() - began
    json.dump({"answered": asker.answered, "wrong": asker.wrong, "took": took, "seconds": asker.seconds}, sys.stdout)


if __name__ == "__main__":
    main()
