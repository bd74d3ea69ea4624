"""A key set with keys that are not for STS next to the signing key: passed over with a warning, by every reader.

Keycloak publishes an encryption key by default (greenpau/caddy-security#170 is about a reader that cannot stand it).
RFC 7517 section 5: a key that one cannot use is ignored.
"""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from broker.core.findings import Finding, Verdict
from broker.discovery.documents import DocumentCheck
from broker.discovery.examiners import StructureExaminer
from broker.issuer import documents
from broker.issuer.check import IssuerCheck
from broker.net.http_messages import Answer, PeerCertificate, TlsSession
from broker.tokens.decoding import parse_token
from tests.process.issuer_faults import GOOD, OTHER, jwk, token
from tests.support.issuer_site import ISSUER

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 29, tzinfo=UTC)
SIGNING = jwk(kid="signing")
ENCRYPTION = jwk(OTHER, kid="encryption", use="enc", alg="RSA-OAEP")
FOREIGN = [
    ENCRYPTION,
    jwk(OTHER, kid="encryption", use="enc", alg="RSA-OAEP-256"),
    jwk(OTHER, kid="encryption", alg="PS256"),
    {"kty": "OKP", "kid": "encryption", "use": "sig", "alg": "EdDSA", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7T"},
    {"kty": "EC", "kid": "encryption", "use": "enc", "alg": "ECDH-ES", "crv": "P-256", "x": "AA", "y": "AA"},
]


def make_fetch(*keys: dict[str, Any]) -> Any:  # noqa: ANN401 - the fetch of DocumentCheck
    """Return a function that answers as the issuer does."""
    certificate = PeerCertificate(
        subject="CN=a", issuer="CN=b", not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=90)
    )

    def fetch(kind: str, _: str) -> Answer:
        document = {"keys": list(keys)} if kind == "jwks" else GOOD
        return Answer(
            status=200,
            content_type="application/json",
            location="",
            date="",
            body=json.dumps(document).encode(),
            is_truncated=False,
            seconds=0.1,
            address="8.8.8.8",
            via="",
            tls=TlsSession(certificate=certificate),
        )

    return fetch


def check(*keys: dict[str, Any], signed_with: str = "") -> tuple[Finding, ...]:
    """Return the findings of `issuer check` about the keys."""
    bound = parse_token(token(kid=signed_with), origin="a test") if signed_with else None
    report = IssuerCheck(ISSUER, token=bound, fetch=make_fetch(*keys), trusted_by="", now=NOW).run()
    return tuple(finding for finding in report.findings if finding.check in ("keys", "key", "token"))


def verdicts(findings: tuple[Finding, ...]) -> set[Verdict]:
    return {finding.verdict for finding in findings}


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("is_first", [True, False])
def test_check_warns_and_accepts_the_token(foreign: dict[str, Any], *, is_first: bool) -> None:
    keys = (foreign, SIGNING) if is_first else (SIGNING, foreign)
    findings = check(*keys, signed_with="signing")
    (warned,) = (finding for finding in findings if finding.verdict is Verdict.WARNING)
    assert "Key encryption has" in warned.found
    assert Verdict.FAILED not in verdicts(findings)


def test_check_fails_if_the_token_is_signed_with_such_a_key() -> None:
    (failure,) = (
        each for each in check(SIGNING, ENCRYPTION, signed_with="encryption") if each.verdict is Verdict.FAILED
    )
    assert "signed with the published key encryption, which STS cannot use" in failure.found


@pytest.mark.parametrize("foreign", FOREIGN)
def test_check_fails_if_no_key_is_left(foreign: dict[str, Any]) -> None:
    assert Verdict.FAILED in verdicts(check(foreign))


@pytest.mark.parametrize("foreign", FOREIGN)
def test_doctor_judges_as_the_check_does(foreign: dict[str, Any]) -> None:
    """It judges without cryptography, and leaves signatures to STS."""
    for keys, accepted in (((SIGNING, foreign), True), ((foreign,), False)):
        report = DocumentCheck(
            ISSUER, token=None, fetch=make_fetch(*keys), examiner=StructureExaminer(), trusted_by="", now=NOW
        ).run()
        about_keys = [each.verdict for each in report.findings if each.check in ("keys", "key")]
        assert (Verdict.FAILED not in about_keys) is accepted


@pytest.mark.parametrize("foreign", FOREIGN)
def test_render_leaves_it_out_and_says_so(tmp_path: Path, foreign: dict[str, Any]) -> None:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [foreign, SIGNING]}))
    gathered = documents.gather([str(path)], [], io.BytesIO())
    rendered = documents.render(ISSUER, gathered.keys, gathered.faults)
    assert [key["kid"] for key in json.loads(rendered.keys)["keys"]] == ["signing"]
    ((kid, reason),) = gathered.left_out
    assert kid == "encryption"
    assert reason.startswith("has ")
