"""An STS that costs next to nothing: answers AssumeRoleWithWebIdentity from a template, verifies nothing.

Run as a process of its own, so that its CPU and memory are nobody else's: `python -m benchmarks.lean_sts`. It prints
its port. `--latency` is waited before each answer, `--lifetime` ends sessions sooner than asked for, `--hang-up` closes
the connection after each answer, as STS has done by the time of the next refresh. `GET /spans` tells, as a JSON list,
how many seconds each call was here: from its first byte read to its last byte written.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from urllib.parse import parse_qs

_ANSWER = """\
<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>system:serviceaccount:team:app</SubjectFromWebIdentityToken>
    <Audience>sts.amazonaws.com</Audience>
    <AssumedRoleUser>
      <AssumedRoleId>AROACLKWSDQRAOEXAMPLE:{session}</AssumedRoleId>
      <Arn>arn:aws:sts::{account}:assumed-role/{role}/{session}</Arn>
    </AssumedRoleUser>
    <Credentials>
      <AccessKeyId>ASIA{number:016d}</AccessKeyId>
      <SecretAccessKey>{secret}</SecretAccessKey>
      <SessionToken>{token}</SessionToken>
      <Expiration>{expiry:%Y-%m-%dT%H:%M:%SZ}</Expiration>
    </Credentials>
    <Provider>arn:aws:iam::{account}:oidc-provider/oidc.example</Provider>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata><RequestId>{number:032x}</RequestId></ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>
"""
_SESSION_TOKEN_BYTES = 720  # 960 characters in base64, about what AWS gives


class LeanSts:
    """Serves each connection on a thread of its own."""

    def __init__(self, *, latency: float, lifetime: float, hang_up: bool) -> None:
        self._latency = latency
        self._lifetime = lifetime
        self._hang_up = hang_up
        self._spans: list[float] = []
        self._lock = threading.Lock()

    def serve(self, listening: socket.socket) -> None:
        """Accept connections for ever."""
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        with connection:
            received, began = b"", 0.0
            while chunk := connection.recv(65536):
                began = began or time.monotonic()
                received += chunk
                head, end, body = received.partition(b"\r\n\r\n")
                if not end or len(body) < _content_length(head):
                    continue
                if head.startswith(b"GET"):
                    connection.sendall(_http(json.dumps(self._spans).encode(), "application/json", hang_up=True))
                    return
                answer = self._answer(body)
                time.sleep(self._latency)
                connection.sendall(_http(answer, "text/xml", hang_up=self._hang_up))
                self._spans.append(time.monotonic() - began)
                if self._hang_up:
                    return
                received, began = b"", 0.0

    def _answer(self, body: bytes) -> bytes:
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        arn = form["RoleArn"].split(":")
        asked = float(form.get("DurationSeconds", "3600"))
        lifetime = timedelta(seconds=self._lifetime or asked)
        text = _ANSWER.format(
            account=arn[4],
            role=arn[5].rsplit("/", 1)[-1],
            session=form["RoleSessionName"],
            number=time.monotonic_ns(),
            secret=base64.b64encode(os.urandom(30)).decode(),
            token=base64.b64encode(os.urandom(_SESSION_TOKEN_BYTES)).decode(),
            expiry=datetime.now(UTC) + lifetime,
        )
        return text.encode()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _http(body: bytes, content_type: str, *, hang_up: bool) -> bytes:
    connection = "close" if hang_up else "keep-alive"
    head = (
        f"HTTP/1.1 200 OK\r\nDate: {formatdate(usegmt=True)}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n"
    )
    return head.encode() + body


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lean_sts", description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--lifetime", type=float, default=0.0, help="seconds that sessions last; 0: as asked for")
    parser.add_argument("--hang-up", action="store_true", help="close the connection after each answer")
    options = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listening.getsockname()[1], flush=True)
    LeanSts(latency=options.latency, lifetime=options.lifetime, hang_up=options.hang_up).serve(listening)


if __name__ == "__main__":
    main()
