"""The transport of botocore's requests: the project's own HTTPS client, bounded in time and size.

botocore serializes, signs and parses. Its event `before-send` lets a handler return the response, so botocore's own
session is never used: it reads a response to its end, however long that is (docs/adr/0022-sts-answers.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from broker.net.http_messages import NoAnswer, Request
from broker.net.https_client import fetch
from broker.net.routes import Route
from broker.sts.answers import MAXIMUM_ANSWER_BYTES, Refused, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broker.sts.network_path import NetworkPath

CONNECT_SECONDS = 5.0
CALL_SECONDS = 20.0
"""For a whole call: name resolution, connecting, TLS, and the answer to its last byte."""


class ConnectionFailed(Exception):
    """There is no answer. `failure` says why."""

    def __init__(self, failure: NoAnswer) -> None:
        super().__init__(failure.found)
        self.failure = failure


class Transport:
    """Sends the requests of one client. Thread-safe."""

    def __init__(self, path: NetworkPath, *, is_custom_endpoint: bool) -> None:
        self._is_custom_endpoint = is_custom_endpoint
        self._route = Route(
            timeout_seconds=CALL_SECONDS,
            connect_seconds=CONNECT_SECONDS,
            ca_bundle=path.ca_file,
            environ={"https_proxy": path.proxy} if path.proxy else {},
            allows_http=True,  # the settings allow it on loopback only
        )

    def send(self, request: Any, event_name: str = "", **_: object) -> AWSResponse:  # noqa: ANN401 - botocore's request
        """Return the response for botocore's `before-send` event.

        Raises ConnectionFailed without an answer, NotSts if it is not STS's, and ClientError if STS refuses.
        """
        body = request.body.encode() if isinstance(request.body, str) else request.body
        answer = fetch(
            Request(
                url=request.url,
                method=request.method,
                headers={name: _decode(value) for name, value in request.headers.items()},
                body=body,
                maximum_bytes=MAXIMUM_ANSWER_BYTES,
            ),
            self._route,
        )
        if isinstance(answer, NoAnswer):
            raise ConnectionFailed(answer)
        try:
            judge(answer, is_custom_endpoint=self._is_custom_endpoint)
        except Refused as refused:
            raise _client_error(refused, event_name) from None
        return AWSResponse(request.url, answer.status, answer.headers, _Body(answer.body))


class _Body:
    """The raw response that AWSResponse reads."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        """Yield the whole content."""
        yield self._content


def _decode(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _client_error(refused: Refused, event_name: str) -> ClientError:
    """Return the exception that botocore raises for a refusal: it reads code and message from STS's own form only."""
    error = refused.error
    response = {
        "Error": {"Code": error.code, "Message": error.message},
        "ResponseMetadata": {"HTTPStatusCode": refused.status, "RequestId": error.request_id},
    }
    return ClientError(response, event_name.rpartition(".")[2])
