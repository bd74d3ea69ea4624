"""Keys in a key document that STS can use, and keys that it passes over."""

from __future__ import annotations

from typing import Any

import pytest

from broker.core.findings import Verdict, is_accepted
from broker.discovery.key_documents import examine
from broker.issuer.check import CryptographicExaminer
from tests.process.issuer_faults import PRIVATE, SMALL, jwk

EC = {"kty": "EC", "kid": "ec", "use": "sig", "x": "AA", "y": "AA"}
FOREIGN = [
    (jwk(kid="other", use="enc", alg="RSA-OAEP"), "has alg RSA-OAEP"),
    (jwk(kid="other", use="enc"), "has use enc; expected sig"),
    (jwk(kid="other", alg="PS256"), "has alg PS256"),
    (jwk(kid="other", use=None, key_ops=["encrypt", "wrapKey"]), "has key_ops encrypt, wrapKey; expected verify"),
    (jwk(SMALL, kid="other"), ": it has 1024 bits; expected 2048 or more"),
    ({"kty": "OKP", "kid": "other", "crv": "Ed25519", "alg": "EdDSA", "x": "AA"}, "has kty OKP"),
    ({"kty": "AKP", "kid": "other", "alg": "ML-DSA-65", "pub": "AA"}, "has kty AKP"),
    ({**EC, "crv": "secp256k1", "alg": "ES256K"}, "has alg ES256K"),
    ({**EC, "crv": "secp256k1"}, "has crv secp256k1; STS accepts P-256, P-384, P-521"),
    ({"kid": "other"}, "has kty None"),
]


@pytest.mark.parametrize(("key", "reason"), FOREIGN)
def test_foreign_key_next_to_a_good_one_is_passed_over_with_a_warning(key: dict[str, Any], reason: str) -> None:
    judged = examine({"keys": [key, jwk()]}, CryptographicExaminer().describe_key)
    assert is_accepted(judged.findings)
    (warned,) = (finding for finding in judged.findings if finding.verdict is Verdict.WARNING)
    assert reason in warned.found
    assert "a token for STS must not be signed with it" in warned.found
    assert [each.kid for each in judged.keys] == ["key-1"]
    assert [kid for kid, _ in judged.passed_over] == [key["kid"]]


@pytest.mark.parametrize(("key", "reason"), FOREIGN)
def test_foreign_key_alone_is_a_failure(key: dict[str, Any], reason: str) -> None:
    judged = examine({"keys": [key]}, CryptographicExaminer().describe_key)
    (failure,) = (finding for finding in judged.findings if finding.verdict is Verdict.FAILED)
    assert reason in failure.found
    assert judged.keys == ()


@pytest.mark.parametrize(
    "key",
    [jwk(kid=None), jwk(kid="b", alg="ES256"), {**EC, "alg": "ES256"}, jwk(kid="b", d="AQAB"), "text", None],
)
def test_malformed_or_private_key_next_to_a_good_one_is_a_failure(key: Any) -> None:  # noqa: ANN401 - any JSON value
    assert not is_accepted(examine({"keys": [jwk(), key]}).findings)


def test_key_with_verify_among_its_operations_is_used() -> None:
    judged = examine({"keys": [jwk(use=None, key_ops=["sign", "verify"])]})
    assert [each.kid for each in judged.keys] == ["key-1"]


def test_kid_of_an_encryption_key_may_be_that_of_the_signing_key() -> None:
    judged = examine({"keys": [jwk(), jwk(use="enc", alg="RSA-OAEP")]})
    assert is_accepted(judged.findings)
    assert any("2 keys have the kid key-1. STS can use only one" in finding.found for finding in judged.findings)


def test_two_signing_keys_with_one_kid_are_a_failure() -> None:
    assert not is_accepted(examine({"keys": [jwk(), jwk(PRIVATE)]}).findings)
