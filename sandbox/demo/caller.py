"""The demo's app: one unmodified boto3 session that calls GetCallerIdentity twice a second until SIGTERM.

boto3's default chain finds and renews the credentials. For each call, the app prints a JSON line with the access key id
that signed the request, and no secret. The app does not know the broker or the simulator.
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
    """One STS client. A botocore event records the access key id that signed its last request."""

    def __init__(self) -> None:
        self._client: Any = boto3.session.Session().client("sts")
        self._client.meta.events.register("before-send.sts.GetCallerIdentity", self._record_signer)
        self._signer = ""

    def call(self) -> dict[str, object]:
        """Call once. Return the fields of the line: time, access key id, retries of the SDK, and ARN or failure."""
        at, self._signer = datetime.now(UTC), ""
        try:
            response = self._client.get_caller_identity()
            outcome = {"arn": response["Arn"], "retries": response["ResponseMetadata"]["RetryAttempts"]}
        except ClientError as error:
            outcome = {
                "failure": error.response["Error"]["Code"],
                "retries": error.response["ResponseMetadata"].get("RetryAttempts", 0),
            }
        except Exception as error:  # noqa: BLE001 - any exception of the SDK is a failed call
            outcome = {"failure": f"{type(error).__name__}: {error}", "retries": 0}
        return {"at": at.isoformat(), "access_key_id": self._signer, **outcome}

    def _record_signer(self, request: AWSPreparedRequest, **_: object) -> None:
        header = request.headers.get("Authorization", b"")
        found = _SIGNER.search(header if isinstance(header, bytes) else header.encode())
        self._signer = found[1].decode() if found else ""


def main() -> int:
    """Call until a signal arrives. Return the exit code."""
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
