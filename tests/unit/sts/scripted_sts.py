"""A scripted STS on loopback, a recording proxy, and exchanges with them."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import pytest

from broker.core.errors import (
    ExchangeError,
)
from broker.net.http_messages import Answer
from sandbox.http.loopback import LoopbackServer
from tests.support.fakes import make_profile, make_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from broker.core.model import TemporaryCredentials
    from broker.sts.exchange import StsExchanger
    from sandbox.http.loopback import Request, Wire

ASSUMED = "arn:aws:sts::123456789012:assumed-role/app/demo.app-7d9c5b6f8-x2x7k"
NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"


def make_response(**changes: str) -> bytes:
    """Return a response of STS. A field with the value "-" is left out."""
    fields = {
        "AccessKeyId": "ASIA0123456789ABCDEF",
        "SecretAccessKey": "secret/key+",
        "SessionToken": "session//token==",
        "Expiration": "2026-11-23T13:00:00Z",
        "Arn": ASSUMED,
        **changes,
    }
    tags = {name: f"<{name}>{value}</{name}>" if value != "-" else "" for name, value in fields.items()}
    arn = tags.pop("Arn")
    sizes = "".join(tags.pop(name, "") for name in ("PackedPolicySize", "SessionTokenUtilization", "SessionTokenSize"))
    return (
        f'<AssumeRoleWithWebIdentityResponse xmlns="{NAMESPACE}"><AssumeRoleWithWebIdentityResult>'
        f"<Credentials>{''.join(tags.values())}</Credentials>"
        f"<AssumedRoleUser>{arn}<AssumedRoleId>AROA:x</AssumedRoleId></AssumedRoleUser>{sizes}"
        "</AssumeRoleWithWebIdentityResult><ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata>"
        "</AssumeRoleWithWebIdentityResponse>"
    ).encode()


def make_refusal(code: str, message: str = "No.") -> bytes:
    return (
        f'<ErrorResponse xmlns="{NAMESPACE}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{message}</Message></Error><RequestId>request-2</RequestId></ErrorResponse>"
    ).encode()


@dataclass(slots=True)
class Sts:
    """A server with a scripted response, and the requests that it received."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default_factory=make_response)
    misbehave: Callable[[Wire], None] | None = None
    requests: list[Request] = field(default_factory=list)
    url: str = ""

    def __call__(self, request: Request, wire: Wire) -> None:
        """Send the scripted response."""
        self.requests.append(request)
        if self.misbehave is not None:
            self.misbehave(wire)
        else:
            wire.send(self.status, {"Content-Type": "text/xml", **self.headers}, self.body)

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the last request."""
        return {name: value for name, (value,) in parse_qs(self.requests[-1].body.decode()).items()}


def exchange(exchanger: StsExchanger, **changes: Any) -> TemporaryCredentials:  # noqa: ANN401 - any field of the spec
    return exchanger.exchange(make_profile(**changes), make_token())


def fail_exchange(exchanger: StsExchanger, **changes: Any) -> ExchangeError:  # noqa: ANN401 - any field of the spec
    with pytest.raises(ExchangeError) as caught:
        exchange(exchanger, **changes)
    error = caught.value
    text = "".join(traceback.format_exception(error))
    assert "botocore" not in text.replace("botocore rejected", "").replace("import botocore", "").split("raise")[-1]
    assert "During handling" not in text
    assert "direct cause" not in text
    assert make_token().raw.reveal() not in text
    return error


class Proxy:
    """A proxy that refuses every request and records it."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.server = LoopbackServer(answer=self._answer)

    def _answer(self, request: Request, wire: Wire) -> None:
        self.requests.append(f"{request.method} {request.path}")
        wire.send(403, {"Connection": "close"}, b"")
        wire.close()


def make_answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None, location: str = "") -> Answer:
    """Return an answer as the HTTPS client returns it."""
    return Answer(
        status=status,
        content_type="",
        location=location,
        date="",
        headers=headers or {},
        body=body,
        is_truncated=False,
        seconds=0.1,
        address="",
        via="",
        tls=None,
    )


def answer_as_aws(monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, **headers: str) -> None:
    """Answer every call of STS's real host in this way, without a network."""
    answer = make_answer(body, status, headers)
    monkeypatch.setattr("broker.sts.transport.fetch", lambda _, __: answer)
