"""A minimal STS with little overhead: answers AssumeRoleWithWebIdentity from a template and verifies nothing.

Other actions, which `sts-broker doctor` sends, are refused.

`python -m benchmarks.lean_sts` runs it as a process of its own and prints its port. `--latency` delays each response.
`--lifetime` replaces the requested lifetime of sessions. `--hang-up` closes the connection after each response, because
the real STS has closed it by the next refresh. `GET /spans` returns a JSON list with the seconds of each call, from the
first byte read to the last byte written.
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
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Mapping

_RESPONSE = """\
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
_REFUSAL = b"""\
<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <Error><Type>Sender</Type><Code>InvalidAction</Code><Message>This STS has one action.</Message></Error>
  <RequestId>00000000-0000-0000-0000-000000000000</RequestId>
</ErrorResponse>
"""
_SESSION_TOKEN_BYTES = 720  # 960 characters in base64, similar to AWS


class LeanSts:
    """Serves each connection in its own thread."""

    def __init__(self, *, latency: float, lifetime: float, hang_up: bool) -> None:
        self._latency = latency
        self._lifetime = lifetime
        self._hang_up = hang_up
        self._spans: list[float] = []
        self._lock = threading.Lock()

    def serve(self, listening: socket.socket) -> None:
        """Accept connections until the process is killed."""
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve_connection, args=(connection,), daemon=True).start()

    def _serve_connection(self, connection: socket.socket) -> None:
        with connection:
            received, began = b"", 0.0
            while chunk := connection.recv(65536):
                began = began or time.monotonic()
                received += chunk
                head, end, body = received.partition(b"\r\n\r\n")
                if not end or len(body) < _read_content_length(head):
                    continue
                if head.startswith(b"GET"):
                    content = json.dumps(self._spans).encode()
                    connection.sendall(_build_response(content, "application/json", hang_up=True))
                    return
                response = self._answer(body)
                time.sleep(self._latency)
                connection.sendall(response)
                self._spans.append(time.monotonic() - began)
                if self._hang_up:
                    return
                received, began = b"", 0.0

    def _answer(self, body: bytes) -> bytes:
        form = {key: values[0] for key, values in parse_qs(body.decode()).items()}
        if form.get("Action") != "AssumeRoleWithWebIdentity":
            return _build_response(_REFUSAL, "text/xml", hang_up=self._hang_up, status="400 Bad Request")
        return _build_response(self._issue(form), "text/xml", hang_up=self._hang_up)

    def _issue(self, form: Mapping[str, str]) -> bytes:
        arn = form["RoleArn"].split(":")
        requested = float(form.get("DurationSeconds", "3600"))
        lifetime = timedelta(seconds=self._lifetime or requested)
        text = _RESPONSE.format(
            account=arn[4],
            role=arn[5].rsplit("/", 1)[-1],
            session=form["RoleSessionName"],
            number=time.monotonic_ns(),
            secret=base64.b64encode(os.urandom(30)).decode(),
            token=base64.b64encode(os.urandom(_SESSION_TOKEN_BYTES)).decode(),
            expiry=datetime.now(UTC) + lifetime,
        )
        return text.encode()


def _read_content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _build_response(body: bytes, content_type: str, *, hang_up: bool, status: str = "200 OK") -> bytes:
    connection = "close" if hang_up else "keep-alive"
    head = (
        f"HTTP/1.1 {status}\r\nDate: {formatdate(usegmt=True)}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: {connection}\r\n\r\n"
    )
    return head.encode() + body


def main() -> None:
    """Serve until the process is killed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lean_sts", description=__doc__)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each response")
    parser.add_argument("--lifetime", type=float, default=0.0, help="lifetime of sessions in seconds; 0: as requested")
    parser.add_argument("--hang-up", action="store_true", help="close the connection after each response")
    options = parser.parse_args()
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(listening.getsockname()[1], flush=True)
    LeanSts(latency=options.latency, lifetime=options.lifetime, hang_up=options.hang_up).serve(listening)


if __name__ == "__main__":
    main()
