"""The app of the demo: a plain boto3 session, made once, that asks STS who it is, twice a second, until SIGTERM.

Rules: boto3's default chain finds the credentials and renews them, nothing here helps it; each call is one JSON line on
standard output that names the access key id in the request's signature, and no secret.
It refuses to know the broker, generations and the box: whatever happens to credentials happens behind its back.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from botocore.awsrequest import AWSPreparedRequest

PAUSE_SECONDS = 0.5
_SIGNER = re.compile(rb"Credential=([A-Z0-9]+)/")


class Caller:
    """One client, and the access key id that signed its last request (seen through botocore's own event)."""

    def __init__(self) -> None:
        self._client: Any = boto3.session.Session().client("sts")
        self._client.meta.events.register("before-send.sts.GetCallerIdentity", self._see)
        self._signer = ""

    def call(self) -> dict[str, object]:
        """Call once. Returns the line: instant, access key id, how often the SDK tried again, and ARN or failure."""
        at, self._signer = datetime.now(UTC), ""
        try:
            answer = self._client.get_caller_identity()
            said = {"arn": answer["Arn"], "retries": answer["ResponseMetadata"]["RetryAttempts"]}
        except ClientError as error:
            said = {
                "failure": error.response["Error"]["Code"],
                "retries": error.response["ResponseMetadata"].get("RetryAttempts", 0),
            }
        except Exception as error:  # noqa: BLE001 - whatever the SDK raises is a failed call, and is counted
            said = {"failure": f"{type(error).__name__}: {error}", "retries": 0}
        return {"at": at.isoformat(), "access_key_id": self._signer, **said}

    def _see(self, request: AWSPreparedRequest, **_: object) -> None:
        header = request.headers.get("Authorization", b"")
        found = _SIGNER.search(header if isinstance(header, bytes) else header.encode())
        self._signer = found[1].decode() if found else ""


def main() -> int:
    """Call until told to stop, or until nobody reads the lines."""
    stopping: SimpleQueue[int] = SimpleQueue()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: stopping.put(number))
    caller = Caller()
    while True:
        sys.stdout.write(json.dumps(caller.call()) + "\n")
        sys.stdout.flush()
        try:
            stopping.get(timeout=PAUSE_SECONDS)
        except Empty:
            continue
        return 0


if __name__ == "__main__":
    sys.exit(main())
