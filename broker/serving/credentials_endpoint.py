"""The credentials endpoint, from which SDKs fetch credentials. It serves from memory, without STS and without the disk.

It implements the container credentials protocol (`AWS_CONTAINER_CREDENTIALS_FULL_URI`): GET, with the endpoint's bearer
token, regenerated at each start, in `Authorization`. Requests are refused in this order: a Host that is not a loopback
name (DNS rebinding in a browser), a request that a proxy forwarded, another method, another token. Only then does a
response name the profiles. Errors have `code` and `message` in both spellings that SDKs read.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING

from broker.core.events import Exchanged, Restored
from broker.core.model import Secret
from broker.core.records import Unprinted
from broker.core.status import why_not_held
from broker.publish.formats import authorization_token, container_credentials_json
from broker.serving.http_messages import JSON, Response

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from broker.core.clock import Clock
    from broker.core.events import Event
    from broker.core.model import Configuration
    from broker.core.status import Snapshot
    from broker.serving.http_messages import Request

PATH = "/v1/credentials"
RETRY_AFTER_SECONDS = 1
"""Value of Retry-After. A request costs little, and the first credentials usually take less than a second."""
_TOKEN_BYTES = 32
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LOOPBACK_HOST = re.compile(rf"(?:localhost|127(?:\.{_OCTET}){{3}}|\[::1\])(?::[0-9]{{1,5}})?", re.IGNORECASE)
_PROXY_HEADERS = ("x-forwarded-", "x-real-ip", "forwarded", "via")
"""Prefixes of headers that proxies add."""


def generate_token() -> Secret:
    """Return a new random bearer token, 256 bits, which clients send in `Authorization`."""
    return Secret(secrets.token_urlsafe(_TOKEN_BYTES))


class _Entry(Unprinted, frozen=True, kw_only=True):
    """The response for one profile. It is served until `usable_until`, by the node's clock."""

    response: Response
    usable_until: datetime


class ServedCredentials:
    """The responses with the newest credentials of each profile, as soon as they are issued or restored."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def record(self, event: Event) -> None:
        """Take the credentials from the event if it has some. Only one thread may call this; any thread may read."""
        if isinstance(event, Exchanged | Restored):
            credentials = event.generation.credentials
            profile, body = event.generation.profile, container_credentials_json(credentials)
            response = Response(status=HTTPStatus.OK, body=body, content_type=JSON, profile=profile)
            self._entries[profile] = _Entry(response=response, usable_until=credentials.usable_until)

    def get_response(self, profile: str, now: datetime) -> Response | None:
        """Return the unexpired credentials of the profile as a response, or None if there are none."""
        entry = self._entries.get(profile)
        return entry.response if entry is not None and now < entry.usable_until else None


class CredentialsApplication:
    """The application of the endpoint's listener.

    `take_snapshot` returns the current snapshot, which explains why a profile has no credentials.
    """

    def __init__(
        self,
        *,
        configuration: Configuration,
        token: Secret,
        served: ServedCredentials,
        take_snapshot: Callable[[], Snapshot],
        clock: Clock,
    ) -> None:
        self._token = authorization_token(token)
        self._served = served
        self._take_snapshot = take_snapshot
        self._clock = clock
        self._profiles = {f"{PATH}/{profile.name}": profile.name for profile in configuration.profiles}
        if configuration.default_profile:
            self._profiles[PATH] = configuration.default_profile

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        # The path as sent, neither decoded nor normalized, so that only one spelling of it returns credentials.
        profile = self._profiles.get(request.path, "")
        headers = request.headers
        if _LOOPBACK_HOST.fullmatch(headers.get("host", "")) is None:
            return _make_error(
                profile,
                HTTPStatus.FORBIDDEN,
                "The Host header is not a loopback name. Send one Host header, such as 127.0.0.1.",
            )
        for name in headers:
            if name.startswith(_PROXY_HEADERS):
                return _make_error(
                    profile,
                    HTTPStatus.FORBIDDEN,
                    "The request was forwarded by a proxy. Connect without a proxy: add 127.0.0.1 to NO_PROXY.",
                )
        if request.method != "GET":
            return _make_error(
                profile, HTTPStatus.METHOD_NOT_ALLOWED, "The method is not supported. Use GET.", ("Allow", "GET")
            )
        given = headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, self._token):
            return _make_error(
                profile,
                HTTPStatus.UNAUTHORIZED,
                "The Authorization header does not hold the endpoint's token. Set "
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE to the path of the file endpoint-token in the publish "
                "directory. The token changes at each start of the broker.",
            )
        return self._answer_with_credentials(profile) if profile else self._answer_not_found()

    def _answer_with_credentials(self, profile: str) -> Response:
        response = self._served.get_response(profile, self._clock.read().now)
        if response is not None:
            return response
        cause = next(why_not_held(each) for each in self._take_snapshot().profiles if each.profile == profile)
        return _make_error(
            profile, HTTPStatus.SERVICE_UNAVAILABLE, f"{profile}: {cause}", ("Retry-After", str(RETRY_AFTER_SECONDS))
        )

    def _answer_not_found(self) -> Response:
        message = f"There is no such path. Use one of: {', '.join(self._profiles)}."
        if PATH not in self._profiles:
            message += f" {PATH} works only with a single profile or with a profile named default."
        return _make_error("", HTTPStatus.NOT_FOUND, message)


def _make_error(profile: str, status: HTTPStatus, message: str, *headers: tuple[str, str]) -> Response:
    """Return an error response that every SDK can read: Go and Rust read one spelling, JavaScript the other."""
    code = status.phrase.replace(" ", "")
    document = {"code": code, "message": message, "Code": code, "Message": message}
    body = json.dumps(document).encode() + b"\n"
    return Response(status=status, body=body, content_type=JSON, headers=headers, profile=profile)
