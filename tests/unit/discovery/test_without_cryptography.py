"""The doctor's part of issuer checks works in the sidecar's image, which has neither cryptography nor broker.issuer."""

from __future__ import annotations

import subprocess
import sys

from tests.support.fakes import make_jwt

PROGRAM = """
import json, sys
sys.modules.update({"cryptography": None, "broker.issuer": None})

from datetime import UTC, datetime, timedelta

import broker.doctor.examiners.issuer
import broker.doctor.examiners.network
from broker.discovery.documents import DocumentCheck
from broker.discovery.examiners import StructureExaminer
from broker.net.http_messages import Answer, PeerCertificate, TlsSession
from broker.tokens.decoding import parse_token

now = datetime.now(UTC)
certificate = PeerCertificate(
    subject="CN=a", issuer="CN=b", not_before=now - timedelta(days=1), not_after=now + timedelta(days=90)
)
url = "https://oidc.company.example"
documents = {
    "discovery": {
        "issuer": url,
        "jwks_uri": url + "/keys.json",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    },
    "jwks": {"keys": [json.loads(sys.argv[2])]},
}


def fetch(kind, _):
    return Answer(
        status=200, content_type="application/json", location="", date="", body=json.dumps(documents[kind]).encode(),
        is_truncated=False, seconds=0.1, address="8.8.8.8", via="", tls=TlsSession(certificate=certificate),
    )


check = DocumentCheck(
    url,
    token=parse_token(sys.argv[1], origin="a test"),
    fetch=fetch,
    examiner=StructureExaminer(),
    trusted_by="the system's CAs",
    now=now,
)
for finding in check.run().findings:
    print(finding.verdict.value, finding.check, finding.found)
"""
KEY = '{"use": "sig", "kty": "RSA", "kid": "%s", "alg": "RS256", "n": "AQAB", "e": "AQAB"}'


def run(token: str, key: str) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, token, key]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_published_key_is_found_and_its_signature_left_to_sts() -> None:
    found = run(make_jwt(), KEY % "key-1")
    assert "ok keys 1 key: key-1 (RS256)" in found
    assert found[-1] == "ok token The token's key key-1 is published. STS verifies the signature."
    assert any(
        line.startswith("ok certificate oidc.company.example: CN=a, issued by CN=b; valid until") for line in found
    )
    assert all(line.startswith("ok ") for line in found)


def test_unpublished_key_fails() -> None:
    found = run(make_jwt(), KEY % "key-2")
    assert found[-1] == "failed token The token's key key-1 is not among the published keys."


def test_private_key_fails() -> None:
    found = run(make_jwt(), (KEY % "key-1").replace('"e"', '"d": "c2VjcmV0", "e"'))
    assert "failed key PRIVATE KEY: Key key-1 has d. Anyone who reads this document can sign tokens." in found
    assert "c2VjcmV0" not in "".join(found)
