"""A signature is accepted if the published key made it over exactly this token, and refused otherwise."""

from __future__ import annotations

import base64
import hmac
import json
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.findings import Verdict
from broker.issuer import token_signature
from broker.issuer.public_keys import PublicKey
from broker.tokens.decoding import parse_token

if TYPE_CHECKING:
    from broker.core.model import BoundToken

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
CLAIMS = {"iss": "https://oidc.example", "sub": "a", "aud": ["sts.amazonaws.com"], "exp": 2**31}
CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
algorithms = st.sampled_from(["RS256", "RS384", "RS512", *CURVES])


@cache
def private(algorithm: str, serial: int) -> PrivateKey:
    del serial
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm])
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def published(algorithm: str, serial: int = 0) -> PublicKey:
    return PublicKey(kid="key-1", algorithm=algorithm, key=private(algorithm, serial).public_key())


def sign(algorithm: str, **claims: object) -> str:
    return jwt.encode({**CLAIMS, **claims}, private(algorithm, 0), algorithm=algorithm)


def encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def judge(token: str | BoundToken, key: PublicKey) -> Verdict:
    parsed = parse_token(token, origin="a test") if isinstance(token, str) else token
    return token_signature.examine(parsed, key).verdict


@given(algorithms, st.text(min_size=1, max_size=50))
def test_signed_token_is_accepted_with_its_key_and_no_other(algorithm: str, subject: str) -> None:
    token = sign(algorithm, sub=subject)
    assert judge(token, published(algorithm)) is Verdict.OK
    assert judge(token, published(algorithm, serial=1)) is Verdict.FAILED


@settings(max_examples=60)
@given(algorithms, st.data())
def test_one_changed_bit_of_the_signature_is_refused(algorithm: str, data: st.DataObject) -> None:
    signed, _, last = sign(algorithm).rpartition(".")
    signature = bytearray(base64.urlsafe_b64decode(last + "=="))
    signature[data.draw(st.integers(0, len(signature) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changed = encode(bytes(signature))
    assert judge(f"{signed}.{changed}", published(algorithm)) is Verdict.FAILED


@settings(max_examples=60)
@given(algorithms, st.text(min_size=1, max_size=50))
def test_signature_over_other_claims_is_refused(algorithm: str, subject: str) -> None:
    header, payload, _ = sign(algorithm).split(".")
    signature = sign(algorithm, sub=f"a{subject}").rpartition(".")[2]
    assert judge(f"{header}.{payload}.{signature}", published(algorithm)) is Verdict.FAILED


@given(algorithms, st.binary(min_size=1, max_size=300))
def test_random_bytes_are_not_a_signature(algorithm: str, signature: bytes) -> None:
    signed = sign(algorithm).rpartition(".")[0]
    text = encode(signature)
    assert judge(f"{signed}.{text}", published(algorithm)) is Verdict.FAILED


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize("ending", ["=", "*", "A", " ", "****", "\n"])
def test_characters_after_the_signature_are_refused(algorithm: str, ending: str) -> None:
    good = parse_token(sign(algorithm), origin="a test")
    changed = type(good.raw)(good.raw.reveal() + ending)
    token = type(good)(raw=changed, fingerprint="", claims=good.claims)
    assert judge(good, published(algorithm)) is Verdict.OK
    assert judge(token, published(algorithm)) is Verdict.FAILED


def test_algorithm_of_the_token_must_be_the_keys() -> None:
    key = private("RS512", 0)
    token = jwt.encode(CLAIMS, key, algorithm="RS512")
    of_another: Any = PublicKey(kid="key-1", algorithm="RS256", key=key.public_key())
    assert judge(token, published("RS512")) is Verdict.OK
    assert judge(token, of_another) is Verdict.FAILED


def test_unsigned_token_is_refused() -> None:
    unsigned = jwt.encode(CLAIMS, "", algorithm="none")
    assert judge(unsigned, published("RS256")) is Verdict.FAILED


def test_token_signed_with_the_public_key_as_a_secret_is_refused() -> None:
    """A verifier that lets the token choose HS256 takes the published key for a shared secret."""
    key = published("RS256")
    secret = key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header, payload = (encode(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "key-1"}, CLAIMS))
    signature = encode(hmac.digest(secret, f"{header}.{payload}".encode(), "sha256"))
    assert judge(f"{header}.{payload}.{signature}", key) is Verdict.FAILED
