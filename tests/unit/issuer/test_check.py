"""What the check reports for answers that a server on loopback cannot give."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from broker.core.findings import Verdict
from broker.issuer.check import IssuerCheck
from broker.net.http_messages import Answer, CertificateFault, Failure, NoAnswer, PeerCertificate, TlsSession

if TYPE_CHECKING:
    from broker.core.findings import Finding

ISSUER = "https://oidc.company.example"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
CERTIFICATE = PeerCertificate(
    subject="CN=a", issuer="CN=b", not_before=NOW - timedelta(days=9), not_after=NOW + timedelta(days=90)
)


def answer(**changes: Any) -> Answer:  # noqa: ANN401 - any field
    fields: dict[str, Any] = {
        "status": 200,
        "content_type": "application/json",
        "location": "",
        "date": "",
        "body": b'{"issuer": "https://oidc.company.example"}',
        "is_truncated": False,
        "seconds": 0.1,
        "address": "8.8.8.8",
        "via": "",
        "tls": TlsSession(certificate=CERTIFICATE),
    }
    return Answer(**{**fields, **changes})


def findings(answer: Answer | NoAnswer, verdict: Verdict) -> list[Finding]:
    check = IssuerCheck(ISSUER, token=None, fetch=lambda *_: answer, trusted_by="the system's CAs", now=NOW)
    return [finding for finding in check.run().findings if finding.verdict is verdict]


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "fe80::1%eth0", "fd00::1"])
def test_private_address_is_a_warning(address: str) -> None:
    found = [finding.found for finding in findings(answer(address=address), Verdict.WARNING)]
    expected = f"oidc.company.example resolves to {address} here, which is not a public address; STS may not find it."
    assert expected in found


def test_public_address_is_not_a_warning() -> None:
    assert "route" not in [finding.check for finding in findings(answer(), Verdict.WARNING)]


def test_unreadable_certificate_is_a_warning() -> None:
    session = TlsSession(chain=(b"\x30\x00",), certificate=CERTIFICATE)
    (finding,) = (each for each in findings(answer(tls=session), Verdict.WARNING) if each.check == "certificate")
    assert finding.found == "oidc.company.example's certificate is trusted, but cannot be read here."


def test_answer_slower_than_sts_waits_fails_whatever_the_timeout() -> None:
    (finding,) = (each for each in findings(answer(seconds=5.01), Verdict.FAILED) if each.check == "discovery")
    assert finding.found.endswith("bytes in 5.01 s; STS gives up after about 5 s.")
    assert [each.check for each in findings(answer(seconds=4.99), Verdict.FAILED)] == ["jwks_uri"]


def test_missing_answer_fails_with_its_remedy() -> None:
    (finding,) = findings(NoAnswer(failure=Failure.CONNECTION, found="no route"), Verdict.FAILED)
    assert (finding.check, finding.remedy.split(":")[0]) == ("discovery", "STS connects from the internet")
    assert finding.found.endswith("/.well-known/openid-configuration: no route.")


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (10, "A certificate has expired."),
        (9, "A certificate is not valid yet."),
        (62, "The certificate is not for oidc.company.example."),
        (64, "The certificate is not for oidc.company.example."),
        (18, "The certificate is self-signed."),
        (19, "The certificate is self-signed."),
        (20, "The certificate is not trusted (unable to get local issuer certificate)."),
    ],
)
def test_certificate_fault_fails_by_its_code(code: int, found: str) -> None:
    fault = CertificateFault(code=code, message="unable to get local issuer certificate", found_at=NOW)
    failed = findings(answer(tls=TlsSession(fault=fault)), Verdict.FAILED)
    (finding,) = (each for each in failed if each.check == "certificate")
    assert finding.found.startswith(found)
