"""What the check says of answers that a loopback server cannot give."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from broker.core.findings import Verdict
from broker.issuer.check import IssuerCheck
from broker.net.https_client import Answer, Route, Silence, get

if TYPE_CHECKING:
    from broker.core.findings import Finding

ISSUER = "https://oidc.company.example"


def answer(**changes: Any) -> Answer:  # noqa: ANN401 - any field
    fields: dict[str, Any] = {
        "status": 200,
        "content_type": "application/json",
        "location": "",
        "body": b'{"issuer": "https://oidc.company.example"}',
        "seconds": 0.1,
        "chain": (),
        "distrust": None,
        "needs_tls_13": False,
        "address": "8.8.8.8",
        "via": "",
    }
    return Answer(**{**fields, **changes})


def said(answer: Answer | Silence, verdict: Verdict) -> list[Finding]:
    check = IssuerCheck(
        ISSUER,
        token=None,
        fetch=lambda _: answer,
        trusted_by="the system's CAs",
        now=datetime(2026, 11, 24, tzinfo=UTC),
    )
    return [finding for finding in check.run().findings if finding.verdict is verdict]


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "fe80::1%eth0", "fd00::1"])
def test_private_address_is_a_warning(address: str) -> None:
    found = [finding.found for finding in said(answer(address=address), Verdict.WARNING)]
    assert f"oidc.company.example is {address} here, which is no public address; STS may not find it." in found


def test_public_address_is_none() -> None:
    assert "route" not in [finding.check for finding in said(answer(), Verdict.WARNING)]


def test_certificate_that_cannot_be_read_is_a_warning() -> None:
    (finding,) = (each for each in said(answer(chain=(b"\x30\x00",)), Verdict.WARNING) if each.check == "certificate")
    assert finding.found == "oidc.company.example's certificate is trusted; it could not be read here."


def test_answer_that_sts_would_not_wait_for_is_refused_whatever_the_timeout() -> None:
    (finding,) = (each for each in said(answer(seconds=5.01), Verdict.FAILED) if each.check == "discovery")
    assert finding.found.endswith("bytes in 5.01 s; STS gives up after about 5 s.")
    assert [each.check for each in said(answer(seconds=4.99), Verdict.FAILED)] == ["jwks_uri"]


def test_silence_is_told_with_its_remedy() -> None:
    (finding,) = said(Silence(found="no route", remedy="Look."), Verdict.FAILED)
    assert (finding.check, finding.remedy) == ("discovery", "Look.")
    assert finding.found.endswith("/.well-known/openid-configuration: no route.")


@pytest.mark.parametrize("proxy", ["https://proxy.example:3128", "socks5://proxy.example", "http://"])
def test_proxy_that_cannot_be_used_is_told(proxy: str) -> None:
    silence = get(ISSUER, Route(environ={"https_proxy": proxy}))
    assert isinstance(silence, Silence)
    assert "HTTPS_PROXY is no http:// URL" in silence.found
