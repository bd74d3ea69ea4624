"""A signature is taken where `cryptography` takes it, and nothing else is, however it is padded, cut or bent."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.findings import Verdict
from broker.issuer import public_keys, token_signature
from broker.tokens.token_file import parse_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from broker.issuer.public_keys import PublicKey

CLAIMS = {"iss": "https://oidc.example", "sub": "a", "aud": ["sts.amazonaws.com"], "exp": 2**31}
HASHES: dict[str, hashes.HashAlgorithm] = {
    "RS256": hashes.SHA256(),
    "RS384": hashes.SHA384(),
    "RS512": hashes.SHA512(),
}
DIGEST_INFO = {
    "RS256": "3031300d060960864801650304020105000420",
    "RS384": "3041300d060960864801650304020205000430",
    "RS512": "3051300d060960864801650304020305000440",
}
sizes = st.sampled_from([(2048, 65537), (2049, 3), (3072, 65537)])
algorithms = st.sampled_from(sorted(HASHES))


@cache
def private(size: int = 2048, exponent: int = 65537) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=exponent, key_size=size)


def published(key: rsa.RSAPrivateKey, algorithm: str = "RS256") -> PublicKey:
    numbers = key.public_key().public_numbers()
    return public_keys.PublicKey(kid="key-1", algorithm=algorithm, numbers=(numbers.n, numbers.e))


def signed_part(algorithm: str = "RS256", **claims: object) -> str:
    return jwt.encode({**CLAIMS, **claims}, private(), algorithm=algorithm).rpartition(".")[0]


def text(signed: str, signature: bytes) -> str:
    return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def verdict(token: str, key: PublicKey) -> Verdict:
    return token_signature.examine(parse_token(token, origin="a test"), key).verdict


def is_taken_by_cryptography(signed: str, signature: bytes, key: rsa.RSAPrivateKey, algorithm: str) -> bool:
    try:
        key.public_key().verify(signature, signed.encode(), padding.PKCS1v15(), HASHES[algorithm])
    except InvalidSignature:
        return False
    return True


def encoded(signed: str, length: int, *, algorithm: str = "RS256") -> bytes:
    """Return the encoding that a good signature comes to."""
    digest = hashlib.new(HASHES[algorithm].name, signed.encode()).digest()
    ending = b"\x00" + bytes.fromhex(DIGEST_INFO[algorithm]) + digest
    return b"\x00\x01" + b"\xff" * (length - 2 - len(ending)) + ending


def raw_signature(message: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """Return what the private key makes of any bytes at all."""
    numbers = key.private_numbers()
    n = numbers.public_numbers.n
    return pow(int.from_bytes(message, "big") % n, numbers.d, n).to_bytes((n.bit_length() + 7) // 8, "big")


@given(sizes, algorithms, st.text(max_size=50))
def test_what_cryptography_signs_is_taken(size: tuple[int, int], algorithm: str, subject: str) -> None:
    key = private(*size)
    token = jwt.encode({**CLAIMS, "sub": subject}, key, algorithm=algorithm)
    assert verdict(token, published(key, algorithm)) is Verdict.OK


@given(st.binary(max_size=300), algorithms)
def test_random_bytes_are_judged_as_cryptography_judges_them(signature: bytes, algorithm: str) -> None:
    signed = signed_part(algorithm)
    taken = verdict(text(signed, signature), published(private(), algorithm)) is Verdict.OK
    assert taken == is_taken_by_cryptography(signed, signature, private(), algorithm)


@settings(max_examples=15)
@given(st.integers(0, 2047), algorithms)
def test_one_bit_is_enough_to_refuse(bit: int, algorithm: str) -> None:
    signed = signed_part(algorithm)
    good = raw_signature(encoded(signed, 256, algorithm=algorithm), private())
    assert verdict(text(signed, good), published(private(), algorithm)) is Verdict.OK
    bent = (int.from_bytes(good, "big") ^ (1 << bit)).to_bytes(256, "big")
    assert verdict(text(signed, bent), published(private(), algorithm)) is Verdict.FAILED


@settings(max_examples=15)
@given(st.data())
def test_encoding_that_differs_in_any_byte_is_refused_though_the_key_made_it(data: st.DataObject) -> None:
    """The private key signs a wrong encoding: whatever a lenient parser would skip, this does not."""
    signed = signed_part()
    message = bytearray(encoded(signed, 256))
    place = data.draw(st.integers(0, 255))
    message[place] ^= data.draw(st.integers(1, 255 if place else 1))
    signature = raw_signature(bytes(message), private())
    taken = verdict(text(signed, signature), published(private())) is Verdict.OK
    assert not taken
    assert taken == is_taken_by_cryptography(signed, signature, private(), "RS256")


def hash_on_the_left(signed: str) -> bytes:
    """Bleichenbacher's forgery of 2006: short padding, the digest, then bytes that a lenient parser leaves unread."""
    digest = bytes.fromhex(DIGEST_INFO["RS256"]) + hashlib.sha256(signed.encode()).digest()
    head = b"\x00\x01" + b"\xff" * 8 + b"\x00" + digest
    return head + bytes(256 - len(head))


