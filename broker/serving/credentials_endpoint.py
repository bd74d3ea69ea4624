"""The credentials endpoint: what SDKs fetch again and again, answered from memory, without STS or the disk.

It is the container credentials protocol (`AWS_CONTAINER_CREDENTIALS_FULL_URI`): GET, with a token of this start in
`Authorization`. Refused are, in this order: whoever came by another name than a loopback one (a page that a browser was
lured to) or through a proxy, other methods, other tokens. Only then is told which profiles there are. Errors carry
`code` and `message` in both spellings that SDKs read. Refuses to know how credentials come about.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

from broker.core.events import Exchanged
from broker.core.model import Secret
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
"""Being asked costs nothing, and the first credentials come within a second."""
_TOKEN_BYTES = 32
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_LOOPBACK_HOST = re.compile(rf"(?:localhost|127(?:\.{_OCTET}){{3}}|\[::1\])(?::[0-9]{{1,5}})?", re.IGNORECASE)
_SIGNS_OF_A_PROXY = ("x-forwarded-", "x-real-ip", "forwarded", "via")
"""How headers begin that proxies add."""


def new_token() -> Secret:
    """Return what clients are to send in `Authorization`: nobody can guess it, and a start's is no other's."""
    return Secret(secrets.token_urlsafe(_TOKEN_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A generation as it is served; `usable_until` by the node's clock."""

    body: bytes = field(repr=False)
    usable_until: datetime


class Shelf:
    """The newest credentials of each profile, ready to be handed out, from the moment that STS gave them."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}

    def record(self, event: Event) -> None:
        """Take in what happened. One thread calls it, any thread reads."""
        if isinstance(event, Exchanged):
            credentials = event.generation.credentials
            body = container_credentials_json(credentials)
            self._held[event.generation.profile] = _Held(body=body, usable_until=credentials.usable_until)

    def body(self, profile: str, now: datetime) -> bytes | None:
        """Return the profile's unexpired credentials as JSON; None where there are none."""
        held = self._held.get(profile)
        return held.body if held is not None and now < held.usable_until else None


class CredentialsApplication:
    """The application of the endpoint's listener.

    `take` returns the present snapshot, which says why there is nothing to serve.
    """

    def __init__(
        self, *, configuration: Configuration, token: Secret, shelf: Shelf, take: Callable[[], Snapshot], clock: Clock
    ) -> None:
        self._token = authorization_token(token)
        self._shelf = shelf
        self._take = take
        self._clock = clock
        self._profiles = {f"{PATH}/{profile.name}": profile.name for profile in configuration.profiles}
        if configuration.default_profile:
            self._profiles[PATH] = configuration.default_profile

    def __call__(self, request: Request) -> Response:
        """Answer one request."""
        headers = request.headers
        if _LOOPBACK_HOST.fullmatch(headers.get("host", "")) is None:
            return _error(HTTPStatus.FORBIDDEN, "Ask by a loopback name: one Host header, such as 127.0.0.1.")
        if any(name.startswith(_SIGNS_OF_A_PROXY) for name in headers):
            return _error(HTTPStatus.FORBIDDEN, "Ask without a proxy: this request was forwarded.")
        if request.method != "GET":
            return _error(HTTPStatus.METHOD_NOT_ALLOWED, "GET is all there is.", ("Allow", "GET"))
        given = headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, self._token):
            return _error(
                HTTPStatus.UNAUTHORIZED,
                "Send what stands in the file endpoint-token of the publish directory as Authorization: set "
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE to its path. Each start of the broker writes another.",
            )
        # As it was sent: neither decoded nor tidied up, so that one spelling alone leads to credentials.
        profile = self._profiles.get(request.path)
        return self._credentials(profile) if profile is not None else self._not_found()

    def _credentials(self, profile: str) -> Response:
        body = self._shelf.body(profile, self._clock.read().now)
        if body is not None:
            return Response(status=HTTPStatus.OK, body=body, content_type=JSON)
        why = next(why_not_held(each) for each in self._take().profiles if each.profile == profile)
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, f"{profile}: {why}", ("Retry-After", str(RETRY_AFTER_SECONDS)))

    def _not_found(self) -> Response:
        message = f"Nothing is here. Ask for one of: {', '.join(self._profiles)}."
        if PATH not in self._profiles:
            message += f" {PATH} alone leads nowhere, for there are several profiles and none is named default."
        return _error(HTTPStatus.NOT_FOUND, message)


def _error(status: HTTPStatus, message: str, *headers: tuple[str, str]) -> Response:
    """Return a refusal in the shape that every SDK reads: Go and Rust one spelling, JavaScript the other."""
    code = status.phrase.replace(" ", "")
    document = {"code": code, "message": message, "Code": code, "Message": message}
    return Response(status=status, body=json.dumps(document).encode() + b"\n", content_type=JSON, headers=headers)