def without_null(signed: str) -> bytes:
    digest = bytes.fromhex("302f300b0609608648016503040201" + "0420") + hashlib.sha256(signed.encode()).digest()
    return b"\x00\x01" + b"\xff" * (253 - len(digest)) + b"\x00" + digest


def without_digest_info(signed: str) -> bytes:
    return b"\x00\x01" + b"\xff" * 221 + b"\x00" + hashlib.sha256(signed.encode()).digest()


def block_type_two(signed: str) -> bytes:
    return b"\x00\x02" + encoded(signed, 256)[2:]


def other_hash(signed: str) -> bytes:
    return encoded(signed, 256, algorithm="RS512")


@pytest.mark.parametrize("forge", [hash_on_the_left, without_null, without_digest_info, block_type_two, other_hash])
def test_other_encoding_is_refused_though_the_key_made_it(forge: Callable[[str], bytes]) -> None:
    signed = signed_part()
    assert len(forge(signed)) == 256
    assert verdict(text(signed, raw_signature(forge(signed), private())), published(private())) is Verdict.FAILED


def test_cube_root_forgery_is_refused() -> None:
    """With an exponent of 3, a root of `padding, digest, anything` needs no private key."""
    key, signed = private(2049, 3), signed_part()
    digest = bytes.fromhex(DIGEST_INFO["RS256"]) + hashlib.sha256(signed.encode()).digest()
    head = b"\x00\x01" + b"\xff" * 8 + b"\x00" + digest
    target = int.from_bytes(head + b"\xff" * (257 - len(head)), "big")
    low, high = 0, 2**700
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**3 <= target else (low, middle - 1)
    assert (low**3).to_bytes(257, "big").startswith(head)
    assert verdict(text(signed, low.to_bytes(257, "big")), published(key)) is Verdict.FAILED


def test_length_and_range_must_be_right() -> None:
    signed = signed_part()
    good = raw_signature(encoded(signed, 256), private())
    n = private().public_key().public_numbers().n
    above = (int.from_bytes(good, "big") + n).to_bytes(257, "big")
    for signature in (b"", good[:-1], b"\x00" + good, good + b"\x00", above, n.to_bytes(256, "big"), bytes(256)):
        assert verdict(text(signed, signature), published(private())) is Verdict.FAILED
    for ending in ("=", "*", "A", " "):
        damaged = parse_token(text(signed, good), origin="a test")
        changed = type(damaged.raw)(damaged.raw.reveal() + ending)
        token = type(damaged)(raw=changed, fingerprint="", claims=damaged.claims)
        assert token_signature.examine(token, published(private())).verdict is Verdict.FAILED


def test_algorithm_of_the_token_must_be_the_keys() -> None:
    token = jwt.encode(CLAIMS, private(), algorithm="RS512")
    assert verdict(token, published(private(), "RS512")) is Verdict.OK
    assert verdict(token, published(private(), "RS256")) is Verdict.FAILED
    none = jwt.encode(CLAIMS, "", algorithm="none")
    assert verdict(none, published(private(), "RS256")) is Verdict.FAILED


def test_other_key_is_refused() -> None:
    token = jwt.encode(CLAIMS, private(), algorithm="RS256")
    assert verdict(token, published(private(3072))) is Verdict.FAILED


def curve_key(key: ec.EllipticCurvePrivateKey) -> PublicKey:
    document: dict[str, Any] = jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return public_keys.from_numbers("EC", document, kid="key-1", algorithm="ES256")


def test_curves_are_checked_where_cryptography_is() -> None:
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    token = jwt.encode(CLAIMS, key, algorithm="ES256")
    assert verdict(token, curve_key(key)) is Verdict.OK
    assert verdict(token, curve_key(other)) is Verdict.FAILED
